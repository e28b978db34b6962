package ledger

import (
	"context"
	"fmt"
	"time"
)

// Window is a length of time that the breach rate is known for.
type Window struct {
	Name   string // value of the "window" label
	Length time.Duration
}

// Windows lists them, shortest first.
var Windows = [...]Window{
	{"1h", time.Hour},
	{"24h", 24 * time.Hour},
	{"7d", 7 * 24 * time.Hour},
	{"30d", 30 * 24 * time.Hour},
}

// WindowNames returns the names of Windows.
func WindowNames() []string {
	names := make([]string, len(Windows))
	for i, w := range Windows {
		names[i] = w.Name
	}
	return names
}

// Summary counts the clocks decided in each window that ends at At. It never
// changes.
type Summary struct {
	At      time.Time
	ByInbox [len(Windows)]map[int64]Tally // inboxes where anything was decided
}

// Total returns the sum over all inboxes in the window with the given index.
func (s *Summary) Total(window int) Tally {
	var sum Tally
	for _, t := range s.ByInbox[window] {
		sum = sum.Plus(t)
	}
	return sum
}

// Summary returns what the last refresh found, and nil before the first.
func (l *Ledger) Summary() *Summary { return l.summary.Load() }

// Refresh counts the windows anew. Run does so every minute, and soon after
// decisions.
func (l *Ledger) Refresh(ctx context.Context) error {
	l.mu.Lock()
	l.decided = false
	l.mu.Unlock()

	s := &Summary{At: l.now()}
	since := make([]time.Time, len(Windows))
	for i, w := range Windows {
		since[i] = s.At.Add(-w.Length)
	}
	tallies, err := l.store.Tallies(ctx, since)
	if err != nil {
		return fmt.Errorf("count the outcomes of the last 30 days: %w", err)
	}
	copy(s.ByInbox[:], tallies)
	l.summary.Store(s)
	return nil
}
