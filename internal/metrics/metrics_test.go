package metrics_test

import (
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
	"github.com/hotdash/chatwoot-sla/internal/metrics"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	policy = sla.Policy{Target: 30 * time.Minute, Warning: 15 * time.Minute, Urgent: 5 * time.Minute}
	// Inbox 8 has a promise of its own, and so has one beyond the limit.
	promises = sla.Promises{Default: policy, ByInbox: map[int64]sla.Policy{
		8: {Target: time.Hour, Warning: 15 * time.Minute, Urgent: 5 * time.Minute},
		9: {Target: 2 * time.Hour, Warning: 15 * time.Minute, Urgent: 5 * time.Minute},
	}}
	t0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
)

func waiting(id, inbox int64, since time.Duration) sla.Entry {
	start := t0.Add(-since)
	return sla.Entry{ID: id, Inbox: inbox, Clock: sla.Clock{State: sla.Waiting, Start: start, Deadline: policy.Deadline(start)}}
}

// board has, at t0, one conversation of every kind.
func board() *sla.Board {
	return sla.NewBoard(promises, 0, slices.Values([]sla.Entry{
		waiting(1, 5, 2*time.Minute),
		waiting(2, 5, 20*time.Minute),
		waiting(3, 5, 29*time.Minute),
		waiting(4, 7, 31*time.Minute),
		waiting(5, 9, 50*time.Minute),
		{ID: 6, Inbox: 5, Clock: sla.Clock{State: sla.Idle}},
		{ID: 7, Inbox: 7, Clock: sla.Clock{State: sla.Unknown, Unsettled: true}},
		{ID: 8, Inbox: 7, Clock: sla.Clock{State: sla.Answered, Deadline: t0, AnsweredAt: t0.Add(time.Second)}},
	}), []int64{5, 7, 8, 9})
}

func collector(b *sla.Board, now *time.Time) *metrics.SLA {
	return metrics.NewSLA(metrics.SLAOptions{
		Promises: promises,
		Board:    func() *sla.Board { return b },
		Now:      func() time.Time { return *now },
		Inboxes: func() []metrics.Inbox {
			return []metrics.Inbox{{5, "Website"}, {7, "E-mail \xff"}, {7, "E-mail again"}, {8, "Quiet"}, {9, "Beyond the limit"}}
		},
		MaxInboxes: 3,
	})
}

func TestGoldenMetrics(t *testing.T) {
	now := t0
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collector(board(), &now))
	const golden = "testdata/sla.metrics"
	if *update {
		text, err := testutil.CollectAndFormat(collector(board(), &now), expfmt.TypeTextPlain, names...)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.Open(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	if err := testutil.GatherAndCompare(reg, want); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

var names = []string{
	"chatwoot_sla_conversations", "chatwoot_sla_waiting_conversations", "chatwoot_sla_undecided_conversations",
	"chatwoot_sla_oldest_waiting_timestamp_seconds", "chatwoot_sla_next_deadline_timestamp_seconds",
	"chatwoot_sla_newest_breach_timestamp_seconds", "chatwoot_sla_target_seconds", "chatwoot_sla_inbox_target_seconds", "chatwoot_sla_inbox_info",
}

func TestNothingIsExportedAsZeroBeforeTheFirstSync(t *testing.T) {
	now := t0
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collector(nil, &now))
	n, err := testutil.GatherAndCount(reg)
	if err != nil || n != 1 {
		t.Errorf("%d series before the first sync (%v), want target_seconds alone", n, err)
	}
}

func TestALevelChangesInTheSecondItShould(t *testing.T) {
	now := t0
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collector(sla.NewBoard(promises, 0, slices.Values([]sla.Entry{waiting(1, 5, 0)}), nil), &now))
	tests := []struct {
		after time.Duration
		level string
	}{
		{0, "normal"},
		{15*time.Minute - time.Second, "normal"},
		{15 * time.Minute, "warning"},
		{25 * time.Minute, "warning"},
		{25*time.Minute + time.Second, "urgent"},
		{30 * time.Minute, "urgent"},
		{30*time.Minute + time.Second, "breach"},
	}
	for _, tt := range tests {
		now = t0.Add(tt.after)
		var want strings.Builder
		want.WriteString("# HELP chatwoot_sla_waiting_conversations Open conversations that nobody has answered, by level: page on these.\n# TYPE chatwoot_sla_waiting_conversations gauge\n")
		for _, l := range sla.Levels {
			n := "0"
			if l.String() == tt.level {
				n = "1"
			}
			want.WriteString(`chatwoot_sla_waiting_conversations{inbox="5",level="` + l.String() + `"} ` + n + "\n")
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want.String()), "chatwoot_sla_waiting_conversations"); err != nil {
			t.Errorf("after %v: %v", tt.after, err)
		}
	}
}

// One window is over, one is under way and one is to come, as t0 goes by.
func TestOperations(t *testing.T) {
	window := func(from, to time.Duration) maintenance.Window {
		return maintenance.Window{Start: t0.Add(from), End: t0.Add(to)}
	}
	var (
		now   time.Time
		known bool
		under incident.Incident
	)
	plan := maintenance.NewPlan(nil, []maintenance.Window{window(-2*time.Hour, -time.Hour), window(time.Hour, 2*time.Hour)})
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(metrics.NewOperations(metrics.OperationsOptions{
		Plan:           func() (maintenance.Plan, bool) { return plan, known },
		Notice:         72 * time.Hour,
		Incident:       func() incident.Incident { return under },
		Failed:         func() []string { return []string{"health"} },
		ChecklistItems: []string{"health", "changes"},
		Now:            func() time.Time { return now },
	}))
	tests := []struct {
		name  string
		at    time.Time
		known bool
		under incident.Incident
		want  map[string]float64
	}{
		{"before all windows are known", t0, false, incident.Incident{}, map[string]float64{"maintenance_next_start": 3600, "maintenance_last_start": -7200, "maintenance_last_end": -3600}},
		{"between two", t0, true, incident.Incident{}, map[string]float64{"maintenance_active": 0, "maintenance_next_start": 3600, "maintenance_last_start": -7200, "maintenance_last_end": -3600}},
		{"in one, whatever else may be known", t0.Add(time.Hour), false, incident.Incident{}, map[string]float64{"maintenance_active": 1, "maintenance_last_start": -7200, "maintenance_last_end": -3600}},
		{"after the last, with what has overrun it", t0.Add(2 * time.Hour), true, incident.Incident{Started: t0.Add(2 * time.Hour), FailingSince: t0, Level: incident.Down, Overran: true}, map[string]float64{
			"maintenance_active": 0, "maintenance_last_start": 3600, "maintenance_last_end": 7200, "maintenance_overrun": 1, "incident_active2": 1, "incident_start": 7200,
		}},
		{"with checks that pass again, while webhooks do not", t0.Add(2 * time.Hour), true, incident.Incident{Started: t0.Add(2 * time.Hour), Level: incident.Down, Overran: true}, map[string]float64{
			"maintenance_active": 0, "maintenance_last_start": 3600, "maintenance_last_end": 7200, "incident_active2": 1, "incident_start": 7200,
		}},
		{"with an incident that is over", t0, true, incident.Incident{Started: t0, Ended: t0, Level: incident.Webhooks, Overran: true}, map[string]float64{"maintenance_active": 0, "maintenance_next_start": 3600, "maintenance_last_start": -7200, "maintenance_last_end": -3600}},
	}
	for _, tt := range tests {
		now, known, under = tt.at, tt.known, tt.under
		want := map[string]float64{"maintenance_notice_seconds": 72 * 3600, "maintenance_overrun": 0, "incident_active1": 0, "incident_active2": 0, "incident_active3": 0, "checklist_failedhealth": 1, "checklist_failedchanges": 0}
		maps.Copy(want, tt.want)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			name, instant := strings.CutSuffix(strings.TrimPrefix(f.GetName(), "chatwoot_sla_"), "_timestamp_seconds")
			for _, m := range f.GetMetric() {
				v, label := m.GetGauge().GetValue(), ""
				if instant {
					v -= float64(t0.Unix())
				}
				for _, l := range m.GetLabel() {
					label = l.GetValue()
				}
				got[name+label] = v
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", tt.name, got, want)
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestRequestsAreCountedByClass(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	r := metrics.NewRequests(reg, []string{"conversations", "api"})
	before, err := testutil.GatherAndCount(reg, "chatwoot_sla_api_requests_total")
	if err != nil || before != 12 {
		t.Fatalf("%d series from the start (%v), want 2 endpoints × 6 classes", before, err)
	}
	for _, status := range []int{0, 200, 204, 301, 404, 429, 502, 777} {
		r.Observe("conversations", status, 30*time.Millisecond)
	}
	want := `
# HELP chatwoot_sla_api_requests_total Requests to Chatwoot, by class of status code; 429 is counted apart, none means no answer.
# TYPE chatwoot_sla_api_requests_total counter
chatwoot_sla_api_requests_total{code="2xx",endpoint="api"} 0
chatwoot_sla_api_requests_total{code="2xx",endpoint="conversations"} 2
chatwoot_sla_api_requests_total{code="3xx",endpoint="api"} 0
chatwoot_sla_api_requests_total{code="3xx",endpoint="conversations"} 1
chatwoot_sla_api_requests_total{code="429",endpoint="api"} 0
chatwoot_sla_api_requests_total{code="429",endpoint="conversations"} 1
chatwoot_sla_api_requests_total{code="4xx",endpoint="api"} 0
chatwoot_sla_api_requests_total{code="4xx",endpoint="conversations"} 1
chatwoot_sla_api_requests_total{code="5xx",endpoint="api"} 0
chatwoot_sla_api_requests_total{code="5xx",endpoint="conversations"} 1
chatwoot_sla_api_requests_total{code="none",endpoint="api"} 0
chatwoot_sla_api_requests_total{code="none",endpoint="conversations"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "chatwoot_sla_api_requests_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}
