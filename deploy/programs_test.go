package deploy_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v2"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/promtest"
)

// inContainer returns a folder with what a service finds mounted from the
// repository, at the same paths.
func inContainer(t *testing.T, s types.ServiceConfig) string {
	t.Helper()
	dir := t.TempDir()
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		at := filepath.Join(dir, v.Target)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(v.Source, at); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// flagOf returns the value of a flag in a service's command.
func flagOf(t *testing.T, s types.ServiceConfig, name string) string {
	t.Helper()
	for _, arg := range s.Command {
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
	}
	t.Fatalf("%s has no %s", s.Name, name)
	return ""
}

func TestPrometheusTakesItsConfiguration(t *testing.T) {
	s := compose(t, watching).Services["prometheus"]
	file := filepath.Join(inContainer(t, s), flagOf(t, s, "--config.file"))
	out, err := promtest.Run(t, "promtool", "check", "config", file)
	if err != nil || !strings.Contains(out, "1 rule files found") {
		t.Errorf("promtool check config: %v\n%s", err, out)
	}
}

// Whoever is called is one of the services, on a port that it listens on.
func TestServicesFindEachOther(t *testing.T) {
	var prometheus struct {
		Alerting struct {
			Alertmanagers []struct {
				StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
			}
		}
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
			DNSSDConfigs  []struct {
				Names []string
				Port  string
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	var grafana struct{ Datasources []struct{ URL string } }
	unmarshal(t, "compose/prometheus.yml", &prometheus)
	unmarshal(t, "../dashboards/provisioning/datasources/prometheus.yml", &grafana)

	var called []string
	for _, a := range prometheus.Alerting.Alertmanagers {
		called = append(called, a.StaticConfigs[0].Targets...)
	}
	for _, c := range prometheus.ScrapeConfigs {
		for _, static := range c.StaticConfigs {
			called = append(called, static.Targets...)
		}
		for _, d := range c.DNSSDConfigs {
			called = append(called, net.JoinHostPort(d.Names[0], d.Port))
		}
	}
	for _, d := range grafana.Datasources {
		called = append(called, strings.TrimPrefix(d.URL, "http://"))
	}
	if len(called) < 5 {
		t.Errorf("only %v are called; have the files changed their form?", called)
	}

	listening := []string{"localhost:9090"} // Prometheus itself
	for _, s := range compose(t, "", profiles...).Services {
		for _, name := range names(s) {
			for _, p := range s.Ports {
				listening = append(listening, net.JoinHostPort(name, itoa(p.Target)))
			}
		}
	}
	for _, c := range called {
		if !slices.Contains(listening, c) {
			t.Errorf("%s is called, and nothing listens there; there are %v", c, listening)
		}
	}
}

func unmarshal(t *testing.T, file string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, file)), into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// Links in alerts lead to the Grafana that .env names, and the label that
// carries its address there is on no alert.
func TestAlertsLinkToGrafana(t *testing.T) {
	t.Setenv("GRAFANA_URL", "https://grafana.example.com")
	type alert struct{ Labels, Annotations map[string]string }
	arrived := make(chan alert, 1)
	api := http.NewServeMux()
	api.HandleFunc("POST /api/v2/alerts", func(_ http.ResponseWriter, r *http.Request) {
		var alerts []alert
		if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil {
			t.Errorf("the alerts that Prometheus sends: %v", err)
		}
		for _, a := range alerts {
			select {
			case arrived <- a:
			default: // one is enough
			}
		}
	})
	alertmanager := httptest.NewServer(api)
	defer alertmanager.Close()
	daemon := apptest.Start(t)

	configuration := read(t, "compose/prometheus.yml")
	for old, substitute := range map[string]string{
		"alertmanager:9093": strings.TrimPrefix(alertmanager.URL, "http://"),
		"dns_sd_configs:\n      - names: [chatwoot-sla]\n        type: A\n        port: 9642\n        refresh_interval: 10s\n": "static_configs: [{targets: [\"" + strings.TrimPrefix(daemon.URL, "http://") + "\"]}]\n",
	} {
		if !strings.Contains(configuration, old) {
			t.Fatalf("prometheus.yml does not have %q", old)
		}
		configuration = strings.ReplaceAll(configuration, old, substitute)
	}
	// What fires before Prometheus has found Alertmanager is sent again only a
	// minute later, so the watchdog holds back a little.
	const always = "expr: vector(1)\n"
	rules := read(t, "../alerts/rules.yml")
	if !strings.Contains(rules, always) {
		t.Fatal("no rule fires always")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "alerts"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "alerts/rules.yml"), []byte(strings.Replace(rules, always, always+"        for: 10s\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := promtest.StartPrometheus(t, dir, configuration)
	select {
	case a := <-arrived:
		if a.Labels["alertname"] == "" || !strings.HasPrefix(a.Annotations["dashboard_url"], "https://grafana.example.com/d/") {
			t.Errorf("the alert does not link to Grafana: %v", a)
		}
		if _, ok := a.Labels["grafana_url"]; ok {
			t.Errorf("the alert has the label grafana_url: %v", a.Labels)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("no alert arrives, not even the watchdog")
	}
	promtest.Await(t, time.Minute, "a scrape of the daemon", func() error {
		v, err := p.Query(`up{job="chatwoot-sla"} == 1`)
		if err == nil && len(v) != 1 {
			err = errors.New("it is not up")
		}
		return err
	})
}

func TestAlertmanagerStartsWithWhatIsRendered(t *testing.T) {
	hook := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(hook, []byte("https://hooks.example.com/services/EXAMPLE\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		environ []string
		fails   bool
		said    string
	}{
		{"the demo tells nobody", nil, false, "CHATWOOT_BASE_URL is not set"},
		{"a Chatwoot, and nobody to tell", []string{"CHATWOOT_BASE_URL=https://chat.example.com"}, true, "SLACK_INCIDENTS_URL_FILE"},
		{"a Chatwoot, and nobody to tell on purpose", []string{"CHATWOOT_BASE_URL=https://chat.example.com", "ALERTS_TO_NOBODY=true"}, false, "ALERTS_TO_NOBODY"},
		{
			"a Chatwoot, and Slack",
			[]string{"CHATWOOT_BASE_URL=https://chat.example.com", "SLACK_INCIDENTS_URL_FILE=" + hook, "OPERATIONS_MANAGER=Riley Chen", "SUPPORT_LEAD=Morgan Patel", "SUPPORT_DESK_EMAIL=desk@example.com"},
			false, "SLACK_SUPPORT_URL_FILE is not set",
		},
	}
	s := compose(t, "").Services["alertmanager"]
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, temp := inContainer(t, s), t.TempDir()
			if err := os.Symlink(promtest.Program(t, "alertmanager"), filepath.Join(dir, "alertmanager")); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), s.Entrypoint[0], filepath.Join(dir, s.Entrypoint[1]))
			cmd.Args = append(cmd.Args, s.Command...)
			cmd.Args = append(cmd.Args, "--version") // it reads its flags, and ends
			cmd.Env = append([]string{"PATH=" + dir + ":" + os.Getenv("PATH"), "TMPDIR=" + temp}, tt.environ...)
			out, err := cmd.CombinedOutput()
			if (err != nil) != tt.fails || !strings.Contains(string(out), tt.said) {
				t.Fatalf("it ends with %v; it should fail: %v, and say %q\n%s", err, tt.fails, tt.said, out)
			}
			if strings.Contains(string(out), "alertmanager, version") == tt.fails {
				t.Errorf("Alertmanager runs: %v\n%s", tt.fails, out)
			}
			if tt.fails {
				return
			}
			if out, err := promtest.Run(t, "amtool", "check-config", filepath.Join(temp, "alertmanager/alertmanager.yml")); err != nil {
				t.Errorf("amtool check-config: %v\n%s", err, out)
			}
		})
	}
}

func TestGrafanaFindsWhatIsProvisioned(t *testing.T) {
	s := compose(t, "").Services["grafana"]
	dir := inContainer(t, s)
	home := *s.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if _, err := os.Stat(filepath.Join(dir, home)); err != nil {
		t.Errorf("the first page: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "etc/grafana/provisioning/*/*.yml"))
	if err != nil || len(files) != 2 {
		t.Fatalf("Grafana is provisioned by %v (%v), want dashboards and a data source", files, err)
	}
	var dashboards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	unmarshal(t, filepath.Join(dir, "etc/grafana/provisioning/dashboards/chatwoot-sla.yml"), &dashboards)
	for _, p := range dashboards.Providers {
		if found, err := filepath.Glob(filepath.Join(dir, p.Options.Path, "*.json")); err != nil || len(found) == 0 {
			t.Errorf("there are no dashboards in %s (%v)", p.Options.Path, err)
		}
	}
}

// What the files in this folder call is what the program does.
func TestCommandsAreThoseOfTheProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "chatwoot-sla")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/chatwoot-sla").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	demo := compose(t, "", "demo").Services["demo"]
	for from, args := range map[string][]string{
		"Dockerfile":                   imageCommand(t, "CMD"),
		"Dockerfile, its health check": imageCommand(t, "HEALTHCHECK")[1:],
		"chatwoot-sla.service":         strings.Fields(unitValue(t, "ExecStart"))[1:],
		"chatwoot-sla.yaml":            podOf(t).Containers[0].Args,
	} {
		if out, err := exec.CommandContext(t.Context(), program, append(args, "--help")...).CombinedOutput(); err != nil {
			t.Errorf("%s: chatwoot-sla %v: %v\n%s", from, args, err, out)
		}
	}

	cmd := exec.CommandContext(t.Context(), program, demo.Command...)
	cmd.Env = []string{"LISTEN_ADDR=127.0.0.1:0", "TMPDIR=" + t.TempDir()}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	board := ""
	for lines := bufio.NewScanner(stdout); board == "" && lines.Scan(); {
		if address, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "board"); ok {
			board = strings.TrimSpace(address)
		}
	}
	if board == "" {
		t.Fatalf("demo %v shows no board: %v", demo.Command, cmd.Wait())
	}
	test := demo.HealthCheck.Test
	if test[0] != "CMD" || test[1] != imageCommand(t, "ENTRYPOINT")[0] {
		t.Fatalf("the health check is %v", test)
	}
	check := exec.CommandContext(t.Context(), program, test[2:]...)
	check.Env = []string{"LISTEN_ADDR=" + strings.Trim(strings.TrimPrefix(board, "http://"), "/")}
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("the health check fails: %v\n%s", err, out)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("demo %v ends with %v", demo.Command, err)
	}
}
