// Package monitor keeps a picture of all open conversations of one Chatwoot
// account, and says how old and how complete it is.
//
// It reads everything once and then only what changed, so its cost follows the
// traffic and not the backlog. What it knows comes from Chatwoot's answers
// alone; a failed read leaves the last good picture in place.
package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

const (
	overlap      = 30 * time.Second // read again with every delta, for rows saved while the last one was answered
	longGap      = 10 * time.Minute // beyond it a delta would be too long an answer for Chatwoot's own time-outs
	longestReach = 24 * time.Hour   // how far back a catch-up reads without a ledger

	handoffMemory = 30 * 24 * time.Hour // a conversation that comes back later starts anew

	deadlineSpacing = 5 * time.Second // between polls that deadlines pull forward
	hintSpacing     = 2 * time.Second // between polls that hints pull forward
	beforeDeadline  = 4 * time.Second // a poll this long before a deadline sees the last answers in time
	afterDeadline   = 3 * time.Second // and one this long after it sees that none came

	// certainty is by how much our idea of Chatwoot's clock may be ahead: it is
	// told in whole seconds, and a skew below two is ignored.
	certainty = 2 * time.Second

	repairPasses = 3 // readings of everything before a difference is reported

	mostSettled = 256 // readings of Settle that wait for the end of a poll
)

// Options configures a Monitor.
type Options struct {
	Client *chatwoot.Client // required

	// Promises returns what is owed, given the inboxes as Chatwoot describes
	// them: an inbox can have hours of its own. It is called by New, with none,
	// and whenever the inboxes have been read. Required.
	Promises func([]chatwoot.Inbox) sla.Promises

	// Changed is told of every row that is read and not older than what was
	// known, also when it is the same. It must return at once. Nil: nobody
	// wants to know.
	Changed func(conversation int64, open bool, version time.Time)

	Ledger            Ledger        // nil: conversations that are no longer open are not followed
	PollInterval      time.Duration // 0: 30 s
	ReconcileInterval time.Duration // how often everything is read again; 0: 1 h
	Logger            *zap.Logger
	Registerer        prometheus.Registerer // nil: no metrics

	// Now and After are the clock of this machine, or of a demo that runs
	// faster. Nil: time.Now and time.After.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Picture is what is known about the account at an instant. It never changes.
type Picture struct {
	// Board is nil until everything has been read once.
	Board *sla.Board

	// SyncedAt is when, by our clock, the last good poll began.
	SyncedAt time.Time

	// Incomplete is by how many open conversations Chatwoot's own count
	// differs from the Board, after what changed meanwhile is taken off.
	Incomplete int

	// Undecided is how many clocks wait for a look-up that will tell their
	// outcome. Always 0 without a ledger.
	Undecided int

	// Unanswered has the open conversations in which a customer may have written
	// within the last hour, as far as their rows tell, and nobody has answered
	// since.
	Unanswered []Unanswered

	// Problem says what the last poll failed with; empty: it did not fail.
	Problem string

	Inboxes  []chatwoot.Inbox // by name, as Chatwoot sorts them
	Promises sla.Promises     // those that the Board was made with

	// Account is what the token's profile says; nil until it was read.
	Account *chatwoot.Account
}

// Unanswered is an open conversation in which the last word was not an agent's.
type Unanswered struct {
	Conversation int64
	OpenedAt     time.Time // when the conversation was created
	Newest       int64     // message; a note or a template may hide the customer's
	At           time.Time // when that was written, by Chatwoot's clock
}

// Monitor polls. Picture, Hint and Settle may be called at any time from any
// goroutine; everything else belongs to Run's.
type Monitor struct {
	client  *chatwoot.Client
	poll    time.Duration
	recon   time.Duration
	log     *zap.Logger
	now     func() time.Time
	after   func(time.Duration) <-chan time.Time
	metrics metrics
	promise func([]chatwoot.Inbox) sla.Promises
	ledger  Ledger

	picture atomic.Pointer[Picture]
	hints   chan struct{}
	settled chan settlement // what Settle has read

	// For tests; nil in production.
	published func(*Picture)
	resting   func() // nothing is under way but the time until the next poll

	state
}

// New returns a Monitor that has not read anything yet.
func New(o Options) (*Monitor, error) {
	if o.Client == nil {
		return nil, errors.New("monitor: a client is required")
	}
	if o.Promises == nil {
		return nil, errors.New("monitor: promises are required")
	}
	promises := o.Promises(nil)
	if err := promises.Validate(); err != nil {
		return nil, fmt.Errorf("monitor: %w", err)
	}
	m := &Monitor{
		client:  o.Client,
		poll:    cmp.Or(o.PollInterval, 30*time.Second),
		recon:   cmp.Or(o.ReconcileInterval, time.Hour),
		log:     o.Logger,
		now:     o.Now,
		after:   o.After,
		hints:   make(chan struct{}, 1),
		settled: make(chan settlement, mostSettled),
		promise: o.Promises,
		ledger:  o.Ledger,
		state:   newState(promises),
	}
	m.changed = o.Changed
	if m.log == nil {
		m.log = zap.NewNop()
	}
	if m.now == nil {
		m.now = time.Now
	}
	if m.after == nil {
		m.after = time.After
	}
	m.picture.Store(&Picture{Promises: promises})
	m.metrics = newMetrics(o.Registerer, m)
	return m, nil
}

// Picture returns the current picture, which is never nil.
func (m *Monitor) Picture() *Picture { return m.picture.Load() }

// ServerNow returns the time by Chatwoot's clock, on which deadlines are judged.
func (m *Monitor) ServerNow() time.Time { return m.now().Add(m.client.ClockSkew()) }

// Hint says that something has changed in Chatwoot, so that the next poll
// comes sooner. It does not block.
func (m *Monitor) Hint() {
	select {
	case m.hints <- struct{}{}:
	default:
	}
}

// settlement is what Settle has read.
type settlement struct {
	reply
	asked time.Time // by our clock
}

// Settle reads a conversation now, so that what became of it is known and goes
// to the ledger without a poll. A conversation that is gone is no error; that of
// Chatwoot is returned as it is.
//
// It does not wait for Run, which may be in a poll as long as Chatwoot lets it.
// If too much has been read meanwhile, it is left to the next poll.
func (m *Monitor) Settle(ctx context.Context, conversation int64) error {
	s := settlement{reply: reply{ask: ask{id: conversation, row: true}, seen: m.certainNow()}, asked: m.now()}
	row, err := m.client.For(chatwoot.Lookup).Conversation(ctx, conversation)
	s.conversation, s.err = &row, err
	if err != nil && !chatwoot.Is(err, chatwoot.NotFound) {
		return err
	}
	select {
	case m.settled <- s:
	default:
	}
	return nil
}

// Run polls until ctx ends, and returns nil then. It may be called once.
func (m *Monitor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	asks, replies := make(chan ask), make(chan reply)
	for range lookupWorkers {
		wg.Go(func() { m.lookups(ctx, asks, replies) })
	}

	var (
		sweeping  <-chan batch // nil while none runs
		hinted    bool
		attempted time.Time // when the last poll or sweep began
		publishAt time.Time // when to show what look-ups found; zero: they found nothing
	)
	startSweep := func(p sweepPlan) {
		m.log.Debug("reading all open conversations", zap.Bool("backwards", p.backwards), zap.String("reason", p.reason))
		m.beginSweep(p)
		sweeping = m.sweep(ctx, &wg, p)
		attempted = m.now()
	}

	if err := m.readAccess(ctx); err != nil {
		m.failed(ctx, "start watching", err)
	}
	m.resume(ctx)
	m.probeDeltas(ctx)
	if plan, due := m.sweepDue(); due {
		startSweep(plan)
	}
	settle := func(s settlement) {
		if m.take(s) && publishAt.IsZero() {
			publishAt = m.now().Add(time.Second)
		}
	}
	for ctx.Err() == nil {
		for range len(m.settled) { // also when polls follow each other without a break
			settle(<-m.settled)
		}
		var timer <-chan time.Time
		publishing := false
		if sweeping == nil || m.synced { // otherwise there is no picture yet to keep up to date
			wake := m.nextPoll(attempted, hinted)
			if publishing = !publishAt.IsZero() && publishAt.Before(wake); publishing {
				wake = publishAt
			}
			timer = m.after(max(0, wake.Sub(m.now())))
		}
		var (
			out  chan<- ask
			next ask
		)
		if sweeping == nil || m.synced {
			if a, ok := m.nextAsk(); ok {
				out, next = asks, a
			}
		}

		if m.resting != nil && sweeping == nil && out == nil && len(m.flying) == 0 {
			m.resting()
		}
		select {
		case <-ctx.Done():
		case <-m.hints:
			hinted = true
		case out <- next:
			m.asked(next)
		case r := <-replies:
			if m.learn(r) && publishAt.IsZero() {
				publishAt = m.now().Add(time.Second) // one picture for many replies
			}
		case s := <-m.settled:
			settle(s)
		case b, more := <-sweeping:
			if more {
				m.applyBatch(b)
				break
			}
			sweeping = nil
			if again, ok := m.endSweep(ctx); ok {
				startSweep(again)
			}
		case <-timer:
			if publishing {
				publishAt = time.Time{}
				m.publish()
				break
			}
			m.resume(ctx)
			plan, due := m.sweepDue()
			if due && sweeping == nil {
				startSweep(plan)
			}
			attempted, hinted = m.now(), false
			if m.synced && m.deltas && m.pollOnce(ctx) && m.gapFrom.IsZero() {
				m.succeeded(attempted)
			}
		}
		m.handOver()
	}
	return nil
}

// nextPoll returns when the next poll is due.
func (m *Monitor) nextPoll(last time.Time, hinted bool) time.Time {
	due := last.Add(m.poll)
	if board := m.picture.Load().Board; board != nil && m.deltas {
		skew := m.client.ClockSkew()
		seen := last.Add(skew)
		for _, pull := range []time.Duration{-beforeDeadline, afterDeadline} {
			d := board.DeadlineAfter(seen.Add(-pull))
			if d.IsZero() {
				continue
			}
			at := d.Add(pull - skew)
			if spaced := last.Add(deadlineSpacing); at.Before(spaced) {
				at = spaced
			}
			if at.Before(due) {
				due = at
			}
		}
	}
	if spaced := last.Add(hintSpacing); hinted && spaced.Before(due) {
		due = spaced
	}
	return due
}

// readAccess reads who the token belongs to, and which inboxes there are and
// what their customers are owed. What cannot be read keeps its last value.
func (m *Monitor) readAccess(ctx context.Context) error {
	account, inboxes := m.readAccount(ctx), m.readInboxes(ctx)
	return cmp.Or(account, inboxes)
}

func (m *Monitor) readAccount(ctx context.Context) error {
	_, account, err := m.client.Profile(ctx)
	if err != nil {
		return fmt.Errorf("read the token's profile: %w", err)
	}
	if m.account == nil || *m.account != account {
		if account.Administrator() {
			m.log.Info("watching account", zap.Int64("account_id", account.ID), zap.String("account", account.Name))
		} else {
			m.log.Warn("the token's user is no administrator: conversations of inboxes it does not belong to are not watched; use an administrator's token",
				zap.Int64("account_id", account.ID), zap.String("role", account.Role))
		}
	}
	m.account = &account
	return nil
}

func (m *Monitor) readInboxes(ctx context.Context) error {
	m.inboxesTriedAt = m.now()
	inboxes, err := m.client.Inboxes(ctx)
	if err != nil {
		return fmt.Errorf("read inboxes: %w", err)
	}
	before := m.promises
	m.inboxes, m.promises = inboxes, m.promise(inboxes)

	// Of some inboxes the promise may have been unknown until now.
	m.judge()
	for _, records := range []map[int64]*record{m.open, m.left} {
		for id, rec := range records {
			if before.For(rec.inbox).Unknown && !m.promises.For(rec.inbox).Unknown {
				m.consider(id, rec)
				m.note(id, rec)
			}
		}
	}
	return nil
}

// failed records that a poll or sweep failed, and keeps the last picture.
func (m *Monitor) failed(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	err = fmt.Errorf("%s: %w", what, err)
	// Chatwoot answers 401 both to a dead token and to a request that its
	// owner may not make.
	if chatwoot.Is(err, chatwoot.Unauthorized) {
		if _, _, perr := m.client.Profile(ctx); perr == nil {
			err = fmt.Errorf("%w (the token itself is good)", err)
		} else if chatwoot.Is(perr, chatwoot.Unauthorized) {
			err = fmt.Errorf("%w (the token is refused everywhere: it was reset or its user removed)", err)
		}
	}
	switch {
	case m.problem == "" && m.synced:
		m.log.Warn("Chatwoot could not be read; the last picture is kept", zap.Error(err))
	case m.problem == "":
		m.log.Warn("Chatwoot could not be read; nothing is known yet", zap.Error(err))
	default:
		m.log.Debug("Chatwoot could still not be read", zap.Error(err))
	}
	m.problem = err.Error()
	p := *m.picture.Load()
	p.Problem, p.Account = m.problem, m.account
	m.show(&p)
}

func (m *Monitor) show(p *Picture) {
	m.picture.Store(p)
	if m.published != nil {
		m.published(p)
	}
}

// recovered records that Chatwoot was read.
func (m *Monitor) recovered() {
	if m.problem != "" {
		m.log.Info("Chatwoot can be read again", zap.String("after", m.problem))
	}
	m.problem = ""
}

// publish makes a new picture of what is known.
func (m *Monitor) publish() {
	if !m.synced {
		return
	}
	known := make([]int64, len(m.inboxes))
	for i, in := range m.inboxes {
		known[i] = in.ID
	}
	m.show(&Picture{
		Board:      sla.NewBoard(m.promises, len(m.open), m.entries(), known),
		SyncedAt:   m.syncedAt,
		Incomplete: max(m.difference, -m.difference),
		Undecided:  m.undecided(),
		Unanswered: m.unansweredNow(),
		Problem:    m.problem,
		Inboxes:    m.inboxes,
		Promises:   m.promises,
		Account:    m.account,
	})
}
