package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/report"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// Of the days before its first start a daemon finds those who still wait, and
// few of those who were answered. They are kept, and judge nobody.
func TestTheLedgerBeginsWhereEverythingIsKnown(t *testing.T) {
	now := time.Now()
	const forgotten, today = 22, 5
	d := apptest.StartWith(t, func(s *chatwootsim.Server) {
		inbox := s.Inboxes()[0]
		answered := func(at time.Time) {
			id := s.CustomerOpens(at, inbox, "Hello?")
			s.AgentReplies(at.Add(5*time.Minute), id)
			s.SetStatus(at.Add(10*time.Minute), id, "resolved")
		}
		for i := range time.Duration(forgotten) {
			answered(now.Add(-(120 - i) * time.Hour))
			s.CustomerOpens(now.Add(-(120-i)*time.Hour), inbox, "Hello?")
		}
		for range today {
			answered(now.Add(-3 * time.Hour))
		}
	})
	d.Await("/metrics", fmt.Sprintf(`chatwoot_sla_first_response_outcomes\{outcome="met",window="24h"\} %d`, today))
	db, err := store.OpenReader(t.Context(), store.Options{DataDir: d.Config.DataDir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	eventually(t, "all of them are kept", func() bool {
		n := 0
		if err := db.Decided(t.Context(), now.AddDate(0, 0, -7), now, func(ledger.Entry) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n == forgotten+today
	})
	d.Await("/metrics", `chatwoot_sla_breach_ratio\{window="7d"\} 0\n`)
	from, err := db.LedgerFrom(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := d.Get("/api/v1/report?format=text&from=" + now.AddDate(0, 0, -7).UTC().Format(time.DateOnly) + "&to=" + now.UTC().Add(time.Minute).Format(time.RFC3339))
	for _, want := range []string{"0 of 5 conversations", "The ledger begins " + from.UTC().Format("2 Jan 2006")} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%.1500s", want, text)
		}
	}
}

// Somebody writes ten minutes before the inbox closes on Friday, and is
// answered ten minutes after it has opened on Monday: by the hours that Chatwoot
// has for it, within 20 minutes.
func TestReportsCountOpenTime(t *testing.T) {
	noon := time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC) // a Monday
	since := time.Now()
	clock := func() time.Time { return noon.Add(time.Since(since)) }
	d := apptest.StartAt(t, clock, "SLA_BUSINESS_HOURS=chatwoot")
	id := d.Sim.CustomerOpens(time.Date(2026, 3, 6, 15, 50, 0, 0, time.UTC), 5, "My parcel is lost.") // in Berlin one hour later
	d.Sim.AgentReplies(time.Date(2026, 3, 9, 8, 10, 0, 0, time.UTC), id)
	asked := d.Await("/api/v1/report?from=2026-03-09&to=2026-03-10", `(?s)"open_time": true.*"met": 1,`)
	var out bytes.Buffer
	period := report.Period{From: noon.Truncate(24 * time.Hour), To: noon.Truncate(24*time.Hour).AddDate(0, 0, 1)}
	if err := app.Report(t.Context(), d.Config, period, clock(), report.JSON, &out); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{asked, out.String()} {
		var got struct {
			Total struct {
				Max int `json:"max_seconds"`
			}
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || got.Total.Max != 20*60 {
			t.Errorf("the answer took %d s (%v), want 20 minutes", got.Total.Max, err)
		}
	}
	d.Sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 503})
	err := app.Report(t.Context(), d.Config, period, clock(), report.JSON, &out)
	if err == nil || !strings.Contains(err.Error(), "the hours of the inboxes have not been read") {
		t.Errorf("with hours that nobody can read: %v", err)
	}
}

// lacking is what a report says of conversations without an outcome.
type lacking struct {
	Running   int `json:"still_running"`
	Undecided int
}

// A customer waits. That belongs to a period in which an answer is owed, and to
// no other, whether the daemon is asked or the command.
func TestAReportCountsWhoWaitsInItsPeriod(t *testing.T) {
	d := apptest.Start(t)
	now := d.Now()
	d.Sim.CustomerOpens(now, d.Sim.Inboxes()[0], "My parcel is lost.")
	path := func(p report.Period) string {
		return fmt.Sprintf("/api/v1/report?from=%s&to=%s", p.From.UTC().Format(time.RFC3339), p.To.UTC().Format(time.RFC3339))
	}
	current := report.Period{From: now.Add(-time.Hour), To: now.Add(time.Hour)}
	d.Await(path(current), `"still_running": 1`)

	past := report.Period{From: now.Add(-48 * time.Hour), To: now.Add(-time.Hour)}
	for what, tt := range map[string]struct {
		period report.Period
		at     time.Time
		want   lacking
	}{
		"the current period":           {current, now, lacking{Running: 1}},
		"a past period":                {past, now, lacking{}},
		"after the deadline, not read": {current, now.Add(45 * time.Minute), lacking{Undecided: 1}},
	} {
		var out bytes.Buffer
		if err := app.Report(t.Context(), d.Config, tt.period, tt.at, report.JSON, &out); err != nil {
			t.Fatal(err)
		}
		texts := []string{out.String()}
		if tt.at.Equal(now) {
			texts = append(texts, d.Get(path(tt.period)))
		}
		for _, text := range texts {
			var got lacking
			if err := json.Unmarshal([]byte(text), &got); err != nil || got != tt.want {
				t.Errorf("%s: %+v (%v), want %+v", what, got, err, tt.want)
			}
		}
	}
}
