package promtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Prometheus is a running Prometheus server.
type Prometheus struct {
	*Server
	api promv1.API
}

// StartPrometheus starts a Prometheus with the text of a configuration, which
// may name further files relative to dir.
func StartPrometheus(t testing.TB, dir, configuration string) *Prometheus {
	t.Helper()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir, "prometheus", "/-/ready", func(addr string) []string {
		return []string{
			"--config.file=" + file,
			"--storage.tsdb.path=" + filepath.Join(dir, "prometheus"),
			"--web.listen-address=" + addr,
			"--web.enable-lifecycle",
			"--enable-feature=expand-external-labels", // always on from 3.0
		}
	})
	client, err := api.NewClient(api.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return &Prometheus{Server: s, api: promv1.NewAPI(client)}
}

// Watch is a Prometheus configuration for one target.
type Watch struct {
	Target       string        // URL of what is scraped, at /metrics
	Every        time.Duration // between scrapes, and between evaluations of Rules
	Rules        string        // file; empty: none
	Alertmanager string        // host:port; empty: none
}

// StartWatching starts a Prometheus and waits until it has scraped its target
// twice, so that rates have values.
func StartWatching(t testing.TB, w Watch) *Prometheus {
	t.Helper()
	var c strings.Builder
	fmt.Fprintf(&c, "global: {scrape_interval: %[1]s, evaluation_interval: %[1]s}\n", w.Every)
	fmt.Fprintf(&c, "scrape_configs:\n- job_name: chatwoot-sla\n  static_configs: [{targets: [%q]}]\n", strings.TrimPrefix(w.Target, "http://"))
	if w.Rules != "" {
		fmt.Fprintf(&c, "rule_files: [%q]\n", w.Rules)
	}
	if w.Alertmanager != "" {
		fmt.Fprintf(&c, "alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", w.Alertmanager)
	}
	p := StartPrometheus(t, t.TempDir(), c.String())
	Await(t, 3*time.Minute, "two scrapes of "+w.Target, func() error {
		v, err := p.Query("sum_over_time(up[1h])")
		if err == nil && (len(v) == 0 || v[0].Value < 2) {
			err = fmt.Errorf("so far: %v", v)
		}
		return err
	})
	return p
}

// Query evaluates an expression now. The error is for an expression that
// Prometheus refuses; an empty vector is none.
func (p *Prometheus) Query(expr string) (model.Vector, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	value, _, _, err := p.api.Query(ctx, expr, time.Now())
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	switch v := value.(type) {
	case model.Vector:
		return v, nil
	case *model.Scalar:
		return model.Vector{{Value: v.Value, Timestamp: v.Timestamp}}, nil
	}
	return nil, fmt.Errorf("query %s: it is a %s, not an instant vector", expr, value.Type())
}

// Rules returns what Prometheus says of its rules.
func (p *Prometheus) Rules() (promv1.RulesResult, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	return p.api.Rules(ctx, nil)
}

// RenderAlertmanager fills in alerts/alertmanager.yml with settings, NAME=value,
// and returns the file that Alertmanager reads. It stands in dir.
func RenderAlertmanager(t testing.TB, dir string, settings ...string) (file string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(Root(t), "alerts", "render"), dir)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, settings...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("alerts/render: %v\n%s", err, out)
	}
	return filepath.Join(dir, "alertmanager.yml")
}

// StartAlertmanager starts an Alertmanager with a configuration file that is
// already in place.
func StartAlertmanager(t testing.TB, dir, configuration string) *Server {
	t.Helper()
	return serve(t, dir, "alertmanager", "/-/ready", func(addr string) []string {
		return []string{
			"--config.file=" + configuration,
			"--storage.path=" + filepath.Join(dir, "alertmanager"),
			"--web.listen-address=" + addr,
			"--cluster.listen-address=",
		}
	})
}

// Root returns the folder of the module, from whichever package a test runs in.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		text, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module github.com/hotdash/chatwoot-sla\n") {
			return at
		}
		if at == filepath.Dir(at) {
			t.Fatalf("%s is not inside the module", dir)
		}
	}
}
