// Package e2e proves the way from a customer or an outage to a person's phone:
// simulated Chatwoot, daemon, Prometheus, Alertmanager, and sinks where Slack
// and the mail server would be. Nothing else is simulated, time included.
package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/promtest"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// interval is that of scrapes and evaluations, for which the delays are promised.
const interval = 10 * time.Second

// limit is how long a step may take. It is far above what any needs.
const limit = 3 * time.Minute

const (
	level1 = "Chatwoot Health Check Failure - Level 1"
	level2 = "Chatwoot Health Check Failure - Level 2"
)

// The tests mostly wait, so all of them do at once, however few processors
// there are.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// chain is everything between Chatwoot and people.
type chain struct {
	daemon       *apptest.Daemon
	prometheus   *promtest.Prometheus
	alertmanager *promtest.Server
	slack        *promtest.Slack
	mail         *promtest.Mail
}

// start runs a chain on the rules and the configuration that are shipped. Texts
// in them are replaced only where a test would wait for minutes: each pair of
// shorter is what stands there, and what takes its place. The settings are the
// daemon's.
func start(t *testing.T, prepare func(*chatwootsim.Server), settings []string, shorter ...string) *chain {
	t.Helper()
	c := &chain{slack: promtest.StartSlack(t), mail: promtest.StartMail(t)}
	c.daemon = apptest.StartWith(t, prepare, settings...)

	dir := t.TempDir()
	configuration := promtest.RenderAlertmanager(
		t, dir,
		"SLACK_INCIDENTS_URL_FILE="+c.slack.Hook(t, "incidents"), "SLACK_SUPPORT_URL_FILE="+c.slack.Hook(t, "support"),
		"SMTP_SMARTHOST="+c.mail.Addr, "SMTP_FROM=alerts@example.com", "SMTP_WITHOUT_TLS=true",
		"SUPPORT_DESK_EMAIL=desk@example.com", "SUPPORT_LEAD=Morgan Patel", "OPERATIONS_MANAGER=Riley Chen",
	)
	rules := filepath.Join(dir, "rules.yml")
	text, err := os.ReadFile(filepath.Join(promtest.Root(t), "alerts", "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rules, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for pair := range slices.Chunk(shorter, 2) {
		replace(t, []string{configuration, rules}, pair[0], pair[1])
	}

	c.alertmanager = promtest.StartAlertmanager(t, dir, configuration)
	c.prometheus = promtest.StartWatching(t, promtest.Watch{Target: c.daemon.URL, Every: interval, Rules: rules, Alertmanager: c.alertmanager.Addr})
	return c
}

// replace replaces a text in whichever of the files have it, which one must.
func replace(t *testing.T, files []string, was, is string) {
	t.Helper()
	found := false
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), was) {
			continue
		}
		found = true
		if err := os.WriteFile(f, []byte(strings.ReplaceAll(string(text), was, is)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !found {
		t.Fatalf("%q stands in none of %q; the test has to replace something else", was, files)
	}
}

// await waits until to has been told n messages with a title, and returns them.
func await(t *testing.T, inbox *promtest.Inbox, to, title string, n int) []promtest.Message {
	t.Helper()
	var told []promtest.Message
	promtest.Await(t, limit, fmt.Sprintf("message %d to %s: %s", n, to, title), func() error {
		told = slices.DeleteFunc(inbox.Messages(to), func(m promtest.Message) bool { return m.Title != title })
		if len(told) < n {
			return fmt.Errorf("so far it was told %q", titles(inbox.Messages(to)))
		}
		return nil
	})
	return told
}

func titles(messages []promtest.Message) []string {
	var all []string
	for _, m := range messages {
		all = append(all, m.Title)
	}
	return all
}

// complete fails for a field of the runbook's escalation template that an
// outage's message does not have.
func complete(t *testing.T, m promtest.Message) {
	t.Helper()
	for _, field := range []string{
		"Status", "Started", "Duration", "Exit Code", "Affected", "Symptoms", "Actions Taken", "Current Status", "Next Steps", "Impact", "Contacts",
	} {
		if !regexp.MustCompile(`(?m)^\*` + field + `\*:\s+[^\s*]`).MatchString(m.Text) {
			t.Errorf("%s: no %s", m.Title, field)
		}
	}
	if !strings.Contains(m.Text, "Operations Manager: Riley Chen") || strings.Contains(m.Text, "error expanding") {
		t.Errorf("%s:\n%s", m.Title, m.Text)
	}
}

func TestBreachReachesSlackInUnder30Seconds(t *testing.T) {
	t.Parallel()
	// With a shorter promise the clock can start when everything runs.
	c := start(t, func(*chatwootsim.Server) {}, []string{"CHATWOOT_SLA_MINUTES=1", "SLA_WARNING_MINUTES=2", "SLA_URGENT_MINUTES=1"})
	opened := time.Now().Truncate(time.Second) // as Chatwoot tells it
	c.daemon.Sim.CustomerOpens(opened, c.daemon.Sim.Inboxes()[0], "Is anybody there?")
	deadline := opened.Add(time.Minute)
	m := await(t, &c.slack.Inbox, "support", "A customer has waited longer than the SLA", 1)[0]
	took := m.At.Sub(deadline)
	report := fmt.Sprintf("breach to Slack message: %.1f s, with a scrape every %v", took.Seconds(), interval)
	fmt.Println(report)
	t.Log(report)
	if took < 0 || took >= 30*time.Second {
		t.Errorf("it took %v, want less than 30 s", took)
	}
	if m.Channel != "#support" || m.Pretext != "" || !strings.Contains(m.Text, "Support Lead: Morgan Patel") {
		t.Errorf("the message: %+v", m)
	}
}

func TestOutagePagesOnceRepeatsAndResolves(t *testing.T) {
	t.Parallel()
	const repeat = 15 * time.Second
	c := start(
		t, apptest.EveryLevel, nil,
		"group_interval: 1m", "group_interval: 5s",
		"repeat_interval: 14m", "repeat_interval: "+repeat.String(),
	)
	await(t, &c.slack.Inbox, "support", "A customer has waited longer than the SLA", 1)
	healthy(t, c)
	quiet := len(c.slack.Messages("support"))

	apptest.BetweenChecks(t, c.daemon.URL) // or one probe would fail before the other, which is level 1
	heal := c.daemon.Sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultDropConn})
	page := await(t, &c.slack.Inbox, "incidents", level2, 1)[0]
	if !strings.HasPrefix(page.Pretext, "<!here> ") || !strings.Contains(page.Pretext, "Operators: work from the mailbox") {
		t.Errorf("the page's first line: %s", page.Pretext)
	}
	complete(t, page)
	if !strings.Contains(page.Text, "*Exit Code*: 4\n") {
		t.Errorf("the page's exit code:\n%s", page.Text)
	}
	await(t, &c.mail.Inbox, "desk@example.com", level2, 1)
	promtest.Await(t, limit, "the alerts about customers to be silenced", func() error { return silenced(c, "ChatwootSLAUrgent", "ChatwootSLABreached") })

	again := await(t, &c.slack.Inbox, "incidents", level2, 2)[1]
	if apart := again.At.Sub(page.At); apart < repeat {
		t.Errorf("the second message came after %v, and not as a repeat: %s\n%s", apart, page.Text, again.Text)
	}
	heal()
	over := await(t, &c.slack.Inbox, "incidents", "RESOLVED: "+level2, 1)[0]
	complete(t, over)
	await(t, &c.mail.Inbox, "desk@example.com", "RESOLVED: "+level2, 1)

	for _, m := range c.slack.Messages("incidents") {
		if m.Title != level2 && m.Title != "RESOLVED: "+level2 {
			t.Errorf("one cause, and another message: %s\n%s", m.Title, m.Text)
		}
	}
	for _, m := range c.slack.Messages("support")[quiet:] {
		if m.At.After(page.At) && m.At.Before(over.At) {
			t.Errorf("support was told during the outage: %s\n%s", m.Title, m.Text)
		}
	}
}

func TestFailingProbeIsPostedAndEscalates(t *testing.T) {
	t.Parallel()
	c := start(
		t, func(*chatwootsim.Server) {}, nil,
		// Five minutes of one failing probe.
		"chatwoot_sla:probes_failing[5m]", "chatwoot_sla:probes_failing[30s]",
		"chatwoot_sla:probes_failing offset 5m", "chatwoot_sla:probes_failing offset 30s",
	)
	healthy(t, c)
	c.daemon.Sim.Inject(chatwootsim.Fault{Path: "/api/v1/profile", Kind: chatwootsim.FaultStatus})

	posted := await(t, &c.slack.Inbox, "incidents", level1, 1)[0]
	complete(t, posted)
	if posted.Pretext != "" || !strings.Contains(posted.Text, "*Exit Code*: 3\n") {
		t.Errorf("level 1: %+v", posted)
	}
	page := await(t, &c.slack.Inbox, "incidents", level2, 1)[0]
	complete(t, page)
	if !strings.HasPrefix(page.Pretext, "<!here> ") || !strings.Contains(page.Text, "*Exit Code*: 3\n") {
		t.Errorf("level 2: %+v", page)
	}
	if all := titles(c.slack.Messages("incidents")); !slices.Equal(all, []string{level1, level2}) {
		t.Errorf("incidents was told %q", all)
	}
}

// A window is opened by hand, Chatwoot fails in it, and is not back when it is
// over.
func TestNothingPagesInMaintenance(t *testing.T) {
	t.Parallel()
	c := start(t, func(*chatwootsim.Server) {}, nil, "group_interval: 1m", "group_interval: 5s")
	healthy(t, c)
	w := app.MaintenanceWindow{Start: time.Now(), End: time.Now().Add(time.Hour), Reason: "upgrade"}
	if _, err := app.StartMaintenance(t.Context(), c.daemon.Config, w, time.Now()); err != nil {
		t.Fatal(err)
	}
	known(t, c, "chatwoot_sla:maintenance == 1")
	c.daemon.Sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultDropConn})
	known(t, c, "chatwoot_sla:outage_level == 2")
	// Several evaluations later it would long have been told.
	known(t, c, "count_over_time((chatwoot_sla:outage_level == 2)[2m:10s]) >= 4")
	if told := titles(c.slack.Messages("incidents")); len(told) > 0 {
		t.Errorf("in maintenance incidents was told %q", told)
	}

	over := time.Now()
	if _, _, err := app.StopMaintenance(t.Context(), c.daemon.Config, 0, over); err != nil {
		t.Fatal(err)
	}
	page := await(t, &c.slack.Inbox, "incidents", level2, 1)[0]
	report := fmt.Sprintf("end of maintenance to Slack message: %.1f s, with a scrape every %v", page.At.Sub(over).Seconds(), interval)
	fmt.Println(report)
	t.Log(report)
	if page.At.Before(over) || !strings.HasPrefix(page.Pretext, "<!here> ") {
		t.Errorf("the page came at %v, and the window ended at %v: %+v", page.At, over, page)
	}
	complete(t, page)
	await(t, &c.slack.Inbox, "incidents", "Maintenance is over, and Chatwoot is not back", 1)
	await(t, &c.slack.Inbox, "incidents", "The checklist after maintenance failed: health", 1)
}

// known waits until an expression has a value.
func known(t *testing.T, c *chain, expr string) {
	t.Helper()
	promtest.Await(t, limit, expr, func() error {
		v, err := c.prometheus.Query(expr)
		if err == nil && len(v) == 0 {
			err = errors.New("not yet")
		}
		return err
	})
}

// healthy waits until Prometheus knows that both probes pass: an outage that
// begins sooner would be no change.
func healthy(t *testing.T, c *chain) {
	t.Helper()
	known(t, c, "count(chatwoot_sla_probe_success == 1) == 2")
}

// silenced returns an error unless each of the alerts fires, and another one
// keeps it from being told.
func silenced(c *chain, names ...string) error {
	body, err := promtest.Get(c.alertmanager.URL + "/api/v2/alerts")
	if err != nil {
		return err
	}
	var alerts []struct {
		Labels map[string]string
		Status struct{ InhibitedBy []string }
	}
	if err := json.Unmarshal([]byte(body), &alerts); err != nil {
		return err
	}
	for _, a := range alerts {
		if len(a.Status.InhibitedBy) > 0 {
			names = slices.DeleteFunc(names, func(n string) bool { return n == a.Labels["alertname"] })
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("not silenced: %q in %s", names, body)
	}
	return nil
}

func TestEveryRuleReturnsData(t *testing.T) {
	t.Parallel()
	const secret = "EXAMPLE-webhook-secret-not-real"
	services := httptest.NewServer(&chatwootsim.Assist{}) // so that a draft waits for approval
	t.Cleanup(services.Close)
	d := apptest.StartWith(t, apptest.EveryLevel,
		"CHATWOOT_WEBHOOK_SECRET="+secret, "WEBHOOK_FORWARD_URL=http://127.0.0.1:1", "WEBHOOK_FORWARD_SECRET=EXAMPLE-forward-secret-not-real",
		"LLAMAINDEX_URL="+services.URL, "AGENT_SDK_URL="+services.URL)
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: secret, Subscriptions: webhook.Subscriptions})
	d.Await("/metrics", "chatwoot_sla_queue_jobs")          // what comes before its database is open is lost
	d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], "") // a job that waits: nobody listens at the other service
	// Without an incident there is nothing to say of when it began.
	d.Await("/metrics", "chatwoot_sla_poll_last_success_timestamp_seconds [1-9]")
	d.Sim.Inject(chatwootsim.Fault{Path: "/api/v1/profile", Kind: chatwootsim.FaultStatus})
	p := promtest.StartWatching(t, promtest.Watch{
		Target: d.URL, Every: time.Second, Rules: filepath.Join(promtest.Root(t), "alerts", "rules.yml"),
	})
	var rules promv1.RulesResult
	promtest.Await(t, limit, "every rule to be evaluated", func() error {
		var err error
		if rules, err = p.Rules(); err != nil {
			return err
		}
		return unevaluated(rules)
	})

	var recorded, alerting []string // expressions
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			switch r := r.(type) {
			case promv1.RecordingRule:
				recorded = append(recorded, r.Name)
			case promv1.AlertingRule:
				alerting = append(alerting, r.Query)
			}
		}
	}
	if len(recorded) == 0 || len(alerting) == 0 {
		t.Fatalf("Prometheus has %d recording and %d alerting rules", len(recorded), len(alerting))
	}
	// Most alerts are silent, so what they look at has to be there instead.
	for _, expr := range alerting {
		recorded = append(recorded, selectors(t, expr)...)
	}
	for _, expr := range recorded {
		promtest.Await(t, limit, "data for "+expr, func() error {
			v, err := p.Query(expr)
			if err == nil && len(v) == 0 {
				err = errors.New("there is none")
			}
			return err
		})
	}
}

func unevaluated(rules promv1.RulesResult) error {
	var problems []error
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			var name, failed string
			var health promv1.RuleHealth
			switch r := r.(type) {
			case promv1.RecordingRule:
				name, failed, health = r.Name, r.LastError, r.Health
			case promv1.AlertingRule:
				name, failed, health = r.Name, r.LastError, r.Health
			}
			if health != promv1.RuleHealthGood {
				problems = append(problems, fmt.Errorf("%s is %s: %s", name, health, failed))
			}
		}
	}
	return errors.Join(problems...)
}

// selectors returns those of an expression, without ranges and offsets.
func selectors(t *testing.T, expr string) []string {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			plain := parser.VectorSelector{Name: s.Name}
			for _, m := range s.LabelMatchers {
				if m.Name != model.MetricNameLabel {
					plain.LabelMatchers = append(plain.LabelMatchers, m)
				}
			}
			found = append(found, plain.String())
		}
		return nil
	})
	return found
}
