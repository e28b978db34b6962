package dashboards_test

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/promtest"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

const (
	// inboxes is more than have series of their own.
	inboxes = 60
	own     = 50

	// lines is how many a person can still tell apart on one panel.
	lines = 12
)

// scraped returns a Prometheus that scrapes a daemon with every level in every
// inbox, one failed health check, and webhooks of which one was refused and one
// is refused by the other service. Its job "one" has a single replica, "two" has
// the same daemon twice.
func scraped(t *testing.T) (*promtest.Prometheus, *chatwootsim.Server) {
	t.Helper()
	const secret = "EXAMPLE-webhook-secret-not-real"
	d := apptest.Start(t, "LLAMAINDEX_URL=http://127.0.0.1:9", "AGENT_SDK_URL=http://127.0.0.1:9",
		"CHATWOOT_WEBHOOK_SECRET="+secret, "WEBHOOK_FORWARD_URL="+service(t), "WEBHOOK_FORWARD_SECRET=EXAMPLE-forward-secret-not-real")
	for i := len(d.Sim.Inboxes()); i < inboxes; i++ {
		d.Sim.AddInbox(fmt.Sprintf(`Shop %02d "north"`, i), "Channel::Api", false)
	}
	now := time.Now()
	for _, id := range d.Sim.Inboxes() {
		for _, wait := range []time.Duration{time.Minute, 16 * time.Minute, 25*time.Minute + 10*time.Second, 40 * time.Minute} {
			d.Sim.HandOff(now.Add(-wait), d.Sim.CustomerOpens(now.Add(-wait), id, ""))
		}
		late := d.Sim.CustomerOpens(now.Add(-time.Hour), id, "")
		d.Sim.HandOff(now.Add(-time.Hour), late)
		d.Sim.AgentReplies(now.Add(-10*time.Minute), late)
	}

	daemon, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("../alerts/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yml"), rules, 0o600); err != nil {
		t.Fatal(err)
	}
	p := promtest.StartPrometheus(t, dir, fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: one
    static_configs: [{targets: ["%[1]s"]}]
  - job_name: two
    static_configs: [{targets: ["%[1]s", "%[2]s"]}]
`, daemon.Host, net.JoinHostPort("localhost", daemon.Port())))

	// Counters must be seen at 0 before they rise.
	awaitData(t, p, `chatwoot_sla_probe_failures_total{job="two"}`)
	d.Sim.Inject(chatwootsim.Fault{Path: "/profile", Kind: chatwootsim.FaultStatus, Status: 500, Times: 1})
	awaitData(t, p, `chatwoot_sla_dead_letters_total{job="two", stage="forward"}`)
	awaitData(t, p, `chatwoot_sla_queue_jobs{job="two", queue="forward"}`)
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: secret, Subscriptions: webhook.Subscriptions})
	conv := d.Sim.CustomerOpens(time.Now().Add(-time.Second), d.Sim.Inboxes()[0], "")
	d.Sim.Flush() // a message is processed while its conversation is open
	d.Sim.AgentReplies(time.Now(), conv)
	d.Sim.SetStatus(time.Now(), conv, "resolved")
	d.Sim.Flush()
	unsigned, err := http.Post(d.Webhooks, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	unsigned.Body.Close()
	awaitData(t, p, fmt.Sprintf(`sum by (level) (max by (inbox, level) (chatwoot_sla_waiting_conversations{job="two"})) == %d`, inboxes))
	return p, d.Sim
}

// service returns the address of one that takes resolutions and no messages.
func service(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get(webhook.HeaderDelivery), "message_created") {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// awaitData waits for an answer with a number in it.
func awaitData(t *testing.T, p *promtest.Prometheus, expr string) model.Vector {
	t.Helper()
	var answer model.Vector
	promtest.Await(t, 3*time.Minute, expr, func() error {
		var err error
		answer, err = p.Query(expr)
		if err == nil && !slices.ContainsFunc(answer, func(s *model.Sample) bool { return !math.IsNaN(float64(s.Value)) }) {
			err = fmt.Errorf("no data: %v", answer)
		}
		return err
	})
	return answer
}

func TestQueriesAgainstPrometheus(t *testing.T) {
	p, sim := scraped(t)
	all := load(t)

	for _, d := range all {
		t.Run(d.UID, func(t *testing.T) {
			for where, expr := range d.queries() {
				t.Run(where, func(t *testing.T) { awaitData(t, p, filled(expr, "two", ".*", "5m")) })
			}
		})
	}

	t.Run("each line has a name of its own, and there are few", func(t *testing.T) {
		for _, d := range all {
			for _, panel := range d.Panels {
				namesOf(t, p, panel)
			}
		}
	})

	t.Run("replicas are not counted twice", func(t *testing.T) {
		compared := 0
		for _, d := range all {
			for where, expr := range d.queries() {
				// What is about time moves between two questions.
				if !strings.Contains(expr, "conversations{") || strings.Contains(expr, "time()") {
					continue
				}
				compared++
				promtest.Await(t, time.Minute, where, func() error {
					one, err := p.Query(filled(expr, "one", ".*", "10s"))
					if err != nil {
						return err
					}
					two, err := p.Query(filled(expr, "two", ".*", "10s"))
					if err == nil && numbers(one) != numbers(two) {
						err = fmt.Errorf("one replica: %s; two: %s", numbers(one), numbers(two))
					}
					return err
				})
			}
		}
		if compared < 10 {
			t.Errorf("only %d queries were compared", compared)
		}
	})

	support := all["chatwoot-sla-support.json"]
	t.Run("levels are counted for the inboxes that are chosen", func(t *testing.T) {
		ids := sim.Inboxes()
		for choice, want := range map[string]model.SampleValue{
			".*":                                   inboxes,
			"other":                                inboxes - own,
			fmt.Sprintf("(%d|%d)", ids[0], ids[1]): 2,
		} {
			for _, q := range support.panel(t, "Waiting for a first answer, by level").Targets {
				got := awaitData(t, p, filled(q.Expr, "two", choice, "5m"))
				if len(got) != 1 || got[0].Value != want {
					t.Errorf("%s in %s: %v, want %v", q.LegendFormat, choice, got, want)
				}
			}
		}
	})

	t.Run("inboxes are chosen by name", func(t *testing.T) {
		i := slices.IndexFunc(support.Templating.List, func(v variable) bool { return v.Name == "inbox" })
		v := support.Templating.List[i]
		pattern := regexp.MustCompile(strings.Trim(v.Regex, "/"))
		choices := map[string]string{}
		for _, s := range awaitData(t, p, filled(v.expr(), "two", "", "")) {
			m := pattern.FindStringSubmatch(asGrafana(s))
			if m == nil {
				t.Fatalf("%s does not match %s", asGrafana(s), v.Regex)
			}
			choices[m[pattern.SubexpIndex("text")]] = m[pattern.SubexpIndex("value")]
		}
		if len(choices) != own+1 || choices["other"] != "other" || choices[`Shop 10 "north"`] != fmt.Sprint(sim.Inboxes()[10]) {
			t.Errorf("choices %v, want %d inboxes by name, and the rest as other", choices, own)
		}
	})
}

var placeholder = regexp.MustCompile(`\{\{(\w+)\}\}`)

// namesOf fails when the lines of a panel cannot be told apart.
func namesOf(t *testing.T, p *promtest.Prometheus, panel panel) {
	t.Helper()
	names := map[string]bool{}
	for _, q := range panel.Targets {
		if q.Format == "table" {
			continue
		}
		for _, s := range awaitData(t, p, filled(q.Expr, "two", ".*", "5m")) {
			name := placeholder.ReplaceAllStringFunc(q.LegendFormat, func(label string) string {
				return string(s.Metric[model.LabelName(strings.Trim(label, "{}"))])
			})
			if strings.TrimSpace(name) == "" || names[name] {
				t.Errorf("panel %q, query %s: %s is named %q, which is empty or taken", panel.Title, q.RefID, s.Metric, name)
			}
			names[name] = true
		}
	}
	if len(names) > lines {
		t.Errorf("panel %q has %d lines with %d inboxes", panel.Title, len(names), inboxes)
	}
}

func (d dashboard) panel(t *testing.T, title string) panel {
	t.Helper()
	i := slices.IndexFunc(d.Panels, func(p panel) bool { return p.Title == title })
	if i < 0 {
		t.Fatalf("%s has no panel %q", d.UID, title)
	}
	return d.Panels[i]
}

// asGrafana writes a sample as Grafana does before it applies a variable's
// regular expression: labels in their order, values as they are.
func asGrafana(s *model.Sample) string {
	var labels []string
	for name, value := range s.Metric {
		labels = append(labels, fmt.Sprintf(`%s="%s"`, name, value))
	}
	slices.Sort(labels)
	return fmt.Sprintf("{%s} %v %d", strings.Join(labels, ","), s.Value, s.Timestamp)
}

// numbers returns the values of a vector in order. Which of several equal ones
// are the top ones may differ between two answers.
func numbers(v model.Vector) string {
	var out []string
	for _, s := range v {
		out = append(out, fmt.Sprintf("%.6g", float64(s.Value)))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
