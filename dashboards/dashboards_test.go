// Package dashboards_test holds the dashboards to what Grafana imports, to what
// the daemon exports, and to a Prometheus that has scraped it.
package dashboards_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"github.com/hotdash/chatwoot-sla/internal/promtest"
)

// dashboard is the part of Grafana's dashboard JSON that is judged here.
type dashboard struct {
	ID            *int
	UID           string
	Title         string
	Description   string
	Tags          []string
	SchemaVersion int
	Timezone      string
	Refresh       string
	Inputs        json.RawMessage `json:"__inputs"`
	Links         []struct{ Type string }
	Annotations   struct{ List []annotation }
	Templating    struct{ List []variable }
	Panels        []panel

	raw []byte
}

type datasource struct{ Type, UID string }

type annotation struct {
	Name       string
	Datasource datasource
	Expr       string
}

type variable struct {
	Name       string
	Type       string
	Datasource datasource
	Definition string
	Query      json.RawMessage // a text, or an object with one
	Regex      string
}

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  datasource
	GridPos     struct{ H, W, X, Y int }
	Targets     []target
	FieldConfig struct {
		Defaults struct {
			Unit       string
			NoValue    string
			Thresholds struct{ Steps []struct{ Value *float64 } }
		}
		Overrides []override
	}
}

type target struct {
	RefID        string
	Datasource   datasource
	Expr         string
	LegendFormat string
	Format       string // "table": the columns are named, and need no legend
}

type override struct {
	Matcher struct {
		ID      string
		Options any
	}
	Properties json.RawMessage
}

// chosen is the data source that the reader has chosen.
var chosen = datasource{"prometheus", "${datasource}"}

// colours has the colour of each level, the same on every panel.
var colours = map[string]string{"normal": "green", "warning": "yellow", "urgent": "orange", "breach": "red"}

// goals are the thresholds that a panel must show when it asks for a metric
// that has a target.
var goals = []struct {
	metric string
	value  float64
}{
	{"chatwoot_sla_probes_total", 0.999},
	{"chatwoot_sla_probe_success_ratio", 0.999},
	{"chatwoot_sla_breach_ratio", 0.05},
	{"chatwoot_sla_inbox_breach_ratio", 0.05},
	{"chatwoot_sla_probe_duration_seconds_sum", 0.5},
	{"chatwoot_sla_webhook_processing_duration_seconds_bucket", 3},
	{"chatwoot_sla_poll_last_success_timestamp_seconds", 300}, // ChatwootSnapshotStale
	{"chatwoot_sla_token_role_sufficient", 1},
	{"process_resident_memory_bytes", 100 << 20},
}

const repository = "https://github.com/hotdash/chatwoot-sla/blob/main/"

// board is where links to the daemon's page go until the reader says otherwise:
// the default of LISTEN_ADDR.
const board = "http://localhost:9642/"

func parse(raw []byte) (dashboard, error) {
	d := dashboard{raw: raw}
	err := json.Unmarshal(raw, &d)
	return d, err
}

// load returns all dashboards by the name of their file.
func load(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards (%v)", err)
	}
	all := map[string]dashboard{}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := parse(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = d
	}
	return all
}

// catalogue is what queries may name: what the daemon exports, what its
// libraries and Prometheus add, and alerts with their labels.
func catalogue(t *testing.T) promtest.Catalogue {
	t.Helper()
	c := promtest.Exported(t)
	for _, name := range []string{
		"go_goroutines", "go_memstats_heap_inuse_bytes",
		"process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes",
		"scrape_duration_seconds",
	} {
		c[name] = nil
	}
	c["ALERTS"] = []string{"alertname", "alertstate", "severity", "contact", "outage_level"}
	return c
}

// queries yields every expression, in the words of Grafana, with where it is.
func (d dashboard) queries() iter.Seq2[string, string] {
	return func(yield func(where, expr string) bool) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if !yield(fmt.Sprintf("panel %q, query %s", p.Title, q.RefID), q.Expr) {
					return
				}
			}
		}
		for _, a := range d.Annotations.List {
			if !yield(fmt.Sprintf("annotation %q", a.Name), a.Expr) {
				return
			}
		}
		for _, v := range d.Templating.List {
			if v.Type == "query" && !yield(fmt.Sprintf("variable %q", v.Name), v.expr()) {
				return
			}
		}
	}
}

var labelValues = regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)

// expr returns what a variable asks Prometheus, as an expression.
func (v variable) expr() string {
	if m := labelValues.FindStringSubmatch(v.Definition); m != nil {
		return fmt.Sprintf("group by (%s) (%s)", m[2], m[1])
	}
	return strings.TrimSuffix(strings.TrimPrefix(v.Definition, "query_result("), ")")
}

// filled puts values in place of Grafana's variables.
func filled(expr, job, inbox, window string) string {
	return strings.NewReplacer("$__rate_interval", window, "$__range", window, "$__interval", "5s", "$job", job, "$inbox", inbox).Replace(expr)
}

// problems returns everything that is wrong with d.
func (d dashboard) problems(t *testing.T, c promtest.Catalogue) []string {
	var all []string
	report := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	d.judgeForm(report)
	d.judgeLinks(report, promtest.Root(t))
	for i, p := range d.Panels {
		p.judgePlace(report, d.Panels[:i])
		if p.Type != "row" {
			p.judge(report)
		}
	}
	for where, expr := range d.queries() {
		expr = filled(expr, "chatwoot-sla", ".*", "1m")
		if strings.Contains(expr, "$") {
			report("%s: a variable that Grafana does not fill in: %s", where, expr)
			continue
		}
		if err := c.Vet(expr); err != nil {
			report("%s: %v", where, err)
		}
	}
	return all
}

type reporter func(format string, args ...any)

func (d dashboard) judgeForm(report reporter) {
	var formatted bytes.Buffer
	if err := json.Indent(&formatted, bytes.TrimSpace(d.raw), "", "  "); err != nil || formatted.String()+"\n" != string(d.raw) {
		report("it is not indented by two spaces, one value a line (%v)", err)
	}
	if d.Inputs != nil || d.ID != nil {
		report("an export for sharing, with __inputs or an id: Grafana does not provision it as it stands")
	}
	if d.SchemaVersion != 38 {
		report("schemaVersion %d, want 38: that of Grafana 10.0, which later releases migrate", d.SchemaVersion)
	}
	if d.Title == "" || d.Description == "" || !slices.Contains(d.Tags, "chatwoot-sla") || d.Timezone != "browser" || d.Refresh != "30s" {
		report("it lacks one of title, description, tag chatwoot-sla, time zone browser, refresh 30s")
	}
	var linked []string
	for _, l := range d.Links {
		linked = append(linked, l.Type)
	}
	if !slices.Contains(linked, "dashboards") || !slices.Contains(linked, "link") {
		report("it does not link to the other dashboards, the board and the runbook")
	}
	for _, a := range d.Annotations.List {
		if a.Datasource != chosen {
			report("annotation %q: data source %v, want %v", a.Name, a.Datasource, chosen)
		}
	}
	for _, v := range d.Templating.List {
		switch v.Type {
		case "query":
			var query struct{ Query string }
			if err := json.Unmarshal(v.Query, &query); err != nil || query.Query != v.Definition {
				report("variable %q: definition and query differ (%v)", v.Name, err)
			}
			if v.Datasource != chosen {
				report("variable %q: data source %v, want %v", v.Name, v.Datasource, chosen)
			}
		case "datasource", "textbox":
		default:
			report("variable %q: type %q is not one that the tests run", v.Name, v.Type)
		}
	}
}

var (
	usedVariable = regexp.MustCompile(`\$\{?([A-Za-z]\w*)`)
	address      = regexp.MustCompile(`https?://[^"\\]+`)
)

// judgeLinks looks at every address and every variable, wherever it stands.
func (d dashboard) judgeLinks(report reporter, root string) {
	for _, m := range usedVariable.FindAllSubmatch(d.raw, -1) {
		name := string(m[1])
		if !slices.ContainsFunc(d.Templating.List, func(v variable) bool { return v.Name == name }) {
			report("$%s is used, and is no variable of the dashboard", name)
		}
	}
	for _, a := range address.FindAll(d.raw, -1) {
		path, ours := strings.CutPrefix(string(a), repository)
		if !ours {
			if string(a) != board {
				report("a link to %s, which is neither the repository nor the board", a)
			}
			continue
		}
		path, _, _ = strings.Cut(path, "${") // Grafana fills in the rest
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			report("a link to %s: %v", a, err)
		}
	}
}

func (p panel) judgePlace(report reporter, others []panel) {
	at := p.GridPos
	if at.W < 1 || at.H < 1 || at.X < 0 || at.Y < 0 || at.X+at.W > 24 {
		report("panel %q: %+v is outside the 24 columns", p.Title, at)
	}
	for _, q := range others {
		if p.ID == q.ID {
			report("panels %q and %q: both have the id %d", q.Title, p.Title, p.ID)
		}
		o := q.GridPos
		if at.X < o.X+o.W && o.X < at.X+at.W && at.Y < o.Y+o.H && o.Y < at.Y+at.H {
			report("panels %q and %q overlap", q.Title, p.Title)
		}
	}
}

func (p panel) judge(report reporter) {
	defaults := p.FieldConfig.Defaults
	if p.ID < 1 || p.Title == "" || len(p.Description) < 20 || defaults.Unit == "" || defaults.NoValue == "" {
		report("panel %q lacks one of id, title, description, unit, noValue", p.Title)
	}
	if p.Datasource != chosen {
		report("panel %q: data source %v, want %v", p.Title, p.Datasource, chosen)
	}
	if len(p.Targets) == 0 {
		report("panel %q asks nothing", p.Title)
	}
	refs := map[string]bool{}
	for _, q := range p.Targets {
		if q.RefID == "" || refs[q.RefID] {
			report("panel %q: refId %q is empty or taken", p.Title, q.RefID)
		}
		refs[q.RefID] = true
		if q.Datasource != chosen {
			report("panel %q, query %s: data source %v, want %v", p.Title, q.RefID, q.Datasource, chosen)
		}
		if q.Format != "table" && q.LegendFormat == "" {
			report("panel %q, query %s: no legend", p.Title, q.RefID)
		}
		for _, g := range goals {
			if strings.Contains(q.Expr, g.metric) && !p.hasThreshold(g.value) {
				report("panel %q: no threshold at %v, the target for %s", p.Title, g.value, g.metric)
			}
		}
		if colours[q.LegendFormat] != "" && p.colouring(q.LegendFormat) == nil {
			report("panel %q: no colour for the level %s", p.Title, q.LegendFormat)
		}
	}
	for level, colour := range colours {
		o := p.colouring(level)
		for _, other := range colours {
			if o != nil && bytes.Contains(o.Properties, []byte(`"`+other+`"`)) != (other == colour) {
				report("panel %q: %s is %s everywhere, and in no other level's colour", p.Title, level, colour)
			}
		}
	}
}

func (p panel) hasThreshold(value float64) bool {
	for _, s := range p.FieldConfig.Defaults.Thresholds.Steps {
		if s.Value != nil && *s.Value == value {
			return true
		}
	}
	return false
}

// colouring returns what overrides the look of the series of that name, nil for
// nothing.
func (p panel) colouring(name string) *override {
	i := slices.IndexFunc(p.FieldConfig.Overrides, func(o override) bool { return o.Matcher.Options == name })
	if i < 0 {
		return nil
	}
	return &p.FieldConfig.Overrides[i]
}

func TestDashboards(t *testing.T) {
	c := catalogue(t)
	for file, d := range load(t) {
		t.Run(d.UID, func(t *testing.T) {
			if file != d.UID+".json" {
				t.Errorf("%s has the uid %s; equal names keep uids unique", file, d.UID)
			}
			for _, problem := range d.problems(t, c) {
				t.Error(problem)
			}
		})
	}
}

func TestMistakesAreNamed(t *testing.T) {
	raw, err := os.ReadFile("chatwoot-sla-support.json")
	if err != nil {
		t.Fatal(err)
	}
	c := catalogue(t)
	tests := []struct {
		name     string
		old, new string // the first old becomes new
		want     string // part of a problem
	}{
		{"a metric that is not exported", "sum(max by (inbox, level) (chatwoot_sla_waiting_conversations{", "sum(max by (inbox, level) (chatwoot_sla_waiting{", "chatwoot_sla_waiting{"},
		{"a label that it has not", `level=\"breach\"`, `team=\"breach\"`, `no label "team"`},
		{"grouping by such a label", "sum by (inbox, name)", "sum by (inbox, title)", `"title"`},
		{"a variable that is not there", "$inbox", "$mailbox", "$mailbox is used"},
		{"an annotation of what is not exported", "ALERTS{", "ALARMS{", "ALARMS"},
		{"a variable's query of what is not exported", "label_values(chatwoot_sla_build_info, job)", "label_values(chatwoot_sla_built, job)", "chatwoot_sla_built"},
		{"two panels with one id", `"id": 3,`, `"id": 2,`, "both have the id 2"},
		{"two queries with one refId", `"refId": "B",`, `"refId": "A",`, `refId "A" is empty or taken`},
		{"panels that overlap", `"x": 9,`, `"x": 8,`, "overlap"},
		{"a panel beyond the edge", `"w": 24,`, `"w": 25,`, "outside the 24 columns"},
		{"a fixed data source", `"uid": "${datasource}"`, `"uid": "prometheus"`, "data source {prometheus prometheus}"},
		{"no unit", `"unit": "short"`, `"unit": ""`, "unit"},
		{"no text for no value", `"noValue": "not known"`, `"noValue": ""`, "noValue"},
		{"no legend", `"legendFormat": "breach"`, `"legendFormat": ""`, "no legend"},
		{"another colour for a level", `"color": "orange"`, `"color": "yellow"`, "urgent is orange everywhere"},
		{"a level without its colour", `"options": "urgent"`, `"options": "late"`, "no colour for the level urgent"},
		{"a runbook page that is not there", "runbooks/ChatwootSLABreached.md", "runbooks/ChatwootSLABreach.md", "ChatwootSLABreach.md"},
		{"a link to somewhere else", board, "http://board.example.com/", "board.example.com"},
		{"lines that are too long", "[\n    \"chatwoot-sla\"\n  ]", "[\"chatwoot-sla\"]", "indented"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			broken := strings.Replace(string(raw), tt.old, tt.new, 1)
			if broken == string(raw) {
				t.Fatalf("%q is not in the dashboard", tt.old)
			}
			d, err := parse([]byte(broken))
			if err != nil {
				t.Fatal(err)
			}
			problems := d.problems(t, c)
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, tt.want) }) {
				t.Errorf("problems %q, want one with %q", problems, tt.want)
			}
		})
	}
}

// A target whose metric nobody asks for would be judged nowhere.
func TestEveryTargetIsShown(t *testing.T) {
	asked := map[string]bool{}
	for _, d := range load(t) {
		for _, expr := range d.queries() {
			for _, g := range goals {
				asked[g.metric] = asked[g.metric] || strings.Contains(expr, g.metric)
			}
		}
	}
	for _, g := range goals {
		if !asked[g.metric] {
			t.Errorf("no panel shows %s, whose target is %v", g.metric, g.value)
		}
	}
}

// An alert's dashboard_url must open something.
func TestAlertsOpenDashboardsThatExist(t *testing.T) {
	rules, err := os.ReadFile("../alerts/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	opened := regexp.MustCompile(`/d/([\w-]+)`).FindAllSubmatch(rules, -1)
	if len(opened) == 0 {
		t.Fatal("no alert opens a dashboard; has the form of dashboard_url changed?")
	}
	all := load(t)
	for _, m := range opened {
		if uid := string(m[1]); all[uid+".json"].UID != uid {
			t.Errorf("an alert opens the dashboard %s, which is not here", uid)
		}
	}
}

func TestDocumentation(t *testing.T) {
	doc, err := os.ReadFile("../docs/dashboards.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range load(t) {
		if !bytes.Contains(doc, []byte("`"+d.UID+"`")) {
			t.Errorf("docs/dashboards.md does not describe %s", d.UID)
		}
		for _, p := range d.Panels {
			if p.Type == "row" && !bytes.Contains(doc, []byte(p.Title)) {
				t.Errorf("docs/dashboards.md does not say that %s answers %q", d.UID, p.Title)
			}
		}
	}
}

func TestProvisioning(t *testing.T) {
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Type, URL string
			IsDefault bool `yaml:"isDefault"`
		}
	}
	provisioned(t, "provisioning/datasources/prometheus.yml", &sources)
	if s := sources.Datasources; sources.APIVersion != 1 || len(s) != 1 || s[0].Type != "prometheus" || s[0].URL == "" || !s[0].IsDefault {
		t.Errorf("data sources %+v, want one, a Prometheus, as the default", sources)
	}

	var boards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, Type string
			Options            struct{ Path string }
		}
	}
	provisioned(t, "provisioning/dashboards/chatwoot-sla.yml", &boards)
	p := boards.Providers
	if boards.APIVersion != 1 || len(p) != 1 || p[0].Name == "" || p[0].Type != "file" {
		t.Fatalf("providers %+v, want one, of files", boards)
	}
	// The last part is the folder of this test, mounted as it is.
	if !filepath.IsAbs(p[0].Options.Path) || filepath.Base(p[0].Options.Path) != "dashboards" {
		t.Errorf("path %s is not where this folder is mounted", p[0].Options.Path)
	}
}

// provisioned reads a file, of which Grafana would ignore what it does not know.
func provisioned(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
