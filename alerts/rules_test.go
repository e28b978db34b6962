package alerts_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v2"

	"github.com/hotdash/chatwoot-sla/internal/promtest"
)

const runbooks = "https://github.com/hotdash/chatwoot-sla/blob/main/docs/runbooks/"

// readRules returns the rules of a file in their order.
func readRules(t *testing.T, file string) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var rules []rulefmt.Rule
	for _, g := range groups.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

func alertNames(rules []rulefmt.Rule) []string {
	var names []string
	for _, r := range rules {
		if r.Alert != "" {
			names = append(names, r.Alert)
		}
	}
	return names
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	if out, err := promtest.Run(t, "promtool", "check", "rules", "rules.yml"); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}

func TestRules(t *testing.T) {
	files, err := filepath.Glob("tests/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests of the rules (%v)", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			t.Parallel()
			if out, err := promtest.Run(t, "promtool", "test", "rules", f); err != nil {
				t.Errorf("promtool test rules: %v\n%s", err, out)
			}
		})
	}
}

// An alert that no test has seen fire may never; one that none has seen silent
// may always.
func TestEveryAlertIsShownFiringAndSilent(t *testing.T) {
	firing, silent := map[string]bool{"ChatwootSLAWatchdog": false}, map[string]bool{"ChatwootSLAWatchdog": true}
	files, err := filepath.Glob("tests/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Tests []struct {
				Alerts []struct {
					Name   string           `yaml:"alertname"`
					Expect []map[string]any `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		for _, test := range doc.Tests {
			for _, a := range test.Alerts {
				if len(a.Expect) > 0 {
					firing[a.Name] = true
				} else {
					silent[a.Name] = true
				}
			}
		}
	}
	for _, name := range alertNames(readRules(t, "rules.yml")) {
		if !firing[name] {
			t.Errorf("no test in alerts/tests shows %s firing", name)
		}
		if !silent[name] {
			t.Errorf("no test in alerts/tests shows %s silent", name)
		}
	}
}

// vet reports every metric and label in the file's expressions, those in
// annotations included, that the daemon does not export.
func vet(t *testing.T, file string) []error {
	t.Helper()
	known := promtest.Exported(t)
	known["ALERTS_FOR_STATE"] = []string{"alertname"}
	var problems []error
	for _, r := range readRules(t, file) {
		if r.Record != "" {
			known[r.Record] = nil // it may read what it recorded last
		}
		labels, err := known.Labels(r.Expr)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s%s: %w", r.Record, r.Alert, err))
		}
		if r.Record != "" {
			known[r.Record] = labels
		}
		for name, text := range r.Annotations {
			for _, q := range queries(text) {
				if err := known.Vet(q); err != nil {
					problems = append(problems, fmt.Errorf("%s, annotation %s: %w", r.Alert, name, err))
				}
			}
		}
	}
	return problems
}

// queries returns the expressions that an annotation evaluates.
func queries(template string) []string {
	var found []string
	for _, m := range regexp.MustCompile(`(?:query|printf) "((?:[^"\\]|\\.)*)"`).FindAllStringSubmatch(template, -1) {
		q := strings.ReplaceAll(m[1], `\"`, `"`)
		if strings.Contains(q, "chatwoot_sla") || strings.Contains(q, "ALERTS") {
			found = append(found, strings.ReplaceAll(q, "%s", "x"))
		}
	}
	return found
}

func TestRulesNameOnlyWhatTheDaemonExports(t *testing.T) {
	for _, err := range vet(t, "rules.yml") {
		t.Error(err)
	}
}

func TestRulesThatNameSomethingElseAreFound(t *testing.T) {
	problems := fmt.Sprint(vet(t, "testdata/unknown-names.yml"))
	for _, want := range []string{
		"MetricUnknown: chatwoot_sla_waiting_customers",
		`LabelUnknown: chatwoot_sla_waiting_conversations{team="a"}`,
		"AnnotationUnknown, annotation description: chatwoot_sla_nothing",
		`chatwoot_sla:grouped: an expression groups by the label "team"`,
	} {
		if !strings.Contains(problems, want) {
			t.Errorf("%q is not found in:\n%s", want, problems)
		}
	}
}

func TestEveryAlertSaysWhatAPersonNeeds(t *testing.T) {
	for _, r := range readRules(t, "rules.yml") {
		if r.Alert == "" {
			continue
		}
		t.Run(r.Alert, func(t *testing.T) {
			oneOf := func(label string, allowed ...string) {
				if got := r.Labels[label]; !slices.Contains(allowed, got) {
					t.Errorf("label %s is %q, not one of %q", label, got, allowed)
				}
			}
			oneOf("severity", "critical", "warning", "info", "none")
			oneOf("contact", "reliability", "support-lead", "support-desk", "nobody")
			oneOf("outage_level", "", "1", "2", "3")
			for _, name := range []string{"summary", "description", "runbook_url", "dashboard_url"} {
				if r.Annotations[name] == "" {
					t.Errorf("annotation %s is missing", name)
				}
			}
			if r.Labels["outage_level"] != "" {
				for _, name := range []string{"affected", "exit_code", "duration", "actions", "next_steps", "impact"} {
					if r.Annotations[name] == "" {
						t.Errorf("annotation %s of the escalation template is missing", name)
					}
				}
			}
			if want := runbooks + r.Alert + ".md"; r.Annotations["runbook_url"] != want {
				t.Errorf("runbook_url is %s, want %s", r.Annotations["runbook_url"], want)
			}
			dashboard := regexp.MustCompile(`/d/([a-z-]+)$`).FindStringSubmatch(r.Annotations["dashboard_url"])
			if dashboard == nil {
				t.Fatalf("dashboard_url names no dashboard: %s", r.Annotations["dashboard_url"])
			}
			if _, err := os.Stat(filepath.Join("..", "dashboards", dashboard[1]+".json")); err != nil {
				t.Errorf("dashboard_url: %v", err)
			}
		})
	}
}

func TestEveryAlertHasItsPage(t *testing.T) {
	pages, err := filepath.Glob("../docs/runbooks/Chatwoot*.md")
	if err != nil {
		t.Fatal(err)
	}
	alerts := alertNames(readRules(t, "rules.yml"))
	for _, a := range alerts {
		page := "../docs/runbooks/" + a + ".md"
		if !slices.Contains(pages, page) {
			t.Errorf("docs/runbooks has no %s.md", a)
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "# "+a+"\n") {
			t.Errorf("%s.md does not begin with its name", a)
		}
		for _, section := range []string{"\n## Meaning\n", "\n## Impact\n", "\n## First three commands\n", "\n## Escalate\n"} {
			if !strings.Contains(string(text), section) {
				t.Errorf("%s.md has no section %q", a, strings.TrimSpace(section))
			}
		}
	}
	for _, p := range pages {
		if name := strings.TrimSuffix(filepath.Base(p), ".md"); !slices.Contains(alerts, name) {
			t.Errorf("docs/runbooks/%s.md is about no alert", name)
		}
	}
}

func TestAlertsAreListedForOperators(t *testing.T) {
	text, err := os.ReadFile("../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \| ([\w-]+) \|`).FindAllStringSubmatch(string(text), -1) {
		if m[1] != m[2] {
			t.Errorf("docs/alerts.md: %s links to the page of %s", m[1], m[2])
		}
		listed[m[1]] = m[3] + " " + m[4]
	}
	for _, r := range readRules(t, "rules.yml") {
		if r.Alert == "" {
			continue
		}
		if want := r.Labels["severity"] + " " + r.Labels["contact"]; listed[r.Alert] != want {
			t.Errorf("docs/alerts.md has %q of %s, its labels are %q", listed[r.Alert], r.Alert, want)
		}
		delete(listed, r.Alert)
	}
	for name := range listed {
		t.Errorf("docs/alerts.md lists %s, which is no alert", name)
	}
}
