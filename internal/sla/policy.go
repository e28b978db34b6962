// Package sla says how conversations stand against the first response that
// their customers are owed.
//
// It is arithmetic on values the caller passes in: nothing here reads the
// clock, logs, blocks or fails. The metrics, the page, the report and the
// ledger all ask this package, so they cannot disagree.
package sla

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Level is how an open conversation stands at an instant. Levels are ordered
// by urgency, so the worst of several is their max.
type Level uint8

const (
	Normal  Level = iota // nothing is owed, or there is time
	Warning              // prepare the answer
	Urgent               // answer now
	Breach               // the deadline has passed without an answer in time
)

// Levels lists every Level, least urgent first.
var Levels = [...]Level{Normal, Warning, Urgent, Breach}

var levelNames = [...]string{"normal", "warning", "urgent", "breach"}

// String returns the value of the "level" label. Alert rules match on it.
func (l Level) String() string { return levelNames[l] }

// ParseLevel returns the Level that String names.
func ParseLevel(name string) (Level, error) {
	for _, l := range Levels {
		if l.String() == name {
			return l, nil
		}
	}
	return 0, fmt.Errorf("level %q is unknown; use normal, warning, urgent or breach", name)
}

// Calendar says which time counts. Implementations are pure and safe for
// concurrent use, and their two methods agree: Add returns the first instant t
// with Open(from, t) >= d.
type Calendar interface {
	// Add returns the first instant by which d of open time has passed since
	// from. A from that lies in closed time counts from the next opening. With
	// d of 0 or less it returns from.
	Add(from time.Time, d time.Duration) time.Time

	// Open returns how much open time lies between from and to; 0 when to is
	// not after from.
	Open(from, to time.Time) time.Duration
}

// Policy is what was promised: a first human answer within Target of the
// clock's start. All three durations are open time.
type Policy struct {
	Target  time.Duration // positive
	Warning time.Duration // remaining time, inclusive, from which a conversation is in Warning
	Urgent  time.Duration // remaining time, exclusive, from which it is Urgent; less than Warning

	Calendar Calendar // nil: all time counts

	// Unknown says that the promise has yet to be learnt, so that nothing can be
	// said of its clocks. The rest is then a guess, for what needs a number.
	Unknown bool
}

// Validate reports every rule that p breaks.
func (p Policy) Validate() error {
	var errs []error
	if p.Target <= 0 {
		errs = append(errs, fmt.Errorf("the SLA must be positive, not %v", p.Target))
	}
	if p.Urgent <= 0 {
		errs = append(errs, fmt.Errorf("the urgent threshold must be positive, not %v", p.Urgent))
	}
	if p.Urgent >= p.Warning {
		errs = append(errs, fmt.Errorf("the urgent threshold (%v) must be below the warning threshold (%v)", p.Urgent, p.Warning))
	}
	return errors.Join(errs...)
}

// Deadline returns the instant by which an answer is owed to a clock that
// started at start. The instant itself is still in time. When the promise runs
// out as the doors close, that is the deadline, not the next opening.
func (p Policy) Deadline(start time.Time) time.Time { return p.add(start, p.Target) }

// Remaining returns the open time that a Waiting clock has left at now. Past
// the deadline it is negative and counts all time, because the customer waits
// through the night: it is below 0 exactly when the level is Breach.
func (p Policy) Remaining(k Clock, now time.Time) time.Duration {
	left := k.Deadline.Sub(now)
	if left < 0 || p.Calendar == nil {
		return left
	}
	return p.Calendar.Open(now, k.Deadline)
}

// Paused reports whether the clocks stand still at t.
func (p Policy) Paused(t time.Time) bool {
	return p.Calendar != nil && p.Calendar.Open(t, t.Add(1)) == 0
}

// Level reports how k stands at now. An Unknown or Idle clock is Normal: a
// level above it is a claim, and neither can support one.
func (p Policy) Level(k Clock, now time.Time) Level {
	switch k.State {
	case Waiting:
		remaining := p.Remaining(k, now)
		switch {
		case remaining < 0:
			return Breach
		case remaining < p.Urgent:
			return Urgent
		case remaining <= p.Warning:
			return Warning
		}
	case Answered:
		if k.late() {
			return Breach
		}
	}
	return Normal
}

// add returns the first instant by which d of what counts has passed since t.
func (p Policy) add(t time.Time, d time.Duration) time.Time {
	if p.Calendar == nil {
		return t.Add(d)
	}
	return p.Calendar.Add(t, d)
}

// Promises is what the customers of each inbox were promised.
type Promises struct {
	Default Policy
	ByInbox map[int64]Policy // inboxes with a promise or a calendar of their own; not to be changed
}

// For returns the promise of an inbox.
func (p Promises) For(inbox int64) Policy {
	if own, ok := p.ByInbox[inbox]; ok {
		return own
	}
	return p.Default
}

// Validate reports every rule that a promise breaks.
func (p Promises) Validate() error {
	errs := []error{p.Default.Validate()}
	for _, inbox := range slices.Sorted(maps.Keys(p.ByInbox)) {
		if err := p.ByInbox[inbox].Validate(); err != nil {
			errs = append(errs, fmt.Errorf("inbox %d: %w", inbox, err))
		}
	}
	return errors.Join(errs...)
}
