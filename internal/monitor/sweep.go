package monitor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

// pagesAtOnce is how many pages a sweep has in flight. More would be felt by
// the agents who work on the same server.
const pagesAtOnce = 4

// sweepPlan says what a sweep reads.
type sweepPlan struct {
	reason    string
	backwards bool // from the last page to the first
	repair    bool // another pass of the sweep before

	catchUp chatwoot.Status // then also what was last active after from, under this status
	from    time.Time       // by Chatwoot's clock
}

// batch is a part of what a sweep has read, or what it failed with.
type batch struct {
	rows []chatwoot.Conversation
	seen time.Time // Chatwoot's time of the question, rather too early
	err  error
}

// sweepDue says whether everything must be read again, and why.
func (m *Monitor) sweepDue() (sweepPlan, bool) {
	now := m.now()
	if m.synced && m.deltas && now.Sub(m.since) > longGap {
		m.gap("no poll has succeeded for a while")
	}
	p := sweepPlan{reason: m.resweep}
	switch {
	case !m.synced:
		p.reason, p.catchUp, p.from = "start", chatwoot.Pending, m.ServerNow().Add(-longestReach)
		if m.on {
			p.catchUp, p.from = chatwoot.AnyStatus, m.catchUpFrom
		}
	case m.resweep != "":
		if !m.gapFrom.IsZero() {
			p.catchUp, p.from = chatwoot.AnyStatus, m.gapFrom
			if reach := m.ServerNow().Add(-longestReach); !m.on && p.from.Before(reach) {
				p.from = reach
			}
		}
	case !m.deltas:
		p.reason = "the server ignores updated_within"
	case now.Sub(m.sweptAt) >= m.recon:
		p.reason = "interval"
	default:
		return sweepPlan{}, false
	}
	return p, true
}

// beginSweep prepares the state for the rows of a sweep.
func (m *Monitor) beginSweep(p sweepPlan) {
	m.sweepErr = nil
	if p.repair {
		return
	}
	m.sweepStarted = m.now()
	m.generation++
	m.passes = 0
	m.closed = map[int64]time.Time{}
	if p.catchUp != "" {
		m.since = m.sweepStarted // what came before, the sweep itself brings
	}
}

func (m *Monitor) applyBatch(b batch) {
	if b.err != nil {
		m.sweepErr = b.err
	}
	for _, c := range b.rows {
		m.apply(c, b.seen)
	}
}

// endSweep takes stock when a sweep has ended, and returns another pass if
// rows are still lacking: those that moved between pages while we read.
func (m *Monitor) endSweep(ctx context.Context) (again sweepPlan, ok bool) {
	m.metrics.observe(kindFull, m.sweepErr, m.now().Sub(m.sweepStarted))
	if m.sweepErr != nil {
		m.closed = nil
		m.failed(ctx, "read all open conversations", m.sweepErr)
		return sweepPlan{}, false
	}
	m.passes++

	upTo := m.sweepStarted
	if m.deltas {
		// The poll brings what changed while we read, and Chatwoot's count.
		started := m.now()
		switch polled := m.pollOnce(ctx); {
		case polled && m.difference < 0 && m.passes < repairPasses:
			return sweepPlan{
				reason:    fmt.Sprintf("%d open conversations moved between pages", -m.difference),
				repair:    true,
				backwards: m.passes%2 == 1,
			}, true
		case polled:
			upTo = started
		case m.deltas: // otherwise the server just turned out not to know them
			m.closed = nil
			return sweepPlan{}, false
		}
	}

	if !m.synced {
		m.log.Info("all open conversations are known",
			zap.Int("open", len(m.open)), zap.Duration("took", m.now().Sub(m.sweepStarted)))
	}
	m.synced = true
	m.sweptAt = m.now()
	m.resweep, m.gapFrom, m.closed = "", time.Time{}, nil
	// A difference may have come up while we read; one that a second sweep
	// leaves as it is will stay.
	if m.accepted = 0; m.difference == m.unrepaired {
		m.accepted = m.difference
	}
	m.unrepaired, m.mismatches = m.difference, 0
	m.forgetHandoffs()
	if !m.deltas {
		m.since = m.sweepStarted
	}
	if m.account == nil || m.inboxes == nil || m.now().Sub(m.inboxesTriedAt) >= m.recon {
		if err := m.readAccess(ctx); err != nil {
			m.log.Warn("role, inbox names and hours are unknown for now", zap.Error(err))
		}
	}
	m.askForMissing()
	m.plan()
	m.succeeded(upTo)
	return sweepPlan{}, false
}

// sweep reads what p says and sends it, in parts, to the returned channel,
// which it closes. It touches none of the state.
func (m *Monitor) sweep(ctx context.Context, wg *sync.WaitGroup, p sweepPlan) <-chan batch {
	out := make(chan batch, pagesAtOnce) // taken in while the next are read
	send := func(b batch) error {
		select {
		case out <- b:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	wg.Go(func() {
		defer close(out)
		err := m.readOpen(ctx, p.backwards, send)
		if err == nil && p.catchUp != "" {
			err = m.readActive(ctx, p.catchUp, p.from, send)
		}
		if err != nil {
			_ = send(batch{err: err}) // fails only when nobody listens any more
		}
	})
	return out
}

// readOpen sends all pages of open conversations. A conversation that leaves
// moves the later ones to earlier pages, so that one of them can slip from a
// page not yet read to one already read: each group of pages begins with the
// last page of the group before. Reading backwards, it would be seen twice.
func (m *Monitor) readOpen(ctx context.Context, backwards bool, send func(batch) error) error {
	q := chatwoot.Query{Status: chatwoot.Open, Sort: chatwoot.OldestFirst, Page: 1}
	seen := m.certainNow()
	first, err := m.client.For(chatwoot.Sync).Conversations(ctx, q)
	if err != nil {
		return err
	}
	if err := send(batch{rows: first.Conversations, seen: seen}); err != nil || len(first.Conversations) == 0 {
		return err
	}
	// The page size is the server's secret; the last page may be guessed one
	// too far, never too near, and only an empty page ends the list.
	last := (first.AllCount+len(first.Conversations)-1)/len(first.Conversations) + 1
	if backwards {
		for from := last; from > 1; from -= pagesAtOnce - 1 {
			if _, err := m.readPages(ctx, q, max(1, from-pagesAtOnce+1), from, send); err != nil {
				return err
			}
		}
		return nil
	}
	for from := 1; ; from += pagesAtOnce - 1 {
		to := from + pagesAtOnce - 1
		if from < last {
			to = min(to, last)
		}
		more, err := m.readPages(ctx, q, from, to, send)
		if err != nil || !more {
			return err
		}
	}
}

// readPages reads a range of pages side by side, both ends included, and sends
// them. It reports whether the last of them held anything.
func (m *Monitor) readPages(ctx context.Context, q chatwoot.Query, from, to int, send func(batch) error) (more bool, err error) {
	seen := m.certainNow()
	pages := make([]chatwoot.Page, to-from+1)
	g, gctx := errgroup.WithContext(ctx)
	for i := range pages {
		g.Go(func() (err error) {
			q := q
			q.Page = from + i
			pages[i], err = m.readPage(gctx, q)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return false, err
	}
	for _, p := range pages {
		if len(p.Conversations) == 0 {
			return false, nil
		}
		if err := send(batch{rows: p.Conversations, seen: seen}); err != nil {
			return false, err
		}
	}
	return true, nil
}

// readActive sends the conversations of a status that were last active after
// from, newest first.
func (m *Monitor) readActive(ctx context.Context, status chatwoot.Status, from time.Time, send func(batch) error) error {
	for page := 1; ; page++ {
		seen := m.certainNow()
		p, err := m.readPage(ctx, chatwoot.Query{Status: status, Sort: chatwoot.RecentlyActive, Page: page})
		if err != nil {
			return err
		}
		reached := len(p.Conversations) == 0
		for _, c := range p.Conversations {
			reached = reached || c.LastActivityAt.Before(from)
		}
		if err := send(batch{rows: p.Conversations, seen: seen}); err != nil || reached {
			return err
		}
	}
}

// readPage reads one page, again if need be: a sweep of hundreds of pages must
// not start over for one that failed.
func (m *Monitor) readPage(ctx context.Context, q chatwoot.Query) (chatwoot.Page, error) {
	client := m.client.For(chatwoot.Sync)
	return backoff.Retry(ctx, func() (chatwoot.Page, error) {
		page, err := client.Conversations(ctx, q)
		var failed *chatwoot.Error
		if err != nil && !(errors.As(err, &failed) && failed.Temporary()) {
			err = backoff.Permanent(fmt.Errorf("page %d: %w", q.Page, err))
		}
		return page, err
	}, backoff.WithMaxTries(3))
}
