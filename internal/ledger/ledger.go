// Package ledger keeps the outcome of every first-response clock: whether the
// customer was answered in time, decided once and kept.
//
// The breach rate is breached ÷ (met + breached) over the clocks that were
// decided in a window. The rules are here, and pure; where the rows are kept is
// the Store's business.
package ledger

import (
	"math"
	"time"
)

// Outcome is what a first-response clock ended in. The empty Outcome is a
// clock that still runs.
type Outcome string

const (
	Met      Outcome = "met"      // answered at or before the deadline
	Breached Outcome = "breached" // unanswered at the deadline
	Excluded Outcome = "excluded" // resolved or gone before the deadline, without an answer
)

// Outcomes lists what a clock can end in.
var Outcomes = [...]Outcome{Met, Breached, Excluded}

// Entry is one first-response clock: a row of the ledger. All instants are
// Chatwoot's, to the microsecond.
type Entry struct {
	Conversation int64 // Chatwoot's display id
	Round        int   // 1, or more when the customer came back after an end without an answer
	Inbox        int64
	Team         string // as of the last observation before the outcome; empty: none
	Assignee     string // likewise

	Start           time.Time
	Deadline        time.Time
	FirstResponseAt time.Time // the first human answer, however late; zero: none so far
	EndedAt         time.Time // the first time it was resolved or gone without an answer; zero: never

	Outcome   Outcome
	DecidedAt time.Time // the answer, the deadline or the end; zero while the clock runs

	ObservedAt time.Time // when all of this but a late answer or end was true
}

// Key names a row.
type Key struct {
	Conversation int64
	Round        int
}

// Key returns the name of e.
func (e Entry) Key() Key { return Key{e.Conversation, e.Round} }

// Answer returns how long the first answer took; ok is false without one. One
// that came before the clock's start, when a bot still had the conversation,
// took no time.
func (e Entry) Answer() (took time.Duration, ok bool) {
	if e.FirstResponseAt.IsZero() {
		return 0, false
	}
	return max(0, e.FirstResponseAt.Sub(e.Start)), true
}

// same reports whether e and f differ in nothing but when they were observed.
func (e Entry) same(f Entry) bool {
	return e.Conversation == f.Conversation && e.Round == f.Round && e.Inbox == f.Inbox &&
		e.Team == f.Team && e.Assignee == f.Assignee && e.Outcome == f.Outcome &&
		e.Start.Equal(f.Start) && e.Deadline.Equal(f.Deadline) && e.DecidedAt.Equal(f.DecidedAt) &&
		e.FirstResponseAt.Equal(f.FirstResponseAt) && e.EndedAt.Equal(f.EndedAt)
}

// Tally counts outcomes.
type Tally struct{ Met, Breached, Excluded int }

// Count adds n clocks that ended in o.
func (t *Tally) Count(o Outcome, n int) {
	switch o {
	case Met:
		t.Met += n
	case Breached:
		t.Breached += n
	case Excluded:
		t.Excluded += n
	}
}

// Of returns how many ended in o.
func (t Tally) Of(o Outcome) int {
	switch o {
	case Met:
		return t.Met
	case Breached:
		return t.Breached
	case Excluded:
		return t.Excluded
	}
	return 0
}

// Plus returns the sum of both.
func (t Tally) Plus(u Tally) Tally {
	return Tally{t.Met + u.Met, t.Breached + u.Breached, t.Excluded + u.Excluded}
}

// BreachRatio returns breached ÷ (met + breached), and NaN over nothing.
func (t Tally) BreachRatio() float64 {
	if t.Met+t.Breached == 0 {
		return math.NaN()
	}
	return float64(t.Breached) / float64(t.Met+t.Breached)
}
