// Package ledgertest says what a ledger must hold about a simulated Chatwoot:
// what the rules make of all that really happened there, which no API shows.
package ledgertest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
)

// tolerance is how far apart two ideas of an instant may be: Chatwoot tells
// most of them in whole seconds.
const tolerance = 2 * time.Second

// Verdict is how a conversation's first clock ended.
type Verdict struct {
	Outcome ledger.Outcome
	At      time.Time // when it was decided
}

// Verdicts is what a ledger must hold.
type Verdicts struct {
	upTo   time.Time
	want   map[int64]Verdict
	unsure map[int64]bool // nobody can tell from the API
}

// Judge returns what the rules say of what happened up to an instant, with one
// promise for all inboxes. Left open are conversations of which the API does
// not tell enough: those deleted, those that a bot had while nobody watched,
// and those resolved within the very second of their deadline.
func Judge(truth []chatwootsim.Truth, promise time.Duration, upTo time.Time, watched func(time.Time) bool) Verdicts {
	v := Verdicts{upTo: upTo, want: map[int64]Verdict{}, unsure: map[int64]bool{}}
	for _, tr := range truth {
		begin := tr.CreatedAt.Truncate(time.Second)
		switch {
		case tr.CustomerAt.IsZero():
			continue
		case !tr.DeletedAt.IsZero(), tr.BornPending && !watched(cmp.Or(tr.HandoffAt, tr.FirstResolvedAt)):
			v.unsure[tr.ID] = true
			continue
		case tr.BornPending && tr.HandoffAt.IsZero():
			continue
		}
		if tr.CustomerAt.Sub(tr.CreatedAt) > 10*time.Second {
			begin = tr.CustomerAt
		}
		if tr.HandoffAt.After(begin) {
			begin = tr.HandoffAt
		}
		deadline := begin.Add(promise)
		reply := tr.ReplyAt.Truncate(time.Second)
		end := tr.FirstResolvedAt
		unanswered := !end.IsZero() && (tr.ReplyAt.IsZero() || tr.ReplyAt.After(end))
		var found Verdict
		switch {
		case unanswered && end.Truncate(time.Second).Equal(deadline.Truncate(time.Second)):
			v.unsure[tr.ID] = true
			continue
		case unanswered && !end.After(deadline):
			found = Verdict{ledger.Excluded, end}
		case !tr.ReplyAt.IsZero() && !reply.After(deadline):
			found = Verdict{ledger.Met, reply}
		default:
			found = Verdict{ledger.Breached, deadline}
		}
		if !found.At.After(upTo) {
			v.want[tr.ID] = found
		}
	}
	return v
}

// Len returns how many outcomes there must be that were decided from since on.
func (v Verdicts) Len(since time.Time) (n int) {
	for _, w := range v.want {
		if !w.At.Before(since) {
			n++
		}
	}
	return n
}

// Count returns how many of them are o.
func (v Verdicts) Count(o ledger.Outcome) (n int) {
	for _, w := range v.want {
		if w.Outcome == o {
			n++
		}
	}
	return n
}

// Differences returns what is missing or wrong in got among the outcomes that
// were decided from since on, and what is there and must not be, one line each.
func (v Verdicts) Differences(got map[int64]Verdict, since time.Time) []string {
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(v.want)) {
		w, g := v.want[id], got[id]
		switch {
		case w.At.Before(since):
		case g.Outcome == "":
			lines = append(lines, fmt.Sprintf("conversation %d is missing: %s at %v", id, w.Outcome, w.At))
		case g.Outcome != w.Outcome || g.At.Sub(w.At).Abs() > tolerance:
			lines = append(lines, fmt.Sprintf("conversation %d: %s at %v, want %s at %v", id, g.Outcome, g.At, w.Outcome, w.At))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(got)) {
		g := got[id]
		if _, wanted := v.want[id]; !wanted && !v.unsure[id] && !g.At.After(v.upTo.Add(-tolerance)) {
			lines = append(lines, fmt.Sprintf("conversation %d: %s at %v, and it has no outcome", id, g.Outcome, g.At))
		}
	}
	return lines
}
