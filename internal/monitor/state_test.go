package monitor

import (
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// A page that was on its way while a poll brought something newer must not
// turn back what the poll said.
func TestOlderRowsAreNotBelieved(t *testing.T) {
	began := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	row := chatwoot.Conversation{
		ID: 7, InboxID: 1, Status: chatwoot.Open, CreatedAt: began, UpdatedAt: began, WaitingSince: began,
		Spoken: &chatwoot.Preview{Kind: chatwoot.Incoming, CreatedAt: began},
	}
	answered := row
	answered.UpdatedAt, answered.FirstReplyAt, answered.WaitingSince = began.Add(time.Minute), began.Add(time.Minute), time.Time{}
	resolved := answered
	resolved.UpdatedAt, resolved.Status = began.Add(2*time.Minute), chatwoot.Resolved
	reopened := resolved
	reopened.UpdatedAt, reopened.Status = began.Add(3*time.Minute), chatwoot.Open

	s := newState(sla.Promises{Default: sla.Policy{Target: 30 * time.Minute, Warning: 15 * time.Minute, Urgent: 5 * time.Minute}})
	s.closed = map[int64]time.Time{} // as while a sweep runs
	steps := []struct {
		name  string
		row   chatwoot.Conversation
		moved bool
		open  bool
		state sla.State
	}{
		{"new", row, true, true, sla.Waiting},
		{"answered", answered, false, true, sla.Answered},
		{"an older row", row, false, true, sla.Answered},
		{"resolved", resolved, true, false, 0},
		{"an older row that was open", answered, false, false, 0},
		{"reopened", reopened, true, true, sla.Answered},
	}
	for _, step := range steps {
		if moved := s.apply(step.row, time.Time{}); moved != step.moved {
			t.Errorf("%s: moved %v, want %v", step.name, moved, step.moved)
		}
		rec := s.open[7]
		if (rec != nil) != step.open {
			t.Fatalf("%s: open %v, want %v", step.name, rec != nil, step.open)
		}
		if rec != nil {
			if got := s.promises.Default.Clock(rec.facts()).State; got != step.state {
				t.Errorf("%s: %v, want %v", step.name, got, step.state)
			}
		}
	}
}
