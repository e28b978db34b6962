package app_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/checkup"
	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// quick starts a daemon for which minutes pass in seconds.
func quick(t *testing.T, settings ...string) *apptest.Daemon {
	t.Helper()
	return apptest.StartFast(t, time.Now(), 30, settings...)
}

const up = `(?s)chatwoot_sla_probe_success\{probe="authenticated_api"\} 1.*chatwoot_sla_probe_success\{probe="rails_health"\} 1`

// evidence returns the only file of a folder below the artifacts.
func evidence(t *testing.T, d *apptest.Daemon, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.Artifacts, "ops", pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v (%v), want one", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A window is opened by hand while the daemon runs. Chatwoot fails in it, and is
// not back when it is over.
func TestMaintenanceByHand(t *testing.T) {
	d := quick(t, "MAINTENANCE_RRULE=off")
	d.Await("/metrics", `chatwoot_sla_maintenance_active 0`)
	d.Await("/metrics", up)

	w := app.MaintenanceWindow{Start: d.Now(), Reason: "upgrade of <Postgres>"}
	w.End = w.Start.Add(4 * time.Hour)
	if _, err := app.StartMaintenance(t.Context(), d.Config, w, d.Now()); err != nil {
		t.Fatal(err)
	}
	d.Await("/metrics", `chatwoot_sla_maintenance_active 1`)
	d.Await("/api/v1/status", `(?s)"maintenance": \{\s+"active": true,.*"reason": "upgrade of \\u003cPostgres`)
	d.Await("/", `<b>Maintenance</b> from [^<]+ UTC: upgrade of &lt;Postgres&gt;\. Chatwoot may fail; nobody is paged`)

	heal := d.Sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 503})
	d.Await("/metrics", `chatwoot_sla_probes_total\{maintenance="true",probe="rails_health",result="failure"\} ([2-9]|\d\d)`)
	d.Await("/metrics", `chatwoot_sla_probe_success\{probe="rails_health"\} 0`)
	// The ratio of the store is counted once a minute.
	d.Await("/metrics", `chatwoot_sla_probe_success_ratio\{probe="rails_health",window="1h"\} 1`)
	if got := d.Get("/metrics"); !strings.Contains(got, `chatwoot_sla_incident_active{level="2"} 0`) || strings.Contains(got, `{maintenance="false",probe="rails_health",result="failure"} 1`) {
		t.Errorf("a failure in maintenance counts:\n%s", got)
	}

	stopped, until, err := app.StopMaintenance(t.Context(), d.Config, 0, d.Now())
	if err != nil || len(stopped) != 1 || !until.IsZero() {
		t.Fatalf("stopped %v (%v), until %v", stopped, err, until)
	}
	d.Await("/metrics", `(?s)chatwoot_sla_incident_active\{level="2"\} 1.*chatwoot_sla_maintenance_active 0.*chatwoot_sla_maintenance_overrun 1`)
	d.Await("/metrics", `chatwoot_sla_checklist_failed\{item="health"\} 1`)
	list := evidence(t, d, "checklists/checklist-*.json")
	for _, want := range []string{`"schema": "chatwoot-sla/checklist/v1"`, `"passed": false`, "exit code 4, all checks failed", "no setting has changed since", `"evidence": "not configured"`} {
		if !strings.Contains(list, want) {
			t.Errorf("the checklist lacks %q:\n%s", want, list)
		}
	}
	d.Await("/", `Incident of level 2 for [^<]+<`)

	heal()
	recorded(t, d, d.Now())
	d.Await("/metrics", `(?s)chatwoot_sla_incident_active\{level="2"\} 0.*chatwoot_sla_maintenance_overrun 0`)
	d.Await("/api/v1/incidents", `"status": "resolved"`)
	again, err := app.Checklist(t.Context(), app.Options{Config: d.Config, Now: d.Now})
	if err != nil || !again.Passed || again.Items[0].Verdict != checkup.OK || again.Items[3].Verdict != checkup.OK {
		t.Errorf("on request, after it was put right: %+v (%v)", again, err)
	}
	d.Await("/metrics", `chatwoot_sla_checklist_failed\{item="health"\} 0`)

	i, err := app.Incident(t.Context(), d.Config, 0)
	if err != nil || i.Open() || !i.Overran || !strings.Contains(i.Timeline[0].Text, "maintenance is over") {
		t.Errorf("the incident is %+v (%v)", i, err)
	}
}

func TestMaintenanceThatMakesNoSenseIsRefused(t *testing.T) {
	d := apptest.Start(t, "MAINTENANCE_RRULE=FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2")
	d.Await("/metrics", `chatwoot_sla_maintenance_active [01]`)
	now := time.Date(2026, 3, 9, 9, 0, 0, 0, time.UTC)
	window := func(from, to time.Duration, reason string) app.MaintenanceWindow {
		return app.MaintenanceWindow{Start: now.Add(from), End: now.Add(to), Reason: reason}
	}
	for want, w := range map[string]app.MaintenanceWindow{
		"-1h0m0s is out of range":         window(0, -time.Hour, "x"),
		"169h0m0s is out of range":        window(0, 169*time.Hour, "x"),
		"is over already":                 window(-2*time.Hour, -time.Hour, "x"),
		"cannot begin in the past":        window(-time.Hour, time.Hour, "x"),
		"more than a year away":           window(9000*time.Hour, 9001*time.Hour, "x"),
		"a reason is required":            window(0, time.Hour, ""),
		"use a rule in MAINTENANCE_RRULE": window(9000*time.Hour, 9001*time.Hour, "x"),
	} {
		if _, err := app.StartMaintenance(t.Context(), d.Config, w, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", w, err, want)
		}
	}
	tuesday := time.Date(2026, 3, 10, 3, 0, 0, 0, time.UTC)
	for want, stop := range map[string]struct {
		id  int64
		now time.Time
	}{
		"no maintenance is under way":             {0, now},
		"is that of MAINTENANCE_RRULE, until 04:": {0, tuesday},
		"there is no window 7":                    {7, now},
	} {
		if _, _, err := app.StopMaintenance(t.Context(), d.Config, stop.id, stop.now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("stop %+v: %v, want %q", stop, err, want)
		}
	}
}

func TestMaintenanceIsAnnounced(t *testing.T) {
	for at, announced := range map[string]bool{"2026-03-07T01:59:00Z": false, "2026-03-07T02:00:00Z": true} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		since := time.Now()
		d := apptest.StartAt(t, func() time.Time { return now.Add(time.Since(since)) })
		status := d.Get("/api/v1/status")
		if got := strings.Contains(status, `"announced": true`); got != announced || !strings.Contains(status, `"next_start": "2026-03-10T02:00:00Z"`) {
			t.Errorf("at %s: announced %v, want %v:\n%s", at, got, announced, status)
		}
		if got := strings.Contains(d.Get("/"), "<b>Maintenance ahead</b>: Tue 10 Mar, 02:00 to 04:00 UTC."); got != announced {
			t.Errorf("at %s the page announces it: %v, want %v", at, got, announced)
		}
	}
}

// An incident outlives the daemon, takes what people add, and is filed.
func TestIncident(t *testing.T) {
	d := quick(t, "CHATWOOT_STATUS_URL=https://status.example.com/")
	d.Await("/metrics", up)
	d.Sim.CustomerOpens(d.Now(), d.Sim.Inboxes()[0], "My card is 4111 1111 1111 1111")
	heal := d.Sim.Inject(chatwootsim.Fault{Path: "/api/v1/profile", Kind: chatwootsim.FaultStatus, Status: 502})
	d.Await("/metrics", `(?s)chatwoot_sla_incident_active\{level="1"\} 1.*chatwoot_sla_incident_start_timestamp_seconds [1-9]`)
	d.Await("/", `(?s)Incident of level 1 for .*resolve within 15 minutes · <a href="https://status.example.com/">.*chatwoot-sla doctor`)
	d.Await("/api/v1/incidents", `"status": "ongoing"`) // it is in the database
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}

	d = d.Again()
	d.Await("/metrics", `chatwoot_sla_incident_active\{level="2"\} 1`) // five minutes, part of them in the first process
	noted, err := app.AddNotes(t.Context(), d.Config, 0, []incident.Entry{{At: d.Now(), Kind: incident.Action, Text: "restarted nginx"}})
	if err != nil || noted.ID != 1 || !noted.Open() {
		t.Fatalf("the note went to %+v (%v)", noted, err)
	}
	d.Await("/api/v1/incidents", `(?s)"id": 1,\s+"status": "ongoing",\s+"level": 2,.*"exit_code": 3,.*"restarted nginx"`)
	heal()
	d.Await("/api/v1/incidents", `"status": "resolved"`)
	i, err := app.Incident(t.Context(), d.Config, 0)
	if err != nil || i.ID != 1 {
		t.Errorf("after all: %+v (%v), want one incident", i, err)
	}
	eventually(t, "the incident is filed as resolved", func() bool {
		return strings.Contains(evidence(t, d, "incidents/incident-*.json"), `"status": "resolved"`)
	})
	file := evidence(t, d, "incidents/incident-*.json")
	var doc incident.Document
	if err := json.Unmarshal([]byte(file), &doc); err != nil || doc.Schema != incident.Schema || doc.EndedAt == nil || !strings.Contains(file, "restarted nginx") {
		t.Errorf("the evidence (%v):\n%s", err, file)
	}
	if regexp.MustCompile(`4111|` + apptest.Token).MatchString(file) {
		t.Errorf("the evidence tells what it must not:\n%s", file)
	}
}

// Webhooks that are not processed are an incident of level 3, which Chatwoot's
// health alone would not show.
func TestIncidentOfWebhooks(t *testing.T) {
	c := newConsumer(t)
	d := apptest.StartFast(t, time.Now(), 10, append(c.settings(), "CHATWOOT_WEBHOOK_SECRET="+hookSecret)...)
	c.now = d.Now
	d.Await("/metrics", `chatwoot_sla_queue_jobs`) // a webhook that comes before the database is open may be lost
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: hookSecret, Subscriptions: webhook.Subscriptions})
	d.Await("/metrics", up)
	d.Await("/metrics", `chatwoot_sla_incident_active\{level="3"\} 0`)
	c.answer(http.StatusBadGateway)
	const customers = incident.MostWaiting + 10 // some are being tried
	for range customers {
		d.Sim.CustomerOpens(d.Now(), d.Sim.Inboxes()[0], "Hello?")
	}
	d.Await("/metrics", `(?s)chatwoot_sla_circuit_open\{stage="forward"\} 1.*chatwoot_sla_incident_active\{level="3"\} 1`)
	d.Await("/", `Incident of level 3 for [^<]+<`)
	d.Await("/api/v1/incidents", `"level": 3,`)
	i, err := app.Incident(t.Context(), d.Config, 0)
	if err != nil || i.Level != 3 || i.ExitCode != 0 || !slices.Equal(i.Affected, []string{"webhook processing"}) {
		t.Errorf("the incident is %+v (%v)", i, err)
	}

	c.answer(0)
	eventually(t, "all webhooks are forwarded", func() bool { return len(c.keys()) == customers })
	d.Await("/metrics", `chatwoot_sla_incident_active\{level="3"\} 0`)
	d.Await("/api/v1/incidents", `"status": "resolved"`)
	if i, err = app.Incident(t.Context(), d.Config, 0); err != nil || i.Open() || i.ID != 1 {
		t.Errorf("after all: %+v (%v), want one incident that is over", i, err)
	}
}

// In a window jobs are taken in and wait, and afterwards they are worked.
func TestWorkWaitsForTheEndOfMaintenance(t *testing.T) {
	c := newConsumer(t)
	d := listening(t, append(c.settings(), "MAINTENANCE_RRULE=off")...)
	d.Await("/api/v1/status", `"synced_at"`)
	d.Await("/metrics", `chatwoot_sla_maintenance_active 0`)
	w := app.MaintenanceWindow{Start: time.Now(), End: time.Now().Add(time.Hour), Reason: "upgrade"}
	if _, err := app.StartMaintenance(t.Context(), d.Config, w, time.Now()); err != nil {
		t.Fatal(err)
	}
	d.Await("/metrics", `(?s)\nchatwoot_sla_maintenance_active 1\n.*\nchatwoot_sla_queue_paused 1\n`)
	d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], "Hello?")
	d.Await("/metrics", `chatwoot_sla_queue_jobs\{queue="forward",state="ready"\} 1`)
	if n := len(c.keys()); n > 0 {
		t.Errorf("%d webhooks were forwarded in maintenance", n)
	}
	if _, _, err := app.StopMaintenance(t.Context(), d.Config, 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what waited is forwarded", func() bool { return len(c.keys()) == 1 })
	list, err := app.Checklist(t.Context(), app.Options{Config: d.Config})
	if err != nil || list.Items[1].Verdict != checkup.OK || !strings.Contains(list.Items[1].Evidence, "wait to be tried again: 0") {
		t.Errorf("the checklist: %+v (%v)", list.Items, err)
	}
}

func TestTwoReplicasHaveOneIncident(t *testing.T) {
	a := quick(t, "DATABASE_URL="+pgtest.Database(t))
	b := a.Again()
	a.Await("/metrics", up)
	b.Await("/metrics", up)
	heal := a.Sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultDropConn})
	for _, d := range []*apptest.Daemon{a, b} {
		d.Await("/metrics", `chatwoot_sla_incident_active\{level="2"\} 1`)
	}
	heal()
	for _, d := range []*apptest.Daemon{a, b} {
		d.Await("/metrics", `chatwoot_sla_incident_active\{level="2"\} 0`)
	}
	a.Await("/api/v1/incidents", `"status": "resolved"`)
	list, err := app.Incidents(t.Context(), a.Config, 10)
	if err != nil || len(list) != 1 || list[0].Open() {
		t.Errorf("incidents %+v (%v), want one that is over", list, err)
	}
}
