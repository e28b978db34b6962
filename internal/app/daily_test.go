package app_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// A day that ends leaves its reports. Sixty times as fast as real time, the
// last minutes of a day and the first of the next take seconds.
func TestADayThatEndsLeavesItsEvidence(t *testing.T) {
	evening := time.Date(2026, 3, 2, 23, 56, 0, 0, time.UTC)
	d := apptest.StartFast(t, evening, 60, "CHATWOOT_WEBHOOK_SECRET="+hookSecret)
	d.Await("/metrics", `chatwoot_sla_queue_jobs`)
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: hookSecret, Subscriptions: webhook.Subscriptions})
	conv := d.Sim.CustomerOpens(evening.Add(time.Minute), d.Sim.Inboxes()[0], "My parcel is lost.")
	d.Sim.AgentReplies(evening.Add(2*time.Minute), conv)
	d.Sim.Flush()

	folder := filepath.Join(d.Artifacts, "support", "2026-03-02")
	eventually(t, "both are written", func() bool {
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
	if day.Day != "2026-03-02" || day.Answered["accepted"] != 1 || day.Received < 2 || day.Ack.Count != day.Received || day.Processing.Count != 1 {
		t.Errorf("the day is %s", text)
	}
}
