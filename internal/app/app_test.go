package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "EXAMPLE-token-that-must-not-be-printed"

// daemon is an App that watches a simulated Chatwoot.
type daemon struct {
	t         *testing.T
	sim       *chatwootsim.Server
	artifacts string
	log       *bytes.Buffer
	url       string
	stop      func() error
}

// start runs an App until the test ends. Settings are NAME=value.
func start(t *testing.T, settings ...string) *daemon {
	t.Helper()
	return startAt(t, nil, settings...)
}

// startAt is start by another clock, of Chatwoot and of the App.
func startAt(t *testing.T, now func() time.Time, settings ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, artifacts: t.TempDir(), log: &bytes.Buffer{}}
	d.sim = chatwootsim.New(chatwootsim.Options{Token: token, NoThrottle: true, Now: now})
	server := httptest.NewServer(d.sim)
	loaded, err := config.Load(config.Options{Environ: append([]string{
		"CHATWOOT_BASE_URL=" + server.URL,
		"CHATWOOT_TOKEN=" + token,
		"CHATWOOT_ACCOUNT_ID=" + strconv.Itoa(chatwootsim.DemoAccountID),
		"LISTEN_ADDR=127.0.0.1:0",
		"ARTIFACTS_DIR=" + d.artifacts,
		"POLL_INTERVAL=5s",
		"HEALTH_INTERVAL=10s",
	}, settings...)})
	if err != nil {
		t.Fatal(err)
	}
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(d.log)), zap.DebugLevel))
	a, err := app.New(app.Options{Config: loaded.Config, Version: "test", Logger: log, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	d.url = "http://" + a.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	d.stop = func() error {
		cancel()
		d.stop = func() error { return nil }
		return <-done
	}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		server.Close()
		d.sim.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return d
}

func (d *daemon) get(path string) string {
	d.t.Helper()
	resp, err := http.Get(d.url + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(body)
}

// await asks path until its answer matches.
func (d *daemon) await(path, pattern string) string {
	d.t.Helper()
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		body := d.get(path)
		if want.MatchString(body) {
			return body
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s does not come to match %s:\n%s", path, pattern, body)
		}
	}
}

func (d *daemon) families() map[string]*dto.MetricFamily {
	d.t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(d.get("/metrics")))
	if err != nil {
		d.t.Fatal(err)
	}
	return families
}

func TestDaemonTellsWhatItWatches(t *testing.T) {
	d := start(t)
	d.sim.CustomerOpens(time.Now().Add(-40*time.Minute), d.sim.Inboxes()[0], "Hello?")
	d.await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="\d+",level="breach"\} 1`)
	d.await("/metrics", `chatwoot_sla_probe_success\{probe="rails_health"\} 1`)
	d.await("/metrics", `chatwoot_sla_probe_success\{probe="authenticated_api"\} 1`)
	d.await("/api/v1/status", `"state": "fresh"`)
	d.await("/api/v1/conversations?level=breach", `"state": "waiting"`)
	d.await("/", `late`)
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if got := d.get(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if err := d.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if !strings.Contains(d.log.String(), "all open conversations are known") {
		t.Errorf("log:\n%s", d.log)
	}
}

// Two customers have waited for 40 minutes: too long, but for the inbox with an
// hour of its own.
func TestInboxesHavePromisesOfTheirOwn(t *testing.T) {
	d := start(t, "SLA_INBOX_MINUTES=5:60")
	for _, inbox := range []int64{5, 6} {
		d.sim.CustomerOpens(time.Now().Add(-40*time.Minute), inbox, "Hello?")
	}
	d.await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="6",level="breach"\} 1`)
	d.await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="5",level="normal"\} 1`)
	d.await("/metrics", `chatwoot_sla_inbox_target_seconds\{inbox="5"\} 3600`)
	d.await("/", `First answer within 30 minutes, 60 minutes in `)
}

// The simulated website and mailbox are open on weekdays only. Whoever wrote
// there on a Saturday is owed an answer on Monday; in the inbox without hours,
// half an hour later.
func TestBusinessHoursAreReadFromChatwoot(t *testing.T) {
	saturday := time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)
	since := time.Now()
	clock := func() time.Time { return saturday.Add(time.Since(since)) }
	d := startAt(t, clock, "SLA_BUSINESS_HOURS=chatwoot")
	for _, inbox := range d.sim.Inboxes() {
		d.sim.CustomerOpens(saturday.Add(-40*time.Minute), inbox, "Hello?")
	}
	list := d.await("/api/v1/conversations", `(?s)"state": "waiting".*"state": "waiting".*"state": "waiting"`)
	var doc struct {
		Conversations []struct {
			Inbox, Level string
			Deadline     time.Time
			SecondsLeft  float64 `json:"seconds_left"`
		}
	}
	if err := json.Unmarshal([]byte(list), &doc); err != nil {
		t.Fatal(err)
	}
	monday := time.Date(2026, 3, 9, 8, 30, 0, 0, time.UTC) // half past nine in Berlin
	for i, c := range doc.Conversations {
		if i == 0 { // the one that is due first
			if c.Level != "breach" || !c.Deadline.Equal(saturday.Add(-10*time.Minute)) {
				t.Errorf("without hours: %+v, want a breach", c)
			}
			continue
		}
		if c.Level != "normal" || !c.Deadline.Equal(monday) || c.SecondsLeft != 1800 {
			t.Errorf("with hours: %+v, want half an hour left until %v", c, monday)
		}
	}
	d.await("/", `the clocks stand still: .+\.<`)
}

func TestMaintenanceIsExported(t *testing.T) {
	tuesday := time.Date(2026, 3, 10, 3, 0, 0, 0, time.UTC)
	since := time.Now()
	clock := func() time.Time { return tuesday.Add(time.Since(since)) }
	d := startAt(t, clock)
	d.await("/metrics", `chatwoot_sla_maintenance_active 1`)
	d.await("/metrics", `chatwoot_sla_maintenance_next_start_timestamp_seconds 1.776132e\+09`) // 14 April, 02:00
	d.await("/metrics", `chatwoot_sla_probes_total\{maintenance="true",probe="rails_health",result="success"\} [1-9]`)

	off := startAt(t, clock, "MAINTENANCE_RRULE=off")
	off.await("/metrics", `chatwoot_sla_maintenance_active 0`)
	if body := off.get("/metrics"); strings.Contains(body, "maintenance_next_start_timestamp_seconds") {
		t.Error("a next window is exported without any rule")
	}
}

// Paused for an hour of maintenance, the clock of somebody who has waited for
// 80 minutes has run for 20.
func TestClocksPauseDuringMaintenance(t *testing.T) {
	tuesday := time.Date(2026, 3, 10, 3, 0, 0, 0, time.UTC)
	since := time.Now()
	clock := func() time.Time { return tuesday.Add(time.Since(since)) }
	for pause, level := range map[string]string{"true": "warning", "false": "breach"} {
		d := startAt(t, clock, "SLA_PAUSE_DURING_MAINTENANCE="+pause)
		d.sim.CustomerOpens(tuesday.Add(-80*time.Minute), d.sim.Inboxes()[0], "Hello?")
		d.await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="\d+",level="`+level+`"\} 1`)
	}
}

// A Chatwoot that is down at the start must not take the monitor away, nor
// look as if nobody waited.
func TestDaemonStartsWithoutChatwoot(t *testing.T) {
	d := start(t)
	fault := d.sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 503})
	// A reading that was under way may still have got through.
	d.await("/metrics", `chatwoot_sla_probes_total\{maintenance="false",probe="rails_health",result="(success|failure)"\} [1-9]`)
	if got := d.get("/readyz"); got != "ready\n" {
		t.Errorf("readyz: %q", got)
	}
	fault()
	d.await("/api/v1/status", `"state": "fresh"`)
}

func TestMetricsAreTheDocumentedOnes(t *testing.T) {
	d := start(t, "CHATWOOT_EMBED_TOKEN=EXAMPLE-website-token", "SLA_INBOX_MINUTES=5:60")
	d.sim.CustomerOpens(time.Now().Add(-90*time.Minute), d.sim.Inboxes()[0], "Hello?")
	d.sim.CustomerOpens(time.Now(), d.sim.Inboxes()[0], "Hello?")
	d.await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="\d+",level="breach"\} 1`)
	d.await("/metrics", `chatwoot_sla_evidence_last_write_timestamp_seconds`)
	families := d.families()

	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(chatwoot_sla_[a-z_]+)` \\| (\\w+) \\| (.*?) \\|")
	documented := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		name, kind, labels := m[1], m[2], m[3]
		documented[name] = true
		f := families[name]
		if f == nil {
			t.Errorf("docs/metrics.md has %s, the daemon does not export it", name)
			continue
		}
		if got := strings.ToLower(f.GetType().String()); got != kind {
			t.Errorf("docs/metrics.md calls %s a %s, it is a %s", name, kind, got)
		}
		var has []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			has = append(has, "`"+l.GetName()+"`")
		}
		if got := strings.Join(has, ", "); got != strings.TrimSpace(strings.Trim(labels, "–")) {
			t.Errorf("docs/metrics.md gives %s the labels %q, it has %q", name, labels, got)
		}
	}
	for name := range families {
		if strings.HasPrefix(name, "chatwoot_sla_") && !documented[name] {
			t.Errorf("docs/metrics.md lacks %s", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(d.get("/metrics"))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "chatwoot_sla_") {
			t.Errorf("lint: %s: %s", p.Metric, p.Text)
		}
	}
}

// The token must not be in anything that the daemon says, whatever goes wrong.
func TestSecretsStayInside(t *testing.T) {
	const widget = "EXAMPLE-website-token"
	d := start(t, "CHATWOOT_EMBED_TOKEN="+widget)
	d.await("/api/v1/status", `"state": "fresh"`)
	for _, f := range []chatwootsim.Fault{
		{Kind: chatwootsim.FaultUnauthorized}, {Kind: chatwootsim.FaultHTML}, {Kind: chatwootsim.FaultCutBody}, {Kind: chatwootsim.FaultDropConn},
	} {
		clearFault := d.sim.Inject(f)
		d.await("/api/v1/status", `"state": "stale"`)
		for _, path := range []string{"/", "/metrics", "/api/v1/status", "/api/v1/conversations"} {
			said := d.get(path)
			for _, secret := range []string{token, widget} {
				if strings.Contains(said, secret) {
					t.Errorf("fault %v: %s tells a secret", f.Kind, path)
				}
			}
		}
		clearFault()
		d.await("/api/v1/status", `"state": "fresh"`)
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{token, widget} {
		if strings.Contains(d.log.String(), secret) {
			t.Errorf("the log tells a secret")
		}
	}
	files := 0
	err := filepath.WalkDir(d.artifacts, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, secret := range []string{token, widget} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s tells a secret", path)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d evidence files (%v)", files, err)
	}
}

func TestWebConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	// The password is "secret".
	if err := os.WriteFile(file, []byte("basic_auth_users:\n  ada: $2y$04$Y6mn9VYLSDpBVZPx4wWBVOAVUv/vTUuUYyrbrtqIVWVEmxVCnTvXq\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, "WEB_CONFIG_FILE="+file)
	resp, err := http.Get(d.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a password: %d, want 401", resp.StatusCode)
	}
}

func TestNamesAreHiddenBeyondLoopback(t *testing.T) {
	for listen, named := range map[string]bool{"127.0.0.1:0": true, "0.0.0.0:0": false} {
		d := start(t, "LISTEN_ADDR="+listen)
		d.sim.CustomerOpens(time.Now(), d.sim.Inboxes()[0], "Hello?")
		list := d.await("/api/v1/conversations", `"state": "waiting"`)
		if got := strings.Contains(list, `"contact"`); got != named {
			t.Errorf("on %s customers are named: %v, want %v", listen, got, named)
		}
	}
}

func TestBadWebConfigIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte("basic_auth_usres: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(config.Options{Environ: []string{
		"CHATWOOT_BASE_URL=http://127.0.0.1:1", "CHATWOOT_TOKEN=" + token, "CHATWOOT_ACCOUNT_ID=1", "LISTEN_ADDR=127.0.0.1:0", "WEB_CONFIG_FILE=" + file,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.New(app.Options{Config: loaded.Config}); err == nil || !strings.Contains(err.Error(), "WEB_CONFIG_FILE") {
		t.Errorf("error %v does not name WEB_CONFIG_FILE", err)
	}
}

func TestStartAndStopUnderStress(t *testing.T) {
	for range 10 {
		d := start(t)
		if err := d.stop(); err != nil {
			t.Fatalf("Run: %v", err)
		}
	}
}

func TestStopWhileChatwootHangs(t *testing.T) {
	d := start(t)
	d.await("/api/v1/status", `"state": "fresh"`)
	defer d.sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultHang})()
	d.await("/metrics", `chatwoot_sla_poll_last_success_timestamp_seconds`)
	began := time.Now()
	if err := d.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
}
