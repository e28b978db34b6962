package health_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/health"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var night = time.Date(2026, 11, 23, 22, 18, 54, 123_000_000, time.UTC)

// reportOf runs probes whose clock stands still at night.
func reportOf(t *testing.T, probes ...health.Probe) health.Report {
	t.Helper()
	c := newChecker(t, health.CheckerOptions{Host: "chat.example.com", Probes: probes, Now: func() time.Time { return night }})
	return c.Check(t.Context())
}

// badNight has a passing, a failing and an informational probe.
func badNight(t *testing.T) health.Report {
	t.Helper()
	r := reportOf(t,
		says(health.RailsHealth, health.Outcome{
			Status: 200, Endpoint: "/health", Detail: "Chatwoot 4.15.1", Version: "4.15.1",
			Dependencies: map[string]string{"queue_services": "ok", "data_services": "ok"},
		}),
		says(health.AuthenticatedAPI, health.Outcome{Status: 401, Endpoint: "/api/v1/profile", Detail: "unknown token", Reason: health.ReasonHTTPStatus}),
		health.Probe{Name: health.Widget, Informational: true, Run: says("", health.Outcome{Status: 0, Reason: health.ReasonTimeout}).Run},
	)
	r.Results[0].Duration = 42_345_600 * time.Nanosecond
	r.Results[1].Duration = 7 * time.Millisecond
	r.Finished = r.Started.Add(43 * time.Millisecond)
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and review the change:\n%s", path, got)
	}
}

func TestTextIsAsAgreed(t *testing.T) {
	var b bytes.Buffer
	if err := health.WriteText(&b, badNight(t), false); err != nil {
		t.Fatal(err)
	}
	golden(t, "bad-night.txt", b.Bytes())
}

func TestJSONIsAsDocumented(t *testing.T) {
	var b bytes.Buffer
	if err := health.WriteJSON(&b, badNight(t)); err != nil {
		t.Fatal(err)
	}
	golden(t, "bad-night.json", b.Bytes())
}

func TestEveryFieldOfTheJSONIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/evidence.md")
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile("testdata/bad-night.json")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		name, _, isField := strings.Cut(strings.TrimSpace(line), ":")
		name = strings.Trim(name, `"`)
		if !isField || strings.HasSuffix(name, "_services") { // named in the row of "dependencies"
			continue
		}
		if !bytes.Contains(doc, []byte("| `"+name+"`")) {
			t.Errorf("docs/evidence.md has no row for %q", name)
		}
	}
	for _, reason := range health.Reasons() {
		if !bytes.Contains(doc, []byte("`"+reason+"`")) {
			t.Errorf("docs/evidence.md does not explain the reason %q", reason)
		}
	}
}

func TestColourFollowsTheVerdictAndOnlyWhenAsked(t *testing.T) {
	r := badNight(t)
	var plain, coloured bytes.Buffer
	if err := health.WriteText(&plain, r, false); err != nil {
		t.Fatal(err)
	}
	if err := health.WriteText(&coloured, r, true); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(plain.String(), "\x1b") {
		t.Error("plain text holds escape sequences")
	}
	for _, want := range []string{"\x1b[32m✓\x1b[0m Platform Health", "\x1b[31m✗\x1b[0m Authenticated API", "\x1b[31mExit code 3"} {
		if !strings.Contains(coloured.String(), want) {
			t.Errorf("coloured text lacks %q", want)
		}
	}
	if got := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[0m", "").Replace(coloured.String()); got != plain.String() {
		t.Errorf("colour changes the words:\n%s", got)
	}
}

func TestAdviceFitsTheFailure(t *testing.T) {
	tests := []struct {
		name  string
		probe string
		out   health.Outcome
		err   string
		todo  string
	}{
		{"401 without a word", health.AuthenticatedAPI, health.Outcome{Status: 401}, "Failed with HTTP 401", "Token expired or invalid. Rotate"},
		{"401, the header did not arrive", health.AuthenticatedAPI, health.Outcome{Status: 401, Detail: "You need to sign in or sign up before continuing."}, "Failed with HTTP 401", "did not reach Chatwoot"},
		{"401, missing header", health.AuthenticatedAPI, health.Outcome{Status: 401, Detail: "missing header"}, "Failed with HTTP 401", "Api-Access-Token"},
		{"401, unknown token", health.AuthenticatedAPI, health.Outcome{Status: 401, Detail: "Invalid Access Token"}, "Failed with HTTP 401", "does not know this token"},
		{"401, wrong account", health.AuthenticatedAPI, health.Outcome{Status: 401, Detail: "You are not authorized to access this account"}, "Failed with HTTP 401", "CHATWOOT_ACCOUNT_ID"},
		{"401, wrong account in short", health.AuthenticatedAPI, health.Outcome{Status: 401, Detail: "wrong account"}, "Failed with HTTP 401", "CHATWOOT_ACCOUNT_ID"},
		{"401, suspended", health.AuthenticatedAPI, health.Outcome{Status: 401, Detail: "Account is suspended"}, "Failed with HTTP 401", "activate"},
		{"401, a bot's token", health.AuthenticatedAPI, health.Outcome{Status: 401, Detail: "Access to this endpoint is not authorized for bots"}, "Failed with HTTP 401", "administrator's profile"},
		{"401 on the health route", health.RailsHealth, health.Outcome{Status: 401}, "Failed with HTTP 401", "asks for a login"},
		{"403", health.AuthenticatedAPI, health.Outcome{Status: 403}, "Failed with HTTP 403", "proxy or firewall"},
		{"404 on the health route", health.RailsHealth, health.Outcome{Status: 404}, "Failed with HTTP 404", "No health route answered"},
		{"404 on the widget", health.Widget, health.Outcome{Status: 404}, "Failed with HTTP 404", "CHATWOOT_EMBED_TOKEN"},
		{"429 on the widget", health.Widget, health.Outcome{Status: 429}, "Failed with HTTP 429", "next full hour"},
		{"429", health.AuthenticatedAPI, health.Outcome{Status: 429}, "Failed with HTTP 429", "throttling"},
		{"503", health.RailsHealth, health.Outcome{Status: 503}, "Failed with HTTP 503", "During maintenance a 503 is expected"},
		{"418", health.RailsHealth, health.Outcome{Status: 418}, "Failed with HTTP 418", "CHATWOOT_BASE_URL"},
		{"a redirect", health.RailsHealth, health.Outcome{Status: 301}, "Failed with HTTP 301, a redirect", "https included"},
		{"a page", health.AuthenticatedAPI, health.Outcome{Status: 200, Reason: health.ReasonNotJSON}, "HTTP 200, but the answer is not Chatwoot's JSON", "login page"},
		{"another page than the widget's", health.Widget, health.Outcome{Status: 200, Reason: health.ReasonNotJSON}, "HTTP 200, but the answer is not the widget's page", "login page"},
		{"two dependencies", health.RailsHealth, health.Outcome{Status: 200, Dependencies: map[string]string{"queue_services": "failing", "data_services": "failing", "x_services": "ok"}}, "Chatwoot reports data_services failing, queue_services failing", "Postgres"},
		{"an unnamed dependency", health.RailsHealth, health.Outcome{Status: 200, Reason: health.ReasonDependency}, "Chatwoot reports a failing dependency", "Redis"},
		{"another account", health.AuthenticatedAPI, health.Outcome{Status: 200, Reason: health.ReasonAccount}, "The account is not among the token's accounts", "/app/accounts/"},
		{"a time-out", health.RailsHealth, health.Outcome{Reason: health.ReasonTimeout}, "Connection timeout after 0ms", "firewall"},
		{"nothing at all", health.RailsHealth, health.Outcome{}, "The probe reported nothing", "again"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := reportOf(t, says(tt.probe, tt.out)).Results[0]
			if res.Error != tt.err {
				t.Errorf("error %q, want %q", res.Error, tt.err)
			}
			if !strings.Contains(res.Advice(), tt.todo) {
				t.Errorf("advice %q, want it to say %q", res.Advice(), tt.todo)
			}
		})
	}
}

func TestEveryExitCodeHasAMeaning(t *testing.T) {
	seen := make(map[string]bool)
	for code := range 6 {
		meaning, action := health.Meaning(code)
		if meaning == "" || action == "" || seen[meaning] {
			t.Errorf("exit code %d means %q, do %q", code, meaning, action)
		}
		seen[meaning] = true
	}
}
