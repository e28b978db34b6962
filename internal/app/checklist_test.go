package app_test

import (
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

// window opens maintenance that is over after a minute, when the daemon has
// begun its ledger.
func window(t *testing.T, d *apptest.Daemon) app.MaintenanceWindow {
	t.Helper()
	eventually(t, "the ledger has begun", func() bool {
		db, err := store.OpenReader(t.Context(), store.Options{DataDir: d.Config.DataDir})
		if err != nil {
			return false
		}
		began, err := db.LedgerBegan(t.Context())
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		return !began.IsZero()
	})
	now := d.Now()
	w, err := app.StartMaintenance(t.Context(), d.Config, app.MaintenanceWindow{Start: now, End: now.Add(time.Minute), Reason: "upgrade"}, now)
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
	w := window(t, d)
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
	d = quick(t, "MAINTENANCE_RRULE=off")
	w := window(t, d)
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
