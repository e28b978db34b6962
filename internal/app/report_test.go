package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/report"
)

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
