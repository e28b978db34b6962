package ledger

import (
	"time"

	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// Status is where a conversation stands in Chatwoot.
type Status string

const (
	Open     Status = "open"
	Pending  Status = "pending"
	Snoozed  Status = "snoozed"
	Resolved Status = "resolved"
	Gone     Status = "gone" // Chatwoot no longer knows it
)

// Observation is what was seen of one conversation. All instants are
// Chatwoot's.
type Observation struct {
	Conversation int64
	Inbox        int64
	Team         string
	Assignee     string

	// Clock must not be Unsettled once the messages have been read as the row
	// stood when it was observed: nothing is decided while it is.
	Clock sla.Clock

	Status Status

	// EndedAt is when the conversation was resolved, or missed for the first
	// time. Zero when it is Resolved or Gone: no later than ObservedAt.
	EndedAt time.Time

	// ObservedAt is when the rest was true, rather too early than too late: a
	// breach is believed only from beyond the deadline. For a conversation
	// that is Gone it is when it was last seen.
	ObservedAt time.Time

	Backfill bool // from before this process watched: kept, but not counted as live
}

// ended returns when the conversation ended, if it has.
func (o Observation) ended() (at time.Time, ok bool) {
	if o.Status != Resolved && o.Status != Gone {
		return time.Time{}, false
	}
	if o.EndedAt.IsZero() {
		return o.ObservedAt, true
	}
	return o.EndedAt, true
}

// Reason says why Decide decided as it did.
type Reason string

const (
	AnsweredInTime Reason = "answered_in_time"
	AnsweredLate   Reason = "answered_late"
	DeadlinePassed Reason = "deadline_passed"
	EndedEarly     Reason = "ended_early" // without an answer, while there was time or nobody looked
	Running        Reason = "running"
	NoClock        Reason = "no_clock"
	Undecided      Reason = "undecided" // the messages must be read first
)

// Decision is what an Observation says about a clock's outcome.
type Decision struct {
	Outcome Outcome // empty: none yet
	At      time.Time
	Reason  Reason
}

// Decide judges a clock by one observation of it, whatever was seen before.
func Decide(o Observation) Decision {
	k := o.Clock
	switch {
	case k.Unsettled || k.State == sla.Unknown:
		return Decision{Reason: Undecided}
	case k.State == sla.Idle:
		return Decision{Reason: NoClock}
	case k.State == sla.Answered && k.AnsweredAt.After(k.Deadline):
		return Decision{Breached, k.Deadline, AnsweredLate}
	case k.State == sla.Answered:
		return Decision{Met, k.AnsweredAt, AnsweredInTime}
	}
	end, ended := o.ended()
	switch {
	case ended && !end.After(k.Deadline):
		return Decision{Excluded, end, EndedEarly}
	case o.ObservedAt.After(k.Deadline):
		return Decision{Breached, k.Deadline, DeadlinePassed}
	case ended:
		// It was last seen in time and is gone now: it may have been answered
		// in between, and there is nobody left to ask.
		return Decision{Excluded, end, EndedEarly}
	}
	return Decision{Reason: Running}
}

// step is what an observation does to a conversation's newest row.
type step uint8

const (
	keep   step = iota // nothing
	put                // write a row that is new, or still runs
	fill               // add the late answer, or the end, to a row that is decided
	remove             // delete a row that still runs: there is no clock
)

// follow returns what o makes of a conversation whose newest row is prev; its
// Round is 0 when there is none.
func follow(prev Entry, o Observation) (Entry, step) {
	d := Decide(o)
	if d.Reason == Undecided || prev.follows(o) {
		return prev, keep
	}
	clock := d.Reason != NoClock
	came := clock && prev.cameBack(o.Clock.Start)
	if prev.Outcome != "" && !came {
		return prev.filled(o)
	}

	runs := prev.Round > 0 && prev.Outcome == ""
	round := max(1, prev.Round)
	switch {
	case came:
		round++
	case runs && d.Outcome == "" && o.ObservedAt.Before(prev.ObservedAt):
		return prev, keep // another replica has seen more
	case runs && prev.Round > 1 && clock && o.Clock.Start.Before(prev.Start):
		// To Chatwoot, and so to the clock, a first response happens once: when
		// the answer comes, the clock shows the start of the first round.
		o.Clock.Start, o.Clock.Deadline = prev.Start, prev.Deadline
		clock = o.Clock.State != sla.Answered || !o.Clock.AnsweredAt.Before(prev.Start)
		d = Decide(o)
	}
	switch {
	case !clock && runs:
		return prev, remove
	case !clock:
		return prev, keep
	}

	e := Entry{
		Conversation: o.Conversation, Round: round,
		Inbox: o.Inbox, Team: o.Team, Assignee: o.Assignee,
		Start: o.Clock.Start, Deadline: o.Clock.Deadline, FirstResponseAt: o.Clock.AnsweredAt,
		Outcome: d.Outcome, DecidedAt: d.At, ObservedAt: o.ObservedAt,
	}
	if e.FirstResponseAt.IsZero() {
		e.EndedAt, _ = o.ended()
	}
	if e.same(prev) {
		return prev, keep
	}
	return e, put
}

// follows reports whether o is of a time before e began, as a replica that lags
// behind sees it, or whoever reads the messages again.
func (e Entry) follows(o Observation) bool {
	if e.Round < 2 && e.Outcome == "" {
		return false
	}
	end, ended := o.ended()
	return o.ObservedAt.Before(e.Start) && e.Round > 1 || ended && end.Before(e.Start)
}

// cameBack reports whether a clock that starts at start is another one than
// e's, which ended without an answer before.
func (e Entry) cameBack(start time.Time) bool {
	return e.Outcome != "" && e.FirstResponseAt.IsZero() && !e.EndedAt.IsZero() && start.After(e.EndedAt)
}

// filled returns e, which is decided, with what only o knows.
func (e Entry) filled(o Observation) (Entry, step) {
	if !e.FirstResponseAt.IsZero() || o.Clock.State == sla.Idle {
		return e, keep
	}
	did := keep
	// After an end in time nothing was owed any more. After a later one the
	// answer may be to a customer who came back.
	answer := o.Clock.AnsweredAt
	if e.Outcome == Breached && answer.After(e.Start) && (e.EndedAt.IsZero() || !answer.After(e.EndedAt)) {
		e.FirstResponseAt, did = answer, fill
	} else if end, ended := o.ended(); ended && e.EndedAt.IsZero() {
		e.EndedAt, did = end, fill
	}
	return e, did
}
