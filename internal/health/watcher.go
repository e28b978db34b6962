package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Defaults of a Watcher.
const (
	DefaultInterval         = time.Minute
	DefaultRepeatAfter      = 10 * time.Second
	DefaultEvidenceInterval = 15 * time.Minute

	pruneInterval = 24 * time.Hour
)

// WatcherOptions configures a Watcher. Only Checker is required.
type WatcherOptions struct {
	Checker     *Checker
	Interval    time.Duration // between the starts of two checks; 0 means DefaultInterval
	RepeatAfter time.Duration // from the end of a check to the repeat of what failed in it; 0 means DefaultRepeatAfter

	Now   func() time.Time
	After func(time.Duration) <-chan time.Time

	Evidence         *Evidence     // nil: no files are written
	EvidenceInterval time.Duration // 0 means DefaultEvidenceInterval

	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: the metrics are not exported

	// Observe is given every single result, repeats included, from the
	// goroutine that runs Run. While it blocks nothing is probed.
	Observe func(Result)

	// InMaintenance reports whether an instant lies in a maintenance window;
	// nil means never.
	InMaintenance func(time.Time) bool
}

// ProbeState is how a probe stands, with single failures smoothed away: it
// turns bad on the second failure in a row, and good on the first success.
type ProbeState struct {
	Success             bool
	Known               bool      // false until the first success or the second failure in a row
	Since               time.Time // start of the result that Success dates from; when bad, of the first failure in the row
	ConsecutiveFailures int
}

// track is a ProbeState with what its next step needs.
type track struct {
	ProbeState
	firstFailure time.Time // start of the first failure in the row
}

// change is what one more result did to a ProbeState.
type change uint8

const (
	unchanged  change = iota
	appeared          // first success
	stumbled          // first failure in a row
	wentDown          // second failure in a row
	recovered         // success after failures
	stillFails        // third failure in a row, or later
)

// next returns the track after one more result, and what that changed.
func (t track) next(r Result) (track, change) {
	if r.Success {
		failed, known := t.ConsecutiveFailures > 0, t.Known
		t.ConsecutiveFailures = 0
		if !t.Known || !t.Success {
			t.Success, t.Known, t.Since = true, true, r.Started
		}
		switch {
		case failed:
			return t, recovered
		case !known:
			return t, appeared
		}
		return t, unchanged
	}
	t.ConsecutiveFailures++
	switch t.ConsecutiveFailures {
	case 1:
		t.firstFailure = r.Started
		return t, stumbled
	case 2:
		t.Success, t.Known, t.Since = false, true, t.firstFailure
		return t, wentDown
	}
	return t, stillFails
}

// Watcher checks again and again, and says how things stand. Its methods may
// be called from several goroutines, Run from one and once.
type Watcher struct {
	checker          *Checker
	interval         time.Duration
	repeatAfter      time.Duration
	evidenceInterval time.Duration
	now              func() time.Time
	after            func(time.Duration) <-chan time.Time
	evidence         *Evidence
	log              *zap.Logger
	observe          func(Result)
	inMaintenance    func(time.Time) bool
	metrics          *metrics

	// Of the goroutine in Run alone.
	evidenceDue time.Time
	pruneDue    time.Time
	unwritable  map[string]bool // kinds of evidence whose last write failed

	mu          sync.RWMutex
	latest      Report
	checked     bool
	tracks      map[string]track
	version     string    // last one heard
	path        string    // of the last platform health answer
	lastWritten time.Time // of a check's evidence
}

// NewWatcher returns a Watcher whose metrics are registered, or an error that
// names what the options lack.
func NewWatcher(o WatcherOptions) (*Watcher, error) {
	if o.Checker == nil {
		return nil, errors.New("new health watcher: there is no checker; give one")
	}
	for name, d := range map[string]*time.Duration{
		"Interval": &o.Interval, "RepeatAfter": &o.RepeatAfter, "EvidenceInterval": &o.EvidenceInterval,
	} {
		if *d < 0 {
			return nil, fmt.Errorf("new health watcher: %s %v is negative; leave it 0 for the default", name, *d)
		}
	}
	w := &Watcher{
		checker:          o.Checker,
		interval:         orDefault(o.Interval, DefaultInterval),
		repeatAfter:      orDefault(o.RepeatAfter, DefaultRepeatAfter),
		evidenceInterval: orDefault(o.EvidenceInterval, DefaultEvidenceInterval),
		now:              o.Now,
		after:            o.After,
		evidence:         o.Evidence,
		log:              o.Logger,
		observe:          o.Observe,
		inMaintenance:    o.InMaintenance,
		unwritable:       make(map[string]bool),
		tracks:           make(map[string]track),
	}
	if w.now == nil {
		w.now = time.Now
	}
	if w.after == nil {
		w.after = time.After
	}
	if w.log == nil {
		w.log = zap.NewNop()
	}
	if w.observe == nil {
		w.observe = func(Result) {}
	}
	if w.inMaintenance == nil {
		w.inMaintenance = func(time.Time) bool { return false }
	}
	w.metrics = newMetrics(o.Checker.probes)
	if o.Registerer != nil {
		if err := o.Registerer.Register(collector{w}); err != nil {
			return nil, fmt.Errorf("register health metrics: %w; use one registry for each watcher", err)
		}
	}
	return w, nil
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// Run checks at once and then every interval, until ctx ends; it then returns
// nil. A check that ctx cuts short leaves no trace.
func (w *Watcher) Run(ctx context.Context) error {
	for due := w.now(); ; {
		report := w.checker.Check(ctx)
		if ctx.Err() != nil {
			return nil
		}
		w.file(due, w.record(report))

		next := due.Add(w.interval)
		failed := report.failed()
		if len(failed) > 0 && w.now().Add(w.repeatAfter).Before(next) { // otherwise the next check is the repeat
			if !w.sleep(ctx, w.repeatAfter) {
				return nil
			}
			repeat := w.checker.recheck(ctx, failed)
			if ctx.Err() != nil {
				return nil
			}
			w.file(due, w.record(repeat))
		}

		due = next
		if now := w.now(); due.Before(now) {
			due = now
		}
		if !w.sleep(ctx, due.Sub(w.now())) {
			return nil
		}
	}
}

// sleep reports whether d passed before ctx ended.
func (w *Watcher) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-w.after(d):
		return ctx.Err() == nil
	}
}

// Latest returns the newest result of every probe, and false before there is
// any.
func (w *Watcher) Latest() (Report, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.latest, w.checked
}

// State returns how a probe stands. It is zero for a probe that has no result.
func (w *Watcher) State(probe string) ProbeState {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.tracks[probe].ProbeState
}

// Version returns the last version of Chatwoot that was heard of; empty: none
// was. It stays while Chatwoot is away.
func (w *Watcher) Version() string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.version
}

// step is one more result of a probe and what it did.
type step struct {
	result   Result
	previous Result // zero for the first
	state    ProbeState
	change   change
}

// record takes note of r and reports whether a failure began, was confirmed or
// ended in it.
func (w *Watcher) record(r Report) (turn bool) {
	for _, s := range w.advance(r) {
		w.metrics.count(s.result, w.inMaintenance(s.result.Started))
		w.logStep(s)
		w.observe(s.result)
		if s.change == stumbled || s.change == wentDown || s.change == recovered {
			turn = true
		}
	}
	return turn
}

func (w *Watcher) advance(r Report) []step {
	w.mu.Lock()
	defer w.mu.Unlock()
	steps := make([]step, 0, len(r.Results))
	for _, res := range r.Results {
		s := step{result: res}
		for _, previous := range w.latest.Results {
			if previous.Probe == res.Probe {
				s.previous = previous
			}
		}
		t, what := w.tracks[res.Probe].next(res)
		w.tracks[res.Probe] = t
		s.state, s.change = t.ProbeState, what
		steps = append(steps, s)

		if res.Version != "" {
			w.version = res.Version
		}
		if res.Probe == RailsHealth && res.Status != 0 && res.Endpoint != "" {
			w.path = res.Endpoint
		}
	}
	if w.checked {
		r = w.latest.with(r)
	}
	w.latest, w.checked = r, true
	return steps
}

func (w *Watcher) logStep(s step) {
	res := s.result
	log := w.log.With(zap.String("probe", res.Probe), zap.Int("status", res.Status),
		zap.Duration("duration", res.Duration), zap.String("path", res.Endpoint))
	if !res.Success {
		log = log.With(zap.String("reason", res.Reason), zap.String("error", res.Error),
			zap.Int("consecutive_failures", s.state.ConsecutiveFailures))
	}
	advice := zap.String("what_to_do", res.Advice())
	switch s.change {
	case appeared:
		log.Info("probe passes")
	case recovered:
		log.Info("probe recovered")
	case stumbled:
		log.Warn("probe failed once", advice)
	case wentDown:
		log.Warn("probe is down", advice, zap.Time("since", s.state.Since))
	case stillFails:
		// The same again is nothing new for whoever reads; another cause is.
		if res.Reason != s.previous.Reason || res.Status != s.previous.Status {
			log.Warn("probe is down for another reason", advice)
			return
		}
		log.Debug("probe is still down")
	default:
		log.Debug("probe passes")
	}
}

// file writes evidence of the latest report when a turn asks for it or the
// interval is over at due, and prunes once a day.
func (w *Watcher) file(due time.Time, turn bool) {
	if w.evidence == nil {
		return
	}
	onTime := !due.Before(w.evidenceDue)
	if !turn && !onTime {
		return
	}
	if onTime {
		w.evidenceDue = due.Add(w.evidenceInterval)
	}
	latest, _ := w.Latest()
	_, checkErr, dailyErr := w.evidence.write(latest)
	w.note(kindCheck, checkErr)
	w.note(kindDaily, dailyErr)
	if checkErr == nil {
		w.mu.Lock()
		w.lastWritten = w.now()
		w.mu.Unlock()
	}
	if due.Before(w.pruneDue) {
		return
	}
	w.pruneDue = due.Add(pruneInterval)
	removed, err := w.evidence.Prune()
	if err != nil {
		w.log.Warn("old evidence stays", zap.Error(err))
	}
	if removed > 0 {
		w.log.Info("old evidence removed", zap.Int("files", removed))
	}
}

// note counts a write of evidence, and logs when writing stops or starts
// working.
func (w *Watcher) note(kind string, err error) {
	w.metrics.wrote(kind, err)
	if was := w.unwritable[kind]; was == (err != nil) {
		return
	}
	w.unwritable[kind] = err != nil
	if err != nil {
		w.log.Warn("evidence is not written", zap.String("kind", kind), zap.Error(err))
		return
	}
	w.log.Info("evidence is written again", zap.String("kind", kind))
}
