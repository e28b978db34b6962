package sla_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/calendar"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// promises has an inbox of every kind: the default's, with a target of its own,
// with hours and pauses, and with hours that begin and end within the time that
// these tests look at.
func promises(t *testing.T) sla.Promises {
	t.Helper()
	hours := func(text string) *calendar.Calendar {
		c, err := calendar.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	pause := func(t time.Time) (from, to time.Time, ok bool) {
		return at(-20 * time.Minute), at(10 * time.Minute), at(10 * time.Minute).After(t)
	}
	quick, office, choppy := halfHour, halfHour, halfHour
	quick.Target = 10 * time.Minute
	office.Calendar = hours("Mon-Fri 08:30-17:00 UTC").Without(pause)
	choppy.Calendar = hours("Mon 08:10-08:40,08:50-09:05,09:06-09:10,09:25-09:30; Tue 00:00-24:00 UTC")
	return sla.Promises{Default: halfHour, ByInbox: map[int64]sla.Policy{1: quick, 2: office, 3: choppy}}
}

// randomEntries builds entries whose instants are whole minutes around t0, so
// that ties and exact edges are common.
func randomEntries(rng *rand.Rand, p sla.Promises, n int) []sla.Entry {
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
		inbox := int64(rng.IntN(4))
		entries[i] = sla.Entry{ID: int64(i + 1), Inbox: inbox, Clock: p.For(inbox).Clock(c)}
	}
	return entries
}

// The Board's binary searches are an optimisation: their specification is
// Policy.Level, one conversation at a time.
func TestBoardAgreesWithLevel(t *testing.T) {
	p := promises(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		entries := randomEntries(rng, p, rng.IntN(60))
		now := at(time.Duration(rng.IntN(150)-45)*time.Minute + time.Duration(rng.IntN(3)-1))

		want := map[int64]*sla.Tally{99: {Inbox: 99}}
		var marks sla.Landmarks
		for _, e := range entries {
			w := want[e.Inbox]
			if w == nil {
				w = &sla.Tally{Inbox: e.Inbox}
				want[e.Inbox] = w
			}
			level := p.For(e.Inbox).Level(e.Clock, now)
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

		b := sla.NewBoard(p, 0, slices.Values(entries), []int64{99})
		got := b.Tally(now)
		if len(got) != len(want) {
			t.Fatalf("%d inboxes tallied, want %d", len(got), len(want))
		}
		for _, g := range got {
			if g != *want[g.Inbox] {
				t.Fatalf("inbox %d at %v: %+v, want %+v", g.Inbox, now, g, *want[g.Inbox])
			}
		}
		for _, l := range b.List(now, func(sla.Listed) bool { return true }) {
			if level := p.For(l.Inbox).Level(l.Clock, now); l.Level != level {
				t.Fatalf("conversation %d at %v is listed as %v, want %v", l.ID, now, l.Level, level)
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

// Two who wrote on the weekend are owed an answer by the same instant; the one
// who wrote first has waited longest, whatever the ids.
func TestTheOldestIsNotAlwaysTheFirstDue(t *testing.T) {
	p := sla.Promises{Default: officeHours(t)}
	k := func(start time.Duration) sla.Clock {
		return sla.Clock{State: sla.Waiting, Start: at(start), Deadline: p.Default.Deadline(at(start))}
	}
	b := sla.NewBoard(p, 0, slices.Values([]sla.Entry{{ID: 1, Clock: k(-10 * time.Hour)}, {ID: 2, Clock: k(-20 * time.Hour)}}), nil)
	want := sla.Landmarks{OldestWaiting: at(-20 * time.Hour), NextDeadline: at(30 * time.Minute)}
	if got := b.Landmarks(t0); got != want {
		t.Errorf("landmarks = %+v, want %+v", got, want)
	}
}

func TestListPutsTheNextDueFirst(t *testing.T) {
	waiting := func(id, inbox int64, start time.Duration) sla.Entry {
		return sla.Entry{ID: id, Inbox: inbox, Clock: sla.Clock{State: sla.Waiting, Start: at(start), Deadline: at(start + halfHour.Target)}}
	}
	b := sla.NewBoard(sla.Promises{Default: halfHour}, 0, slices.Values([]sla.Entry{
		{ID: 9, Inbox: 1, Clock: sla.Clock{State: sla.Idle}},
		waiting(5, 1, 3*time.Minute), waiting(7, 2, time.Minute), waiting(6, 1, time.Minute),
		{ID: 4, Inbox: 2, Clock: sla.Clock{State: sla.Answered, Deadline: t0, AnsweredAt: at(time.Microsecond)}},
	}), nil)

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
