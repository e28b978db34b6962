package app_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
)

func TestMain(m *testing.M) {
	runIfChild()
	if name := os.Getenv(holderEnv); name != "" {
		hold(name)
	}
	goleak.VerifyTestMain(pgtest.Suite{M: m})
}

func families(t *testing.T, d *apptest.Daemon) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(d.Get("/metrics")))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func TestDaemonTellsWhatItWatches(t *testing.T) {
	d := apptest.Start(t)
	d.Sim.CustomerOpens(time.Now().Add(-40*time.Minute), d.Sim.Inboxes()[0], "Hello?")
	d.Await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="\d+",level="breach"\} 1`)
	d.Await("/metrics", `chatwoot_sla_probe_success\{probe="rails_health"\} 1`)
	d.Await("/metrics", `chatwoot_sla_probe_success\{probe="authenticated_api"\} 1`)
	d.Await("/api/v1/status", `"state": "fresh"`)
	d.Await("/api/v1/conversations?level=breach", `"state": "waiting"`)
	d.Await("/", `late`)
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if got := d.Get(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if err := d.Stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if !strings.Contains(d.Log.String(), "all open conversations are known") {
		t.Errorf("log:\n%s", d.Log)
	}
}

// Two customers have waited for 40 minutes: too long, but for the inbox with an
// hour of its own.
func TestInboxesHavePromisesOfTheirOwn(t *testing.T) {
	d := apptest.Start(t, "SLA_INBOX_MINUTES=5:60")
	for _, inbox := range []int64{5, 6} {
		d.Sim.CustomerOpens(time.Now().Add(-40*time.Minute), inbox, "Hello?")
	}
	d.Await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="6",level="breach"\} 1`)
	d.Await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="5",level="normal"\} 1`)
	d.Await("/metrics", `chatwoot_sla_inbox_target_seconds\{inbox="5"\} 3600`)
	d.Await("/", `First answer within 30 minutes, 60 minutes in `)
}

// The simulated website and mailbox are open on weekdays only. Whoever wrote
// there on a Saturday is owed an answer on Monday; in the inbox without hours,
// half an hour later.
func TestBusinessHoursAreReadFromChatwoot(t *testing.T) {
	saturday := time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)
	since := time.Now()
	clock := func() time.Time { return saturday.Add(time.Since(since)) }
	d := apptest.StartAt(t, clock, "SLA_BUSINESS_HOURS=chatwoot")
	for _, inbox := range d.Sim.Inboxes() {
		d.Sim.CustomerOpens(saturday.Add(-40*time.Minute), inbox, "Hello?")
	}
	list := d.Await("/api/v1/conversations", `(?s)"state": "waiting".*"state": "waiting".*"state": "waiting"`)
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
	d.Await("/", `the clocks stand still: .+\.<`)
}

func TestMaintenanceIsExported(t *testing.T) {
	tuesday := time.Date(2026, 3, 10, 3, 0, 0, 0, time.UTC)
	since := time.Now()
	clock := func() time.Time { return tuesday.Add(time.Since(since)) }
	d := apptest.StartAt(t, clock)
	d.Await("/metrics", `chatwoot_sla_maintenance_active 1`)
	d.Await("/metrics", `chatwoot_sla_maintenance_next_start_timestamp_seconds 1.776132e\+09`) // 14 April, 02:00
	d.Await("/metrics", `chatwoot_sla_probes_total\{maintenance="true",probe="rails_health",result="success"\} [1-9]`)

	off := apptest.StartAt(t, clock, "MAINTENANCE_RRULE=off")
	off.Await("/metrics", `chatwoot_sla_maintenance_active 0`)
	if body := off.Get("/metrics"); strings.Contains(body, "maintenance_next_start_timestamp_seconds") {
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
		d := apptest.StartAt(t, clock, "SLA_PAUSE_DURING_MAINTENANCE="+pause)
		d.Sim.CustomerOpens(tuesday.Add(-80*time.Minute), d.Sim.Inboxes()[0], "Hello?")
		d.Await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="\d+",level="`+level+`"\} 1`)
	}
}

// A Chatwoot that is down at the start must not take the monitor away, nor
// look as if nobody waited.
func TestDaemonStartsWithoutChatwoot(t *testing.T) {
	d := apptest.Start(t)
	fault := d.Sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 503})
	// A reading that was under way may still have got through.
	d.Await("/metrics", `chatwoot_sla_probes_total\{maintenance="false",probe="rails_health",result="(success|failure)"\} [1-9]`)
	if got := d.Get("/readyz"); got != "ready\n" {
		t.Errorf("readyz: %q", got)
	}
	fault()
	d.Await("/api/v1/status", `"state": "fresh"`)
}

func TestMetricsAreTheDocumentedOnes(t *testing.T) {
	refuses := newConsumer(t)
	drafting := httptest.NewServer(&chatwootsim.Assist{})
	defer drafting.Close()
	refuses.answer(http.StatusUnprocessableEntity)
	d := listening(t, append(refuses.settings(), "LLAMAINDEX_URL="+drafting.URL, "AGENT_SDK_URL="+drafting.URL, "CHATWOOT_EMBED_TOKEN=EXAMPLE-website-token", "SLA_INBOX_MINUTES=5:60")...)
	d.Sim.CustomerOpens(time.Now().Add(-90*time.Minute), d.Sim.Inboxes()[0], "Hello?")
	d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], "Hello?")
	d.Await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="\d+",level="breach"\} 1`)
	d.Await("/metrics", `chatwoot_sla_evidence_last_write_timestamp_seconds`)
	d.Await("/metrics", `chatwoot_sla_queue_oldest_timestamp_seconds`)
	d.Sim.Inject(chatwootsim.Fault{Path: "/api/v1/profile", Kind: chatwootsim.FaultStatus})
	d.Await("/metrics", `chatwoot_sla_incident_start_timestamp_seconds`)
	d.Await("/metrics", `chatwoot_sla_approvals_oldest_timestamp_seconds`)
	families := families(t, d)

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
	problems, err := promlint.New(strings.NewReader(d.Get("/metrics"))).Lint()
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
	d := apptest.Start(t, "CHATWOOT_EMBED_TOKEN="+widget)
	d.Await("/api/v1/status", `"state": "fresh"`)
	for _, f := range []chatwootsim.Fault{
		{Kind: chatwootsim.FaultUnauthorized}, {Kind: chatwootsim.FaultHTML}, {Kind: chatwootsim.FaultCutBody}, {Kind: chatwootsim.FaultDropConn},
	} {
		clearFault := d.Sim.Inject(f)
		d.Await("/api/v1/status", `"state": "stale"`)
		for _, path := range []string{"/", "/metrics", "/api/v1/status", "/api/v1/conversations"} {
			said := d.Get(path)
			for _, secret := range []string{apptest.Token, widget} {
				if strings.Contains(said, secret) {
					t.Errorf("fault %v: %s tells a secret", f.Kind, path)
				}
			}
		}
		clearFault()
		d.Await("/api/v1/status", `"state": "fresh"`)
	}
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{apptest.Token, widget} {
		if strings.Contains(d.Log.String(), secret) {
			t.Errorf("the log tells a secret")
		}
	}
	files := 0
	err := filepath.WalkDir(d.Artifacts, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, secret := range []string{apptest.Token, widget} {
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
	d := apptest.Start(t, "WEB_CONFIG_FILE="+file)
	resp, err := http.Get(d.URL + "/metrics")
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
		d := apptest.Start(t, "LISTEN_ADDR="+listen)
		d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], "Hello?")
		list := d.Await("/api/v1/conversations", `"state": "waiting"`)
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
		"CHATWOOT_BASE_URL=http://127.0.0.1:1", "CHATWOOT_TOKEN=" + apptest.Token, "CHATWOOT_ACCOUNT_ID=1", "LISTEN_ADDR=127.0.0.1:0", "WEB_CONFIG_FILE=" + file,
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
		d := apptest.Start(t)
		if err := d.Stop(); err != nil {
			t.Fatalf("Run: %v", err)
		}
	}
}

func TestStopWhileChatwootHangs(t *testing.T) {
	d := apptest.Start(t)
	d.Await("/api/v1/status", `"state": "fresh"`)
	defer d.Sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultHang})()
	d.Await("/metrics", `chatwoot_sla_poll_last_success_timestamp_seconds`)
	began := time.Now()
	if err := d.Stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
}
