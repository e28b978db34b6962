package health_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hotdash/chatwoot-sla/internal/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	pass = health.Outcome{Status: 200, Endpoint: "/health", Version: "4.15.1", Dependencies: map[string]string{"queue_services": "ok", "data_services": "ok"}}
	down = health.Outcome{Status: 503, Endpoint: "/health"}
	slow = health.Outcome{Endpoint: "/api", Reason: health.ReasonTimeout}
)

// turns returns a probe that gives each outcome in turn, and the last one for
// ever after.
func turns(name string, outs ...health.Outcome) health.Probe {
	var mu sync.Mutex
	return health.Probe{Name: name, Run: func(context.Context) health.Outcome {
		mu.Lock()
		defer mu.Unlock()
		out := outs[0]
		if len(outs) > 1 {
			outs = outs[1:]
		}
		return out
	}}
}

// watch is a Watcher at work, and what it told.
type watch struct {
	*health.Watcher
	start    time.Time
	registry *prometheus.Registry
	logs     *observer.ObservedLogs
	mu       sync.Mutex
	results  []string // probe, verdict and time since the start of each
	stop     func()
}

// startWatch runs a Watcher inside a synctest bubble until the test ends.
func startWatch(t *testing.T, o health.WatcherOptions, probes ...health.Probe) *watch {
	t.Helper()
	w := &watch{start: time.Now(), registry: prometheus.NewPedanticRegistry()}
	core, logs := observer.New(zapcore.DebugLevel)
	w.logs = logs
	o.Checker = newChecker(t, health.CheckerOptions{Probes: probes})
	o.Registerer, o.Logger = w.registry, zap.New(core)
	o.Observe = func(r health.Result) {
		w.mu.Lock()
		defer w.mu.Unlock()
		verdict := "passed"
		if !r.Success {
			verdict = r.Reason
		}
		w.results = append(w.results, fmt.Sprintf("%s %s %v", r.Probe, verdict, r.Started.Sub(w.start)))
	}
	var err error
	if w.Watcher, err = health.NewWatcher(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil after its context ended", err)
		}
		done <- nil
	}
	t.Cleanup(w.stop)
	return w
}

// at lets the Watcher work until d after its start.
func (w *watch) at(d time.Duration) {
	time.Sleep(time.Until(w.start.Add(d))) // the bubble's time
	synctest.Wait()
}

func (w *watch) wantResults(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.results, want) {
		t.Errorf("results are\n  %s\nwant\n  %s", strings.Join(w.results, "\n  "), strings.Join(want, "\n  "))
	}
}

func (w *watch) wantMetrics(t *testing.T, want string, names ...string) {
	t.Helper()
	for i, name := range names {
		names[i] = "chatwoot_sla_" + name
	}
	if err := testutil.GatherAndCompare(w.registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

const successHelp = `# HELP chatwoot_sla_probe_success 1 while a probe passes, 0 from its second failure in a row; absent until either is known.
# TYPE chatwoot_sla_probe_success gauge
`

func TestOnlyWhatFailedIsRepeatedTenSecondsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{}, turns(health.RailsHealth, pass, down, pass), turns(health.AuthenticatedAPI, pass))
		w.at(2 * time.Minute)
		w.wantResults(t,
			"rails_health passed 0s", "authenticated_api passed 0s",
			"rails_health http_status 1m0s", "authenticated_api passed 1m0s",
			"rails_health passed 1m10s",
			"rails_health passed 2m0s", "authenticated_api passed 2m0s",
		)
	})
}

func TestTheRepeatWaitsForTheEndOfASlowCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{}, takes(health.RailsHealth, time.Hour), turns(health.AuthenticatedAPI, pass))
		w.at(time.Minute + 15*time.Second)
		w.wantResults(t,
			"rails_health timeout 0s", "authenticated_api passed 0s",
			"rails_health timeout 20s",
			"rails_health timeout 1m0s", "authenticated_api passed 1m0s",
		)
	})
}

func TestAShortIntervalIsItsOwnRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{Interval: 10 * time.Second}, turns(health.RailsHealth, down))
		w.at(20 * time.Second)
		w.wantResults(t, "rails_health http_status 0s", "rails_health http_status 10s", "rails_health http_status 20s")
	})
}

func TestAnOverrunStartsOneCheckAtOnceAndCatchesUpOnNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		w := startWatch(t, health.WatcherOptions{Interval: 2 * time.Second}, health.Probe{Name: health.RailsHealth, Run: func(context.Context) health.Outcome {
			if first {
				time.Sleep(9 * time.Second)
			}
			first = false
			return pass
		}})
		w.at(13 * time.Second)
		w.wantResults(t, "rails_health passed 0s", "rails_health passed 9s", "rails_health passed 11s", "rails_health passed 13s")
	})
}

func TestOneLostPacketChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{}, turns(health.RailsHealth, pass, down, pass))
		w.at(time.Minute + 5*time.Second)
		if s := w.State(health.RailsHealth); !s.Success || !s.Known || s.ConsecutiveFailures != 1 || !s.Since.Equal(w.start) {
			t.Errorf("after one failure the state is %+v", s)
		}
		w.wantMetrics(t, successHelp+"chatwoot_sla_probe_success{probe=\"rails_health\"} 1\n", "probe_success")
		if r, _ := w.Latest(); r.ExitCode() != health.ExitRailsHealth {
			t.Errorf("the latest report has exit code %d, want the failure to show in it", r.ExitCode())
		}
		w.at(time.Minute + 11*time.Second)
		if s := w.State(health.RailsHealth); !s.Success || s.ConsecutiveFailures != 0 || !s.Since.Equal(w.start) {
			t.Errorf("after the recovery the state is %+v", s)
		}
	})
}

func TestTheSecondFailureTurnsTheProbeBadAndTheFirstSuccessTurnsItGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{}, turns(health.RailsHealth, pass, down, down, down, pass), turns(health.AuthenticatedAPI, pass))
		w.at(time.Minute + 11*time.Second)
		if s := w.State(health.RailsHealth); s.Success || s.ConsecutiveFailures != 2 || !s.Since.Equal(w.start.Add(time.Minute)) {
			t.Errorf("after two failures the state is %+v; want it bad since the first", s)
		}
		w.wantMetrics(t, successHelp+"chatwoot_sla_probe_success{probe=\"authenticated_api\"} 1\nchatwoot_sla_probe_success{probe=\"rails_health\"} 0\n", "probe_success")

		w.at(2*time.Minute + 5*time.Second)
		if s := w.State(health.RailsHealth); s.ConsecutiveFailures != 3 || !s.Since.Equal(w.start.Add(time.Minute)) {
			t.Errorf("after three failures the state is %+v", s)
		}
		w.at(2*time.Minute + 11*time.Second)
		if s := w.State(health.RailsHealth); !s.Success || s.ConsecutiveFailures != 0 || !s.Since.Equal(w.start.Add(2*time.Minute+10*time.Second)) {
			t.Errorf("after the recovery the state is %+v", s)
		}
		w.wantMetrics(t, successHelp+"chatwoot_sla_probe_success{probe=\"authenticated_api\"} 1\nchatwoot_sla_probe_success{probe=\"rails_health\"} 1\n", "probe_success")
	})
}

func TestNothingIsClaimedBeforeItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{}, takes(health.RailsHealth, time.Second), turns(health.AuthenticatedAPI, down))
		w.at(500 * time.Millisecond)
		if _, known := w.Latest(); known {
			t.Error("there is a report before the first check has ended")
		}
		if s := w.State(health.RailsHealth); s != (health.ProbeState{}) {
			t.Errorf("the state is %+v before the first result", s)
		}
		w.wantMetrics(t, "", "probe_success", "dependency_up", "chatwoot_info", "health_endpoint_info", "evidence_last_write_timestamp_seconds")

		w.at(5 * time.Second)
		if s := w.State(health.AuthenticatedAPI); s.Known || s.Success {
			t.Errorf("after a first failure the state is %+v, want it unknown", s)
		}
		w.wantMetrics(t, successHelp+"chatwoot_sla_probe_success{probe=\"rails_health\"} 1\n", "probe_success")
		w.at(12 * time.Second)
		if s := w.State(health.AuthenticatedAPI); !s.Known || s.Success || !s.Since.Equal(w.start) {
			t.Errorf("after a second failure the state is %+v, want it bad from the start", s)
		}
	})
}

func TestTheLatestReportHoldsTheNewestResultOfEveryProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{}, turns(health.RailsHealth, down, pass), turns(health.AuthenticatedAPI, pass))
		w.at(11 * time.Second)
		r, known := w.Latest()
		if !known || len(r.Results) != 2 || r.ExitCode() != 0 || !r.Started.Equal(w.start.Add(10*time.Second)) {
			t.Fatalf("the latest report is %+v, %v", r, known)
		}
		if got := r.Results[0]; got.Probe != health.RailsHealth || !got.Started.Equal(r.Started) {
			t.Errorf("the first result is %+v, want the repeat", got)
		}
		if got := r.Results[1]; got.Probe != health.AuthenticatedAPI || !got.Started.Equal(w.start) {
			t.Errorf("the second result is %+v, want the one of the check before", got)
		}
	})
}

func TestACheckCutShortByTheEndLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{}, takes(health.RailsHealth, 5*time.Second))
		w.at(time.Minute + 2*time.Second)
		w.stop()
		w.wantResults(t, "rails_health passed 0s")
		if took := time.Since(w.start); took != time.Minute+2*time.Second {
			t.Errorf("it took until %v to stop", took)
		}
	})
}

func TestEverySeriesIsThereFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{}, takes(health.RailsHealth, time.Second), takes(health.AuthenticatedAPI, time.Second))
		for name, want := range map[string]int{
			"probes_total":           2 * 2 * 2,
			"probe_failures_total":   2 * len(health.Reasons()),
			"probe_duration_seconds": 2,
			"evidence_writes_total":  2 * 2,
		} {
			if got, err := testutil.GatherAndCount(w.registry, "chatwoot_sla_"+name); err != nil || got != want {
				t.Errorf("%s has %d series, %v; want %d", name, got, err, want)
			}
		}
	})
}

func TestMetricsSayWhatWasFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ailing := pass
		ailing.Dependencies = map[string]string{"queue_services": "ok", "data_services": "failing", "gremlin_services": "many"}
		inWindow := func(at time.Time) bool { return at.Second() == 10 }
		w := startWatch(t, health.WatcherOptions{InMaintenance: inWindow}, turns(health.RailsHealth, ailing, slow, pass))
		w.at(time.Second)
		const known = `# HELP chatwoot_sla_chatwoot_info The version that Chatwoot last reported; always 1.
# TYPE chatwoot_sla_chatwoot_info gauge
chatwoot_sla_chatwoot_info{version="4.15.1"} 1
# HELP chatwoot_sla_health_endpoint_info The path that last answered the platform health probe; always 1.
# TYPE chatwoot_sla_health_endpoint_info gauge
chatwoot_sla_health_endpoint_info{path="/health"} 1
`
		w.wantMetrics(t, known+`# HELP chatwoot_sla_dependency_up Whether Chatwoot reports a dependency as ok; absent while the newest platform health probe could not tell.
# TYPE chatwoot_sla_dependency_up gauge
chatwoot_sla_dependency_up{dependency="data_services"} 0
chatwoot_sla_dependency_up{dependency="queue_services"} 1
`, "chatwoot_info", "dependency_up", "health_endpoint_info")

		w.at(11 * time.Second)
		w.wantMetrics(t, "", "dependency_up")                            // a time-out says nothing of them
		w.wantMetrics(t, known, "chatwoot_info", "health_endpoint_info") // as before

		w.at(time.Minute + time.Second)
		w.wantMetrics(t, `# HELP chatwoot_sla_probes_total Health probes by result, repeats included; those in a maintenance window do not count for the target.
# TYPE chatwoot_sla_probes_total counter
chatwoot_sla_probes_total{maintenance="false",probe="rails_health",result="failure"} 1
chatwoot_sla_probes_total{maintenance="false",probe="rails_health",result="success"} 1
chatwoot_sla_probes_total{maintenance="true",probe="rails_health",result="failure"} 1
chatwoot_sla_probes_total{maintenance="true",probe="rails_health",result="success"} 0
`, "probes_total")
		failures, err := w.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range failures {
			if family.GetName() != "chatwoot_sla_probe_failures_total" {
				continue
			}
			for _, m := range family.GetMetric() {
				for _, l := range m.GetLabel() {
					want := map[string]float64{health.ReasonDependency: 1, health.ReasonTimeout: 1}[l.GetValue()]
					if l.GetName() == "reason" && m.GetCounter().GetValue() != want {
						t.Errorf("%v failures for reason %s, want %v", m.GetCounter().GetValue(), l.GetValue(), want)
					}
				}
			}
		}
	})
}

func TestDurationsHaveAnEdgeAtTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{}, takes(health.RailsHealth, 500*time.Millisecond), takes(health.AuthenticatedAPI, time.Hour))
		w.at(11 * time.Second)
		w.wantMetrics(t, `# HELP chatwoot_sla_probe_duration_seconds Time from the start of a probe to its verdict; the target is 0.5, the time-out 10.
# TYPE chatwoot_sla_probe_duration_seconds histogram
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="0.01"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="0.025"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="0.05"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="0.1"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="0.25"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="0.5"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="1"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="2.5"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="5"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="10"} 1
chatwoot_sla_probe_duration_seconds_bucket{probe="authenticated_api",le="+Inf"} 1
chatwoot_sla_probe_duration_seconds_sum{probe="authenticated_api"} 10
chatwoot_sla_probe_duration_seconds_count{probe="authenticated_api"} 1
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="0.01"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="0.025"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="0.05"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="0.1"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="0.25"} 0
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="0.5"} 1
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="1"} 1
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="2.5"} 1
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="5"} 1
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="10"} 1
chatwoot_sla_probe_duration_seconds_bucket{probe="rails_health",le="+Inf"} 1
chatwoot_sla_probe_duration_seconds_sum{probe="rails_health"} 0.5
chatwoot_sla_probe_duration_seconds_count{probe="rails_health"} 1
`, "probe_duration_seconds")
	})
}

func TestMetricsFollowTheRulesOfPrometheus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{Evidence: newEvidence(t, t.TempDir(), time.Now())}, turns(health.RailsHealth, pass))
		w.at(time.Second)
		problems, err := testutil.GatherAndLint(w.registry)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
	})
}

// checkFiles returns the seconds since the start at which evidence was written.
func (w *watch) checkFiles(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "ops/chatwoot-health/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var at []string
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "health-check-"), ".json")
		stamp, err := time.Parse("20060102T150405.000Z", name)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, stamp.Sub(w.start).String())
	}
	return at
}

func TestEvidenceIsWrittenOnTimeAndAtEachTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		outs := slices.Concat(slices.Repeat([]health.Outcome{pass}, 20), slices.Repeat([]health.Outcome{down}, 40), []health.Outcome{pass})
		w := startWatch(t, health.WatcherOptions{Evidence: newEvidence(t, dir, time.Now())}, turns(health.RailsHealth, outs...), takes(health.AuthenticatedAPI, time.Second))
		w.at(46 * time.Minute)
		want := []string{
			"0s", "15m0s",
			"20m0s", "20m11s", // the first failure, and the one that confirms it
			"30m0s",          // still down
			"40m0s", "45m0s", // the recovery; on time
		}
		if got := w.checkFiles(t, dir); !slices.Equal(got, want) {
			t.Errorf("evidence was written at %v, want %v", got, want)
		}
		w.wantMetrics(t, `# HELP chatwoot_sla_evidence_last_write_timestamp_seconds When the evidence of a health check was last written.
# TYPE chatwoot_sla_evidence_last_write_timestamp_seconds gauge
chatwoot_sla_evidence_last_write_timestamp_seconds 9.46687501e+08
# HELP chatwoot_sla_evidence_writes_total Attempts to write evidence by kind and result.
# TYPE chatwoot_sla_evidence_writes_total counter
chatwoot_sla_evidence_writes_total{kind="daily_log",result="failure"} 0
chatwoot_sla_evidence_writes_total{kind="daily_log",result="success"} 7
chatwoot_sla_evidence_writes_total{kind="health_check",result="failure"} 0
chatwoot_sla_evidence_writes_total{kind="health_check",result="success"} 7
`, "evidence_writes_total", "evidence_last_write_timestamp_seconds")
	})
}

func TestOldEvidenceGoesOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		e, err := health.NewEvidence(health.EvidenceOptions{Dir: dir, Retention: 36 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		w := startWatch(t, health.WatcherOptions{Interval: time.Hour, EvidenceInterval: 12 * time.Hour, Evidence: e}, turns(health.RailsHealth, pass))
		w.at(47 * time.Hour)
		if got, want := w.checkFiles(t, dir), []string{"0s", "12h0m0s", "24h0m0s", "36h0m0s"}; !slices.Equal(got, want) {
			t.Errorf("before the second day is over there are %v, want %v", got, want)
		}
		w.at(49 * time.Hour)
		if got, want := w.checkFiles(t, dir), []string{"12h0m0s", "24h0m0s", "36h0m0s", "48h0m0s"}; !slices.Equal(got, want) {
			t.Errorf("after two days there are %v, want %v", got, want)
		}
	})
}

func TestAFolderThatRefusesEvidenceStopsNothingAndIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "artifacts")
		write(t, dir, "in the way")
		w := startWatch(t, health.WatcherOptions{Evidence: newEvidence(t, dir, time.Now())}, turns(health.RailsHealth, pass))
		w.at(31 * time.Minute)
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		w.at(61 * time.Minute)
		var got []string
		for _, entry := range w.logs.All() {
			if strings.HasPrefix(entry.Message, "evidence") {
				got = append(got, fmt.Sprintf("%s: %s, %s, %v", entry.Level, entry.Message, entry.ContextMap()["kind"], entry.Time.Sub(w.start)))
			}
		}
		want := []string{
			"warn: evidence is not written, health_check, 0s", "warn: evidence is not written, daily_log, 0s",
			"info: evidence is written again, health_check, 45m0s", "info: evidence is written again, daily_log, 45m0s",
		}
		if !slices.Equal(got, want) {
			t.Errorf("log is %q, want %q", got, want)
		}
		w.wantMetrics(t, `# HELP chatwoot_sla_evidence_writes_total Attempts to write evidence by kind and result.
# TYPE chatwoot_sla_evidence_writes_total counter
chatwoot_sla_evidence_writes_total{kind="daily_log",result="failure"} 3
chatwoot_sla_evidence_writes_total{kind="daily_log",result="success"} 2
chatwoot_sla_evidence_writes_total{kind="health_check",result="failure"} 3
chatwoot_sla_evidence_writes_total{kind="health_check",result="success"} 2
`, "evidence_writes_total")
	})
}

func TestTheLogTellsWhoeverIsOnCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch(t, health.WatcherOptions{}, turns(health.RailsHealth, pass, pass, down, down, down, down, slow, pass))
		w.at(6 * time.Minute)
		var got []string
		for _, entry := range w.logs.All() {
			got = append(got, fmt.Sprintf("%s %v: %s", entry.Level, entry.Time.Sub(w.start), entry.Message))
		}
		want := []string{
			"info 0s: probe passes",
			"debug 1m0s: probe passes",
			"warn 2m0s: probe failed once",
			"warn 2m10s: probe is down",
			"debug 3m0s: probe is still down",
			"debug 3m10s: probe is still down",
			"warn 4m0s: probe is down for another reason",
			"info 4m10s: probe recovered",
			"debug 5m0s: probe passes",
			"debug 6m0s: probe passes",
		}
		if !slices.Equal(got, want) {
			t.Errorf("log is\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
		fields := w.logs.FilterMessage("probe is down").All()[0].ContextMap()
		for key, want := range map[string]any{
			"probe": "rails_health", "status": int64(503), "path": "/health", "reason": "http_status",
			"error": "Failed with HTTP 503", "consecutive_failures": int64(2), "since": w.start.Add(2 * time.Minute),
			"what_to_do": "Check Chatwoot's processes and logs, then its proxy. During maintenance a 503 is expected.",
		} {
			if fmt.Sprint(fields[key]) != fmt.Sprint(want) {
				t.Errorf("field %s is %v, want %v", key, fields[key], want)
			}
		}
	})
}

// Whatever a probe lets slip, the token must not come out anywhere.
func TestTheTokenComesOutNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		slip := health.Outcome{Err: fmt.Errorf("get https://me:%s@chat.example.com/widget?website_token=%s&x=1: %w", testToken, testToken, errors.New("no"))}
		slip.Endpoint = "/widget?website_token=" + testToken
		w := startWatch(t, health.WatcherOptions{Evidence: newEvidence(t, dir, time.Now())}, turns(health.RailsHealth, slip))
		w.at(15 * time.Second)

		families, err := w.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		report, _ := w.Latest()
		said := fmt.Sprint(families, report, w.logs.All())
		for _, path := range tree(t, dir) {
			body, err := os.ReadFile(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			said += string(body)
		}
		if strings.Count(said, "chat.example.com") < 4 {
			t.Errorf("the failure itself is not told everywhere: %s", said)
		}
		if strings.Contains(said, testToken) {
			t.Errorf("the token is in: %s", said)
		}
	})
}

func TestWatcherOptionsAreChecked(t *testing.T) {
	c := newChecker(t, health.CheckerOptions{Probes: []health.Probe{turns(health.RailsHealth, pass)}})
	for name, o := range map[string]health.WatcherOptions{
		"no checker":                   {},
		"a negative interval":          {Checker: c, Interval: -1},
		"a negative repeat":            {Checker: c, RepeatAfter: -1},
		"a negative evidence interval": {Checker: c, EvidenceInterval: -1},
	} {
		if _, err := health.NewWatcher(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	registry := prometheus.NewRegistry()
	if _, err := health.NewWatcher(health.WatcherOptions{Checker: c, Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	if _, err := health.NewWatcher(health.WatcherOptions{Checker: c, Registerer: registry}); err == nil {
		t.Error("two watchers share one registry")
	}
}
