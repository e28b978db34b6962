package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/monitor"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

const (
	reopenInterval = 30 * time.Second // between attempts to open a database
	rewriteAfter   = 10 * time.Second // a write that failed
	ratioInterval  = time.Minute
	pruneInterval  = time.Hour
	storeTimeout   = 30 * time.Second
	pastTimeout    = 5 * time.Second // the monitor waits for it, and asks again with the next poll
	probesKept     = 10_000          // waiting for a database that is away: more than two days
	sayAgain       = time.Hour       // why the database cannot be opened
)

// storeOptions says which database cfg means.
func storeOptions(cfg config.Config, log *zap.Logger, reg prometheus.Registerer) store.Options {
	return store.Options{
		DataDir:     cfg.DataDir,
		DatabaseURL: cfg.DatabaseURL.Reveal(),
		Account:     store.Account{Host: cfg.BaseURL.Host + cfg.BaseURL.Path, ID: cfg.AccountID},
		Migrate:     queueEngine(cfg).Migrate,
		Logger:      log,
		Registerer:  reg,
	}
}

var errNotOpen = errors.New("the database is not open")

// books stands between the parts of the daemon, which never wait for the
// database, and the database, which may be away. What is to be kept waits here
// until it is.
type books struct {
	open      func(context.Context) (*store.Store, error)
	backfill  time.Duration
	retention time.Duration // of the history of probes
	serverNow func() time.Time
	now       func() time.Time
	after     func(time.Duration) <-chan time.Time
	log       *zap.Logger
	ledger    *ledger.Ledger // set before Run

	// Set before Run. WhenOpen is called as soon as the database is, before
	// anything is written.
	inMaintenance func(time.Time) bool
	whenOpen      func(context.Context)

	wake  chan struct{}
	tried chan struct{} // closed after the first attempt to open the database

	// Of run alone: what was said last of a database that cannot be opened.
	said   string
	saidAt time.Time

	mu       sync.Mutex
	db       *store.Store // nil until it is open
	handoffs map[int64]monitor.Handoff
	syncedTo time.Time // by the monitor, of all that waits here
	probes   []store.Probe
	inboxes  map[int64]string
	session  *string                                 // the widget's, if it is to be saved
	counts   map[string]map[string]store.ProbeCounts // by window and probe
}

func newBooks(cfg config.Config, o Options, reg prometheus.Registerer, serverNow func() time.Time) *books {
	log := o.Logger.Named("database")
	return &books{
		open:      func(ctx context.Context) (*store.Store, error) { return store.Open(ctx, storeOptions(cfg, log, reg)) },
		backfill:  cfg.LedgerBackfill,
		retention: cfg.EvidenceRetention,
		serverNow: serverNow,
		now:       o.Now,
		after:     o.After,
		log:       log,
		wake:      make(chan struct{}, 1),
		tried:     make(chan struct{}),
		handoffs:  map[int64]monitor.Handoff{},
	}
}

func (b *books) store() (*store.Store, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.db == nil {
		return nil, errNotOpen
	}
	return b.db, nil
}

// The ledger's view of a database that may not be open yet.

func (b *books) Newest(ctx context.Context, conversations []int64) (map[int64]ledger.Entry, error) {
	db, err := b.store()
	if err != nil {
		return nil, err
	}
	return db.Newest(ctx, conversations)
}

func (b *books) Write(ctx context.Context, batch ledger.Batch) ([]ledger.Key, error) {
	db, err := b.store()
	if err != nil {
		return nil, err
	}
	return db.Write(ctx, batch)
}

// Tallies leaves out what was decided before the ledger begins: of that it has
// only those who still waited.
func (b *books) Tallies(ctx context.Context, since []time.Time) ([]map[int64]ledger.Tally, error) {
	db, err := b.store()
	if err != nil {
		return nil, err
	}
	from, err := db.LedgerFrom(ctx)
	if err != nil {
		return nil, err
	}
	since = slices.Clone(since)
	for i, t := range since {
		since[i] = latest(t, from)
	}
	return db.Tallies(ctx, since)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// The monitor's view.

// Past implements monitor.Ledger.
func (b *books) Past(ctx context.Context) (monitor.Past, error) {
	ctx, cancel := context.WithTimeout(ctx, pastTimeout)
	defer cancel()
	db, err := b.store()
	if err != nil {
		return monitor.Past{}, err
	}
	var past monitor.Past
	if past.Since, err = db.BeginLedger(ctx, b.serverNow().Add(-b.backfill)); err != nil {
		return monitor.Past{}, err
	}
	if past.SyncedTo, err = db.SyncedTo(ctx); err != nil {
		return monitor.Past{}, err
	}
	if past.Running, err = db.Running(ctx); err != nil {
		return monitor.Past{}, err
	}
	handoffs, err := db.Handoffs(ctx)
	for _, h := range handoffs {
		past.Handoffs = append(past.Handoffs, monitor.Handoff(h))
	}
	return past, err
}

// Observe implements monitor.Ledger.
func (b *books) Observe(batch []ledger.Observation) { b.ledger.Observe(batch) }

// Synced implements monitor.Ledger. The ledger may claim it once the hand-offs
// of the time are kept, too: they are not read again.
func (b *books) Synced(upTo time.Time) { b.keep(func() { b.syncedTo = upTo }) }

// SaveHandoffs implements monitor.Ledger.
func (b *books) SaveHandoffs(hs []monitor.Handoff) {
	b.keep(func() {
		for _, h := range hs {
			b.handoffs[h.Conversation] = h
		}
	})
}

// probed keeps the result of a health probe.
func (b *books) probed(r health.Result) {
	b.keep(func() {
		b.probes = newest(append(b.probes, store.Probe{
			StartedAt: r.Started, Name: r.Probe, Success: r.Success, Duration: r.Duration, Reason: r.Reason,
		}))
	})
}

// newest returns those probes that may go on waiting.
func newest(probes []store.Probe) []store.Probe {
	return slices.Delete(probes, 0, max(0, len(probes)-probesKept))
}

// saveSession keeps the widget's session.
func (b *books) saveSession(token string) { b.keep(func() { b.session = &token }) }

// saveInboxes keeps the names of inboxes.
func (b *books) saveInboxes(inboxes []chatwoot.Inbox) {
	names := make(map[int64]string, len(inboxes))
	for _, in := range inboxes {
		names[in.ID] = in.Name
	}
	b.keep(func() { b.inboxes = names })
}

// keep changes what waits for the database.
func (b *books) keep(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run opens the database and writes what waits for it, until ctx ends.
func (b *books) run(ctx context.Context) error {
	var (
		failing         bool
		counted, pruned time.Time
	)
	tried := sync.OnceFunc(func() { close(b.tried) })
	defer tried()
	for ctx.Err() == nil {
		wait := ratioInterval
		err := b.work(ctx, &counted, &pruned)
		tried()
		switch {
		case err == nil && failing:
			failing = false
			b.log.Info("the database works again")
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, errNotOpen): // opened has said why
			failing, wait = true, reopenInterval
		default:
			if !failing {
				b.log.Warn("the database fails; what is to be kept waits in memory", zap.Error(err))
			}
			failing, wait = true, rewriteAfter
		}
		wake := b.wake
		if err != nil {
			wake = nil // there is more to write all the time; it waits
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-b.after(wait):
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := b.flush(last); err != nil && !errors.Is(err, errNotOpen) {
		b.log.Warn("the last health probes were not kept", zap.Error(err))
	}
	return nil
}

func (b *books) work(ctx context.Context, counted, pruned *time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := b.opened(ctx); err != nil {
		return err
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	now := b.now()
	if now.Sub(*counted) >= ratioInterval {
		if err := b.count(ctx, now); err != nil {
			return err
		}
		*counted = now
	}
	if now.Sub(*pruned) >= pruneInterval {
		db, err := b.store()
		if err != nil {
			return err
		}
		if _, err := db.PruneProbes(ctx, now.Add(-b.retention)); err != nil {
			return err
		}
		if err := db.PruneWebhooks(ctx, now.Add(-webhooksKept)); err != nil {
			return err
		}
		*pruned = now
	}
	return nil
}

// opened opens the database unless it is.
func (b *books) opened(ctx context.Context) error {
	if _, err := b.store(); err == nil {
		return nil
	}
	db, err := b.open(ctx)
	if err != nil {
		if now := b.now(); err.Error() != b.said || now.Sub(b.saidAt) >= sayAgain {
			b.said, b.saidAt = err.Error(), now
			b.log.Error("no database: levels and alerts go on, outcomes are kept in memory until it can be opened", zap.Error(err))
		}
		return errNotOpen
	}
	b.mu.Lock()
	b.db = db
	b.mu.Unlock()
	b.whenOpen(ctx)
	return nil
}

// flush writes what waits, and keeps what could not be written.
func (b *books) flush(ctx context.Context) error {
	db, err := b.store()
	if err != nil {
		return err
	}
	return errors.Join(b.flushHandoffs(ctx, db), b.flushProbes(ctx, db), b.flushNames(ctx, db))
}

func (b *books) flushHandoffs(ctx context.Context, db *store.Store) error {
	b.mu.Lock()
	writing, syncedTo := b.handoffs, b.syncedTo
	b.handoffs = map[int64]monitor.Handoff{}
	b.mu.Unlock()
	if len(writing) == 0 {
		b.ledger.Synced(syncedTo)
		return nil
	}
	var keep []store.Handoff
	var forget []int64
	for id, h := range writing {
		if h.PendingAt.IsZero() && h.HandedAt.IsZero() {
			forget = append(forget, id)
		} else {
			keep = append(keep, store.Handoff(h))
		}
	}
	err := db.SaveHandoffs(ctx, keep, forget)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		maps.Copy(writing, b.handoffs) // what came meanwhile is newer
		b.handoffs = writing
		return err
	}
	b.ledger.Synced(syncedTo)
	return nil
}

func (b *books) flushProbes(ctx context.Context, db *store.Store) error {
	b.mu.Lock()
	writing := b.probes
	b.probes = nil
	b.mu.Unlock()
	if len(writing) == 0 {
		return nil
	}
	// Only now, because at the start the windows are in a database that is not
	// open yet.
	for i := range writing {
		writing[i].Maintenance = b.inMaintenance(writing[i].StartedAt)
	}
	err := db.RecordProbes(ctx, writing)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.probes = newest(append(writing, b.probes...))
	}
	return err
}

// flushNames writes what is kept in one copy: the newest replaces the rest.
func (b *books) flushNames(ctx context.Context, db *store.Store) error {
	b.mu.Lock()
	inboxes, session := b.inboxes, b.session
	b.inboxes, b.session = nil, nil
	b.mu.Unlock()
	var err error
	if len(inboxes) > 0 {
		err = db.SaveInboxes(ctx, inboxes)
	}
	if session != nil {
		err = errors.Join(err, db.SaveWidgetSession(ctx, *session))
	}
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.inboxes == nil {
			b.inboxes = inboxes
		}
		if b.session == nil {
			b.session = session
		}
	}
	return err
}

// count reads how many probes succeeded in each window of the ledger.
func (b *books) count(ctx context.Context, now time.Time) error {
	db, err := b.store()
	if err != nil {
		return err
	}
	var instants []time.Time // longest window first
	for _, w := range slices.Backward(ledger.Windows[:]) {
		instants = append(instants, now.Add(-w.Length))
	}
	parts, err := db.ProbeCounts(ctx, append(instants, now))
	if err != nil {
		return err
	}
	counts := map[string]map[string]store.ProbeCounts{}
	sum := map[string]store.ProbeCounts{}
	for i, w := range ledger.Windows { // shortest first: each adds a part
		for probe, c := range parts[len(parts)-1-i] {
			sum[probe] = sum[probe].Plus(c)
		}
		counts[w.Name] = maps.Clone(sum)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts = counts
	return nil
}

// successRatio returns what count found, if it did.
func (b *books) successRatio(probe, window string) (ratio float64, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts[window][probe].SuccessRatio(), b.counts != nil
}

// onceTried runs a part of the daemon after the first attempt to open the
// database, so that it does not complain about the moment before.
func (b *books) onceTried(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-b.tried:
		case <-ctx.Done():
		}
		return run(ctx)
	}
}

// savedSession returns the widget's session of an earlier process, or nothing.
func (b *books) savedSession(ctx context.Context) string {
	select {
	case <-b.tried:
	case <-ctx.Done():
		return ""
	}
	db, err := b.store()
	if err != nil {
		return ""
	}
	session, err := db.WidgetSession(ctx)
	if err != nil {
		return "" // the store has counted it
	}
	return session
}

// close closes the database. Nothing may use it any more.
func (b *books) close() error {
	db, err := b.store()
	if err != nil {
		return nil
	}
	return db.Close()
}
