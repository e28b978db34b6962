package report

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
)

// group is what became of some clocks.
type group struct {
	ledger.Tally
	answers []uint32 // seconds to the first answer, late ones included; ascending once sorted
}

func (g *group) add(d decided) {
	g.Count(d.Outcome, 1)
	if d.answered {
		g.answers = append(g.answers, uint32(min(d.took/time.Second, math.MaxUint32))) //nolint:gosec // took is never negative
	}
}

func (g *group) sort() { slices.Sort(g.answers) }

func (g *group) decided() int { return g.Met + g.Breached }

// quantile returns the shortest time within which that many percent of the
// answers came: one that was measured, not one in between. ok is false over
// none.
func (g *group) quantile(percent int) (d time.Duration, ok bool) {
	n := len(g.answers)
	if n == 0 {
		return 0, false
	}
	i := (n*percent+99)/100 - 1 // rounded up, and counted from 0
	return time.Duration(g.answers[i]) * time.Second, true
}

// decided is a clock with an outcome, and how long its first answer took if
// there is one.
type decided struct {
	ledger.Entry
	took     time.Duration
	answered bool
}

func (f *facts) decided(e ledger.Entry) decided {
	d := decided{Entry: e, answered: !e.FirstResponseAt.IsZero()}
	if d.answered {
		d.took = f.counted(e.Inbox, e.Start, e.FirstResponseAt)
	}
	return d
}

// counted returns how much of [from, to] counts.
func (f *facts) counted(inbox int64, from, to time.Time) time.Duration {
	if f.Open == nil {
		return max(to.Sub(from), 0)
	}
	return f.Open(inbox, from, to)
}

func (n *Probes) add(m Probes) {
	n.Success += m.Success
	n.Failure += m.Failure
	n.Maintenance += m.Maintenance
}

func (n Probes) successRate() float64 {
	if n.Success+n.Failure == 0 {
		return math.NaN()
	}
	return float64(n.Success) / float64(n.Success+n.Failure)
}

// worstFirst returns the keys of groups by how many breached, then by their
// share, then by volume.
func worstFirst[K cmp.Ordered](groups map[K]*group) []K {
	return slices.SortedFunc(maps.Keys(groups), func(a, b K) int {
		g, h := groups[a], groups[b]
		return cmp.Or(
			cmp.Compare(h.Breached, g.Breached),
			cmp.Compare(h.BreachRatio(), g.BreachRatio()), // NaN comes last
			cmp.Compare(h.decided(), g.decided()),
			cmp.Compare(a, b),
		)
	})
}

// change is how a group did in both periods.
type change[K cmp.Ordered] struct {
	key         K
	now, before *group
	more        float64 // breaches above what the rate before would have made
}

// gotWorst returns the group that got worse most: the one with the most
// breaches above what its own rate before would have made. So a busy inbox
// weighs more than one where one of two was late. Groups with fewer than a
// handful of decided conversations in either period have no rate to speak of.
// ok is false when none has a whole breach more.
func gotWorst[K cmp.Ordered](now, before map[K]*group) (worst change[K], ok bool) {
	for _, key := range slices.Sorted(maps.Keys(now)) {
		g, h := now[key], before[key]
		if h == nil || min(g.decided(), h.decided()) < handful {
			continue
		}
		more := float64(g.Breached) - h.BreachRatio()*float64(g.decided())
		if more >= 1 && more > worst.more {
			worst, ok = change[K]{key, g, h, more}, true
		}
	}
	return worst, ok
}

const handful = 5

// distribution counts answers by how long they took.
type distribution struct {
	edges   []time.Duration // upper bounds, part of their bin
	inTime  []int           // one more than edges: the last has no bound
	late    []int
	answers int
}

// newDistribution has the promise among its edges.
func newDistribution(promise time.Duration) distribution {
	const minute, hour = time.Minute, time.Hour
	edges := []time.Duration{
		minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute,
		hour, 2 * hour, 4 * hour, 8 * hour, 24 * hour, promise,
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	return distribution{edges: edges, inTime: make([]int, len(edges)+1), late: make([]int, len(edges)+1)}
}

func (d *distribution) add(c decided) {
	if !c.answered {
		return
	}
	d.answers++
	i, _ := slices.BinarySearch(d.edges, c.took)
	if c.Outcome == ledger.Met {
		d.inTime[i]++
	} else {
		d.late[i]++
	}
}

// worstList keeps the conversations that went furthest over their deadline.
type worstList struct {
	kept  []overdue
	total int // of all that breached
}

// overdue is a clock that breached.
type overdue struct {
	ledger.Entry
	over time.Duration
	fate string
}

// What became of a clock that breached.
const (
	answeredLate = "answered_late"
	unanswered   = "unanswered"
	endedWithout = "ended_unanswered"
)

// overdue says how far a clock that breached went over its deadline.
func (f *facts) overdue(e ledger.Entry) overdue {
	o := overdue{Entry: e, fate: unanswered}
	end := f.AsOf
	switch {
	case !e.FirstResponseAt.IsZero():
		end, o.fate = e.FirstResponseAt, answeredLate
	case !e.EndedAt.IsZero():
		end, o.fate = e.EndedAt, endedWithout
	}
	o.over = f.counted(e.Inbox, e.Deadline, end)
	return o
}

func (l *worstList) add(o overdue) {
	l.total++
	l.kept = append(l.kept, o)
	if len(l.kept) == 16*worstKept { // now and then, so that it stays short and cheap
		l.sort()
	}
}

func (l *worstList) sort() {
	slices.SortFunc(l.kept, func(a, b overdue) int {
		return cmp.Or(
			cmp.Compare(b.over, a.over),
			cmp.Compare(a.Conversation, b.Conversation),
			cmp.Compare(a.Round, b.Round),
		)
	})
	l.kept = slices.Delete(l.kept, min(len(l.kept), worstKept), len(l.kept))
}
