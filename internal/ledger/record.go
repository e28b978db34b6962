package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/sla"
)

const (
	refreshInterval = time.Minute
	refreshSpacing  = 5 * time.Second  // between refreshes that decisions pull forward, at least
	refreshShare    = 20               // and of this many times as long as one takes
	retryInterval   = 10 * time.Second // after a write that failed
	ioTimeout       = 30 * time.Second // for a store that no longer answers
	closingTimeout  = 5 * time.Second  // for the last write
)

// Batch is what one transaction writes. No two entries have the same Key.
type Batch struct {
	// Put holds rows that are new or whose clock still ran. One that meanwhile
	// has an outcome, or for a clock that still runs a newer ObservedAt, stays
	// as it is.
	Put []Entry

	// Fill holds rows with an outcome, whose FirstResponseAt and EndedAt are
	// kept where the row has none. Nothing else of them is.
	Fill []Entry

	// Remove names rows to delete, if they still run and were not observed
	// after the given entry.
	Remove []Entry

	// SyncedTo is the instant up to which everything was observed; zero: not
	// known. What is kept never goes back.
	SyncedTo time.Time
}

func (b Batch) empty() bool {
	return len(b.Put)+len(b.Fill)+len(b.Remove) == 0 && b.SyncedTo.IsZero()
}

// Store keeps the rows. Several processes may share one.
type Store interface {
	// Newest returns the newest round of those conversations that have one.
	Newest(ctx context.Context, conversations []int64) (map[int64]Entry, error)
	// Write writes all of b or nothing, and returns which of Put and Fill made
	// a difference.
	Write(ctx context.Context, b Batch) (written []Key, err error)
	// Tallies counts, for each given instant, the clocks decided after it, by inbox.
	Tallies(ctx context.Context, since []time.Time) ([]map[int64]Tally, error)
}

// Options configures a Ledger. Only Store is required.
type Options struct {
	Store Store

	Inboxes    func() []int64     // those with series from the start; nil: none
	InboxLabel func(int64) string // the closed set of the "inbox" label; nil: every id is one
	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: no metrics

	// Now is Chatwoot's time, on which the windows end, and After sleeps by it.
	// Nil: time.Now and time.After.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Ledger turns observations into rows, each written once however often and by
// however many replicas the same is seen. While the store fails it remembers
// what is to be written. Its methods may be called from several goroutines.
type Ledger struct {
	store   Store
	log     *zap.Logger
	now     func() time.Time
	after   func(time.Duration) <-chan time.Time
	metrics *metrics
	seed    maphash.Seed
	wake    chan struct{}
	summary atomic.Pointer[Summary]

	writing sync.Mutex // one transaction at a time, so that facts are written in their order

	mu sync.Mutex
	// known has a digest of what the store knows of each conversation that has
	// not ended, so that what does not change costs neither a read nor a write.
	known    map[int64]uint64
	pending  map[int64][]fact
	flying   map[int64][]fact // being written; not to be modified
	syncedTo time.Time
	decided  bool // since the last refresh
}

// fact is an observation that may change a row.
type fact struct {
	Observation
	digest uint64
}

// New returns a Ledger. Nothing is written, and no window known, before Run,
// Record or Flush.
func New(o Options) (*Ledger, error) {
	if o.Store == nil {
		return nil, errors.New("ledger: a store is required")
	}
	l := &Ledger{
		store:   o.Store,
		log:     o.Logger,
		now:     o.Now,
		after:   o.After,
		seed:    maphash.MakeSeed(),
		wake:    make(chan struct{}, 1),
		known:   map[int64]uint64{},
		pending: map[int64][]fact{},
	}
	if l.log == nil {
		l.log = zap.NewNop()
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.after == nil {
		l.after = time.After
	}
	l.metrics = newMetrics(o, l)
	return l, nil
}

// Observe takes in what was seen. It does no I/O and never waits for any; Run
// or Flush writes it.
func (l *Ledger) Observe(batch []Observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range batch {
		l.observe(o)
	}
	if len(l.pending) > 0 {
		l.signal()
	}
}

func (l *Ledger) observe(o Observation) {
	o = o.toMicroseconds()
	d := Decide(o)
	if d.Reason == Undecided {
		return
	}
	f := fact{o, l.digest(o, d)}
	queue := l.pending[o.Conversation]
	switch flying := l.flying[o.Conversation]; {
	case len(queue) > 0:
	case len(flying) > 0:
		if flying[len(flying)-1].digest == f.digest {
			return
		}
	default:
		if known, ok := l.known[o.Conversation]; ok && known == f.digest {
			if o.over() {
				delete(l.known, o.Conversation)
			}
			return
		}
	}
	l.pending[o.Conversation] = enqueue(queue, f)
}

// enqueue adds f to what is to be written of a conversation. It takes the place
// of what it repeats, and of the same clock while that ran. An outcome is kept:
// a conversation that ended in time may be reopened, and breach then.
func enqueue(queue []fact, f fact) []fact {
	if n := len(queue); n > 0 {
		newest := queue[n-1]
		ran := Decide(newest.Observation).Outcome == ""
		other := f.Clock.State != sla.Idle && f.Clock.Start.Before(newest.Clock.Start)
		if (ran && !other) || newest.digest == f.digest {
			queue = queue[:n-1]
		}
	}
	return append(queue, f)
}

// digest returns a fingerprint of all that o could change in a row.
func (l *Ledger) digest(o Observation, d Decision) uint64 {
	type essence struct {
		state                        sla.State
		outcome                      Outcome
		start, deadline, answer, end int64
		inbox                        int64
		team, assignee               string
	}
	e := essence{state: o.Clock.State, outcome: d.Outcome}
	if d.Reason != NoClock {
		e.start, e.deadline = o.Clock.Start.UnixMicro(), o.Clock.Deadline.UnixMicro()
		e.answer = o.Clock.AnsweredAt.UnixMicro()
	}
	if d.Outcome == "" { // they follow the conversation until the outcome
		e.inbox, e.team, e.assignee = o.Inbox, o.Team, o.Assignee
	}
	if end, ended := o.ended(); ended && o.Clock.State == sla.Waiting {
		e.end = end.UnixMicro()
	}
	return maphash.Comparable(l.seed, e)
}

// toMicroseconds returns o as a Store can keep it.
func (o Observation) toMicroseconds() Observation {
	for _, t := range []*time.Time{&o.Clock.Start, &o.Clock.Deadline, &o.Clock.AnsweredAt, &o.EndedAt, &o.ObservedAt} {
		*t = t.Truncate(time.Microsecond)
	}
	return o
}

// Synced says that everything up to an instant has been observed. The instant
// is kept together with what was observed, and never before it.
func (l *Ledger) Synced(upTo time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if upTo.After(l.syncedTo) {
		l.syncedTo = upTo
		l.signal()
	}
}

func (l *Ledger) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Record takes in what was seen and writes it, with all that an earlier failure
// has left, in one transaction. After an error nothing is lost: the next call
// tries again.
func (l *Ledger) Record(ctx context.Context, batch []Observation) error {
	l.Observe(batch)
	return l.Flush(ctx)
}

// Flush writes what was observed.
func (l *Ledger) Flush(ctx context.Context) error {
	l.writing.Lock()
	defer l.writing.Unlock()

	l.mu.Lock()
	l.flying, l.pending = l.pending, map[int64][]fact{}
	syncedTo := l.syncedTo
	l.mu.Unlock()

	p, err := l.write(ctx, syncedTo)

	l.mu.Lock()
	defer l.mu.Unlock()
	flying := l.flying
	l.flying = nil
	if err != nil {
		for id, facts := range flying {
			l.restore(id, facts)
		}
		return err
	}
	if l.syncedTo.Equal(syncedTo) {
		l.syncedTo = time.Time{}
	}
	for id, facts := range flying {
		switch newest := facts[len(facts)-1]; {
		case p.lost[id]:
			l.restore(id, facts)
			l.signal()
		case p.volatile[id], newest.over():
			delete(l.known, id)
		default:
			l.known[id] = newest.digest
		}
	}
	l.decided = l.decided || p.decided
	return nil
}

// over reports whether nothing more is expected of the conversation.
func (o Observation) over() bool {
	_, ended := o.ended()
	return ended
}

// restore puts facts back before those that came while they were in the air.
func (l *Ledger) restore(id int64, facts []fact) {
	queue := slices.Clone(facts)
	for _, newer := range l.pending[id] {
		queue = enqueue(queue, newer)
	}
	l.pending[id] = queue
}

// plan is what a flush does.
type plan struct {
	changes map[Key]change
	events  []event

	volatile map[int64]bool // conversations whose next observation must be looked at, whatever its digest
	lost     map[int64]bool // conversations that another replica has written meanwhile
	decided  bool
}

// change is what becomes of a row.
type change struct {
	step
	Entry
}

// event is something to count once it is written.
type event struct {
	key     Key
	inbox   int64
	outcome Outcome       // empty: only the answer is new
	took    time.Duration // from start to answer
	answer  bool
}

// write writes the flying facts.
func (l *Ledger) write(ctx context.Context, syncedTo time.Time) (plan, error) {
	p := plan{changes: map[Key]change{}, volatile: map[int64]bool{}, lost: map[int64]bool{}}
	if len(l.flying) > 0 {
		newest, err := l.store.Newest(ctx, slices.Sorted(maps.Keys(l.flying)))
		if err != nil {
			return p, fmt.Errorf("read the ledger: %w", err)
		}
		for id, facts := range l.flying {
			p.follow(newest[id], facts)
		}
	}
	b := p.batch()
	b.SyncedTo = syncedTo
	if b.empty() {
		return p, nil
	}
	written, err := l.store.Write(ctx, b)
	if err != nil {
		return p, fmt.Errorf("write the ledger: %w", err)
	}

	took := make(map[Key]bool, len(written))
	for _, k := range written {
		took[k] = true
	}
	for _, e := range b.Put {
		if !took[e.Key()] {
			p.lost[e.Conversation] = true
		} else if e.Outcome != "" {
			p.decided = true
		}
	}
	for _, ev := range p.events {
		if took[ev.key] {
			l.metrics.count(ev)
		}
	}
	return p, nil
}

// follow plans what the facts about one conversation do to its newest row.
func (p *plan) follow(row Entry, facts []fact) {
	for _, f := range facts {
		next, did := follow(row, f.Observation)
		if did == keep {
			continue
		}
		key := next.Key()
		if did == fill && p.changes[key].step == put {
			did = put // the row itself is new
		}
		p.changes[key] = change{did, next}
		if did == remove {
			p.volatile[next.Conversation] = true // its newest row is now one that was not read
			return
		}
		if ev, ok := newEvent(row, next); ok && !f.Backfill {
			p.events = append(p.events, ev)
		}
		row = next
	}
	if row.Round > 1 && row.Outcome == "" {
		// Its deadline may be another than the clock shows.
		p.volatile[row.Conversation] = true
	}
}

func newEvent(old, e Entry) (event, bool) {
	ev := event{key: e.Key(), inbox: e.Inbox}
	ev.took, _ = e.Answer()
	if old.Key() != e.Key() {
		old = Entry{}
	}
	if old.Outcome == "" {
		ev.outcome = e.Outcome
	}
	ev.answer = old.FirstResponseAt.IsZero() && !e.FirstResponseAt.IsZero()
	return ev, ev.outcome != "" || ev.answer
}

// batch returns the plan for a Store, in the order of the keys: replicas that
// write the same rows must not wait for one another in a circle.
func (p *plan) batch() Batch {
	var b Batch
	keys := slices.SortedFunc(maps.Keys(p.changes), func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Conversation, b.Conversation), cmp.Compare(a.Round, b.Round))
	})
	for _, k := range keys {
		switch c := p.changes[k]; c.step {
		case put:
			b.Put = append(b.Put, c.Entry)
		case fill:
			b.Fill = append(b.Fill, c.Entry)
		case remove:
			b.Remove = append(b.Remove, c.Entry)
		}
	}
	return b
}

// Unwritten returns how many conversations have something to be written.
func (l *Ledger) Unwritten() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.pending)
	for id := range l.flying {
		if _, again := l.pending[id]; !again {
			n++
		}
	}
	return n
}

// Run writes what is observed and keeps the windows up to date until ctx ends;
// then it writes what is left, and returns nil.
func (l *Ledger) Run(ctx context.Context) error {
	var (
		failing   = map[string]bool{} // each is told once
		refreshed time.Time
		took      time.Duration // by the last refresh
	)
	try := func(what, again string, f func(context.Context) error) bool {
		limited, cancel := context.WithTimeout(ctx, ioTimeout)
		defer cancel()
		err := f(limited)
		switch {
		case err == nil:
			if failing[what] {
				delete(failing, what)
				l.log.Info(again)
			}
			return true
		case ctx.Err() != nil:
		case !failing[what]:
			l.log.Warn(what+" failed; levels and pages go on without it", zap.Int("unwritten_conversations", l.Unwritten()), zap.Error(err))
		default:
			l.log.Debug(what+" still fails", zap.Error(err))
		}
		failing[what] = true
		return false
	}
	for ctx.Err() == nil {
		good := try("writing the ledger", "the ledger is written again", l.Flush)
		wait := retryInterval
		if good {
			due := refreshed.Add(refreshInterval)
			if l.hasDecided() {
				due = refreshed.Add(min(refreshInterval, max(refreshSpacing, refreshShare*took)))
			}
			if now := l.now(); !due.After(now) {
				if good = try("computing the breach ratio", "the breach ratio is computed again", l.Refresh); good {
					refreshed, due = now, now.Add(refreshInterval)
					took = l.now().Sub(now)
				}
			}
			if good {
				wait = due.Sub(l.now())
			}
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-l.after(max(0, wait)):
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingTimeout)
	defer cancel()
	if err := l.Flush(last); err != nil {
		l.log.Warn("the last outcomes were not written; the next start reads them from Chatwoot again", zap.Error(err))
	}
	return nil
}

func (l *Ledger) hasDecided() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.decided
}
