package monitor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

const (
	lookupWorkers = 2

	// A look-up that fails is asked again after retryLookup, and after
	// retryRefused when the same question would get the same answer.
	retryLookup  = time.Minute
	retryRefused = 10 * time.Minute
)

// want is a conversation of which not enough is known.
type want struct {
	row  bool      // how does it stand now, if it is still there? Otherwise: what do its messages say?
	due  time.Time // the deadline that hangs on it, by Chatwoot's clock
	from time.Time // do not ask before, by our clock
}

// ask is a look-up on its way.
type ask struct {
	id      int64
	row     bool
	version time.Time // of the row that raised the question
	after   int64     // the last message that was read before
	thread  sla.Thread
}

// reply is what became of an ask.
type reply struct {
	ask
	conversation *chatwoot.Conversation // when the row was asked for
	seen         time.Time              // Chatwoot's time of the question, rather too early
	ended        []sla.Thread           // as each stood when the customer came back after an end without an answer
	err          error
}

// consider decides whether a conversation must be looked up.
func (s *state) consider(id int64, rec *record) {
	k := s.clock(rec)
	if s.overdue(k, rec) {
		s.wanted[id] = want{row: true, due: k.Deadline, from: s.wanted[id].from}
		return
	}
	if !k.Unsettled || rec.readAt >= rec.version {
		delete(s.wanted, id)
		return
	}
	due := k.Deadline
	if due.IsZero() { // no clock yet: the earliest that it could be
		due = s.promises.For(rec.inbox).Deadline(rec.earliest())
	}
	s.wanted[id] = want{due: due, from: s.wanted[id].from}
}

// askForMissing looks up the conversations that a sweep did not bring: absence
// from a list that moves while it is read proves nothing.
func (m *Monitor) askForMissing() {
	began := m.sweepStarted.Add(m.client.ClockSkew())
	for id, rec := range m.open {
		if rec.generation != m.generation && rec.version.Time().Before(began) {
			m.wanted[id] = want{row: true, due: began}
		}
	}
	for id, rec := range m.left {
		if rec.left.clock != nil { // it ran when the last process ended
			m.wanted[id] = want{row: true, due: rec.left.clock.Deadline}
		}
	}
}

// plan puts the wanted look-ups in order: deadlines to come first, soonest
// first, because those can still be kept; then those past, latest first.
func (m *Monitor) plan() {
	m.judge()
	now, serverNow := m.now(), m.ServerNow()
	m.queue = m.queue[:0]
	for id, w := range m.wanted {
		if !w.from.After(now) && !m.flying[id] {
			m.queue = append(m.queue, id)
		}
	}
	slices.SortFunc(m.queue, func(a, b int64) int {
		da, db := m.wanted[a].due, m.wanted[b].due
		pastA, pastB := da.Before(serverNow), db.Before(serverNow)
		switch {
		case pastA != pastB && pastB:
			return -1
		case pastA != pastB:
			return 1
		case pastA:
			da, db = db, da
		}
		return cmp.Or(da.Compare(db), cmp.Compare(a, b))
	})
}

// nextAsk returns the look-up to be made next.
func (m *Monitor) nextAsk() (ask, bool) {
	for len(m.queue) > 0 {
		id := m.queue[0]
		w, ok := m.wanted[id]
		rec := m.find(id)
		if !ok || rec == nil || m.flying[id] {
			m.queue = m.queue[1:]
			continue
		}
		a := ask{id: id, row: w.row, version: rec.version.Time(), after: rec.lastRead}
		if rec.thread != nil {
			a.thread = *rec.thread
		}
		return a, true
	}
	return ask{}, false
}

func (m *Monitor) asked(a ask) {
	m.queue = m.queue[1:]
	m.flying[a.id] = true
}

// learn takes in the reply to an ask. It reports whether the picture changed.
func (m *Monitor) learn(r reply) bool {
	delete(m.flying, r.id)
	rec := m.find(r.id)
	if rec == nil {
		return false
	}
	switch {
	case chatwoot.Is(r.err, chatwoot.NotFound):
		m.log.Info("conversation was deleted", zap.Int64("conversation_id", r.id))
		delete(m.pending, r.id)
		delete(m.handoffs, r.id)
		if m.on {
			m.handed[r.id] = true
		}
		wasOpen := rec.left == nil
		m.remove(r.id, m.ServerNow())
		if wasOpen {
			rec.left = &leaving{}
		}
		rec.left.status = ledger.Gone
		rec.readAt = rec.version // there is nothing left to read
		m.note(r.id, rec)
		delete(m.left, r.id)
		return wasOpen
	case r.err != nil:
		retry := retryLookup
		var e *chatwoot.Error
		if errors.As(r.err, &e) && !e.Temporary() {
			retry = retryRefused
		}
		if w, ok := m.wanted[r.id]; ok {
			w.from = m.now().Add(retry)
			m.wanted[r.id] = w
		}
		m.log.Debug("look-up failed", zap.Int64("conversation_id", r.id), zap.Duration("retry_in", retry), zap.Error(r.err))
		return false
	case r.row:
		delete(m.wanted, r.id)
		m.apply(*r.conversation, r.seen)
		return true
	}
	rec.readAt, rec.lastRead = sla.At(r.version), r.after
	rec.thread = &r.thread
	if left, end := rec.left, r.thread.EndedAt; left != nil && !end.IsZero() && end.Before(left.endedAt) {
		left.endedAt = end
	}
	for _, t := range r.ended {
		m.noteEnd(r.id, rec, t)
	}
	m.noteEnd(r.id, rec, r.thread)
	m.consider(r.id, rec)
	m.note(r.id, rec)
	return rec.left == nil
}

// take takes in what Settle has read. It reports whether the picture changed.
func (m *Monitor) take(r settlement) bool {
	if r.err == nil {
		if r.asked.Before(m.polledAt) {
			return false // it may be older than what the poll has brought, or than what that took away
		}
		m.apply(*r.conversation, r.seen)
		return true
	}
	flying := m.flying[r.id]
	changed := m.learn(r.reply)
	if flying { // a look-up of its own goes on
		m.flying[r.id] = true
	}
	return changed
}

// lookups answers asks until ctx ends. It touches none of the state.
func (m *Monitor) lookups(ctx context.Context, asks <-chan ask, replies chan<- reply) {
	client := m.client.For(chatwoot.Lookup)
	for {
		var r reply
		select {
		case <-ctx.Done():
			return
		case a := <-asks:
			seen := m.certainNow()
			r = lookUp(ctx, client, a)
			r.seen = seen
		}
		select {
		case <-ctx.Done():
			return
		case replies <- r:
		}
	}
}

func lookUp(ctx context.Context, client *chatwoot.Client, a ask) reply {
	r := reply{ask: a}
	if a.row {
		row, err := client.Conversation(ctx, a.id)
		r.conversation, r.err = &row, err
		return r
	}
	r.err = client.Messages(ctx, a.id, a.after, func(messages []chatwoot.Message) (more bool) {
		for _, msg := range messages {
			r.after = max(r.after, msg.ID)
			r.read(msg)
		}
		return r.thread.ReplyAt.IsZero()
	})
	return r
}

// read continues the reading of a conversation with its next message.
func (r *reply) read(msg chatwoot.Message) {
	t, incoming := &r.thread, msg.Kind == chatwoot.Incoming
	switch {
	case !t.ReplyAt.IsZero(): // the first response happens once
	case t.CustomerAt.IsZero():
		if incoming {
			t.CustomerAt = msg.CreatedAt
		}
	case incoming && !t.EndedAt.IsZero():
		r.ended = append(r.ended, *t)
		t.BackAt, t.EndedAt = msg.CreatedAt, time.Time{}
	case msg.Resolved() && t.EndedAt.IsZero():
		t.EndedAt = msg.CreatedAt
	case msg.Human():
		t.ReplyAt = msg.CreatedAt
	}
}
