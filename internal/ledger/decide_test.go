package ledger_test

import (
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

var (
	noon     = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	deadline = noon.Add(30 * time.Minute)
)

// waiting is an observation, at an instant, of a customer who waits since noon.
func waiting(conversation int64, at time.Time) ledger.Observation {
	return ledger.Observation{
		Conversation: conversation, Inbox: 5, Team: "billing", Assignee: "Ana",
		Clock:  sla.Clock{State: sla.Waiting, Start: noon, Deadline: deadline},
		Status: ledger.Open, ObservedAt: at,
	}
}

// answered is an observation of one who was answered.
func answered(conversation int64, at time.Time) ledger.Observation {
	o := waiting(conversation, at.Add(time.Second))
	o.Clock.State, o.Clock.AnsweredAt = sla.Answered, at
	return o
}

// ended is an observation of one that was resolved without an answer.
func ended(conversation int64, at time.Time) ledger.Observation {
	o := waiting(conversation, at.Add(time.Second))
	o.Status, o.EndedAt = ledger.Resolved, at
	return o
}

func with(o ledger.Observation, change func(*ledger.Observation)) ledger.Observation {
	change(&o)
	return o
}

func TestDecide(t *testing.T) {
	const second = time.Second
	gone := func(lastSeen, missed time.Time) ledger.Observation {
		o := waiting(1, lastSeen)
		o.Status, o.EndedAt = ledger.Gone, missed
		return o
	}
	unsettled := func(o ledger.Observation) ledger.Observation { o.Clock.Unsettled = true; return o }
	in := func(status ledger.Status, o ledger.Observation) ledger.Observation { o.Status = status; return o }
	clock := func(k sla.Clock) ledger.Observation { o := waiting(1, deadline.Add(second)); o.Clock = k; return o }

	for _, tt := range []struct {
		name    string
		given   ledger.Observation
		outcome ledger.Outcome
		at      time.Time
		reason  ledger.Reason
	}{
		{"answered at once", answered(1, noon), ledger.Met, noon, ledger.AnsweredInTime},
		{"answered at the deadline", answered(1, deadline), ledger.Met, deadline, ledger.AnsweredInTime},
		{"answered the least bit late", answered(1, deadline.Add(1)), ledger.Breached, deadline, ledger.AnsweredLate},
		{"answered a day late", answered(1, deadline.Add(24*time.Hour)), ledger.Breached, deadline, ledger.AnsweredLate},
		{"answered in time, resolved later", in(ledger.Resolved, answered(1, noon)), ledger.Met, noon, ledger.AnsweredInTime},
		{"answered in time, deleted later", in(ledger.Gone, answered(1, noon)), ledger.Met, noon, ledger.AnsweredInTime},

		{"waiting", waiting(1, noon), "", time.Time{}, ledger.Running},
		{"seen at the deadline", waiting(1, deadline), "", time.Time{}, ledger.Running},
		{"seen beyond the deadline", waiting(1, deadline.Add(1)), ledger.Breached, deadline, ledger.DeadlinePassed},
		{"snoozed at the deadline", in(ledger.Snoozed, waiting(1, deadline.Add(second))), ledger.Breached, deadline, ledger.DeadlinePassed},
		{"back with the bot at the deadline", in(ledger.Pending, waiting(1, deadline.Add(second))), ledger.Breached, deadline, ledger.DeadlinePassed},
		{"snoozed in time", in(ledger.Snoozed, waiting(1, noon)), "", time.Time{}, ledger.Running},

		{"resolved in time", ended(1, noon.Add(second)), ledger.Excluded, noon.Add(second), ledger.EndedEarly},
		{"resolved at the deadline", ended(1, deadline), ledger.Excluded, deadline, ledger.EndedEarly},
		{"resolved after the deadline", ended(1, deadline.Add(1)), ledger.Breached, deadline, ledger.DeadlinePassed},
		{"resolved in time, seen a day later", with(ended(1, noon), func(o *ledger.Observation) { o.ObservedAt = noon.Add(24 * time.Hour) }), ledger.Excluded, noon, ledger.EndedEarly},
		{"resolved, nobody knows when, seen in time", in(ledger.Resolved, waiting(1, noon)), ledger.Excluded, noon, ledger.EndedEarly},

		{"deleted in time", gone(noon, noon.Add(second)), ledger.Excluded, noon.Add(second), ledger.EndedEarly},
		{"deleted after a breach was seen", gone(deadline.Add(second), deadline.Add(time.Hour)), ledger.Breached, deadline, ledger.DeadlinePassed},
		{"last seen in time, missed after the deadline", gone(deadline.Add(-second), deadline.Add(second)), ledger.Excluded, deadline.Add(second), ledger.EndedEarly},

		{"nobody knows yet", clock(sla.Clock{State: sla.Unknown, Unsettled: true}), "", time.Time{}, ledger.Undecided},
		{"the customer has not written", clock(sla.Clock{State: sla.Idle}), "", time.Time{}, ledger.NoClock},
		{"no message of the customer, so far", clock(sla.Clock{State: sla.Idle, Unsettled: true}), "", time.Time{}, ledger.Undecided},
		{"past the deadline by a row that may hide an answer", unsettled(waiting(1, deadline.Add(time.Hour))), "", time.Time{}, ledger.Undecided},
		{"ended by a row that may hide an answer", unsettled(ended(1, noon)), "", time.Time{}, ledger.Undecided},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ledger.Decide(tt.given)
			if got.Outcome != tt.outcome || !got.At.Equal(tt.at) || got.Reason != tt.reason {
				t.Errorf("Decide() = %+v, want %q at %v, because %s", got, tt.outcome, tt.at, tt.reason)
			}
		})
	}
}
