package app_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/checkup"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// checklists returns the files that hold one.
func checklists(t *testing.T, d *apptest.Daemon) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.Artifacts, "ops", "checklists/checklist-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// kept reports whether something holds of the database of a daemon, once it has
// one.
func kept(t *testing.T, d *apptest.Daemon, holds func(*store.Reader) (bool, error)) bool {
	t.Helper()
	db, err := store.OpenReader(t.Context(), store.Options{DataDir: d.Config.DataDir})
	if err != nil {
		return false
	}
	ok, err := holds(db)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return ok
}

// recorded waits until it is recorded that conversations were read after an
// instant.
func recorded(t *testing.T, d *apptest.Daemon, after time.Time) {
	t.Helper()
	eventually(t, "what was read is recorded", func() bool {
		return kept(t, d, func(db *store.Reader) (bool, error) {
			synced, err := db.SyncedTo(t.Context())
			return synced.After(after), err
		})
	})
}

// window opens maintenance when the daemon has begun its ledger.
func window(t *testing.T, d *apptest.Daemon, length time.Duration) app.MaintenanceWindow {
	t.Helper()
	eventually(t, "the ledger has begun", func() bool {
		return kept(t, d, func(db *store.Reader) (bool, error) {
			from, err := db.LedgerFrom(t.Context())
			return !from.IsZero(), err
		})
	})
	now := d.Now()
	w, err := app.StartMaintenance(t.Context(), d.Config, app.MaintenanceWindow{Start: now, End: now.Add(length), Reason: "upgrade"}, now)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The window of this morning is none of a monitor's that is installed after it;
// the next one is.
func TestAWindowBeforeTheMonitorLeavesNothingToExamine(t *testing.T) {
	nine := time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC)
	d := apptest.StartFast(t, nine, 30)
	d.Await("/api/v1/status", `"synced_at"`)
	eventually(t, "there was time enough for a checklist", func() bool { return d.Now().Sub(nine) > 2*time.Minute })
	w := window(t, d, time.Minute)
	eventually(t, "the checklist of that window", func() bool { return len(checklists(t, d)) > 0 })
	var list checkup.List
	if err := json.Unmarshal([]byte(evidence(t, d, "checklists/checklist-*.json")), &list); err != nil || !list.Passed || list.At.Before(w.End) {
		t.Errorf("after the window until %v there is %+v (%v)", w.End, list, err)
	}
}

// restarted is a daemon that was stopped in maintenance and starts again when
// that is over, while no conversation can be read.
func restarted(t *testing.T) (d *apptest.Daemon, heal func()) {
	t.Helper()
	d = quick(t)
	w := window(t, d, time.Minute)
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	heal = d.Sim.Inject(chatwootsim.Fault{Path: "/conversations", Kind: chatwootsim.FaultStatus, Status: 503})
	eventually(t, "the window is long over", func() bool { return d.Now().Sub(w.End) > time.Minute })
	return d.Again(), heal
}

func TestTheChecklistWaitsForTheFirstReadingAfterARestart(t *testing.T) {
	d, heal := restarted(t)
	began := d.Now()
	d.Await("/api/v1/status", `"problem"`)
	eventually(t, "a minute passes", func() bool { return d.Now().Sub(began) > time.Minute })
	if files := checklists(t, d); len(files) > 0 {
		t.Errorf("before anything was read, there is %v", files)
	}
	heal()
	eventually(t, "the checklist", func() bool { return len(checklists(t, d)) > 0 })
	if list := evidence(t, d, "checklists/checklist-*.json"); !strings.Contains(list, `"passed": true`) || !strings.Contains(list, "conversations were last read ") {
		t.Errorf("the checklist:\n%s", list)
	}
}

func TestTheChecklistDoesNotWaitForAReadingThatFailsAndFails(t *testing.T) {
	d, _ := restarted(t)
	d.Await("/metrics", `chatwoot_sla_checklist_failed\{item="monitoring"\} 1`)
	list := evidence(t, d, "checklists/checklist-*.json")
	for _, want := range []string{`"passed": false`, "conversations have not been read yet", "chatwoot-sla serve"} {
		if !strings.Contains(list, want) {
			t.Errorf("the checklist lacks %q:\n%s", want, list)
		}
	}
}

// found runs the checklist beside the daemon, and returns an item of it.
func found(t *testing.T, d *apptest.Daemon, name string) checkup.Item {
	t.Helper()
	list, err := app.Checklist(t.Context(), app.Options{Config: d.Config, Now: d.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list.Items {
		if i.Name == name {
			return i
		}
	}
	t.Fatalf("no item %q in %+v", name, list)
	return checkup.Item{}
}

func TestTheChecklistJudgesWhatWaits(t *testing.T) {
	c := newConsumer(t)
	d := listening(t, append(c.settings(), "MAINTENANCE_RRULE=off")...)
	d.Await("/api/v1/status", `"synced_at"`)
	d.Await("/metrics", `chatwoot_sla_maintenance_active 0`)
	now := time.Now()
	w := app.MaintenanceWindow{Start: now, End: now.Add(time.Hour), Reason: "upgrade"}
	if _, err := app.StartMaintenance(t.Context(), d.Config, w, now); err != nil {
		t.Fatal(err)
	}
	d.Await("/metrics", `(?s)\nchatwoot_sla_maintenance_active 1\n.*\nchatwoot_sla_queue_paused 1\n`)
	for range 20 {
		d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], "Hello?")
	}
	d.Await("/metrics", `chatwoot_sla_queue_jobs\{queue="forward",state="ready"\} 20`)
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", databaseOf(d.Config.DataDir))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	change := func(statement string) {
		t.Helper()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when string, verdict checkup.Verdict, words ...string) {
		t.Helper()
		item := found(t, d, "webhooks")
		if item.Verdict != verdict || (item.Fix == "") == (verdict == checkup.Failed) {
			t.Errorf("%s: %+v, want it %s", when, item, verdict)
		}
		for _, want := range words {
			if !strings.Contains(item.Evidence, want) {
				t.Errorf("%s: %q lacks %q", when, item.Evidence, want)
			}
		}
	}
	change(`DELETE FROM river_job WHERE queue <> 'forward'`)
	change(`UPDATE river_job SET scheduled_at = datetime('now', '-10 minutes')`)
	expect("in maintenance", checkup.Skipped, "jobs wait for the end of maintenance at ", "ready: 20")

	if _, _, err := app.StopMaintenance(t.Context(), d.Config, 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	expect("nobody works them", checkup.Failed, "ready: 20, wait to be tried again: 0, worked on: 0; the oldest has been due for 10m", "nobody works the stage forward")
	change(`UPDATE river_job SET state = 'running', attempted_at = datetime('now', '-10 minutes') WHERE id = (SELECT MIN(id) FROM river_job)`)
	expect("one was in hand when the daemon was killed", checkup.Failed, "worked on: 1", "nobody works the stage forward")
	change(`UPDATE river_job SET state = 'completed', attempted_at = datetime('now'), finalized_at = datetime('now') WHERE id = (SELECT MIN(id) FROM river_job)`)
	expect("one was done just now", checkup.OK, "ready: 19")

	change(`UPDATE river_job SET state = 'retryable', scheduled_at = datetime('now', '+10 minutes') WHERE state = 'available'`)
	expect("some wait for another try", checkup.OK, "ready: 0, wait to be tried again: 19, worked on: 0")
	const double = `INSERT INTO river_job (args, attempt, created_at, finalized_at, kind, max_attempts, metadata, priority, queue, state, scheduled_at, tags)
		SELECT args, attempt, created_at, finalized_at, kind, max_attempts, metadata, priority, queue, state, scheduled_at, tags FROM river_job`
	change(double)
	change(double)
	expect("many wait for another try", checkup.Failed, "wait to be tried again: 76")
	change(`UPDATE river_job SET state = 'cancelled', scheduled_at = datetime('now', '-1 day'), finalized_at = datetime('now')`)
	expect("there are only dead letters", checkup.OK, "ready: 0, wait to be tried again: 0, worked on: 0")

	d.Config.WebhookForwardURL = ""
	change(`UPDATE river_job SET state = 'available', finalized_at = NULL, attempted_at = NULL`)
	expect("all are of a stage that is not configured any more", checkup.OK, "ready: 0")
}

// What prolongs a window may be known only when that is over and examined.
func TestAWindowThatIsProlongedAfterItsEndHasAnotherChecklist(t *testing.T) {
	d := quick(t)
	d.Await("/api/v1/status", `"synced_at"`)
	w := window(t, d, time.Minute)
	eventually(t, "the first checklist", func() bool { return len(checklists(t, d)) == 1 })
	d.Await("/metrics", `chatwoot_sla_checklist_failed\{item="health"\} 0`)

	d.Sim.Inject(chatwootsim.Fault{Path: "/health", Kind: chatwootsim.FaultStatus, Status: 503})
	more := app.MaintenanceWindow{Start: w.End, End: d.Now().Add(time.Minute), Reason: "it goes on"}
	if _, err := app.StartMaintenance(t.Context(), d.Config, more, w.End); err != nil {
		t.Fatal(err)
	}
	d.Await("/metrics", `chatwoot_sla_checklist_failed\{item="health"\} 1`)
	if files := checklists(t, d); len(files) != 2 {
		t.Errorf("the checklists are %v, want two", files)
	}
}

func TestTheChecklistComparesTheVersionThatWasLastHeardOf(t *testing.T) {
	d := quick(t)
	d.Await("/metrics", up)
	heal := d.Sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 503})
	d.Await("/metrics", `chatwoot_sla_probe_success\{probe="rails_health"\} 0`)
	w := window(t, d, time.Hour)
	eventually(t, "how things are is noted", func() bool {
		return kept(t, d, func(db *store.Reader) (bool, error) {
			c, err := db.Checklist(t.Context(), w.Start)
			return c.Baseline != "", err
		})
	})
	if _, _, err := app.StopMaintenance(t.Context(), d.Config, 0, d.Now()); err != nil {
		t.Fatal(err)
	}
	d.Await("/metrics", `chatwoot_sla_checklist_failed\{item="health"\} 1`)
	if list := evidence(t, d, "checklists/checklist-*.json"); !strings.Contains(list, "; Chatwoot was "+string(chatwootsim.V415)+", and does not tell its version now") {
		t.Errorf("of Chatwoot that is down:\n%s", list)
	}
	heal()
	d.Await("/metrics", up)
	if item := found(t, d, "changes"); item.Verdict != checkup.OK || !strings.Contains(item.Evidence, "; Chatwoot is still "+string(chatwootsim.V415)) {
		t.Errorf("of Chatwoot that is back: %+v", item)
	}
}

func TestTheChecklistSaysThatNoVersionWasKnown(t *testing.T) {
	d := quick(t)
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	heal := d.Sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 503})
	d = d.Again()
	w := window(t, d, 4*time.Minute)
	eventually(t, "the window is over", func() bool { return d.Now().After(w.End) })
	heal()
	eventually(t, "the checklist", func() bool { return len(checklists(t, d)) > 0 })
	if list := evidence(t, d, "checklists/checklist-*.json"); !strings.Contains(list, "; Chatwoot's version was not known when the window began") {
		t.Errorf("the checklist:\n%s", list)
	}
}

// Whoever waits for a table of Postgres waits for as long as another has it.
func TestADatabaseThatHangsDoesNotKeepWorkFromPausing(t *testing.T) {
	url := pgtest.Database(t)
	d := apptest.Start(t, "DATABASE_URL="+url, "MAINTENANCE_RRULE=off")
	d.Await("/metrics", `chatwoot_sla_maintenance_active 0`)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var tx *sql.Tx
	eventually(t, "the table can be locked", func() bool {
		if tx, err = db.Begin(); err != nil {
			t.Fatal(err)
		}
		if _, err = tx.Exec(`LOCK TABLE ` + store.Schema + `.checklists IN ACCESS EXCLUSIVE MODE`); err != nil {
			_ = tx.Rollback()
		}
		return err == nil
	})
	open := func(from, to time.Duration) {
		t.Helper()
		start := time.Now().Add(from)
		if _, err := app.StartMaintenance(t.Context(), d.Config, app.MaintenanceWindow{Start: start, End: time.Now().Add(to), Reason: "upgrade"}, start); err != nil {
			t.Fatal(err)
		}
	}
	open(-2*time.Hour, -time.Hour)
	d.Await("/metrics", `chatwoot_sla_maintenance_last_end_timestamp_seconds [1-9]`)
	eventually(t, "it waits for the checklist of that window", func() bool {
		var n int
		if err := db.QueryRow(`SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = '` + store.Schema + `.checklists'::regclass`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
	open(0, time.Hour)
	d.Await("/metrics", `(?s)\nchatwoot_sla_maintenance_active 1\n.*\nchatwoot_sla_queue_paused 1\n`)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
}

func TestTheChecklistFailsWhenNobodyReadsConversations(t *testing.T) {
	d := apptest.Start(t, "MAINTENANCE_RRULE=off")
	recorded(t, d, time.Time{})
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	for passed, want := range map[time.Duration]checkup.Verdict{0: checkup.OK, 20 * time.Minute: checkup.Failed} {
		list, err := app.Checklist(t.Context(), app.Options{Config: d.Config, Now: func() time.Time { return time.Now().Add(passed) }})
		if err != nil {
			t.Fatal(err)
		}
		if item := list.Items[3]; item.Verdict != want || !strings.HasPrefix(item.Evidence, "conversations were last read and recorded ") {
			t.Errorf("after %v: %+v, want it %s", passed, item, want)
		}
	}
}

func TestTheChecklistFailsWhenTheApprovalQueueIsDeep(t *testing.T) {
	d := apptest.StartDrafting(t, "MAINTENANCE_RRULE=off")
	if item := found(t, d.Daemon, "approvals"); item.Verdict != checkup.OK || item.Evidence != "0 drafts wait for approval, 25 are the limit" {
		t.Errorf("of none: %+v", item)
	}
	for range 26 {
		opens(d, "Where is my parcel?")
	}
	eventually(t, "26 drafts are too many", func() bool {
		item := found(t, d.Daemon, "approvals")
		return item.Verdict == checkup.Failed && item.Evidence == "26 drafts wait for approval, 25 are the limit"
	})
}
