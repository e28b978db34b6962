package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/checkup"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// The items of the checklist after maintenance, in the order of the runbook.
const (
	itemHealth     = "health"
	itemWebhooks   = "webhooks"
	itemApprovals  = "approvals"
	itemMonitoring = "monitoring"
	itemChanges    = "changes"
)

func checklistItems() []string {
	return []string{itemHealth, itemWebhooks, itemApprovals, itemMonitoring, itemChanges}
}

// measure says what was found, and whether it is as it should be. Fix says what
// to do otherwise.
type measure func(context.Context, *store.Reader) (found string, ok bool, fix string, err error)

// checklist is what its items are examined with.
type checklist struct {
	cfg     config.Config
	checker *health.Checker
	now     func() time.Time
	current func(version string) baseline

	// webhooks and approvals examine the queues. Nil: they are not configured.
	webhooks, approvals measure

	// lastRead is when this process last read conversations. Nil: another one
	// does, and the database tells.
	lastRead func() time.Time
}

// examine goes through the runbook's checklist. Without a database, and for the
// zero Window, the items that need them say so.
func (c checklist) examine(ctx context.Context, db *store.Reader, w maintenance.Window) checkup.List {
	checked, version := c.health(ctx)
	ctx, cancel := context.WithTimeout(ctx, storeTimeout) // the rest asks the database
	defer cancel()
	webhooks := c.queue(ctx, db, c.webhooks, itemWebhooks, "Webhook processing resumed")
	if webhooks.Verdict != checkup.Skipped && c.now().Before(w.End) {
		webhooks.Verdict, webhooks.Fix = checkup.Skipped, ""
		webhooks.Evidence = "jobs wait for the end of maintenance at " + w.End.UTC().Format("15:04 UTC") + "; " + webhooks.Evidence
	}
	return checkup.New(checkup.ChecklistSchema, "Checklist after maintenance", c.now(), []checkup.Item{
		checked,
		webhooks,
		c.queue(ctx, db, c.approvals, itemApprovals, "Approval queue backlog"),
		c.monitoring(ctx, db),
		c.changes(ctx, db, w, version),
	})
}

func (c checklist) health(ctx context.Context) (item checkup.Item, version string) {
	report := c.checker.Check(ctx)
	item = checkup.Item{Name: itemHealth, Title: "Full health check", Verdict: checkup.OK}
	var found, fixes []string
	for _, r := range report.Results {
		if r.Version != "" {
			version = r.Version
		}
		text := fmt.Sprintf("%s passed in %d ms", health.Title(r.Probe), r.Duration.Milliseconds())
		if !r.Success {
			text = health.Title(r.Probe) + ": " + r.Error
			if !r.Informational {
				item.Verdict = checkup.Failed
				fixes = append(fixes, r.Advice())
			}
		}
		found = append(found, text)
	}
	meaning, _ := health.Meaning(report.ExitCode())
	item.Evidence = fmt.Sprintf("exit code %d, %s. %s.", report.ExitCode(), strings.ToLower(meaning), strings.Join(found, "; "))
	item.Fix = strings.Join(slices.Compact(fixes), " ")
	return item, version
}

func (c checklist) queue(ctx context.Context, db *store.Reader, m measure, name, title string) checkup.Item {
	item := checkup.Item{Name: name, Title: title, Verdict: checkup.Skipped, Evidence: "not configured"}
	if m == nil {
		return item
	}
	if db == nil {
		item.Evidence = errNotOpen.Error()
		return item
	}
	found, ok, fix, err := m(ctx, db)
	switch {
	case err != nil:
		item.Verdict, item.Evidence, item.Fix = checkup.Failed, err.Error(), "Run the checklist again when the database works."
	case ok:
		item.Verdict, item.Evidence = checkup.OK, found
	default:
		item.Verdict, item.Evidence, item.Fix = checkup.Failed, found, fix
	}
	return item
}

func (c checklist) monitoring(ctx context.Context, db *store.Reader) checkup.Item {
	item := checkup.Item{
		Name: itemMonitoring, Title: "SLA monitoring active", Verdict: checkup.Failed,
		Fix: "Look whether chatwoot-sla serve runs, and at its log.",
	}
	if db == nil {
		item.Evidence = errNotOpen.Error()
		return item
	}
	var (
		read time.Time
		err  error
		did  = "read"
	)
	if c.lastRead != nil {
		read = c.lastRead()
	} else {
		read, err = db.SyncedTo(ctx)
		did = "read and recorded"
	}
	switch age := c.now().Sub(read); {
	case err != nil:
		item.Evidence = err.Error()
	case read.IsZero():
		item.Evidence = "conversations have not been read yet"
	default:
		item.Evidence = fmt.Sprintf("conversations were last %s %v ago", did, max(age, 0).Truncate(time.Second))
		if age <= max(5*time.Minute, 3*c.cfg.PollInterval) {
			item.Verdict, item.Fix = checkup.OK, ""
		}
	}
	return item
}

func (c checklist) changes(ctx context.Context, db *store.Reader, w maintenance.Window, version string) checkup.Item {
	item := checkup.Item{Name: itemChanges, Title: "Changes since the window began", Verdict: checkup.Skipped}
	switch {
	case db == nil: // then it is not known either whether there was a window
		item.Evidence = errNotOpen.Error()
		return item
	case w == (maintenance.Window{}):
		item.Evidence = "there was no window yet"
		return item
	}
	kept, err := db.Checklist(ctx, w.Start)
	if err != nil {
		item.Verdict, item.Evidence, item.Fix = checkup.Failed, err.Error(), "Run the checklist again when the database works."
		return item
	}
	var was baseline
	if kept.Baseline == "" || json.Unmarshal([]byte(kept.Baseline), &was) != nil {
		item.Evidence = "nobody saw the window begin, so there is nothing to compare with"
		return item
	}
	item.Verdict = checkup.OK
	now := c.current(version)
	since := " since " + was.At.UTC().Format("2006-01-02 15:04 UTC")
	if changed := was.changes(now); len(changed) > 0 {
		item.Evidence = strings.Join(changed, "; ") + since
		item.Fix = "Write down why, where the team keeps such things."
	} else {
		item.Evidence = "no setting has changed" + since
	}
	switch {
	case was.Version == "":
		item.Evidence += "; Chatwoot's version was not known when the window began"
	case now.Version == "":
		item.Evidence += "; Chatwoot was " + was.Version + ", and does not tell its version now"
	case was.Version == now.Version:
		item.Evidence += "; Chatwoot is still " + now.Version
	}
	return item
}

// Checklist examines what the runbook asks for after maintenance, keeps it as
// evidence and, for the last window, as its verdict. The list is good when the
// error is not nil, too: then it is not all kept.
func Checklist(ctx context.Context, o Options) (list checkup.List, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	client, err := newClient(o.Config, o.Version, o.Now, nil)
	if err != nil {
		return list, err
	}
	defer client.Close()
	checker, err := newChecker(o.Config, client, nil, o.Now)
	if err != nil {
		return list, err
	}
	evidence, err := newEvidence(o.Config, o.Now)
	if err != nil {
		return list, err
	}
	schedule, err := maintenance.New(o.Config.MaintenanceRules, o.Config.MaintenanceDuration)
	if err != nil {
		return list, err
	}
	c := checklist{cfg: o.Config, checker: checker, now: o.Now, current: currentBaseline(o), webhooks: webhooksResumed(o.Config), approvals: approvalBacklog(o.Config)}

	db, opened := store.OpenBeside(ctx, storeOptions(o.Config, zap.NewNop(), nil))
	if opened != nil {
		list = c.examine(ctx, nil, maintenance.Window{})
		return list, errors.Join(opened, finishChecklist(ctx, nil, evidence, maintenance.Window{}, list))
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	w, err := lastWindow(ctx, db.Reader, schedule, o.Now())
	if err != nil {
		return list, err
	}
	list = c.examine(ctx, db.Reader, w)
	if o.Now().Before(w.End) {
		w = maintenance.Window{} // its verdict is not due yet
	}
	return list, finishChecklist(ctx, db, evidence, w, list)
}

// lastWindow returns the window that is under way, or else the last one.
func lastWindow(ctx context.Context, db *store.Reader, schedule *maintenance.Schedule, now time.Time) (maintenance.Window, error) {
	single, err := db.MaintenanceWindows(ctx, now.Add(-windowsKept))
	if err != nil {
		return maintenance.Window{}, err
	}
	windows := make([]maintenance.Window, len(single))
	for i, s := range single {
		windows[i] = maintenance.Window{Start: s.Start, End: s.End}
	}
	plan := maintenance.NewPlan(schedule, windows)
	w, ok := plan.Active(now)
	if !ok {
		w, _ = plan.Ended(now)
	}
	return w, nil
}

// currentBaseline returns how things are, but for Chatwoot's version.
func currentBaseline(o Options) func(version string) baseline {
	settings := settingsOf(o.Settings)
	return func(version string) baseline {
		return baseline{At: o.Now().UTC(), Version: version, Settings: settings}
	}
}

func sortedKeys(a, b map[string]setting) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]setting{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}
