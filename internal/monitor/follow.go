package monitor

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// Ledger takes in what becomes of first-response clocks. Its methods must not
// block; they are called from Run's goroutine.
type Ledger interface {
	// Past returns what was kept before this process.
	Past(context.Context) (Past, error)

	// Observe is given observations in their order.
	Observe([]ledger.Observation)

	// Synced says that whatever happened up to an instant of Chatwoot's was
	// observed, or belongs to a clock that the ledger knows to run.
	Synced(upTo time.Time)

	// SaveHandoffs keeps what is known of conversations that a bot has or had.
	SaveHandoffs([]Handoff)
}

// Past is what a monitor must know of the time before it started.
type Past struct {
	Since    time.Time      // outcomes from before are not wanted
	SyncedTo time.Time      // as given to Synced; zero: never
	Running  []ledger.Entry // clocks without an outcome
	Handoffs []Handoff
}

// Handoff is what a restart must know of a conversation that a bot has or had.
type Handoff struct {
	Conversation int64
	PendingAt    time.Time // version of the row that was last seen pending; zero: people have it, or had
	BornPending  bool      // it was never seen open
	HandedAt     time.Time // when the bot let go; zero: it has not, or the conversation has ended since
}

// following is what is known of conversations for the ledger's sake.
type following struct {
	on      bool      // there is a ledger
	began   time.Time // Chatwoot's time when this process began
	horizon time.Time // outcomes from before are not wanted

	// left has conversations that are no longer open and whose clock has no
	// outcome yet.
	left map[int64]*record

	// judgedTo is the instant up to which passed deadlines were looked into.
	judgedTo time.Time

	noted  []ledger.Observation // not yet handed over
	handed map[int64]bool       // conversations whose hand-off is to be saved
}

// leaving says how a conversation stands that is not open.
type leaving struct {
	status  ledger.Status
	endedAt time.Time // when it was resolved; at first the version of the first row that showed it so

	// clock is what the ledger knew of it; nil once its row was read.
	clock *sla.Clock

	// kept says that the ledger knows its clock to run, so that a restart looks
	// it up; since is when it left otherwise, by Chatwoot's clock, rather too
	// early.
	kept  bool
	since time.Time
}

// patience is how long a conversation that has left may hold up what is claimed
// to be known, while its messages are read.
const patience = 2 * time.Minute

// find returns what is known of a conversation, open or not; nil: nothing.
func (s *state) find(id int64) *record {
	if rec := s.open[id]; rec != nil {
		return rec
	}
	return s.left[id]
}

// wants reports whether a conversation that is not open, and of which nothing
// is known, may have an outcome that the ledger lacks. One that a bot has never
// let go of has no clock.
func (f *following) wants(c chatwoot.Conversation, p sla.Policy) bool {
	switch {
	case !f.on || c.Status == chatwoot.Pending:
		return false
	case !c.FirstReplyAt.IsZero():
		return !c.FirstReplyAt.Before(f.horizon)
	}
	return !p.Deadline(c.CreatedAt).Before(f.horizon) || !c.LastActivityAt.Before(f.horizon)
}

// depart notes that a row shows rec as not open.
func (rec *record) depart(status chatwoot.Status, v, seen time.Time) {
	if rec.left == nil {
		rec.left = &leaving{since: seen}
	}
	switch {
	case status != chatwoot.Resolved:
		rec.left.endedAt = time.Time{}
	case rec.left.endedAt.IsZero():
		rec.left.endedAt = v
	}
	rec.left.status, rec.left.clock = ledger.Status(status), nil
}

// clock returns what is to be told about rec: a clock whose messages were read
// as its row stands has nothing left to settle.
func (s *state) clock(rec *record) sla.Clock {
	if rec.left != nil && rec.left.clock != nil {
		return *rec.left.clock
	}
	k := s.promises.For(rec.inbox).Clock(rec.facts())
	k.Unsettled = k.Unsettled || s.mayHideAnEnd(rec, k)
	if k.State != sla.Unknown && rec.readAt >= rec.version {
		k.Unsettled = false
	}
	return k
}

// mayHideAnEnd reports whether k, which the row of rec shows as breached, may
// have ended before without an answer, which only the messages tell.
func (s *state) mayHideAnEnd(rec *record, k sla.Clock) bool {
	switch {
	case !s.on:
		return false
	case k.State == sla.Answered:
		// The answer may be to a customer who came back. What was answered
		// before an earlier process had got to is in the ledger already.
		t := rec.thread
		return k.AnsweredAt.After(k.Deadline) && !k.AnsweredAt.Before(s.catchUpFrom) && (t == nil || t.ReplyAt.IsZero())
	default:
		// The row may have been saved again since it was resolved.
		return k.State == sla.Waiting && rec.left != nil && rec.left.endedAt.After(k.Deadline)
	}
}

// note observes rec for the ledger, and stops following it when nothing more
// is to be expected.
func (s *state) note(id int64, rec *record) {
	if !s.on {
		return
	}
	o := ledger.Observation{
		Conversation: id, Inbox: rec.inbox, Team: rec.team, Assignee: rec.assignee,
		Clock: s.clock(rec), Status: ledger.Open, ObservedAt: rec.seenAt.Time(),
	}
	if rec.left != nil {
		o.Status, o.EndedAt = rec.left.status, rec.left.endedAt
	}
	d := ledger.Decide(o)
	o.Backfill = s.backfill(o, d)

	switch {
	case rec.left == nil:
	case d.Reason == ledger.Running:
	case d.Reason == ledger.Undecided && (rec.readAt < rec.version || s.promises.For(rec.inbox).Unknown):
		return // its messages are asked for, or the inboxes
	default:
		delete(s.left, id)
		delete(s.wanted, id)
		if d.Reason == ledger.Undecided || d.Outcome != "" && d.At.Before(s.horizon) && !rec.left.kept {
			return
		}
	}
	s.noted = append(s.noted, o)
}

// noteEnd observes for the ledger that the conversation of rec ended without an
// answer, as its messages tell, whatever became of it since.
func (s *state) noteEnd(id int64, rec *record, t sla.Thread) {
	if !s.on || t.EndedAt.IsZero() {
		return
	}
	facts := rec.facts()
	facts.WaitingSince, facts.FirstReplyAt = time.Time{}, time.Time{}
	reply := t.ReplyAt
	t.ReplyAt = time.Time{}
	facts.Thread = &t
	k := s.promises.For(rec.inbox).Clock(facts)
	k.Unsettled = false
	switch {
	case k.State != sla.Waiting || k.Start.After(t.EndedAt): // a bot had it
		return
	case !reply.IsZero() && t.EndedAt.After(k.Deadline): // it was answered late, and that is all
		return
	}
	o := ledger.Observation{
		Conversation: id, Inbox: rec.inbox, Team: rec.team, Assignee: rec.assignee,
		Clock: k, Status: ledger.Resolved, EndedAt: t.EndedAt,
		ObservedAt: slices.MaxFunc([]time.Time{rec.seenAt.Time(), t.EndedAt}, time.Time.Compare),
	}
	d := ledger.Decide(o)
	o.Backfill = s.backfill(o, d)
	if !d.At.Before(s.horizon) {
		s.noted = append(s.noted, o)
	}
}

// backfill reports whether all that o tells is from before this process.
func (s *state) backfill(o ledger.Observation, d ledger.Decision) bool {
	return d.Outcome != "" && d.At.Before(s.began) && o.Clock.AnsweredAt.Before(s.began)
}

// undecided reports whether more must be read before k can be judged.
func undecided(k sla.Clock) bool { return k.Unsettled || k.State == sla.Unknown }

// undecided counts the clocks that have ended, and how is not known yet.
func (s *state) undecided() (n int) {
	if !s.on {
		return 0
	}
	for _, w := range s.wanted {
		if w.row {
			n++
		}
	}
	for id, rec := range s.left {
		if !s.wanted[id].row && undecided(s.clock(rec)) {
			n++
		}
	}
	return n
}

// overdue reports whether rec must be seen again: its deadline has passed since
// it last was. A breach is believed only of what was seen past the deadline.
func (s *state) overdue(k sla.Clock, rec *record) bool {
	return s.on && k.State == sla.Waiting && !k.Unsettled && !k.Deadline.After(s.judgedTo) && !rec.seenAt.Time().After(k.Deadline)
}

// judge asks for the conversations whose deadline has passed since they were
// last seen.
func (m *Monitor) judge() {
	if !m.on || !m.synced {
		return
	}
	from, to := m.judgedTo, m.certainNow()
	if !to.After(from) {
		return
	}
	m.judgedTo = to
	if board := m.picture.Load().Board; board != nil {
		board.Due(from, to, func(e sla.Entry) {
			if rec := m.open[e.ID]; rec != nil {
				m.consider(e.ID, rec)
			}
		})
	}
	for id, rec := range m.left {
		m.consider(id, rec)
	}
}

// certainNow returns an instant that has passed by Chatwoot's clock, and is as
// late as can be known.
func (m *Monitor) certainNow() time.Time { return m.ServerNow().Add(-certainty) }

// resume learns what was kept before this process. Without it the monitor
// watches all the same, and tries again with the next poll.
func (m *Monitor) resume(ctx context.Context) {
	if m.ledger == nil || m.on {
		return
	}
	past, err := m.ledger.Past(ctx)
	if err != nil {
		m.log.Debug("the ledger cannot be read yet", zap.Error(err))
		return
	}
	m.on, m.horizon = true, past.Since
	m.began = m.certainNow()
	m.judgedTo = m.began
	for id := range m.pending { // those that a late store has missed
		m.handed[id] = true
	}
	for id := range m.handoffs {
		m.handed[id] = true
	}
	for _, h := range past.Handoffs {
		m.recall(h)
	}
	for _, e := range past.Running {
		if m.find(e.Conversation) != nil {
			continue
		}
		m.left[e.Conversation] = &record{
			inbox: e.Inbox, team: m.name(e.Team), assignee: m.name(e.Assignee), seenAt: sla.At(e.ObservedAt),
			left: &leaving{status: ledger.Snoozed, kept: true, clock: &sla.Clock{State: sla.Waiting, Start: e.Start, Deadline: e.Deadline}},
		}
	}
	m.catchUpFrom = past.Since
	if past.SyncedTo.After(past.Since) {
		m.catchUpFrom = past.SyncedTo.Add(-overlap)
	}
	if m.synced { // the store came later than Chatwoot
		m.resweep, m.gapFrom = "the ledger can be read", m.catchUpFrom
	}
	m.log.Info("the ledger goes on", zap.Int("running", len(past.Running)), zap.Time("synced_to", past.SyncedTo))
}

// recall joins what an earlier process knew of a bot and a conversation with
// what was seen since this one started, which may have been first.
func (s *state) recall(h Handoff) {
	id := h.Conversation
	if _, known := s.handoffs[id]; known {
		return
	}
	rec := s.find(id)
	switch {
	case !h.HandedAt.IsZero():
		s.handoffs[id] = h.HandedAt
	case h.BornPending && rec != nil && rec.left == nil:
		s.handoffs[id] = handedOver(h.PendingAt, rec.waiting.Time(), rec.version.Time())
		s.handed[id] = true
	}
	if p, known := s.pending[id]; known {
		p.born = p.born && h.BornPending
		s.pending[id] = p
	} else if !h.PendingAt.IsZero() && rec == nil {
		s.pending[id] = pending{seenAt: h.PendingAt, born: h.BornPending}
	}
	if rec != nil {
		rec.handoff = sla.At(s.handoffs[id])
	}
}

// handOver gives the ledger what was noted since the last time.
func (m *Monitor) handOver() {
	if len(m.noted) > 0 {
		m.ledger.Observe(m.noted)
		m.noted = nil
	}
	if len(m.handed) > 0 {
		hs := make([]Handoff, 0, len(m.handed))
		for id := range m.handed {
			hs = append(hs, m.handoff(id))
		}
		m.ledger.SaveHandoffs(hs)
		clear(m.handed)
	}
}

// handoff returns what is to be kept of a conversation.
func (s *state) handoff(id int64) Handoff {
	p := s.pending[id]
	return Handoff{Conversation: id, PendingAt: p.seenAt, BornPending: p.born, HandedAt: s.handoffs[id]}
}

// syncedTo returns the instant up to which nothing can be missing from the
// ledger, if all changes up to another were seen: a conversation that has left,
// and whose messages are still to be read, is known to nobody else. When that
// takes long, perhaps for ever, the ledger is told of its clock.
func (s *state) syncedTo(seen time.Time) time.Time {
	upTo := seen
	for id, rec := range s.left {
		switch {
		case rec.left.kept || !undecided(s.clock(rec)):
		case seen.Sub(rec.left.since) > patience:
			rec.left.kept = true
			began := rec.earliest()
			s.noted = append(s.noted, ledger.Observation{
				Conversation: id, Inbox: rec.inbox, Team: rec.team, Assignee: rec.assignee,
				Clock:  sla.Clock{State: sla.Waiting, Start: began, Deadline: s.promises.For(rec.inbox).Deadline(began)},
				Status: ledger.Open, ObservedAt: began,
			})
		case rec.version.Time().Before(upTo):
			upTo = rec.version.Time().Add(-overlap)
		}
	}
	return upTo
}

// earliest returns when the clock of rec began, if it has one that its row does
// not show.
func (rec *record) earliest() time.Time {
	return max(rec.created, rec.waiting, rec.handoff).Time()
}
