package app_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/report"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// counted lets time pass until the one message that has come is counted on its
// day, which is that on which the counts are saved.
func counted(t *testing.T, d *apptest.Daemon, clock *chatwootsim.ManualClock, day string) {
	t.Helper()
	d.Await("/metrics", `chatwoot_sla_webhook_processing_duration_seconds_count 1\n`)
	eventually(t, "the message is counted", func() bool {
		clock.Advance(500 * time.Millisecond) // slowly: whoever sleeps too long finds another day
		return kept(t, d, func(db *store.Reader) (bool, error) {
			counts, err := db.WebhookCounts(t.Context(), day)
			return counts[store.WebhookCount{Day: day, Name: webhook.CountProcessing, Label: "+Inf"}] == 1, err
		})
	})
}

// A day that ends leaves its reports.
func TestADayThatEndsLeavesItsEvidence(t *testing.T) {
	const ended = "2026-03-02"
	clock := chatwootsim.NewManualClock(time.Date(2026, 3, 2, 23, 40, 0, 0, time.UTC))
	d := apptest.StartBy(t, clock, func(*chatwootsim.Server) {}, append([]string{"CHATWOOT_WEBHOOK_SECRET=" + hookSecret}, seldom...)...)
	d.Await("/metrics", `chatwoot_sla_queue_jobs`)
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: hookSecret, Subscriptions: webhook.Subscriptions})
	conv := d.Sim.CustomerOpens(d.Now(), d.Sim.Inboxes()[0], "My parcel is lost.")
	d.Sim.Flush() // a webhook tells how things stand when it is sent
	d.Sim.AgentReplies(d.Now(), conv)
	d.Sim.Flush()
	counted(t, d, clock, ended)

	folder := filepath.Join(d.Artifacts, "support", ended)
	eventually(t, "both are written", func() bool {
		clock.Advance(10 * time.Second)
		_, report := os.Stat(filepath.Join(folder, "sla-breach-report.json"))
		_, hooks := os.Stat(filepath.Join(folder, "webhook-reliability.json"))
		return report == nil && hooks == nil
	})
	for _, name := range []string{"sla-breach-report.md", "sla-breach-report.csv", "sla-breach-report.html", "webhook-reliability.md"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(folder, "webhook-reliability.json"))
	if err != nil {
		t.Fatal(err)
	}
	var day webhook.Day
	if err := json.Unmarshal(text, &day); err != nil {
		t.Fatal(err)
	}
	if day.Day != ended || day.Answered["accepted"] != 1 || day.Received < 2 || day.Ack.Count != day.Received || day.Processing.Count != 1 {
		t.Errorf("the day is %s", text)
	}
}

// seldom are the settings of a daemon for which hours pass in seconds.
var seldom = []string{"POLL_INTERVAL=1m", "HEALTH_INTERVAL=10m", "EVIDENCE_INTERVAL=1h"}

// dailyReport returns the report of a day in a format, and whether it is there.
func dailyReport(d *apptest.Daemon, day string, f report.Format) (text string, ok bool) {
	b, err := os.ReadFile(filepath.Join(d.Artifacts, "support", day, "sla-breach-report"+f.Extension()))
	return string(b), err == nil
}

// finished reports whether the final report of a day is there.
func finished(d *apptest.Daemon, day string) bool {
	text, ok := dailyReport(d, day, report.JSON)
	return ok && !report.IsProvisional([]byte(text))
}

// Chatwoot is away when three customers have waited too long, shortly before
// midnight, and stays away for hours.
func TestADayIsReportedWhenAllOfItIsKnown(t *testing.T) {
	const day = "2026-03-02"
	evening := time.Date(2026, 3, 2, 23, 40, 0, 0, time.UTC)
	clock := chatwootsim.NewManualClock(evening)
	d := apptest.StartBy(t, clock, func(sim *chatwootsim.Server) {
		for range 3 {
			sim.CustomerOpens(evening.Add(-18*time.Minute), sim.Inboxes()[0], "My parcel is lost.")
		}
	}, seldom...)
	eventually(t, "it is known who waits", func() bool {
		clock.Advance(100 * time.Millisecond) // in twelve minutes they are late
		return strings.Contains(d.Get("/api/v1/report?from=2026-03-02&to=2026-03-03"), `"still_running": 3`)
	})
	heal := d.Sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 503})

	eventually(t, "the report waits", func() bool {
		clock.Advance(10 * time.Second) // at two it waits no longer
		return strings.Contains(d.Log.String(), "the daily report waits")
	})
	if text, ok := dailyReport(d, day, report.JSON); ok {
		t.Errorf("a report is written of what nobody knows:\n%.600s", text)
	}
	eventually(t, "a provisional report is written", func() bool {
		clock.Advance(time.Minute)
		_, ok := dailyReport(d, day, report.JSON)
		return ok
	})
	if finished(d, day) {
		t.Error("the first report calls itself final")
	}
	text, _ := dailyReport(d, day, report.Markdown)
	for _, want := range []string{"**Provisional, not everything is known yet. ", "- Provisional: what happened after 2 Mar 2026 23:", "3 conversations whose deadline has passed"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%.1200s", want, text)
		}
	}
	if text, _ := dailyReport(d, day, report.CSV); !strings.Contains(text, ",true\n") {
		t.Errorf("the table does not say that it is provisional:\n%.600s", text)
	}

	heal()
	eventually(t, "the final report is written", func() bool {
		clock.Advance(10 * time.Second)
		return finished(d, day)
	})
	text, _ = dailyReport(d, day, report.Markdown)
	if !strings.Contains(text, "3 of 3 conversations (100.0 %) breached") || strings.Contains(text, "rovisional") {
		t.Errorf("the final report:\n%.1200s", text)
	}
}

// A daemon that was away for days writes what is missing when it is back.
func TestDaysThatWereMissedAreReported(t *testing.T) {
	clock := chatwootsim.NewManualClock(time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC))
	d := apptest.StartBy(t, clock, func(*chatwootsim.Server) {}, seldom...)
	eventually(t, "the ledger has begun", func() bool {
		clock.Advance(time.Second)
		report := d.Get("/api/v1/report?from=2026-03-02&to=2026-03-03")
		return strings.Contains(report, `"known_from": "2026-03-01T12:`) && strings.Contains(report, `"known_to": "2026-03-02T12:`)
	})
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	clock.Advance(3 * 24 * time.Hour)
	d = d.Again()
	days := []string{"2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"}
	eventually(t, "all of them are written", func() bool {
		clock.Advance(10 * time.Second)
		n := 0
		for _, day := range days {
			if finished(d, day) {
				n++
			}
		}
		return n == len(days)
	})
	for i, day := range days {
		text, _ := dailyReport(d, day, report.Markdown)
		if begins := strings.Contains(text, "The ledger begins 1 Mar 2026 1"); begins != (i == 0) {
			t.Errorf("%s, before whose end the ledger begins: %v:\n%.600s", day, begins, text)
		}
	}
	if _, ok := dailyReport(d, "2026-02-28", report.JSON); ok {
		t.Error("there is a report of a day before the ledger")
	}
}

// What cannot be written about webhooks holds up nothing else.
func TestOneReportThatCannotBeWrittenLeavesTheOther(t *testing.T) {
	const day = "2026-03-01"
	clock := chatwootsim.NewManualClock(time.Date(2026, 3, 1, 23, 40, 0, 0, time.UTC))
	d := apptest.StartBy(t, clock, func(*chatwootsim.Server) {}, append([]string{"CHATWOOT_WEBHOOK_SECRET=" + hookSecret}, seldom...)...)
	if err := os.MkdirAll(filepath.Join(d.Artifacts, "support", day, "webhook-reliability.md", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.Await("/metrics", `chatwoot_sla_queue_jobs`)
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: hookSecret, Subscriptions: webhook.Subscriptions})
	d.Sim.CustomerOpens(d.Now(), d.Sim.Inboxes()[0], "My parcel is lost.")
	d.Sim.Flush()
	counted(t, d, clock, day)
	eventually(t, "the breach report is written", func() bool {
		clock.Advance(time.Minute)
		return finished(d, day)
	})
	eventually(t, "the other failed", func() bool {
		clock.Advance(time.Minute)
		return strings.Contains(d.Log.String(), "not all daily reports are written")
	})
}
