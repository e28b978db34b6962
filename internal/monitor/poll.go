package monitor

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

// pollOnce reads what changed, and Chatwoot's own count of what is open. It
// reports whether that went well.
func (m *Monitor) pollOnce(ctx context.Context) bool {
	started, serverStarted := m.now(), m.ServerNow()
	client := m.client.For(chatwoot.Poll)

	// The count is read first, so that whatever the delta brings from after it
	// can explain a difference.
	var first chatwoot.Page
	err := m.timed(kindReconcile, func() (err error) {
		first, err = client.Conversations(ctx, chatwoot.Query{Status: chatwoot.Open, Sort: chatwoot.RecentlyActive})
		return err
	})
	if err != nil {
		m.failed(ctx, "read the first page of open conversations", err)
		return false
	}
	delta, window, err := m.changes(ctx, client)
	if err != nil {
		if tooMuch(err) {
			m.gap("a poll for changes did not get through")
		}
		m.failed(ctx, "read changed conversations", err)
		return false
	}
	if ignored(delta, window) {
		m.withoutDeltas()
		return false
	}

	seen := serverStarted.Add(-certainty)
	for _, c := range first.Conversations {
		m.apply(c, seen)
	}
	uncertain := 0
	for _, c := range delta.Conversations {
		if m.apply(c, seen) && version(c).After(seen) {
			uncertain++
		}
	}
	m.since, m.polledAt = started, m.now()
	m.compare(first.AllCount, uncertain)
	m.refreshInboxes(ctx)
	m.plan()
	m.log.Debug("polled", zap.Int("changed", len(delta.Conversations)), zap.Int("open", len(m.open)), zap.Int("difference", m.difference))
	return true
}

// changes reads what changed since the last good poll. Chatwoot counts the
// window back from when it answers, so an answer that came late, say because the
// request had to wait for the budget, may begin too late: then it is asked again,
// for as much longer.
func (m *Monitor) changes(ctx context.Context, client *chatwoot.Client) (delta chatwoot.Page, window time.Duration, err error) {
	margin := overlap
	for {
		asked := m.now()
		window = asked.Sub(m.since) + margin
		err = m.timed(kindDelta, func() (err error) {
			delta, err = client.Conversations(ctx, chatwoot.Query{Status: chatwoot.AnyStatus, UpdatedWithin: window})
			return err
		})
		took := m.now().Sub(asked)
		if err != nil || took <= margin-certainty {
			return delta, window, err
		}
		margin = took + overlap
	}
}

// probeDeltas asks whether the server knows updated_within. Those that do not
// answer with an ordinary first page.
func (m *Monitor) probeDeltas(ctx context.Context) {
	page, err := m.client.Conversations(ctx, chatwoot.Query{Status: chatwoot.AnyStatus, UpdatedWithin: time.Second})
	if err == nil && ignored(page, 0) {
		m.withoutDeltas()
	}
}

func (m *Monitor) withoutDeltas() {
	m.log.Warn("this Chatwoot ignores updated_within, so every poll reads all open conversations; Chatwoot 3.10 and later do better")
	m.deltas = false
}

// succeeded records that everything up to started is known, and publishes it.
func (m *Monitor) succeeded(started time.Time) {
	m.recovered()
	m.syncedAt = started
	m.publish()
	if m.on {
		upTo := m.syncedTo(started.Add(m.client.ClockSkew() - certainty))
		m.handOver() // what was seen comes before the claim that it was
		m.ledger.Synced(upTo)
	}
}

// tooMuch reports whether a delta may have failed for its own size: Chatwoot
// gives up after 15 s with a 500, and we after 20.
func tooMuch(err error) bool {
	return chatwoot.Is(err, chatwoot.TimedOut) || chatwoot.Is(err, chatwoot.ServerError) || chatwoot.Is(err, chatwoot.TooLarge)
}

// ignored reports whether rows that were saved long before the window show
// that the server does not know updated_within.
func ignored(p chatwoot.Page, window time.Duration) bool {
	if p.ServerTime.IsZero() {
		return false
	}
	for _, c := range p.Conversations {
		if !c.UpdatedAt.IsZero() && p.ServerTime.Sub(c.UpdatedAt) > window+time.Minute {
			return true
		}
	}
	return false
}

// compare holds Chatwoot's count of open conversations against ours. Up to
// uncertain of ours came or went after it counted.
func (m *Monitor) compare(count, uncertain int) {
	m.difference = len(m.open) - count
	if m.difference == 0 {
		m.unrepaired, m.accepted = 0, 0
	}
	if max(m.difference, -m.difference) <= uncertain {
		m.difference = 0
	}
	if m.difference == 0 || m.difference == m.accepted {
		m.mismatches = 0
		return
	}
	if m.mismatches++; m.mismatches >= 2 && m.resweep == "" {
		m.resweep = "Chatwoot counts other open conversations than we do"
	}
}

// gap says that changes since the last good poll cannot be asked for in one
// request, and must be read page by page.
func (m *Monitor) gap(reason string) {
	m.resweep = reason
	if m.gapFrom.IsZero() {
		m.gapFrom = m.since.Add(m.client.ClockSkew() - overlap)
	}
}

// refreshInboxes learns the names and hours of inboxes that have appeared.
func (m *Monitor) refreshInboxes(ctx context.Context) {
	if m.inboxes != nil && m.now().Sub(m.inboxesTriedAt) < time.Minute || !m.unlisted() {
		return
	}
	if err := m.readAccess(ctx); err != nil && !errors.Is(err, context.Canceled) {
		m.log.Warn("inbox names and hours are unknown for now", zap.Error(err))
	}
}

// unlisted reports whether a conversation is known whose inbox is not.
func (s *state) unlisted() bool {
	listed := map[int64]bool{}
	for _, in := range s.inboxes {
		listed[in.ID] = true
	}
	for _, records := range []map[int64]*record{s.open, s.left} {
		for _, rec := range records {
			if !listed[rec.inbox] {
				return true
			}
		}
	}
	return false
}
