package alerts_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/promtest"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// people are the settings without which nothing is rendered.
var people = []string{"OPERATIONS_MANAGER=Riley Chen", "SUPPORT_LEAD=Morgan Patel", "SUPPORT_DESK_EMAIL=desk@example.com"}

// shells are the ones that render must run under, each with a PATH of its own:
// Alertmanager's image has only busybox.
func shells(t *testing.T) map[string][]string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("%v; run make deps", err)
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name := range strings.FieldsSeq(string(applets)) {
		if err := os.Symlink(busybox, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	dash, err := exec.LookPath("dash")
	if err != nil {
		t.Fatalf("%v; run make deps", err)
	}
	return map[string][]string{
		"dash":    {dash, "PATH=" + os.Getenv("PATH")},
		"busybox": {filepath.Join(dir, "sh"), "PATH=" + dir},
	}
}

// file returns a file with a text.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRender(t *testing.T) {
	hook, other := file(t, "https://hooks.example.com/services/EXAMPLE\n"), file(t, "https://hooks.example.com/services/OTHER")
	password := file(t, "EXAMPLE-password\n")
	email := []string{"SMTP_SMARTHOST=mail.example.com:587", "SMTP_FROM=alerts@example.com"}
	tests := []struct {
		name     string
		settings []string
		want     []string // parts of the configuration
		absent   []string
		said     []string // parts of what it says beside
	}{
		{
			name: "Slack alone", settings: append([]string{"SLACK_INCIDENTS_URL_FILE=" + hook, "SLACK_SUPPORT_URL_FILE=" + other}, people...),
			want:   []string{`api_url_file: "` + hook, `api_url_file: "` + other, `channel: "#incidents"`, `channel: "#support"`},
			absent: []string{"email_configs", "smtp_", "webhook_configs", "time_intervals"},
		},
		{
			name: "one hook for all", settings: append([]string{"SLACK_INCIDENTS_URL_FILE=" + hook}, people...),
			want: []string{`api_url_file: "` + hook + "\"\n        channel: \"#support\""},
			said: []string{"SLACK_SUPPORT_URL_FILE is not set", "#incidents"},
		},
		{
			name: "e-mail alone brings everything", settings: slices.Concat(people, email),
			want:   []string{"- <<: *email\n        to: \"desk@example.com\"\n\n  - name: support-desk"},
			absent: []string{"slack_configs", "smtp_auth", "smtp_require_tls"},
		},
		{
			name: "a mail server that wants a password", settings: slices.Concat(people, email, []string{"SMTP_USERNAME=alerts", "SMTP_PASSWORD_FILE=" + password}),
			want:   []string{`smtp_auth_username: "alerts"`, `smtp_auth_password_file: "` + password + `"`},
			absent: []string{"EXAMPLE-password"},
		},
		{
			name: "a mail server without TLS", settings: slices.Concat(people, email, []string{"SMTP_WITHOUT_TLS=true"}),
			want: []string{"smtp_require_tls: false"},
		},
		{
			name: "a switch that is off", settings: slices.Concat(people, email, []string{"SMTP_WITHOUT_TLS=false"}),
			absent: []string{"smtp_require_tls"},
		},
		{
			name: "Slack, and e-mail beside it", settings: slices.Concat(people, email, []string{"SLACK_INCIDENTS_URL_FILE=" + hook, "SUPPORT_LEAD_EMAIL=lead@example.com"}),
			want: []string{`to: "lead@example.com"`, "- name: incidents\n    slack_configs:\n      - *slack\n  - name: support-desk"},
		},
		{
			name: "a dead man's switch", settings: append([]string{"SLACK_INCIDENTS_URL_FILE=" + hook, "WATCHDOG_URL=https://watch.example.com/?a=1&b=2#c"}, people...),
			want: []string{`url: "https://watch.example.com/?a=1&b=2#c"`},
		},
		{
			name: "support hours", settings: append([]string{"SLACK_INCIDENTS_URL_FILE=" + hook, "SUPPORT_HOURS_ZONE=America/New_York", "SUPPORT_HOURS_TO=18:30"}, people...),
			want: []string{`weekdays: ["monday:friday"]`, `start_time: "09:00"`, `end_time: "18:30"`, `location: "America/New_York"`, "active_time_intervals: [support-hours]"},
		},
		{
			name: "values that YAML would misread", settings: append([]string{"SLACK_INCIDENTS_URL_FILE=" + hook, "SLACK_INCIDENTS_CHANNEL=#a: {b} # 'c' & *d"}, people...),
			want: []string{`channel: "#a: {b} # 'c' & *d"`},
		},
		{
			name: "nobody, on purpose", settings: []string{"ALERTS_TO_NOBODY=true"},
			want: []string{"- name: page\n"}, absent: []string{"slack_configs", "email_configs"},
			said: []string{"ALERTS_TO_NOBODY is true", "nobody is told"},
		},
	}
	for shell, call := range shells(t) {
		for _, tt := range tests {
			t.Run(shell+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				cmd := exec.Command(call[0], "render", dir)
				cmd.Env = append([]string{call[1]}, tt.settings...)
				said, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, said)
				}
				if len(tt.said) == 0 && len(said) > 0 && !strings.Contains(string(said), "SLACK_SUPPORT_URL_FILE is not set") {
					t.Errorf("it said:\n%s", said)
				}
				for _, part := range tt.said {
					if !strings.Contains(string(said), part) {
						t.Errorf("it does not say %q:\n%s", part, said)
					}
				}
				name := filepath.Join(dir, "alertmanager.yml")
				text, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				for _, part := range tt.want {
					if !strings.Contains(string(text), part) {
						t.Errorf("%q is not in:\n%s", part, text)
					}
				}
				for _, part := range append(tt.absent, "${", "# with") {
					if strings.Contains(string(text), part) {
						t.Errorf("%q is in:\n%s", part, text)
					}
				}
				if out, err := promtest.Run(t, "amtool", "check-config", name); err != nil {
					t.Errorf("amtool check-config: %v\n%s", err, out)
				}
			})
		}
	}
}

func TestRenderRefusesWhatWouldNotAlert(t *testing.T) {
	hook, empty := file(t, "https://hooks.example.com/services/EXAMPLE"), file(t, "\n \n")
	slack := append([]string{"SLACK_INCIDENTS_URL_FILE=" + hook}, people...)
	tests := []struct {
		name     string
		settings []string
		want     []string // one for each line that it says
	}{
		{"nothing at all", nil, []string{"nobody would be told of an alert: set SLACK_INCIDENTS_URL_FILE, or SMTP_SMARTHOST for e-mail, or ALERTS_TO_NOBODY=true"}},
		{"a switch that is neither", []string{"ALERTS_TO_NOBODY=yes"}, []string{`ALERTS_TO_NOBODY: "yes" is neither`, "nobody would be told"}},
		{"everything that is missing, at once", []string{"SMTP_SMARTHOST=mail.example.com", "SMTP_USERNAME=alerts"}, []string{
			"OPERATIONS_MANAGER is not set", "SUPPORT_LEAD is not set", "SUPPORT_DESK_EMAIL is not set",
			`SMTP_SMARTHOST: "mail.example.com" is not HOST:PORT`, "SMTP_FROM is not set", "SMTP_PASSWORD_FILE is not set",
		}},
		{"a hook that is not there", append([]string{"SLACK_INCIDENTS_URL_FILE=/nowhere/hook"}, people...), []string{"SLACK_INCIDENTS_URL_FILE: there is no file /nowhere/hook", "SLACK_SUPPORT_URL_FILE is not set"}},
		{"a hook in a folder that nobody can tell", append([]string{"SLACK_INCIDENTS_URL_FILE=hook"}, people...), []string{`SLACK_INCIDENTS_URL_FILE: "hook" is not a whole path`, "SLACK_SUPPORT_URL_FILE is not set"}},
		{"an empty hook", append(slack, "SLACK_SUPPORT_URL_FILE="+empty), []string{"SLACK_SUPPORT_URL_FILE: " + empty + " is empty"}},
		{"a hook that is no address", append(slack, "SLACK_SUPPORT_URL_FILE="+file(t, "xoxb-EXAMPLE")), []string{"does not hold one address that begins with https://"}},
		{"two hooks in a file", append(slack, "SLACK_SUPPORT_URL_FILE="+file(t, "https://a.example.com\nhttps://b.example.com\n")), []string{"does not hold one address"}},
		{"a hook for support alone", append([]string{"SLACK_SUPPORT_URL_FILE=" + hook}, slices.Concat(people, []string{"SMTP_SMARTHOST=mail:25", "SMTP_FROM=a@example.com"})...), []string{"SLACK_SUPPORT_URL_FILE is set, but SLACK_INCIDENTS_URL_FILE is not"}},
		{"a password without a name", slices.Concat(slack, []string{"SLACK_SUPPORT_URL_FILE=" + hook, "SMTP_SMARTHOST=mail:25", "SMTP_FROM=a@example.com", "SMTP_PASSWORD_FILE=" + empty}), []string{"SMTP_USERNAME is not set", "SMTP_PASSWORD_FILE: " + empty + " is empty"}},
		{"an e-mail without a server", slices.Concat(slack, []string{"SLACK_SUPPORT_URL_FILE=" + hook, "SUPPORT_LEAD_EMAIL=lead@example.com"}), []string{"SUPPORT_LEAD_EMAIL is set, but SMTP_SMARTHOST is not"}},
		{"hours without a zone", slices.Concat(slack, []string{"SLACK_SUPPORT_URL_FILE=" + hook, "SUPPORT_HOURS_DAYS=monday:friday"}), []string{"SUPPORT_HOURS_ZONE is not set"}},
		{"what would end a string", slices.Concat(slack, []string{"SLACK_SUPPORT_URL_FILE=" + hook, `OPERATIONS_MANAGER=R"x`, `MAILBOX_URL=https:\\x`, "WATCHDOG_URL=https://a\n- b"}), []string{"OPERATIONS_MANAGER must not contain", "MAILBOX_URL must not contain", "WATCHDOG_URL must not contain"}},
	}
	for shell, call := range shells(t) {
		for _, tt := range tests {
			t.Run(shell+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "rendered")
				cmd := exec.Command(call[0], "render", dir)
				cmd.Env = append([]string{call[1]}, tt.settings...)
				said, err := cmd.CombinedOutput()
				if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
					t.Errorf("it ended with %v, want status 1", err)
				}
				if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("it left something behind (%v)", err)
				}
				lines := strings.Split(strings.TrimSpace(string(said)), "\n")
				if len(lines) != len(tt.want) {
					t.Errorf("it said %d lines, want %d:\n%s", len(lines), len(tt.want), said)
				}
				for _, part := range tt.want {
					if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "render: ") && strings.Contains(l, part) }) {
						t.Errorf("it does not say %q:\n%s", part, said)
					}
				}
			})
		}
	}
}

func TestVariablesOfRenderAreExplained(t *testing.T) {
	script, err := os.ReadFile("render")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(script), "\nnames='")
	list, _, _ = strings.Cut(list, "'")
	doc, err := os.ReadFile("../docs/alertmanager.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		explained = append(explained, m[1])
	}
	known := strings.Fields(list)
	slices.Sort(known)
	slices.Sort(explained)
	if len(known) < 10 || !slices.Equal(known, explained) {
		t.Errorf("alerts/render takes %q\ndocs/alertmanager.md explains %q", known, explained)
	}
}

// render leaves the meaning of hours to Alertmanager, which knows all zones.
func TestSupportHoursThatMakeNoSenseAreRefused(t *testing.T) {
	hook := file(t, "https://hooks.example.com/services/EXAMPLE")
	tests := []struct {
		name, setting, want string
	}{
		{"zone", "SUPPORT_HOURS_ZONE=Mars/Phobos", "unknown time zone Mars/Phobos"},
		{"day", "SUPPORT_HOURS_DAYS=funday", "funday"},
		{"week that ends before it begins", "SUPPORT_HOURS_DAYS=friday:monday", "start day cannot be before end day"},
		{"time", "SUPPORT_HOURS_FROM=9 o'clock", "9 o'clock"},
		{"day that ends before it begins", "SUPPORT_HOURS_FROM=18:00", "start time cannot be equal or greater than end time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings := append([]string{"SLACK_INCIDENTS_URL_FILE=" + hook, "SUPPORT_HOURS_ZONE=UTC", tt.setting}, people...)
			name := promtest.RenderAlertmanager(t, t.TempDir(), settings...)
			if out, err := promtest.Run(t, "amtool", "check-config", name); err == nil || !strings.Contains(out, tt.want) {
				t.Errorf("amtool check-config = %v, want an error with %q:\n%s", err, tt.want, out)
			}
		})
	}
}

// team is an ordinary team's Alertmanager: Slack, e-mail and a watchdog.
type team struct {
	slack    *promtest.Slack
	mail     *promtest.Mail
	watched  atomic.Int64 // times that the watchdog was heard
	settings []string
}

func newTeam(t *testing.T) *team {
	t.Helper()
	m := &team{slack: promtest.StartSlack(t), mail: promtest.StartMail(t)}
	watchdog := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { m.watched.Add(1) }))
	t.Cleanup(watchdog.Close)
	m.settings = slices.Concat(people, []string{
		"SLACK_INCIDENTS_URL_FILE=" + m.slack.Hook(t, "incidents"),
		"SLACK_SUPPORT_URL_FILE=" + m.slack.Hook(t, "support"),
		"SMTP_SMARTHOST=" + m.mail.Addr, "SMTP_FROM=alerts@example.com", "SMTP_WITHOUT_TLS=true",
		"SUPPORT_LEAD_EMAIL=lead@example.com",
		"MAILBOX_URL=https://mail.example.com/?box=1&new",
		"WATCHDOG_URL=" + watchdog.URL,
	})
	return m
}

// start runs an Alertmanager that waits seconds where the real one waits
// minutes. It repeats nothing meanwhile.
func (m *team) start(t *testing.T, settings ...string) *promtest.Server {
	t.Helper()
	dir := t.TempDir()
	name := promtest.RenderAlertmanager(t, dir, append(slices.Clone(m.settings), settings...)...)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, was := range []string{"group_wait: 10s", "group_interval: 5m", "group_interval: 1m"} {
		if !bytes.Contains(text, []byte(was)) {
			t.Fatalf("alertmanager.yml has no %q", was)
		}
		what, _, _ := strings.Cut(was, " ")
		text = bytes.ReplaceAll(text, []byte(was), []byte(what+" 1s"))
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return promtest.StartAlertmanager(t, dir, name)
}

// alert is one as Prometheus would send it, or Alertmanager hand to templates.
type alert struct {
	Status      string            `json:"status,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt,omitzero"`
}

// raised returns the alert of a rule as it might fire, with its own labels. The
// annotations are not expanded, so those that matter are handed over.
func raised(t *testing.T, name string, annotations map[string]string) alert {
	t.Helper()
	for _, r := range readRules(t, "rules.yml") {
		if r.Alert != name {
			continue
		}
		a := alert{Labels: map[string]string{"alertname": name}, Annotations: map[string]string{}, StartsAt: time.Date(2025, 11, 24, 3, 7, 0, 0, time.UTC)}
		maps.Copy(a.Labels, r.Labels)
		for k, v := range r.Annotations {
			if !strings.Contains(v, "{{") {
				a.Annotations[k] = v
			}
		}
		maps.Copy(a.Annotations, annotations)
		a.Annotations["dashboard_url"] = "https://grafana.example.com/d/chatwoot-sla-overview"
		if a.Annotations["summary"] == "" {
			a.Annotations["summary"] = name
		}
		return a
	}
	t.Fatalf("rules.yml has no %s", name)
	return alert{}
}

func outage(t *testing.T) alert {
	return raised(t, "ChatwootDown", map[string]string{
		"summary":     "Chatwoot is down: all checks fail",
		"description": "Failing: platform health, authenticated API. Open conversations were last read 6m 2s ago.",
		"affected":    "platform health, authenticated API",
		"exit_code":   "4",
		"duration":    "6m 40s",
	})
}

func post(t *testing.T, am *promtest.Server, alerts ...alert) {
	t.Helper()
	body, err := json.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(am.URL+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("post alerts: %s", resp.Status)
	}
}

func TestEveryAlertFindsItsReceiver(t *testing.T) {
	want := map[string]string{
		"ChatwootDown":                   "page",
		"ChatwootSLAMonitorDown":         "page",
		"ChatwootProbeFailing":           "incidents",
		"ChatwootHealthBudgetBurn":       "incidents",
		"ChatwootSlow":                   "incidents",
		"ChatwootSnapshotStale":          "incidents",
		"ChatwootPollIncomplete":         "incidents",
		"ChatwootEvidenceNotWritten":     "incidents",
		"ChatwootStoreErrors":            "incidents",
		"ChatwootHealthChecksStopped":    "incidents",
		"ChatwootRetryQueueHigh":         "incidents",
		"ChatwootStageDown":              "incidents",
		"ChatwootWebhookProcessingSlow":  "incidents",
		"ChatwootWebhookProcessingStuck": "incidents",
		"ChatwootDeadLetters":            "incidents",
		"ChatwootWebhooksSilent":         "incidents",
		"ChatwootWebhooksRejected":       "support-desk",
		"ChatwootTokenRefused":           "support-desk",
		"ChatwootTokenLacksRole":         "support-desk",
		"ChatwootSLABreached":            "support-lead",
		"ChatwootSLABacklog":             "support-lead",
		"ChatwootSLABreachRateHigh":      "support-lead",
		"ChatwootApprovalQueueDeep":      "support-lead",
		"ChatwootApprovalQueueOld":       "support-lead",
		"ChatwootApprovedReplyUnsent":    "support-lead",
		"ChatwootSLAUrgent":              "support-channel",
		"ChatwootSLAWatchdog":            "watchdog",
		"ChatwootIncidentOverdue":        "incidents",
		"ChatwootMaintenanceOverrun":     "incidents",
		"ChatwootChecklistFailed":        "incidents",
		"ChatwootMaintenanceSoon":        "support-channel",
	}
	name := promtest.RenderAlertmanager(t, t.TempDir(), newTeam(t).settings...)
	for _, a := range alertNames(readRules(t, "rules.yml")) {
		args := []string{"config", "routes", "test", "--config.file=" + name}
		for k, v := range raised(t, a, nil).Labels {
			args = append(args, k+"="+v)
		}
		out, err := promtest.Run(t, "amtool", args...)
		lines := strings.Split(strings.TrimSpace(out), "\n") // above the answer there may be warnings
		if got := lines[len(lines)-1]; err != nil || got != want[a] {
			t.Errorf("%s goes to %q (%v), want %q", a, got, err, want[a])
		}
	}
}

// Alertmanager takes any name for an alert that has not fired yet.
func TestConfigurationNamesOnlyAlertsThatExist(t *testing.T) {
	text, err := os.ReadFile("alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	known := alertNames(readRules(t, "rules.yml"))
	named := regexp.MustCompile(`\bChatwoot[A-Z]\w+`).FindAllString(string(text), -1)
	if len(named) < 10 {
		t.Fatalf("alertmanager.yml names only %q; is the search still right?", named)
	}
	for _, n := range named {
		if !slices.Contains(known, n) {
			t.Errorf("alertmanager.yml names %s, which is no alert of rules.yml", n)
		}
	}
}

func TestOneCauseSilencesItsSymptoms(t *testing.T) {
	am := newTeam(t).start(t)
	causes := []string{
		"ChatwootDown", "ChatwootProbeFailing", "ChatwootSnapshotStale", "ChatwootSLABreached", "ChatwootSLAMonitorDown",
		"ChatwootStageDown", "ChatwootWebhooksRejected",
	}
	conversations := []string{"ChatwootSLABacklog", "ChatwootSLABreached", "ChatwootSLAUrgent"}
	tests := []struct {
		fires   []string // besides all that are no causes
		silence []string
	}{
		{nil, nil},
		{[]string{"ChatwootSLABreached"}, []string{"ChatwootSLABacklog"}},
		{[]string{"ChatwootProbeFailing"}, []string{"ChatwootHealthBudgetBurn", "ChatwootSlow"}},
		{[]string{"ChatwootSnapshotStale", "ChatwootSLABreached"}, conversations},
		{[]string{"ChatwootStageDown"}, []string{"ChatwootWebhookProcessingSlow"}},
		{[]string{"ChatwootWebhooksRejected"}, []string{"ChatwootWebhooksSilent"}},
		{[]string{"ChatwootSLAMonitorDown", "ChatwootSnapshotStale"}, []string{
			"ChatwootDeadLetters", "ChatwootEvidenceNotWritten", "ChatwootHealthChecksStopped", "ChatwootPollIncomplete", "ChatwootRetryQueueHigh",
			"ChatwootSLABacklog", "ChatwootSLAUrgent", "ChatwootSnapshotStale", "ChatwootStoreErrors", "ChatwootWebhooksSilent",
		}},
		{[]string{"ChatwootDown", "ChatwootProbeFailing", "ChatwootSnapshotStale", "ChatwootSLABreached"}, append([]string{
			"ChatwootHealthBudgetBurn", "ChatwootPollIncomplete", "ChatwootProbeFailing", "ChatwootSlow", "ChatwootSnapshotStale",
			"ChatwootTokenLacksRole", "ChatwootTokenRefused", "ChatwootSLABreachRateHigh",
			"ChatwootRetryQueueHigh", "ChatwootWebhookProcessingSlow", "ChatwootWebhooksSilent",
		}, conversations...)},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.fires, " and "), func(t *testing.T) {
			var firing []alert
			for _, name := range alertNames(readRules(t, "rules.yml")) {
				if slices.Contains(tt.fires, name) || !slices.Contains(causes, name) {
					firing = append(firing, raised(t, name, nil))
				}
			}
			post(t, am, firing...)
			slices.Sort(tt.silence)
			promtest.Await(t, 3*time.Minute, fmt.Sprintf("%d alerts, silent %q", len(firing), tt.silence), func() error {
				all, silent, err := shown(am)
				if err == nil && (all != len(firing) || !slices.Equal(silent, tt.silence)) {
					err = fmt.Errorf("%d alerts, silent %q", all, silent)
				}
				return err
			})

			for i := range firing {
				firing[i].EndsAt = firing[i].StartsAt.Add(time.Minute)
			}
			post(t, am, firing...)
			promtest.Await(t, 3*time.Minute, "an end to the alerts", func() error {
				all, _, err := shown(am)
				if err == nil && all > 0 {
					err = fmt.Errorf("%d alerts", all)
				}
				return err
			})
		})
	}
}

func TestAnOutageSilencesNothingAboutAnotherChatwoot(t *testing.T) {
	am := newTeam(t).start(t)
	at := func(job, name string) alert {
		a := raised(t, name, nil)
		a.Labels["job"] = job
		return a
	}
	post(t, am, at("a", "ChatwootDown"), at("a", "ChatwootSLAUrgent"), at("a", "ChatwootSlow"), at("b", "ChatwootSLAUrgent"))
	want := []string{"ChatwootSLAUrgent", "ChatwootSlow"}
	promtest.Await(t, 3*time.Minute, fmt.Sprintf("%q alone to be silent", want), func() error {
		_, silent, err := shown(am)
		if err == nil && !slices.Equal(silent, want) {
			err = fmt.Errorf("silent are %q", silent)
		}
		return err
	})
}

// The stages that ask Chatwoot wait for it; what was given up stays so.
func TestAnOutageSilencesOnlyTheStagesThatAskChatwoot(t *testing.T) {
	am := newTeam(t).start(t)
	of := func(stage, name string) alert {
		a := raised(t, name, nil)
		a.Labels["stage"] = stage
		return a
	}
	down := []alert{outage(t), of("settle", "ChatwootDeadLetters")}
	want := []string{"ChatwootDeadLetters"}
	for _, stage := range []string{"settle", "draft", "note", "reply"} {
		down = append(down, of(stage, "ChatwootStageDown"))
		want = append(want, "ChatwootStageDown")
	}
	post(t, am, down...)
	silent := func(want ...string) {
		t.Helper()
		promtest.Await(t, 3*time.Minute, fmt.Sprintf("%q alone to be silent", want), func() error {
			_, silent, err := shown(am)
			if err == nil && !slices.Equal(silent, want) {
				err = fmt.Errorf("silent are %q", silent)
			}
			return err
		})
	}
	silent(want...)
	post(t, am, of("forward", "ChatwootStageDown"), of("forward", "ChatwootDeadLetters"), of("reply", "ChatwootDeadLetters"), raised(t, "ChatwootSlow", nil))
	silent(slices.Insert(want, 1, "ChatwootSlow")...)
}

// shown returns how many alerts Alertmanager has, and the names of those that
// others silence.
func shown(am *promtest.Server) (all int, silent []string, err error) {
	body, err := promtest.Get(am.URL + "/api/v2/alerts")
	if err != nil {
		return 0, nil, err
	}
	var alerts []struct {
		Labels map[string]string
		Status struct{ InhibitedBy []string }
	}
	if err := json.Unmarshal([]byte(body), &alerts); err != nil {
		return 0, nil, err
	}
	for _, a := range alerts {
		if len(a.Status.InhibitedBy) > 0 {
			silent = append(silent, a.Labels["alertname"])
		}
	}
	slices.Sort(silent)
	return len(alerts), silent, nil
}

// titles returns those of messages, sorted.
func titles(messages []promtest.Message) []string {
	var got []string
	for _, m := range messages {
		got = append(got, m.Title)
	}
	slices.Sort(got)
	return got
}

func TestEverybodyHearsWhatConcernsThem(t *testing.T) {
	m := newTeam(t)
	am := m.start(t)
	down := outage(t)
	down.StartsAt = time.Now().Add(-time.Hour)
	post(
		t, am, raised(t, "ChatwootSLABreached", nil), raised(t, "ChatwootSLAUrgent", nil), raised(t, "ChatwootTokenLacksRole", nil),
		raised(t, "ChatwootHealthBudgetBurn", nil), raised(t, "ChatwootSLAWatchdog", nil),
	)
	await := func(inbox *promtest.Inbox, to string, want ...string) []promtest.Message {
		t.Helper()
		slices.Sort(want)
		promtest.Await(t, 3*time.Minute, fmt.Sprintf("%s to hear %q", to, want), func() error {
			if got := titles(inbox.Messages(to)); !slices.Equal(got, want) {
				return fmt.Errorf("it has heard %q", got)
			}
			return nil
		})
		return inbox.Messages(to)
	}
	const (
		breached = "A customer has waited longer than the SLA"
		role     = "The monitor's access token belongs to no administrator"
		level2   = "Chatwoot Health Check Failure - Level 2"
	)
	await(&m.slack.Inbox, "support", breached, "ChatwootSLAUrgent", role)
	await(&m.slack.Inbox, "incidents", "ChatwootHealthBudgetBurn")
	await(&m.mail.Inbox, "lead@example.com", breached)
	await(&m.mail.Inbox, "desk@example.com", role)

	post(t, am, down)
	page := await(&m.slack.Inbox, "incidents", "ChatwootHealthBudgetBurn", level2)[1]
	if !strings.HasPrefix(page.Pretext, "<!here> ") || page.Color != "danger" || page.Channel != "#incidents" {
		t.Errorf("the page calls nobody: %+v", page)
	}
	if quiet := m.slack.Messages("incidents")[0]; quiet.Pretext != "" || quiet.Color != "warning" {
		t.Errorf("a ticket calls somebody: %+v", quiet)
	}
	letter := await(&m.mail.Inbox, "desk@example.com", role, level2)[1]
	for _, want := range []string{"Operators: work from the mailbox", "https://mail.example.com/?box=1&new\n", "Exit Code: 4", "Operations Manager: Riley Chen"} {
		if !strings.Contains(letter.Text, want) {
			t.Errorf("the e-mail does not say %q:\n%s", want, letter.Text)
		}
	}

	down.EndsAt = down.StartsAt.Add(402 * time.Second)
	post(t, am, down)
	over := await(&m.slack.Inbox, "incidents", "ChatwootHealthBudgetBurn", level2, "RESOLVED: "+level2)[2]
	if over.Color != "good" || over.Pretext != "" || !regexp.MustCompile(`\*Duration\*: 6m 42s\n`).MatchString(over.Text) {
		t.Errorf("the all-clear: %+v", over)
	}
	await(&m.mail.Inbox, "desk@example.com", role, level2, "RESOLVED: "+level2)

	promtest.Await(t, 3*time.Minute, "the watchdog", func() error {
		if m.watched.Load() == 0 {
			return errors.New("nothing was heard")
		}
		return nil
	})
}

func TestOutsideSupportHoursOnlyTheSLAIsSilent(t *testing.T) {
	const breached, role = "A customer has waited longer than the SLA", "The monitor's access token belongs to no administrator"
	const soon = "ChatwootMaintenanceSoon" // of three days' notice, a weekend would leave one
	// Three days ahead: also when the test runs across midnight.
	otherDay := strings.ToLower(time.Now().UTC().AddDate(0, 0, 3).Weekday().String())
	tests := []struct {
		name, days string
		want       []string
	}{
		{"inside", "sunday:saturday", []string{breached, soon, "ChatwootSLAUrgent", role}},
		{"outside", otherDay, []string{soon, role}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newTeam(t)
			am := m.start(t, "SUPPORT_HOURS_ZONE=UTC", "SUPPORT_HOURS_DAYS="+tt.days, "SUPPORT_HOURS_FROM=00:00", "SUPPORT_HOURS_TO=24:00")
			post(t, am, raised(t, "ChatwootSLABreached", nil), raised(t, "ChatwootSLAUrgent", nil), raised(t, soon, nil))
			// What follows takes its turn a second after the SLA had its own, each
			// time. That is for what must not come; what must is waited for.
			await := func(hook, title string) {
				t.Helper()
				promtest.Await(t, 3*time.Minute, hook+" to hear "+title, func() error {
					if got := titles(m.slack.Messages(hook)); !slices.Contains(got, title) {
						return fmt.Errorf("it has heard %q", got)
					}
					return nil
				})
			}
			post(t, am, raised(t, "ChatwootTokenLacksRole", nil))
			for _, title := range tt.want {
				await("support", title)
			}
			post(t, am, raised(t, "ChatwootPollIncomplete", nil))
			await("incidents", "ChatwootPollIncomplete")
			if got := titles(m.slack.Messages("support")); !slices.Equal(got, tt.want) {
				t.Errorf("support has heard %q, want %q", got, tt.want)
			}
		})
	}
}

// Each file shows one group of alerts in every template that the configuration
// uses; amtool fails for one that is not defined, which check-config does not.
func TestMessages(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile(promtest.RenderAlertmanager(t, dir, newTeam(t).settings...))
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, m := range regexp.MustCompile(`\{\{ template "([^"]+)" \. \}\}`).FindAllStringSubmatch(string(text), -1) {
		used = append(used, m[1])
	}
	if len(used) < 5 || len(used) != strings.Count(string(text), "{{") {
		t.Fatalf("alertmanager.yml uses %q; is the search still right?", used)
	}

	resolved := outage(t)
	resolved.EndsAt = resolved.StartsAt.Add(time.Hour + 62*time.Second + 400*time.Millisecond)
	slow := func(probe, mean string) alert {
		a := raised(t, "ChatwootSlow", map[string]string{"summary": "Chatwoot is slow: " + probe + " takes " + mean + " on average", "description": "The mean of the last 15 minutes is " + mean + "."})
		a.Labels["probe"] = probe
		return a
	}
	over := slow("authenticated_api", "612ms")
	over.EndsAt = over.StartsAt.Add(20 * time.Minute)
	tests := map[string][]alert{
		"outage":          {outage(t)},
		"outage-resolved": {resolved},
		"level-1":         {raised(t, "ChatwootProbeFailing", map[string]string{"summary": "Chatwoot: the platform health check fails, the other check passes", "affected": "platform health", "exit_code": "2", "duration": "just now", "impact": "Agents and customers may meet errors."})},
		"monitor-down":    {raised(t, "ChatwootSLAMonitorDown", nil)},
		"breach":          {raised(t, "ChatwootSLABreached", map[string]string{"description": "2 waiting past the deadline, the newest since 12s."})},
		"one-of-two-over": {slow("rails_health", "1.2s"), over},
		"markup":          {raised(t, "ChatwootSLAUrgent", map[string]string{"summary": "<!channel> & <b>friends</b>", "description": "a < b && c > d *bold* {{ .Nothing }}", "runbook_url": "https://example.com/?a=1&b=2|x>y"})},
	}
	for name, alerts := range tests {
		t.Run(name, func(t *testing.T) {
			var all strings.Builder
			for _, u := range used {
				if strings.Contains(all.String(), "=== "+u+"\n") {
					continue
				}
				fmt.Fprintf(&all, "=== %s\n{{ template %q . }}\n", u, u)
			}
			got, err := promtest.Run(t, "amtool", "template", "render", "--template.glob="+filepath.Join(dir, "templates", "*.tmpl"), "--template.text="+all.String(), "--template.data="+group(t, alerts))
			if err != nil {
				t.Fatalf("amtool template render: %v\n%s", err, got)
			}
			golden := filepath.Join("testdata", "messages", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs (go test -update rewrites it); got:\n%s", golden, got)
			}
		})
	}
}

// group returns a file with what Alertmanager hands to templates for a group.
func group(t *testing.T, alerts []alert) string {
	t.Helper()
	data := map[string]any{"receiver": "any", "externalURL": "http://localhost:9093", "groupLabels": map[string]string{"alertname": alerts[0].Labels["alertname"]}}
	data["status"] = "resolved"
	for i := range alerts {
		alerts[i].Status = "resolved"
		if alerts[i].EndsAt.IsZero() {
			alerts[i].Status, data["status"] = "firing", "firing"
		}
	}
	data["alerts"] = alerts
	common := func(of func(alert) map[string]string) map[string]string {
		shared := map[string]string{}
		for k, v := range of(alerts[0]) {
			if !slices.ContainsFunc(alerts, func(a alert) bool { return of(a)[k] != v }) {
				shared[k] = v
			}
		}
		return shared
	}
	data["commonLabels"] = common(func(a alert) map[string]string { return a.Labels })
	data["commonAnnotations"] = common(func(a alert) map[string]string { return a.Annotations })
	body, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, string(body))
}
