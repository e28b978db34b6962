package sla_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// randomEntries builds entries whose instants are whole minutes around t0, so
// that ties and exact edges are common.
func randomEntries(rng *rand.Rand, n int) []sla.Entry {
	entries := make([]sla.Entry, n)
	for i := range entries {
		c := sla.Conversation{
			CreatedAt:      at(time.Duration(rng.IntN(120)-60) * time.Minute),
			CustomerWrote:  sla.Verdict(rng.IntN(3)),
			CustomerOpened: sla.Verdict(rng.IntN(3)),
		}
		c.WaitingSince = c.CreatedAt
		if rng.IntN(3) == 0 {
			c.WaitingSince = time.Time{}
			c.FirstReplyAt = c.CreatedAt.Add(time.Duration(rng.IntN(60)) * time.Minute)
		}
		entries[i] = sla.Entry{ID: int64(i + 1), Inbox: int64(rng.IntN(4)), Clock: halfHour.Clock(c)}
	}
	return entries
}

// The Board's binary searches are an optimisation: their specification is
// Policy.Level, one conversation at a time.
func TestBoardAgreesWithLevel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		entries := randomEntries(rng, rng.IntN(60))
		now := at(time.Duration(rng.IntN(90)-45)*time.Minute + time.Duration(rng.IntN(3)-1))

		want := map[int64]*sla.Tally{99: {Inbox: 99}}
		var marks sla.Landmarks
		for _, e := range entries {
			w := want[e.Inbox]
			if w == nil {
				w = &sla.Tally{Inbox: e.Inbox}
				want[e.Inbox] = w
			}
			level := halfHour.Level(e.Clock, now)
			w.Open[level]++
			switch e.Clock.State {
			case sla.Unknown:
				w.Unknown++
			case sla.Waiting:
				w.Waiting[level]++
				k := e.Clock
				if marks.OldestWaiting.IsZero() || k.Start.Before(marks.OldestWaiting) {
					marks.OldestWaiting = k.Start
				}
				if k.Deadline.Before(now) && k.Deadline.After(marks.NewestBreach) {
					marks.NewestBreach = k.Deadline
				}
				if !k.Deadline.Before(now) && (marks.NextDeadline.IsZero() || k.Deadline.Before(marks.NextDeadline)) {
					marks.NextDeadline = k.Deadline
				}
			}
		}

		b := sla.NewBoard(halfHour, slices.Clone(entries), []int64{99})
		got := b.Tally(now)
		if len(got) != len(want) {
			t.Fatalf("%d inboxes tallied, want %d", len(got), len(want))
		}
		for _, g := range got {
			if g != *want[g.Inbox] {
				t.Fatalf("inbox %d at %v: %+v, want %+v", g.Inbox, now, g, *want[g.Inbox])
			}
		}
		if got := b.Landmarks(now); got != marks {
			t.Fatalf("landmarks at %v = %+v, want %+v", now, got, marks)
		}
		if b.Len() != len(entries) {
			t.Fatalf("Len = %d, want %d", b.Len(), len(entries))
		}
	}
}

func TestListPutsTheNextDueFirst(t *testing.T) {
	waiting := func(id, inbox int64, start time.Duration) sla.Entry {
		return sla.Entry{ID: id, Inbox: inbox, Clock: sla.Clock{State: sla.Waiting, Start: at(start), Deadline: at(start + halfHour.Target)}}
	}
	b := sla.NewBoard(halfHour, []sla.Entry{
		{ID: 9, Inbox: 1, Clock: sla.Clock{State: sla.Idle}},
		waiting(5, 1, 3*time.Minute), waiting(7, 2, time.Minute), waiting(6, 1, time.Minute),
		{ID: 4, Inbox: 2, Clock: sla.Clock{State: sla.Answered, Deadline: t0, AnsweredAt: at(1)}},
	}, nil)

	var ids []int64
	for _, l := range b.List(at(10*time.Minute), func(sla.Listed) bool { return true }) {
		ids = append(ids, l.ID)
	}
	if want := []int64{6, 7, 5, 4, 9}; !slices.Equal(ids, want) {
		t.Errorf("listed %v, want %v", ids, want)
	}

	breached := b.List(at(10*time.Minute), func(l sla.Listed) bool { return l.Level == sla.Breach })
	if len(breached) != 1 || breached[0].ID != 4 {
		t.Errorf("breached = %+v, want the late answer 4 alone", breached)
	}
}
