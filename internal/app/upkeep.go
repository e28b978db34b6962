package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/checkup"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

const (
	// upkeepInterval is how soon a window that was opened or stopped from the
	// command line is noticed.
	upkeepInterval = 5 * time.Second

	// recovery is what Chatwoot and the monitor have after a window, or this
	// process after its start, to find to work before the checklist is run.
	recovery = 30 * time.Second

	// firstReadingWithin is how long the checklist waits for a first reading of
	// all conversations that fails. One that goes well may take as long as it
	// takes.
	firstReadingWithin = 10 * time.Minute

	// checklistWithin is how long after a window that nobody saw end its
	// checklist is still worth running.
	checklistWithin = 24 * time.Hour

	// checklistAbandoned is when whoever runs a checklist is taken for dead.
	checklistAbandoned = 5 * time.Minute

	// windowsKept is how far back windows that were opened by hand are read.
	windowsKept = 40 * 24 * time.Hour
)

// upkeep knows when there is maintenance, and does what belongs to its
// beginning and its end.
type upkeep struct {
	schedule *maintenance.Schedule
	db       func() (*store.Store, error)
	tried    <-chan struct{} // closed after the first attempt to open the database
	run      func(context.Context, *store.Reader, maintenance.Window) checkup.List
	evidence *health.Evidence
	baseline func() baseline
	began    time.Time     // of this process
	backfill time.Duration // what the ledger has of the time before the installation
	now      func() time.Time
	after    func(time.Duration) <-chan time.Time
	log      *zap.Logger

	// picture says whether conversations have been read yet, and with what the
	// last attempt failed; empty: it did not.
	picture func() (read bool, problem string)

	// workers is told when the work that waits for maintenance has to pause, and
	// when it may go on.
	workers func(pause bool)

	mu     sync.RWMutex
	plan   maintenance.Plan
	known  bool // windows that were opened by hand have been read
	single []store.MaintenanceWindow
	failed []string // of the last checklist
}

// inMaintenance returns the window that t lies in.
func (u *upkeep) inMaintenance(t time.Time) (maintenance.Window, bool) {
	plan, _ := u.plans()
	return plan.Active(t)
}

func (u *upkeep) active(t time.Time) bool {
	_, active := u.inMaintenance(t)
	return active
}

// plans returns the plan, and whether windows that were opened by hand are part
// of it. Without a database they are not, and the rest has to do.
func (u *upkeep) plans() (plan maintenance.Plan, known bool) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.plan, u.known
}

// checklistFailed returns what did not pass after the last window.
func (u *upkeep) checklistFailed() []string {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.failed
}

// reason returns why there is a window, if it was opened by hand.
func (u *upkeep) reason(w maintenance.Window) string {
	u.mu.RLock()
	defer u.mu.RUnlock()
	var reasons []string
	for _, s := range u.single {
		if s.Start.Before(w.End) && w.Start.Before(s.End) {
			reasons = append(reasons, s.Reason)
		}
	}
	return strings.Join(reasons, "; ")
}

// watch notices windows that are opened, stopped and over, until ctx ends.
func (u *upkeep) watch(ctx context.Context) error {
	var paused bool
	var noted time.Time // the start of the window whose baseline is kept
	for ctx.Err() == nil {
		u.refresh(ctx)
		now := u.now()
		w, active := u.inMaintenance(now)
		if active != paused {
			paused = active
			if active {
				u.log.Info("maintenance begins", zap.Time("until", w.End), zap.String("reason", u.reason(w)))
			} else {
				u.log.Info("maintenance is over")
			}
			u.workers(active)
		}
		switch {
		case active && !w.Start.Equal(noted):
			if u.noteBaseline(ctx, w) {
				noted = w.Start
			}
		case !active:
			u.afterwards(ctx, now)
		}
		select {
		case <-ctx.Done():
		case <-u.after(upkeepInterval):
		}
	}
	return nil
}

// refresh reads the windows that were opened by hand. Those that are known stay
// when that fails.
func (u *upkeep) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	db, err := u.db()
	var single []store.MaintenanceWindow
	if err == nil {
		single, err = db.MaintenanceWindows(ctx, u.now().Add(-windowsKept))
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil { // the store has counted it
		select {
		case <-u.tried:
			u.known = true
		default:
		}
		return
	}
	windows := make([]maintenance.Window, len(single))
	for i, s := range single {
		windows[i] = maintenance.Window{Start: s.Start, End: s.End}
	}
	u.plan, u.known, u.single = maintenance.NewPlan(u.schedule, windows), true, single
}

// noteBaseline keeps how things are at the beginning of a window.
func (u *upkeep) noteBaseline(ctx context.Context, w maintenance.Window) bool {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	db, err := u.db()
	if err != nil {
		return false
	}
	b := u.baseline()
	if b.Version == "" && u.now().Sub(u.seen(w.Start)) < time.Minute {
		return false // it will be known after the first check
	}
	text, err := json.Marshal(b)
	if err != nil {
		u.log.Error("note how things are", zap.Error(err))
		return true
	}
	return db.NoteBaseline(ctx, w.Start, string(text)) == nil
}

// afterwards runs the checklist of the last window, once, however many
// processes watch. A monitor that was not there before the window ended has
// nothing to examine.
func (u *upkeep) afterwards(ctx context.Context, now time.Time) {
	plan, _ := u.plans()
	w, ok := plan.Ended(now)
	db, err := u.db()
	if !ok || err != nil || !u.claimed(ctx, db, w, now) {
		return
	}
	list := u.run(ctx, db.Reader, w)
	if ctx.Err() != nil {
		return // whoever comes next begins anew
	}
	saving, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := finishChecklist(saving, db, u.evidence, w, list); err != nil {
		u.log.Warn("the checklist was run, and is not all kept", zap.Error(err))
	}
	if list.Passed {
		u.log.Info("the checklist after maintenance passed")
	} else {
		u.log.Warn("the checklist after maintenance failed; run chatwoot-sla checklist when it is put right", zap.Strings("items", list.Failed()))
	}
}

// claimed takes note of what is known of a window's checklist, and reports
// whether it is due and this process is to run it.
func (u *upkeep) claimed(ctx context.Context, db *store.Store, w maintenance.Window, now time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	kept, err := db.Checklist(ctx, w.Start)
	if err != nil {
		return false
	}
	u.mu.Lock()
	u.failed = nil
	if kept.Failed != "" {
		u.failed = strings.Split(kept.Failed, ",")
	}
	u.mu.Unlock()
	done := !kept.DoneAt.Before(w.End) // otherwise the window was prolonged after its end
	if done || now.Sub(w.End) > checklistWithin || !u.ready(w, now) {
		return false
	}
	from, err := db.LedgerFrom(ctx)
	if err != nil || from.IsZero() || !from.Add(u.backfill).Before(w.End) {
		return false // there was no monitor then
	}
	mine, err := db.ClaimChecklist(ctx, w.Start, w.End, now, now.Add(-checklistAbandoned))
	return err == nil && mine
}

// ready reports whether enough is known to examine what a window has left.
func (u *upkeep) ready(w maintenance.Window, now time.Time) bool {
	read, problem := u.picture()
	waited := now.Sub(u.seen(w.End))
	return waited >= recovery && (read || problem != "" && waited >= firstReadingWithin)
}

// seen returns since when this process could have seen what began at an
// instant.
func (u *upkeep) seen(at time.Time) time.Time {
	if u.began.After(at) {
		return u.began
	}
	return at
}

// finishChecklist keeps a checklist as evidence, and its verdict.
func finishChecklist(ctx context.Context, db *store.Store, evidence *health.Evidence, w maintenance.Window, list checkup.List) error {
	err := evidence.Replace(health.ChecklistFolder+"/"+health.DatedName("checklist", list.At), list.WriteJSON)
	if db == nil || w == (maintenance.Window{}) {
		return err
	}
	if saved := db.FinishChecklist(ctx, w.Start, list.At, strings.Join(list.Failed(), ",")); saved != nil {
		return saved
	}
	return err
}

// baseline is how things are at the beginning of a window.
type baseline struct {
	At       time.Time          `json:"at"`
	Version  string             `json:"version"` // of Chatwoot; empty: not known
	Settings map[string]setting `json:"settings"`
}

// setting is one as it may be shown, and what changes with it.
type setting struct {
	Value string `json:"value"`
	Mark  string `json:"mark"`
}

func settingsOf(list []config.Setting) map[string]setting {
	all := map[string]setting{}
	for _, s := range list {
		all[s.Name] = setting{s.Value, s.Mark}
	}
	return all
}

// changes says what is different now, one piece of text for each.
func (b baseline) changes(now baseline) []string {
	var list []string
	if b.Version != "" && now.Version != "" && b.Version != now.Version {
		list = append(list, fmt.Sprintf("Chatwoot %s → %s", b.Version, now.Version))
	}
	for _, name := range sortedKeys(b.Settings, now.Settings) {
		was, is := b.Settings[name], now.Settings[name]
		switch {
		case was.Mark == is.Mark:
		case was.Value == is.Value:
			list = append(list, name+" has another value")
		default:
			list = append(list, fmt.Sprintf("%s %s → %s", name, orNothing(was.Value), orNothing(is.Value)))
		}
	}
	return list
}

func orNothing(text string) string {
	if text == "" {
		return "(nothing)"
	}
	return text
}
