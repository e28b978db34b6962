package monitor

import (
	"iter"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// state is what Run's goroutine knows.
type state struct {
	promises sla.Promises
	changed  func(conversation int64, open bool, version time.Time) // nil: nobody wants to know

	open     map[int64]*record
	pending  map[int64]pending   // conversations that a bot has, or had until they were resolved
	handoffs map[int64]time.Time // when the bot let go of those that are no longer pending
	names    map[string]string   // agents' names, shared by the records

	// closed has those that left the open set during a sweep, whose pages may
	// still bring them as open; nil while no sweep runs.
	closed map[int64]time.Time

	synced   bool      // everything has been read once
	syncedAt time.Time // when the last good poll began
	since    time.Time // deltas reach back to here
	polledAt time.Time // when the last good poll ended
	deltas   bool      // the server knows updated_within

	sweepStarted time.Time
	sweepErr     error
	sweptAt      time.Time // when the last sweep ended well
	generation   uint32    // of the sweep that runs or ran last
	passes       int       // readings that it took so far
	resweep      string    // why everything must be read again; empty: it need not
	gapFrom      time.Time // changes from here on, by Chatwoot's clock, must be read page by page; zero: none

	catchUpFrom time.Time // at the start, by Chatwoot's clock; zero: there is no ledger

	difference int // open conversations that we have beyond Chatwoot's count
	unrepaired int // the difference after the last sweep
	accepted   int // the difference that sweeps cannot repair
	mismatches int // polls in a row with another difference

	wanted map[int64]want // conversations to look up
	queue  []int64        // of wanted, in the order of asking
	flying map[int64]bool // asked for and not yet answered

	following

	unanswered map[int64]Unanswered

	account        *chatwoot.Account
	inboxes        []chatwoot.Inbox // nil until they were read
	inboxesTriedAt time.Time
	problem        string
}

// record is a conversation that is open, or was and has no outcome yet. There
// may be 100,000 of them.
type record struct {
	packedFacts
	version    sla.Instant
	seenAt     sla.Instant // Chatwoot's time when it last sent the row, rather too early
	left       *leaving    // nil while it is open
	inbox      int64
	contact    string
	assignee   string
	team       string
	lastRead   int64       // id of the last message that was read
	readAt     sla.Instant // version of the row when its messages were read
	generation uint32
}

// pending is a conversation that a bot has, or has settled by itself.
type pending struct {
	seenAt time.Time // version of the last row that showed it pending
	born   bool      // it was never seen open
}

func newState(p sla.Promises) state {
	return state{
		promises: p,
		open:     map[int64]*record{},
		pending:  map[int64]pending{},
		handoffs: map[int64]time.Time{},
		names:    map[string]string{},
		wanted:   map[int64]want{},
		flying:   map[int64]bool{},
		deltas:   true,

		unanswered: map[int64]Unanswered{},
		following: following{
			left:   map[int64]*record{},
			handed: map[int64]bool{},
		},
	}
}

// version orders the states of one conversation. Servers before 4.0.4 do not
// send updated_at.
func version(c chatwoot.Conversation) time.Time {
	if c.UpdatedAt.IsZero() {
		return c.LastActivityAt
	}
	return c.UpdatedAt
}

// apply takes in a row that Chatwoot sent at an instant of its own. It reports
// whether the conversation entered or left the open set.
func (s *state) apply(c chatwoot.Conversation, seen time.Time) (moved bool) {
	v := version(c)
	rec := s.find(c.ID)
	if rec != nil && v.Before(rec.version.Time()) {
		return false
	}
	open := c.Status == chatwoot.Open
	if gone, ok := s.closed[c.ID]; ok && open && !v.After(gone) {
		return false
	}
	wasOpen := rec != nil && rec.left == nil
	s.followBot(c, v, wasOpen)
	s.followCustomer(c, seen)
	if s.changed != nil {
		s.changed(c.ID, open, v)
	}
	moved = open != wasOpen
	if !open && wasOpen {
		s.remove(c.ID, v)
	}
	if !open && !s.on || rec == nil && !open && !s.wants(c, s.promises.For(c.InboxID)) {
		return moved
	}
	if rec == nil && c.Status == chatwoot.Resolved && s.pending[c.ID].born && c.FirstReplyAt.IsZero() {
		return moved // a bot has settled it, and nobody else was ever asked
	}

	if rec == nil {
		rec = &record{}
	}
	if open {
		rec.left = nil
		s.open[c.ID] = rec
		delete(s.left, c.ID)
		delete(s.closed, c.ID)
	} else {
		rec.depart(c.Status, v, seen)
		s.left[c.ID] = rec
	}
	rec.version = sla.At(v)
	rec.seenAt = max(rec.seenAt, sla.At(seen))
	rec.inbox = c.InboxID
	rec.contact = c.Contact
	rec.assignee = s.name(c.Assignee)
	rec.team = s.name(c.Team)
	rec.generation = s.generation
	rec.packedFacts = packFacts(facts(c, rec.facts(), s.handoffs[c.ID]))
	s.consider(c.ID, rec)
	s.note(c.ID, rec)
	return moved
}

// remove takes a conversation off the open set.
func (s *state) remove(id int64, v time.Time) {
	delete(s.open, id)
	delete(s.wanted, id)
	delete(s.unanswered, id)
	if s.closed != nil {
		s.closed[id] = v
	}
}

// followBot keeps track of conversations that were born pending, whose clock
// starts when the bot hands them over.
func (s *state) followBot(c chatwoot.Conversation, v time.Time, wasOpen bool) {
	before := s.handoff(c.ID)
	defer func() {
		if s.on && s.handoff(c.ID) != before {
			s.handed[c.ID] = true
		}
	}()
	switch c.Status {
	case chatwoot.Pending:
		p, known := s.pending[c.ID]
		_, handed := s.handoffs[c.ID]
		s.pending[c.ID] = pending{seenAt: v, born: !handed && !wasOpen && (!known || p.born)}
	case chatwoot.Open:
		if p, ok := s.pending[c.ID]; ok && p.born {
			s.handoffs[c.ID] = handedOver(p.seenAt, c.WaitingSince, v)
		}
		delete(s.pending, c.ID)
	case chatwoot.Resolved:
		// Polls overlap, so a row comes again: one that a bot has settled must
		// not look then as if people had.
		if !s.pending[c.ID].born {
			delete(s.pending, c.ID)
		}
	}
}

// handedOver returns when a bot let go of a conversation that was last seen
// pending, and then open in a row of some version. Newer servers set
// waiting_since at the hand-off, if it was empty; otherwise the save that we
// first see as open is the best there is.
func handedOver(pendingAt, waitingSince, version time.Time) time.Time {
	if waitingSince.After(pendingAt) {
		return waitingSince
	}
	return version
}

// unansweredFor is how long a conversation counts as Unanswered.
const unansweredFor = time.Hour

// followCustomer notes whether the last word is the customer's.
func (s *state) followCustomer(c chatwoot.Conversation, seen time.Time) {
	delete(s.unanswered, c.ID)
	if c.Status != chatwoot.Open || c.Spoken == nil || c.Spoken.Kind != chatwoot.Incoming && c.WaitingSince.IsZero() {
		return
	}
	if c.Spoken.CreatedAt.After(seen.Add(-unansweredFor)) {
		s.unanswered[c.ID] = Unanswered{Conversation: c.ID, OpenedAt: c.CreatedAt, Newest: c.Spoken.ID, At: c.Spoken.CreatedAt}
	}
}

// unansweredNow returns those that are young enough, and forgets the others.
func (m *Monitor) unansweredNow() []Unanswered {
	oldest := m.ServerNow().Add(-unansweredFor)
	var young []Unanswered
	for id, u := range m.unanswered {
		if u.At.Before(oldest) {
			delete(m.unanswered, id)
			continue
		}
		young = append(young, u)
	}
	return young
}

// forgetHandoffs drops what is known of bots and conversations that are long
// over.
func (m *Monitor) forgetHandoffs() {
	old := m.ServerNow().Add(-handoffMemory)
	for id, p := range m.pending {
		if p.seenAt.Before(old) {
			delete(m.pending, id)
			if m.on {
				m.handed[id] = true
			}
		}
	}
	for id, at := range m.handoffs {
		if at.Before(old) && m.find(id) == nil {
			delete(m.handoffs, id)
			if m.on {
				m.handed[id] = true
			}
		}
	}
}

// name returns one copy of an agent's name, however many rows carry it.
func (s *state) name(n string) string {
	if kept, ok := s.names[n]; ok {
		return kept
	}
	s.names[n] = n
	return n
}

// entries lists the open conversations for a board.
func (s *state) entries() iter.Seq[sla.Entry] {
	return func(yield func(sla.Entry) bool) {
		for id, rec := range s.open {
			e := sla.Entry{
				ID: id, Inbox: rec.inbox,
				Clock:   s.promises.For(rec.inbox).Clock(rec.facts()),
				Contact: rec.contact, Assignee: rec.assignee,
			}
			if !yield(e) {
				return
			}
		}
	}
}

// facts reads a row as the SLA clock needs it. What earlier rows or messages
// have told, old holds; a customer who has written has always written.
func facts(c chatwoot.Conversation, old sla.Conversation, handoff time.Time) sla.Conversation {
	f := sla.Conversation{
		CreatedAt:      c.CreatedAt,
		WaitingSince:   c.WaitingSince,
		FirstReplyAt:   c.FirstReplyAt,
		HandoffAt:      handoff,
		CustomerWrote:  old.CustomerWrote,
		CustomerOpened: old.CustomerOpened,
		Thread:         old.Thread,
	}
	wrote, opened := rowVerdicts(c)
	if f.CustomerWrote != sla.Yes {
		f.CustomerWrote = wrote
	}
	if f.CustomerOpened == sla.Unsure {
		f.CustomerOpened = opened
	}
	return f
}

// rowVerdicts tells from a row alone whether the customer has written, and
// whether the conversation began so.
func rowVerdicts(c chatwoot.Conversation) (wrote, opened sla.Verdict) {
	if c.Spoken == nil && (c.Newest == nil || c.Newest.Kind == chatwoot.Activity) {
		return sla.No, sla.Unsure
	}
	if c.UnreadCount > 0 {
		wrote = sla.Yes
	}
	for _, m := range []*chatwoot.Preview{c.Newest, c.Spoken} {
		if m == nil {
			continue
		}
		atOnce := sla.Opens(c.CreatedAt, m.CreatedAt)
		switch {
		case m.Kind == chatwoot.Incoming:
			wrote = sla.Yes
			if atOnce {
				opened = sla.Yes
			}
		case m.Campaign:
			opened = sla.No
		case m.Kind == chatwoot.Template && atOnce && (m.ContentType == "text" || m.ContentType == "input_email"):
			// Greetings are sent only in answer to a customer; the templates
			// that are not come much later or have another content type.
			wrote, opened = sla.Yes, sla.Yes
		}
	}
	return wrote, opened
}
