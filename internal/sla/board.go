package sla

import (
	"cmp"
	"iter"
	"slices"
	"sort"
	"time"
)

// Entry is one open conversation on a Board.
type Entry struct {
	ID       int64 // Chatwoot's display id
	Inbox    int64
	Clock    Clock
	Contact  string // the customer's name; may be empty
	Assignee string // the agent's name; empty when unassigned
}

// Counts is a number of conversations per Level.
type Counts [len(Levels)]int

// Tally counts the open conversations of one inbox at an instant.
type Tally struct {
	Inbox   int64
	Open    Counts // every open conversation, answered or not
	Waiting Counts // those that nobody has answered
	Unknown int    // those whose clock is Unknown; Open has them as Normal
}

// Board is an immutable picture of all open conversations. It keeps the
// deadlines of each inbox in order, so that the count per level at any instant
// is a few binary searches however many conversations are open.
// A Board is safe for concurrent use.
type Board struct {
	inboxes []inbox
	size    int
}

// inbox holds one inbox's entries: those waiting, soonest deadline first, then
// those answered late, then the rest.
type inbox struct {
	id      int64
	policy  Policy
	entries []packedEntry
	waiting int
	late    int
	unknown int
	oldest  time.Time // the first start among the waiting; zero: nobody waits
}

// packedEntry is an Entry in less than two thirds of the space.
type packedEntry struct {
	id, inbox                   int64
	start, deadline, answeredAt Instant
	contact, assignee           string
	state                       State
	unsettled                   bool
	rank                        uint8
}

func packEntry(e Entry) packedEntry {
	return packedEntry{
		id: e.ID, inbox: e.Inbox, contact: e.Contact, assignee: e.Assignee, state: e.Clock.State, unsettled: e.Clock.Unsettled, rank: e.Clock.rank(),
		start: At(e.Clock.Start), deadline: At(e.Clock.Deadline), answeredAt: At(e.Clock.AnsweredAt),
	}
}

func (e packedEntry) entry() Entry {
	return Entry{
		ID: e.id, Inbox: e.inbox, Contact: e.contact, Assignee: e.assignee,
		Clock: Clock{State: e.state, Unsettled: e.unsettled, Start: e.start.Time(), Deadline: e.deadline.Time(), AnsweredAt: e.answeredAt.Time()},
	}
}

// NewBoard returns the Board of the given open conversations, about size of
// them, whose deadlines p made. Inboxes without an open conversation are listed
// when known names them.
func NewBoard(p Promises, size int, of iter.Seq[Entry], known []int64) *Board {
	entries := make([]packedEntry, 0, size)
	for e := range of {
		entries = append(entries, packEntry(e))
	}
	slices.SortFunc(entries, func(a, b packedEntry) int {
		return cmp.Or(
			cmp.Compare(a.inbox, b.inbox),
			cmp.Compare(a.rank, b.rank),
			cmp.Compare(a.deadline, b.deadline),
			cmp.Compare(a.id, b.id),
		)
	})
	b := &Board{size: len(entries)}
	for len(entries) > 0 {
		id := entries[0].inbox
		in := inbox{id: id, policy: p.For(id)}
		n := 0
		for n < len(entries) && entries[n].inbox == in.id {
			e := entries[n]
			switch e.rank {
			case rankWaiting:
				in.waiting++
				// Not that of the first deadline: whoever wrote while the
				// inbox was closed shares one with those who wrote later.
				if start := e.start.Time(); in.oldest.IsZero() || start.Before(in.oldest) {
					in.oldest = start
				}
			case rankLate:
				in.late++
			}
			if e.state == Unknown {
				in.unknown++
			}
			n++
		}
		in.entries = entries[:n:n]
		entries = entries[n:]
		b.inboxes = append(b.inboxes, in)
	}
	for _, id := range known {
		i, found := slices.BinarySearchFunc(b.inboxes, id, func(in inbox, id int64) int { return cmp.Compare(in.id, id) })
		if !found {
			b.inboxes = slices.Insert(b.inboxes, i, inbox{id: id, policy: p.For(id)})
		}
	}
	return b
}

const (
	rankWaiting = iota
	rankLate
	rankRest
)

// rank orders entries by what time can still do to their level: it moves those
// waiting, and leaves the others where they are.
func (k Clock) rank() uint8 {
	switch {
	case k.State == Waiting:
		return rankWaiting
	case k.late():
		return rankLate
	}
	return rankRest
}

// Len returns the number of open conversations.
func (b *Board) Len() int { return b.size }

// Tally counts conversations per level at now, one Tally per inbox in the
// order of their ids.
func (b *Board) Tally(now time.Time) []Tally {
	out := make([]Tally, len(b.inboxes))
	for i, in := range b.inboxes {
		// A deadline leaves less than d of open time exactly when it lies
		// before the first instant that leaves d.
		breached := in.dueBefore(now)
		urgent := in.dueBefore(in.policy.add(now, in.policy.Urgent))
		warned := in.dueBefore(in.policy.add(now, in.policy.Warning+1)) // the warning threshold is inclusive
		t := Tally{Inbox: in.id, Unknown: in.unknown}
		t.Waiting = Counts{
			Breach:  breached,
			Urgent:  urgent - breached,
			Warning: warned - urgent,
			Normal:  in.waiting - warned,
		}
		t.Open = t.Waiting
		t.Open[Breach] += in.late
		t.Open[Normal] += len(in.entries) - in.waiting - in.late
		out[i] = t
	}
	return out
}

// dueBefore returns how many of the waiting have a deadline before t.
func (in inbox) dueBefore(t time.Time) int {
	return sort.Search(in.waiting, func(i int) bool { return !in.entries[i].deadline.Time().Before(t) })
}

// Landmarks are the instants that say how the waiting stand. A zero instant
// means that there is nothing to point at.
type Landmarks struct {
	OldestWaiting time.Time // clock start of whoever has waited longest
	NextDeadline  time.Time // the first deadline that has not passed
	NewestBreach  time.Time // the last deadline that has, of those still unanswered
}

// Landmarks returns the Board's landmarks at now.
func (b *Board) Landmarks(now time.Time) Landmarks {
	l := Landmarks{NextDeadline: b.DeadlineAfter(now.Add(-1))}
	for _, in := range b.inboxes {
		if in.waiting == 0 {
			continue
		}
		if l.OldestWaiting.IsZero() || in.oldest.Before(l.OldestWaiting) {
			l.OldestWaiting = in.oldest
		}
		if passed := in.dueBefore(now); passed > 0 {
			l.NewestBreach = latest(l.NewestBreach, in.entries[passed-1].deadline.Time())
		}
	}
	return l
}

// DeadlineAfter returns the first deadline of a waiting conversation that lies
// after t, or a zero time.
func (b *Board) DeadlineAfter(t time.Time) time.Time {
	var first time.Time
	for _, in := range b.inboxes {
		if i := in.dueBefore(t.Add(1)); i < in.waiting {
			if d := in.entries[i].deadline.Time(); first.IsZero() || d.Before(first) {
				first = d
			}
		}
	}
	return first
}

// Due calls each for the waiting conversations whose deadline lies after from
// and not after to.
func (b *Board) Due(from, to time.Time, each func(Entry)) {
	for _, in := range b.inboxes {
		for _, e := range in.entries[in.dueBefore(from.Add(1)):in.dueBefore(to.Add(1))] {
			each(e.entry())
		}
	}
}

// Listed is an Entry with its Level at the instant it was listed for.
type Listed struct {
	Entry
	Level Level
}

// List returns the conversations that keep accepts at now: those waiting
// first, in the order in which their answers are due, then the others by id.
func (b *Board) List(now time.Time, keep func(Listed) bool) []Listed {
	var out []Listed
	for _, in := range b.inboxes {
		for _, e := range in.entries {
			e := e.entry()
			if l := (Listed{e, in.policy.Level(e.Clock, now)}); keep(l) {
				out = append(out, l)
			}
		}
	}
	slices.SortFunc(out, func(x, y Listed) int {
		wx, wy := x.Clock.State == Waiting, y.Clock.State == Waiting
		switch {
		case wx && wy:
			return cmp.Or(x.Clock.Deadline.Compare(y.Clock.Deadline), cmp.Compare(x.ID, y.ID))
		case wx:
			return -1
		case wy:
			return 1
		}
		return cmp.Compare(x.ID, y.ID)
	})
	return out
}
