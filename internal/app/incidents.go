package app

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// incidentInterval is how soon an incident follows what is known of the checks.
const incidentInterval = 5 * time.Second

// incidentsKept bounds those that wait for a database that is away.
const incidentsKept = 100

// checks are the health checks that incidents go by.
var checks = []struct {
	probe, name string
	exitCode    int
}{
	{health.RailsHealth, "platform health", health.ExitRailsHealth},
	{health.AuthenticatedAPI, "authenticated API", health.ExitAuthenticatedAPI},
}

// incidents follows the incident that is under way. The database has the truth,
// which several processes share; while it is away, memory has.
type incidents struct {
	db        func() (*store.Store, error)
	watcher   *health.Watcher
	plan      func() (maintenance.Plan, bool)
	evidence  *health.Evidence
	shared    bool          // others may watch the same Chatwoot
	freshness time.Duration // how long another's good probe counts
	statusURL string
	now       func() time.Time
	after     func(time.Duration) <-chan time.Time
	log       *zap.Logger

	// queue says whether webhooks are processed, but not since when.
	queue func() incident.Check

	// Of the goroutine in watch alone.
	webhooks incident.Check    // what was known of them in the last step
	unsaved  []unsavedIncident // ended while the database was away
	dirty    bool              // current has changed since it was read or saved
	kept     int               // entries of its timeline that are saved

	mu      sync.RWMutex
	current incident.Incident
	passed  map[string]time.Time // the last success of each probe, seen by this process
}

type unsavedIncident struct {
	incident incident.Incident
	kept     int
}

// Current returns the incident that is under way, or the last one that ended
// in this process's time, or the zero Incident.
func (n *incidents) Current() incident.Incident {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.current
}

// observe takes note of a probe's result.
func (n *incidents) observe(r health.Result) {
	if !r.Success {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.passed[r.Probe] = r.Started
}

// watch follows the checks until ctx ends.
func (n *incidents) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		n.step(ctx)
		select {
		case <-ctx.Done():
		case <-n.after(incidentInterval):
		}
	}
	return nil
}

func (n *incidents) step(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	n.save(ctx)
	n.reload(ctx)
	was, now := n.Current(), n.now()
	next, changed := was.Step(n.facts(ctx, now), now)
	if !changed || ctx.Err() != nil {
		return
	}
	if was.Open() != next.Open() || was.Level != next.Level {
		n.tell(was, next)
	}
	if !was.Open() {
		if n.dirty && len(n.unsaved) < incidentsKept {
			n.unsaved = append(n.unsaved, unsavedIncident{was, n.kept})
		}
		n.kept = 0
	}
	n.dirty = true
	n.set(next)
	n.save(ctx)
	n.file()
}

func (n *incidents) tell(was, next incident.Incident) {
	log := n.log.With(zap.Int("level", int(next.Level)), zap.Int("exit_code", next.ExitCode), zap.Strings("affected", next.Affected), zap.Time("started", next.Started))
	switch {
	case !next.Open():
		log.Info("incident is over", zap.Duration("duration", next.Ended.Sub(next.Started)))
	case !was.Open():
		log.Warn("incident begins; chatwoot-sla incident prints what to tell others")
	default:
		log.Warn("incident gets worse")
	}
}

func (n *incidents) set(i incident.Incident) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.current = i
}

// save keeps what has changed. What somebody else has changed meanwhile stays
// as they left it, and is read.
func (n *incidents) save(ctx context.Context) {
	db, err := n.db()
	if err != nil {
		return
	}
	for len(n.unsaved) > 0 {
		if _, err := db.SaveIncident(ctx, n.unsaved[0].incident, n.unsaved[0].kept); err != nil && !errors.Is(err, store.ErrChanged) {
			return
		}
		n.unsaved = slices.Delete(n.unsaved, 0, 1)
	}
	if !n.dirty {
		return
	}
	saved, err := db.SaveIncident(ctx, n.Current(), n.kept)
	switch {
	case err == nil:
		n.dirty, n.kept = false, len(saved.Timeline)
		n.set(saved)
	case errors.Is(err, store.ErrChanged):
		n.dirty = false
		n.reload(ctx)
	}
}

// reload takes over what others have changed: begun, ended, or added what they
// know.
func (n *incidents) reload(ctx context.Context) {
	db, err := n.db()
	if err != nil || n.dirty {
		return
	}
	next, err := db.OpenIncident(ctx)
	was := n.Current()
	if err == nil && was.Open() && was.ID != 0 && was.ID != next.ID {
		if ended, failed := db.Incident(ctx, was.ID); failed == nil {
			n.set(ended)
			n.file()
		}
	}
	if err != nil || !next.Open() && !n.Current().Open() {
		return
	}
	n.kept = len(next.Timeline)
	n.set(next)
	if was.ID != next.ID || len(was.Timeline) != len(next.Timeline) {
		n.file()
	}
}

// file keeps the incident as evidence, in its newest state.
func (n *incidents) file() {
	i := n.Current()
	if i.Started.IsZero() {
		return
	}
	name := health.IncidentFolder + "/" + health.DatedName("incident", i.Started)
	err := n.evidence.Replace(name, func(w io.Writer) error { return i.WriteJSON(w, n.now(), n.statusURL) })
	if err != nil {
		n.log.Warn("the evidence of an incident is not written", zap.Error(err))
	}
}

// facts are what is known of Chatwoot now.
func (n *incidents) facts(ctx context.Context, now time.Time) incident.Facts {
	plan, _ := n.plan()
	var f incident.Facts
	_, f.Maintenance = plan.Active(now)
	if w, ok := plan.Ended(now); ok {
		f.MaintenanceEnded = w.End
	}
	f.Webhooks = n.processed(now)
	latest, _ := n.watcher.Latest()
	for _, c := range checks {
		s := n.watcher.State(c.probe)
		check := incident.Check{Name: c.name, ExitCode: c.exitCode, Known: s.Known, Passes: s.Success, Since: s.Since}
		for _, r := range latest.Results {
			if r.Probe == c.probe {
				check.Problem = r.Error
			}
		}
		f.Checks = append(f.Checks, check)
	}
	if n.shared && (n.Current().Open() || slices.ContainsFunc(f.Checks, func(c incident.Check) bool { return c.Known && !c.Passes })) {
		n.agree(ctx, now, f.Checks)
	}
	return f
}

// processed is what is known of webhooks, and since when.
func (n *incidents) processed(now time.Time) incident.Check {
	c := n.queue()
	c.Since = now
	if was := n.webhooks; was.Known == c.Known && was.Passes == c.Passes && !was.Since.IsZero() {
		c.Since = was.Since
	}
	n.webhooks = c
	return c
}

// agree makes of the checks what all processes will say of them. One that fails
// here and passed elsewhere, after it last did here, is trouble between
// Chatwoot and here. One that passes here counts when the others can see it.
// Neither counts from before an incident began: there it is only about to fail,
// too.
func (n *incidents) agree(ctx context.Context, now time.Time, of []incident.Check) {
	db, err := n.db()
	if err != nil {
		return
	}
	last, err := db.LastSuccesses(ctx, now.Add(-n.freshness))
	if err != nil {
		return
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	for i, c := range checks {
		switch at := last[c.probe]; {
		case !of[i].Known:
		case of[i].Passes:
			of[i].Known = !at.Before(of[i].Since.Truncate(time.Microsecond)) && !at.Before(n.current.FailingSince)
		case at.After(n.passed[c.probe].Add(time.Millisecond)) && !at.Before(n.current.FailingSince):
			of[i].Passes, of[i].Since = true, at
		}
	}
}
