package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
)

// enough returns an environment without mistakes of its own, and more after it.
func enough(more ...string) []string {
	return append([]string{
		"CHATWOOT_BASE_URL=https://chatwoot.example.com",
		"CHATWOOT_TOKEN=not-a-real-token",
		"CHATWOOT_ACCOUNT_ID=7",
	}, more...)
}

func TestDefaults(t *testing.T) {
	got, err := config.Load(config.Options{Environ: enough()})
	if err != nil {
		t.Fatal(err)
	}
	if s := got.BaseURL.String(); s != "https://chatwoot.example.com" {
		t.Errorf("BaseURL = %s", s)
	}
	if s := got.Token.Reveal(); s != "not-a-real-token" {
		t.Errorf("Token = %q", s)
	}
	rules, err := maintenance.Parse("FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2;BYMINUTE=0;BYSECOND=0")
	if err != nil {
		t.Fatal(err)
	}
	if s := got.BusinessHours.String(); s != "off" || got.BusinessHours.PerInbox() || got.BusinessHours.Calendar() != nil {
		t.Errorf("BusinessHours = %s, want all time", s)
	}
	want := config.Config{
		BaseURL: got.BaseURL, Token: got.Token, AccountID: 7, BusinessHours: got.BusinessHours,
		MaintenanceRules: rules, MaintenanceDuration: 2 * time.Hour, MaintenanceNotice: 72 * time.Hour, ReportZone: config.Zone{Location: time.UTC},
		SLA: 30 * time.Minute, SLAWarning: 15 * time.Minute, SLAUrgent: 5 * time.Minute,
		PollInterval: 30 * time.Second, ReconcileInterval: time.Hour, RequestsPerMinute: 1200,
		HealthInterval: time.Minute, HealthPath: "/rails/health",
		EvidenceInterval: 15 * time.Minute, EvidenceRetention: 90 * 24 * time.Hour,
		ApprovalTTL: 72 * time.Hour, ApprovalRetention: 90 * 24 * time.Hour,
		WebhookListenAddr: "127.0.0.1:9643", WebhookSignature: "timestamped", WebhookMaxBytes: 8 << 20,
		ListenAddr: "127.0.0.1:9642", MetricsMaxInboxes: 50,
		LedgerBackfill: 24 * time.Hour, DataDir: "./data", ArtifactsDir: "./artifacts", ShutdownTimeout: 15 * time.Second,
		LogLevel: "info", LogFormat: "auto",
	}
	if !reflect.DeepEqual(got.Config, want) {
		t.Errorf("Config = %+v\nwant %+v", got.Config, want)
	}
	if w := got.Warnings(); len(w) > 0 {
		t.Errorf("Warnings = %q, want none", w)
	}
}

// The block is the runbook's, with its comments and placeholders.
func TestDocumentedBlockLoadsAsItStands(t *testing.T) {
	dir := writeDotenv(t, `# Chatwoot Base Configuration
CHATWOOT_BASE_URL=https://your-chatwoot-instance.com
CHATWOOT_TOKEN=your-api-access-token
CHATWOOT_ACCOUNT_ID=your-account-id

# SLA Configuration
CHATWOOT_SLA_MINUTES=30  # Default: 30 minutes

# Embed Configuration (for widget)
CHATWOOT_EMBED_TOKEN=your-embed-token
`)
	got, err := config.Load(config.Options{Dir: dir, UID: os.Getuid()})
	want := `CHATWOOT_ACCOUNT_ID "your-account-id" is still the placeholder, not a number; ` +
		"write the number after /app/accounts/ in Chatwoot's address bar"
	if err == nil || err.Error() != want {
		t.Errorf("mistakes:\n%v\nwant only\n%s", err, want)
	}
	if s := got.BaseURL.String(); s != "https://your-chatwoot-instance.com" {
		t.Errorf("BaseURL = %s", s)
	}
	if s := got.Token.Reveal(); s != "your-api-access-token" {
		t.Errorf("Token = %q", s)
	}
	if got.SLA != 30*time.Minute {
		t.Errorf("SLA = %v", got.SLA)
	}
	if s := got.EmbedToken.Reveal(); s != "your-embed-token" {
		t.Errorf("EmbedToken = %q", s)
	}
}

func TestMissingVariablesAreNamedTogether(t *testing.T) {
	_, err := config.Load(config.Options{})
	want := `CHATWOOT_BASE_URL environment variable not set; add it to .env: the address at which agents open Chatwoot, such as https://chatwoot.example.com
CHATWOOT_TOKEN environment variable not set; add it to .env: the access token of an administrator, from Profile Settings in Chatwoot
CHATWOOT_ACCOUNT_ID environment variable not set; add it to .env: the number after /app/accounts/ in Chatwoot's address bar`
	if err == nil || err.Error() != want {
		t.Errorf("mistakes:\n%v\nwant\n%s", err, want)
	}
}

func TestValues(t *testing.T) {
	tests := []struct {
		name    string
		environ string
		want    string // the whole mistake, or empty if the value is good
	}{
		{"a base URL may have a path", "CHATWOOT_BASE_URL=https://example.com/support/", ""},
		{"a base URL may have a port", "CHATWOOT_BASE_URL=http://localhost:3000", ""},
		{"a base URL needs a scheme", "CHATWOOT_BASE_URL=chatwoot.example.com", `CHATWOOT_BASE_URL "chatwoot.example.com" does not start with https:// or http://; write it like https://chatwoot.example.com`},
		{"a base URL is not ftp", "CHATWOOT_BASE_URL=ftp://example.com", `CHATWOOT_BASE_URL "ftp://example.com" does not start with https:// or http://; write it like https://chatwoot.example.com`},
		{"a base URL needs a host", "CHATWOOT_BASE_URL=https://:3000", `CHATWOOT_BASE_URL "https://:3000" names no host; write it like https://chatwoot.example.com`},
		{"a base URL's port is a port", "CHATWOOT_BASE_URL=https://example.com:65536", `CHATWOOT_BASE_URL "https://example.com:65536" is not a URL; write it like https://chatwoot.example.com`},
		{"a base URL must parse", "CHATWOOT_BASE_URL=https://exa mple.com", `CHATWOOT_BASE_URL "https://exa mple.com" is not a URL; write it like https://chatwoot.example.com`},
		{"a base URL has no user", "CHATWOOT_BASE_URL=https://ada:hunter2@example.com", `CHATWOOT_BASE_URL "[hidden]@example.com" contains a user name or a password; remove what comes before the @, and the @`},
		{"a broken base URL hides its password too", "CHATWOOT_BASE_URL=https://ada:hun%zter2@example.com", `CHATWOOT_BASE_URL "[hidden]@example.com" contains a user name or a password; remove what comes before the @, and the @`},
		{"a base URL has no query", "CHATWOOT_BASE_URL=https://example.com?api_access_token=abc", `CHATWOOT_BASE_URL "https://example.com?[hidden]" has a query or a fragment; remove everything from the ? or # on`},
		{"a base URL has no fragment", "CHATWOOT_BASE_URL=https://example.com/#top", `CHATWOOT_BASE_URL "https://example.com/#[hidden]" has a query or a fragment; remove everything from the ? or # on`},
		{"a base URL is not the API's", "CHATWOOT_BASE_URL=https://example.com/cw/api/v1/", `CHATWOOT_BASE_URL "https://example.com/cw/api/v1/" is the address of a page or of the API, not of Chatwoot itself; write https://example.com/cw`},
		{"a base URL is not a page's", "CHATWOOT_BASE_URL=https://example.com/app/accounts/3/dashboard", `CHATWOOT_BASE_URL "https://example.com/app/accounts/3/dashboard" is the address of a page or of the API, not of Chatwoot itself; write https://example.com`},
		{"a base URL may begin like a page's", "CHATWOOT_BASE_URL=https://example.com/apps", ""},

		{"a token is one word", "CHATWOOT_TOKEN=two words", "CHATWOOT_TOKEN contains a space or a control character; copy it again, on one line and with nothing around it"},
		{"a token is one line", "CHATWOOT_TOKEN=token\nX-Evil: 1", "CHATWOOT_TOKEN contains a space or a control character; copy it again, on one line and with nothing around it"},
		{"an embed token has no control characters", "CHATWOOT_EMBED_TOKEN=\x00", "CHATWOOT_EMBED_TOKEN contains a space or a control character; copy it again, on one line and with nothing around it"},

		{"an account id is positive", "CHATWOOT_ACCOUNT_ID=0", `CHATWOOT_ACCOUNT_ID "0" is out of range; write the number after /app/accounts/ in Chatwoot's address bar`},
		{"an account id is a number", "CHATWOOT_ACCOUNT_ID=7a", `CHATWOOT_ACCOUNT_ID "7a" is not a whole number; write the number after /app/accounts/ in Chatwoot's address bar`},

		{"an SLA of a year", "CHATWOOT_SLA_MINUTES=525600", ""},
		{"an SLA of a minute is shorter than its warning", "CHATWOOT_SLA_MINUTES=1", ""},
		{"an SLA of more than a year", "CHATWOOT_SLA_MINUTES=525601", `CHATWOOT_SLA_MINUTES "525601" is out of range; write a whole number from 1 to 525600`},
		{"an SLA that overflows to 86 s", "CHATWOOT_SLA_MINUTES=307445736", `CHATWOOT_SLA_MINUTES "307445736" is out of range; write a whole number from 1 to 525600`},
		{"an SLA of nothing", "CHATWOOT_SLA_MINUTES=0", `CHATWOOT_SLA_MINUTES "0" is out of range; write a whole number from 1 to 525600`},
		{"an SLA in the past", "CHATWOOT_SLA_MINUTES=-5", `CHATWOOT_SLA_MINUTES "-5" is out of range; write a whole number from 1 to 525600`},
		{"an SLA with a unit", "CHATWOOT_SLA_MINUTES=30m", `CHATWOOT_SLA_MINUTES "30m" is not a whole number; write a whole number from 1 to 525600`},
		{"an SLA with the comment that Docker leaves in", "CHATWOOT_SLA_MINUTES=30  # Default: 30 minutes", `CHATWOOT_SLA_MINUTES "30  # Default: 30 minutes" is not a whole number; write a whole number from 1 to 525600`},
		{"urgent as late as warning", "SLA_URGENT_MINUTES=15", `SLA_URGENT_MINUTES "15" is not less than SLA_WARNING_MINUTES (15); lower it, or raise SLA_WARNING_MINUTES`},
		{"a broken warning is one mistake", "SLA_WARNING_MINUTES=0", `SLA_WARNING_MINUTES "0" is out of range; write a whole number from 1 to 525600`},
		{"urgent just below warning", "SLA_URGENT_MINUTES=14", ""},

		{"a promise of one inbox", "SLA_INBOX_MINUTES=5:15", ""},
		{"promises of several inboxes", "SLA_INBOX_MINUTES= 5:15 , 8 : 525600", ""},
		{"an inbox without minutes", "SLA_INBOX_MINUTES=5", `SLA_INBOX_MINUTES "5" has no inbox id and minutes in "5"; write inbox ids and minutes from 1 to 525600, such as 5:15,8:60`},
		{"an inbox by its name", "SLA_INBOX_MINUTES=5:15,Website:60", `SLA_INBOX_MINUTES "5:15,Website:60" has no inbox id and minutes in "Website:60"; write inbox ids and minutes from 1 to 525600, such as 5:15,8:60`},
		{"an inbox that cannot be", "SLA_INBOX_MINUTES=0:15", `SLA_INBOX_MINUTES "0:15" has no inbox id and minutes in "0:15"; write inbox ids and minutes from 1 to 525600, such as 5:15,8:60`},
		{"a comma too many", "SLA_INBOX_MINUTES=5:15,", `SLA_INBOX_MINUTES "5:15," has no inbox id and minutes in ""; write inbox ids and minutes from 1 to 525600, such as 5:15,8:60`},
		{"minutes of nothing", "SLA_INBOX_MINUTES=5:0", `SLA_INBOX_MINUTES "5:0" has no number of minutes in "5:0"; write inbox ids and minutes from 1 to 525600, such as 5:15,8:60`},
		{"minutes with a unit", "SLA_INBOX_MINUTES=5:15m", `SLA_INBOX_MINUTES "5:15m" has no number of minutes in "5:15m"; write inbox ids and minutes from 1 to 525600, such as 5:15,8:60`},
		{"minutes of more than a year", "SLA_INBOX_MINUTES=5:525601", `SLA_INBOX_MINUTES "5:525601" has no number of minutes in "5:525601"; write inbox ids and minutes from 1 to 525600, such as 5:15,8:60`},
		{"an inbox twice", "SLA_INBOX_MINUTES=5:15,5:20", `SLA_INBOX_MINUTES "5:15,5:20" names inbox 5 twice; keep one of its promises`},

		{"Chatwoot's business hours", "SLA_BUSINESS_HOURS=Chatwoot", ""},
		{"business hours", "SLA_BUSINESS_HOURS=Mon-Fri 09:00-12:00,13:00-17:00; Sat 10:00-14:00 Europe/Berlin", ""},
		{"business hours without a zone", "SLA_BUSINESS_HOURS=Mon-Fri 09:00-17:00", `SLA_BUSINESS_HOURS "Mon-Fri 09:00-17:00" cannot be used: it does not end in a time zone, such as Europe/Berlin or UTC; write hours like Mon-Fri 09:00-12:00,13:00-17:00; Sat 10:00-14:00 Europe/Berlin, or chatwoot, or off`},
		{"a pause that is neither", "SLA_PAUSE_DURING_MAINTENANCE=sometimes", `SLA_PAUSE_DURING_MAINTENANCE "sometimes" is neither true nor false; write true or false`},
		{"a pause in capitals", "SLA_PAUSE_DURING_MAINTENANCE=TRUE", ""},

		{"no maintenance", "MAINTENANCE_RRULE=off", ""},
		{"two rules", "MAINTENANCE_RRULE=FREQ=MONTHLY;BYDAY=2TU|FREQ=MONTHLY;BYDAY=4TU", ""},
		{"a rule in words", "MAINTENANCE_RRULE=monthly", `MAINTENANCE_RRULE "monthly" cannot be used: "MONTHLY" is no part of a recurrence rule; write a rule like FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2;BYMINUTE=0;BYSECOND=0, or off`},
		{"a rule that is over", "MAINTENANCE_RRULE=FREQ=DAILY;UNTIL=20260105T000000Z", ""},
		{"maintenance longer than its period", "MAINTENANCE_DURATION=40d", `MAINTENANCE_RRULE "FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2;BYMINUTE=0;BYSECOND=0" cannot be used: FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2;BYMINUTE=0;BYSECOND=0 begins a window at 2024-01-09 02:00:00 UTC and the next at 2024-02-13 02:00:00 UTC, so windows of 960h0m0s have no time between them; correct the rule or MAINTENANCE_DURATION, or write off`},
		{"maintenance of no time is one mistake", "MAINTENANCE_DURATION=0s", `MAINTENANCE_DURATION "0s" is out of range; write 1m or more`},
		{"an unknown report zone", "REPORT_TIMEZONE=Berlin", `REPORT_TIMEZONE "Berlin" is no time zone; write a name of the TZ database, such as Europe/Berlin or UTC`},
		{"the machine's own zone is nobody's", "REPORT_TIMEZONE=Local", `REPORT_TIMEZONE "Local" is no time zone; write a name of the TZ database, such as Europe/Berlin or UTC`},

		{"a duration in days", "EVIDENCE_RETENTION=1d", ""},
		{"a duration in Go's syntax", "EVIDENCE_RETENTION=24h0m", ""},
		{"a duration in half days", "EVIDENCE_RETENTION=1.5d", `EVIDENCE_RETENTION "1.5d" is not a duration; write a number and its unit, such as 30s, 5m, 1h or 90d`},
		{"a duration of too many days", "EVIDENCE_RETENTION=99999999d", `EVIDENCE_RETENTION "99999999d" is not a duration; write a number and its unit, such as 30s, 5m, 1h or 90d`},
		{"a duration without a number", "EVIDENCE_RETENTION=d", `EVIDENCE_RETENTION "d" is not a duration; write a number and its unit, such as 30s, 5m, 1h or 90d`},
		{"a duration without a unit", "POLL_INTERVAL=30", `POLL_INTERVAL "30" is not a duration; write a number and its unit, such as 30s, 5m, 1h or 90d`},
		{"a negative duration", "POLL_INTERVAL=-30s", `POLL_INTERVAL "-30s" is out of range; write 5s or more`},
		{"a zero duration", "SHUTDOWN_TIMEOUT=0s", `SHUTDOWN_TIMEOUT "0s" is out of range; write 1s or more`},
		{"the shortest poll interval", "POLL_INTERVAL=5s", ""},
		{"too short a poll interval", "POLL_INTERVAL=4999ms", `POLL_INTERVAL "4999ms" is out of range; write 5s or more`},
		{"too short a reconcile interval", "RECONCILE_INTERVAL=59s", `RECONCILE_INTERVAL "59s" is out of range; write 1m or more`},
		{"too short a health interval", "HEALTH_INTERVAL=9s", `HEALTH_INTERVAL "9s" is out of range; write 10s or more`},
		{"too short an evidence interval", "EVIDENCE_INTERVAL=59s", `EVIDENCE_INTERVAL "59s" is out of range; write 1m or more`},
		{"too short a retention", "EVIDENCE_RETENTION=23h", `EVIDENCE_RETENTION "23h" is out of range; write 1d or more`},

		{"the smallest budget", "CHATWOOT_REQUESTS_PER_MINUTE=10", ""},
		{"Chatwoot's own limit", "CHATWOOT_REQUESTS_PER_MINUTE=3000", ""},
		{"too small a budget", "CHATWOOT_REQUESTS_PER_MINUTE=9", `CHATWOOT_REQUESTS_PER_MINUTE "9" is out of range; write a whole number from 10 to 3000`},
		{"more than Chatwoot's own limit", "CHATWOOT_REQUESTS_PER_MINUTE=3001", `CHATWOOT_REQUESTS_PER_MINUTE "3001" is out of range; write a whole number from 10 to 3000`},
		{"no inbox in the metrics", "METRICS_MAX_INBOXES=0", `METRICS_MAX_INBOXES "0" is out of range; write 1 or more`},

		{"a health path is a path", "CHATWOOT_HEALTH_PATH=health", `CHATWOOT_HEALTH_PATH "health" is not a path; write it like /rails/health, beginning with /`},
		{"a health path names no host", "CHATWOOT_HEALTH_PATH=//example.com/health", `CHATWOOT_HEALTH_PATH "//example.com/health" is not a path; write it like /rails/health, beginning with /`},
		{"a health path has no query", "CHATWOOT_HEALTH_PATH=/health?x=1", `CHATWOOT_HEALTH_PATH "/health?x=1" is not a path; write it like /rails/health, beginning with /`},

		{"listening on every interface", "LISTEN_ADDR=:9642", ""},
		{"listening on IPv6", "LISTEN_ADDR=[::1]:0", ""},
		{"a listen address needs a port", "LISTEN_ADDR=127.0.0.1", `LISTEN_ADDR "127.0.0.1" is not host:port; write it like 127.0.0.1:9642, or :9642 for every interface`},
		{"a listen address needs a real port", "LISTEN_ADDR=:65536", `LISTEN_ADDR ":65536" does not end in a port from 0 to 65535; write it like 127.0.0.1:9642, or :9642 for every interface`},

		{"an unknown log level", "LOG_LEVEL=verbose", `LOG_LEVEL "verbose" is unknown; write one of debug, info, warn, error`},
		{"an unknown log format", "LOG_FORMAT=text", `LOG_FORMAT "text" is unknown; write one of auto, json, console`},
		{"an empty variable counts as unset", "LOG_FORMAT=", ""},
		{"a long value is cut", "LOG_FORMAT=" + strings.Repeat("é", 5000), `LOG_FORMAT "` + strings.Repeat("é", 100) + `…" is unknown; write one of auto, json, console`},
		{"a value of several lines stays on one", "LOG_LEVEL=a\nb", `LOG_LEVEL "a\nb" is unknown; write one of debug, info, warn, error`},
		{"a token in the wrong variable is not repeated", "LOG_LEVEL=not-a-real-token", `LOG_LEVEL "[secret]" is unknown; write one of debug, info, warn, error`},
		{"a token in the base URL is not repeated", "CHATWOOT_BASE_URL=https://example.com/not-a-real-token/app", `CHATWOOT_BASE_URL "https://example.com/[secret]/app" is the address of a page or of the API, not of Chatwoot itself; write https://example.com/[secret]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Load(config.Options{Environ: enough(tt.environ), Now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("mistakes:\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestPromisesAndHours(t *testing.T) {
	got, err := config.Load(config.Options{Environ: enough(
		"SLA_INBOX_MINUTES=5:15, 8:60", "SLA_BUSINESS_HOURS=Mon-Fri 09:00-17:00 Europe/Berlin", "SLA_PAUSE_DURING_MAINTENANCE=true",
		"MAINTENANCE_RRULE=off", "REPORT_TIMEZONE=America/New_York",
	)})
	if err != nil {
		t.Fatal(err)
	}
	if want := (config.InboxMinutes{5: 15 * time.Minute, 8: time.Hour}); !maps.Equal(got.InboxSLA, want) {
		t.Errorf("InboxSLA = %v, want %v", got.InboxSLA, want)
	}
	monday := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	if got.BusinessHours.PerInbox() || got.BusinessHours.Calendar().Open(monday, monday.AddDate(0, 0, 7)) != 40*time.Hour {
		t.Errorf("BusinessHours = %v, want 40 h a week", got.BusinessHours)
	}
	if !got.PauseDuringMaintenance || got.ReportZone.String() != "America/New_York" {
		t.Errorf("PauseDuringMaintenance = %v, ReportZone = %v", got.PauseDuringMaintenance, got.ReportZone)
	}
	schedule, err := maintenance.New(got.MaintenanceRules, got.MaintenanceDuration)
	if _, planned := schedule.Next(monday); err != nil || planned {
		t.Errorf("maintenance is planned (%v), want none", err)
	}
}

func TestBaseURLLosesItsTrailingSlash(t *testing.T) {
	for given, want := range map[string]string{
		"https://example.com/":       "https://example.com",
		"HTTPS://example.com/a/b//":  "https://example.com/a/b",
		"https://example.com/a%2Fb/": "https://example.com/a%2Fb",
	} {
		got, err := config.Load(config.Options{Environ: enough("CHATWOOT_BASE_URL=" + given)})
		if err != nil || got.BaseURL.String() != want {
			t.Errorf("%s became %v (%v), want %s", given, got.BaseURL, err, want)
		}
	}
}

func TestMistakesKeepWhatCouldBeRead(t *testing.T) {
	got, err := config.Load(config.Options{Environ: []string{
		"CHATWOOT_BASE_URL=nowhere", "CHATWOOT_ACCOUNT_ID=7", "POLL_INTERVAL=soon", "HEALTH_INTERVAL=2m",
	}})
	mistakes, ok := errors.AsType[*config.Mistakes](err)
	if !ok {
		t.Fatalf("error is %T, want *config.Mistakes", err)
	}
	var names []string
	for _, m := range mistakes.All {
		names = append(names, m.Variable)
	}
	if want := []string{"CHATWOOT_BASE_URL", "CHATWOOT_TOKEN", "POLL_INTERVAL"}; !slices.Equal(names, want) {
		t.Errorf("mistakes about %q, want %q", names, want)
	}
	if got.BaseURL != nil || got.AccountID != 7 || got.HealthInterval != 2*time.Minute {
		t.Errorf("BaseURL = %v, AccountID = %d, HealthInterval = %v; want nil, 7, 2m", got.BaseURL, got.AccountID, got.HealthInterval)
	}
	if s := setting(got, "POLL_INTERVAL"); s.Value != "soon" || s.Origin != "environment" {
		t.Errorf("POLL_INTERVAL is shown as %+v, want what was written", s)
	}
}

func TestOrigins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, "from-a-file\r\n")
	tests := []struct {
		name          string
		environ       []string
		dotenv        string
		variable      string
		value, origin string
		token         string
	}{
		{"the default", nil, "", "POLL_INTERVAL", "30s", "default", ""},
		{".env over the default", nil, "POLL_INTERVAL=40s", "POLL_INTERVAL", "40s", ".env", ""},
		{"the environment over .env", []string{"POLL_INTERVAL=50s"}, "POLL_INTERVAL=40s", "POLL_INTERVAL", "50s", "environment", ""},
		{"an empty environment leaves it to .env", []string{"POLL_INTERVAL="}, "POLL_INTERVAL=40s", "POLL_INTERVAL", "40s", ".env", ""},
		{"the last of several wins", []string{"POLL_INTERVAL=50s", "POLL_INTERVAL=1m"}, "", "POLL_INTERVAL", "1m", "environment", ""},
		{"neither set nor with a default", nil, "", "WEB_CONFIG_FILE", "", "not set", ""},
		{"an unset secret", nil, "", "CHATWOOT_TOKEN", "", "not set", ""},
		{"a secret", []string{"CHATWOOT_TOKEN=abc"}, "", "CHATWOOT_TOKEN", "[set]", "environment", "abc"},
		{"the alias", []string{"CHATWOOT_API_TOKEN=abc"}, "", "CHATWOOT_TOKEN", "[set]", "alias CHATWOOT_API_TOKEN", "abc"},
		{"a file", []string{"CHATWOOT_TOKEN_FILE=" + file}, "", "CHATWOOT_TOKEN", "[set]", "CHATWOOT_TOKEN_FILE → " + file, "from-a-file"},
		{"a file by the alias", nil, "CHATWOOT_API_TOKEN_FILE=" + file, "CHATWOOT_TOKEN", "[set]", "CHATWOOT_API_TOKEN_FILE → " + file, "from-a-file"},
		{"a file in the environment over the token in .env", []string{"CHATWOOT_TOKEN_FILE=" + file}, "CHATWOOT_TOKEN=abc", "CHATWOOT_TOKEN", "[set]", "CHATWOOT_TOKEN_FILE → " + file, "from-a-file"},
		{"both names with the same token", []string{"CHATWOOT_TOKEN=abc", "CHATWOOT_API_TOKEN=abc"}, "", "CHATWOOT_TOKEN", "[set]", "environment", "abc"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := config.Load(config.Options{Environ: tt.environ, Dir: writeDotenv(t, tt.dotenv), UID: os.Getuid()})
			if s := setting(got, tt.variable); s.Value != tt.value || s.Origin != tt.origin {
				t.Errorf("%s is %q from %q, want %q from %q", tt.variable, s.Value, s.Origin, tt.value, tt.origin)
			}
			if s := got.Token.Reveal(); s != tt.token {
				t.Errorf("Token = %q, want %q", s, tt.token)
			}
			if tt.token != "" && strings.Contains(err.Error(), "TOKEN") {
				t.Errorf("mistakes:\n%v\nwant none about the token", err)
			}
		})
	}
}

func TestSecretForms(t *testing.T) {
	dir := t.TempDir()
	full, empty, folder, missing := filepath.Join(dir, "full"), filepath.Join(dir, "empty"), filepath.Join(dir, "folder"), filepath.Join(dir, "missing")
	writeFile(t, full, "abc")
	writeFile(t, empty, "\n")
	huge := filepath.Join(dir, "huge")
	writeFile(t, huge, strings.Repeat("a", 1<<20))
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		environ []string
		want    string
	}{
		{"a file and a value", []string{"CHATWOOT_TOKEN=abc", "CHATWOOT_TOKEN_FILE=" + full}, "CHATWOOT_TOKEN and CHATWOOT_TOKEN_FILE are both set (environment); keep one of them"},
		{"a file and the alias", []string{"CHATWOOT_API_TOKEN=abc", "CHATWOOT_TOKEN_FILE=" + full}, "CHATWOOT_TOKEN_FILE and CHATWOOT_API_TOKEN are both set (environment); keep one of them"},
		{"both names with different tokens", []string{"CHATWOOT_API_TOKEN=abc", "CHATWOOT_TOKEN=def"}, "CHATWOOT_TOKEN and CHATWOOT_API_TOKEN are both set (environment); keep one of them"},
		{"the embed token twice", []string{"CHATWOOT_TOKEN=abc", "CHATWOOT_EMBED_TOKEN=abc", "CHATWOOT_EMBED_TOKEN_FILE=" + full}, "CHATWOOT_EMBED_TOKEN and CHATWOOT_EMBED_TOKEN_FILE are both set (environment); keep one of them"},
		{"a file that is not there", []string{"CHATWOOT_TOKEN_FILE=" + missing}, fmt.Sprintf("CHATWOOT_TOKEN_FILE %q cannot be used (no such file or directory); write the secret into that file, readable by this user, or correct the path", missing)},
		{"a folder", []string{"CHATWOOT_TOKEN_FILE=" + folder}, fmt.Sprintf("CHATWOOT_TOKEN_FILE %q cannot be used (is a directory); write the secret into that file, readable by this user, or correct the path", folder)},
		{"an empty file", []string{"CHATWOOT_TOKEN_FILE=" + empty}, fmt.Sprintf("CHATWOOT_TOKEN_FILE %q cannot be used (it is empty); write the secret into that file, readable by this user, or correct the path", empty)},
		{"a huge file", []string{"CHATWOOT_TOKEN_FILE=" + huge}, fmt.Sprintf("CHATWOOT_TOKEN_FILE %q cannot be used (it is larger than 65536 bytes); write the secret into that file, readable by this user, or correct the path", huge)},
		{"the token in place of its file", []string{"CHATWOOT_TOKEN_FILE=not-a-real-token"}, "CHATWOOT_TOKEN_FILE names a file that cannot be used (no such file or directory); write the path of a file, not the secret itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Load(config.Options{Environ: append([]string{"CHATWOOT_BASE_URL=https://chatwoot.example.com", "CHATWOOT_ACCOUNT_ID=7"}, tt.environ...)})
			if err == nil || err.Error() != tt.want {
				t.Errorf("mistakes:\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

// The required variables are missing throughout; a refused .env may hold them,
// so only the refusal is reported.
func TestDotenvRefused(t *testing.T) {
	tests := []struct {
		name    string
		content string
		mode    os.FileMode
		want    string // after the path
	}{
		{"writable by the group", "", 0o620, " is writable by its group or by others; run: chmod go-w PATH"},
		{"writable by others", "", 0o602, " is writable by its group or by others; run: chmod go-w PATH"},
		{"a name with a hyphen", "A=1\n\nCHATWOOT-TOKEN=s3cret\n", 0o600, " line 3 is not NAME=value, or opens a quote that nothing closes; correct that line"},
		{"a name without a value", "A=1\nCHATWOOT_TOKEN", 0o600, " line 2 is not NAME=value, or opens a quote that nothing closes; correct that line"},
		{"an open quote after one of several lines", "A='1\n2'\nB=\"s3cret\nC=2\nD='3'\n", 0o600, " line 3 is not NAME=value, or opens a quote that nothing closes; correct that line"},
		{"too large", strings.Repeat("#", 1<<20), 0o600, " cannot be read (it is larger than 65536 bytes); correct or remove it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := writeDotenv(t, tt.content)
			path := filepath.Join(dir, ".env")
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := config.Load(config.Options{Dir: dir, UID: os.Getuid()})
			want := path + strings.ReplaceAll(tt.want, "PATH", path)
			if err == nil || err.Error() != want {
				t.Errorf("mistakes:\n%v\nwant\n%s", err, want)
			}
		})
	}
}

func TestDotenvOfAnotherUserIsRefused(t *testing.T) {
	dir := writeDotenv(t, "CHATWOOT_TOKEN=abc")
	path := filepath.Join(dir, ".env")
	owner := os.Getuid()
	if owner == 0 { // root's file would be accepted from anyone
		owner = 4242
		if err := os.Chown(path, owner, -1); err != nil {
			t.Skip("cannot give the file away:", err)
		}
	}
	_, err := config.Load(config.Options{Dir: dir, UID: owner + 1})
	want := fmt.Sprintf("%s belongs to another user (%d); run: chown %d %s", path, owner, owner+1, path)
	if err == nil || err.Error() != want {
		t.Errorf("mistakes:\n%v\nwant\n%s", err, want)
	}
	if got, _ := config.Load(config.Options{Dir: dir, UID: owner}); got.Token.Reveal() != "abc" {
		t.Error("the owner's own file was not read")
	}
}

func TestDotenvOfRootIsRead(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make such a file")
	}
	got, _ := config.Load(config.Options{Dir: writeDotenv(t, "CHATWOOT_TOKEN=abc"), UID: 4242})
	if got.Token.Reveal() != "abc" {
		t.Error("root's file was not read")
	}
}

// A secret can reach any other variable, by expansion in .env or by mistake.
func TestSecretsAreHiddenWhereverTheyStand(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "from-a-file")
	writeFile(t, file, "from-a-file")
	tests := []struct {
		name    string
		environ []string
		dotenv  string
		want    string // of LOG_LEVEL
	}{
		{"the token", nil, "CHATWOOT_TOKEN=0123456789\nLOG_LEVEL=<$CHATWOOT_TOKEN>", "<[secret]>"},
		{"a token that the environment overrides", []string{"CHATWOOT_TOKEN=another-token"}, "CHATWOOT_TOKEN=0123456789\nLOG_LEVEL=<$CHATWOOT_TOKEN>", "<[secret]>"},
		{"a token by its alias", []string{"CHATWOOT_TOKEN=another-token"}, "CHATWOOT_API_TOKEN=0123456789\nLOG_LEVEL=<$CHATWOOT_API_TOKEN>", "<[secret]>"},
		{"a token from a file", []string{"CHATWOOT_TOKEN_FILE=" + file}, "LOG_LEVEL=<from-a-file>", "<[secret]>"},
		{"a secret that begins with another", nil, "CHATWOOT_TOKEN=0123456789\nCHATWOOT_EMBED_TOKEN=0123456789abc\nLOG_LEVEL=<$CHATWOOT_EMBED_TOKEN>", "<[secret]>"},
		{"a word too short to hide", nil, "CHATWOOT_TOKEN=debug\nLOG_LEVEL=debug", "debug"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := config.Load(config.Options{Environ: tt.environ, Dir: writeDotenv(t, tt.dotenv), UID: os.Getuid()})
			if s := setting(got, "LOG_LEVEL"); s.Value != tt.want {
				t.Errorf("LOG_LEVEL is shown as %q, want %q", s.Value, tt.want)
			}
			for _, secret := range []string{"0123456789", "<from-a-file"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("mistakes name a secret:\n%v", err)
				}
			}
		})
	}

	got, _ := config.Load(config.Options{Environ: []string{"CHATWOOT_TOKEN_FILE=" + file}})
	if s := setting(got, "CHATWOOT_TOKEN"); s.Origin != "CHATWOOT_TOKEN_FILE → "+filepath.Join(dir, "[secret]") {
		t.Errorf("origin is %q, want the secret hidden", s.Origin)
	}
}

func TestDotenvIsAFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	path := filepath.Join(dir, ".env")
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(config.Options{Environ: enough(), Dir: dir, UID: os.Getuid()})
	if want := path + " is not a regular file; replace it by a file, or remove it"; err == nil || err.Error() != want {
		t.Errorf("mistakes:\n%v\nwant\n%s", err, want)
	}
	if err = os.Remove(path); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, "")
	if err = os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = config.Load(config.Options{Environ: enough(), Dir: dir, UID: os.Getuid()})
	if want := `it'\''s here/.env'`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("mistakes:\n%v\nwant a command that ends in the quoted path", err)
	}
}

// Opening a pipe that nobody writes to would block for ever.
func TestDotenvIsNotAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".env")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("cannot make a pipe:", err)
	}
	_, err := config.Load(config.Options{Environ: enough(), Dir: filepath.Dir(path), UID: os.Getuid()})
	if want := path + " is not a regular file; replace it by a file, or remove it"; err == nil || err.Error() != want {
		t.Errorf("mistakes:\n%v\nwant\n%s", err, want)
	}
}

func TestDotenvFromWindows(t *testing.T) {
	dir := writeDotenv(t, "\uFEFFCHATWOOT_TOKEN=abc\r\nPOLL_INTERVAL=40s\r\n")
	got, _ := config.Load(config.Options{Dir: dir, UID: os.Getuid()})
	if got.Token.Reveal() != "abc" || got.PollInterval != 40*time.Second {
		t.Errorf("Token = %q, PollInterval = %v", got.Token.Reveal(), got.PollInterval)
	}
}

func TestWarnings(t *testing.T) {
	const plain = "CHATWOOT_BASE_URL is plain http: the token crosses the network unencrypted; use https"
	tests := []struct {
		name   string
		dotenv string
		want   []string
	}{
		{"plain http to another machine", "CHATWOOT_BASE_URL=http://chatwoot:3000", []string{plain}},
		{"plain http to a private address", "CHATWOOT_BASE_URL=http://10.0.0.1", []string{plain}},
		{"plain http to a name that only looks local", "CHATWOOT_BASE_URL=http://localhost.example.com", []string{plain}},
		{"plain http to localhost", "CHATWOOT_BASE_URL=http://localhost:3000", nil},
		{"plain http to loopback", "CHATWOOT_BASE_URL=http://127.0.0.2:3000", nil},
		{"plain http to loopback, IPv6", "CHATWOOT_BASE_URL=http://[::1]:3000", nil},
		{"plain http to a name under localhost", "CHATWOOT_BASE_URL=http://chatwoot.localhost", nil},
		{"https", "CHATWOOT_BASE_URL=https://chatwoot:3000", nil},
		{"a misspelt name", "POLL_INTERVALL=40s", []string{"POLL_INTERVALL in .env is not a setting and has no effect; did you mean POLL_INTERVAL?"}},
		{"a name in lower case", "log_level=debug", []string{"log_level in .env is not a setting and has no effect; did you mean LOG_LEVEL?"}},
		{"a shortened name", "CHATWOOT_SLA_MINS=40", []string{"CHATWOOT_SLA_MINS in .env is not a setting and has no effect; did you mean CHATWOOT_SLA_MINUTES?"}},
		{"a name of our other family", "SLA_COLOUR=red", []string{"SLA_COLOUR in .env is not a setting and has no effect; remove it unless another program reads it"}},
		{"a name of our family", "CHATWOOT_COLOUR=red", []string{"CHATWOOT_COLOUR in .env is not a setting and has no effect; remove it unless another program reads it"}},
		{"an equals sign too late", "CHATWOOT_TOKEN s3cret==", []string{"a line of .env begins with CHATWOOT_TOKEN but is not NAME=value and has no effect; correct it"}},
		{"a rule that goes on and one that is over", "MAINTENANCE_RRULE=FREQ=MONTHLY;BYDAY=2TU|FREQ=DAILY;BYHOUR=4;UNTIL=20260105T040000Z", []string{"MAINTENANCE_RRULE: FREQ=DAILY;BYHOUR=4;UNTIL=20260105T040000Z is over: its last window began at 2026-01-05 04:00:00 UTC; take it out, or write one that goes on"}},
		{"another program's names", "PATH=/bin\nDATABASE=x\nNODE_ENV=test\nA=1", nil},
		{"every form of a secret", "CHATWOOT_API_TOKEN_FILE=/dev/null\nCHATWOOT_EMBED_TOKEN_FILE=/dev/null", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := config.Load(config.Options{Dir: writeDotenv(t, tt.dotenv), UID: os.Getuid(), Now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)})
			if w := got.Warnings(); !slices.Equal(w, tt.want) {
				t.Errorf("Warnings = %q, want %q", w, tt.want)
			}
		})
	}
}

func TestSecretCannotBePrinted(t *testing.T) {
	const text = "hunter2"
	s := config.NewSecret(text)
	type outer struct {
		Exported   config.Secret
		unexported config.Secret
	}
	holder := outer{s, s}
	marshalled, err := json.Marshal(map[string]any{"secret": s, "holder": holder, "unset": config.Secret{}})
	if err != nil {
		t.Fatal(err)
	}
	logged, err := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()).EncodeEntry(zapcore.Entry{}, []zapcore.Field{
		zap.Any("any", s), zap.Reflect("reflected", s), zap.Stringer("stringer", s), zap.Any("holder", holder),
	})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	printed := []string{s.String(), s.GoString(), string(plain), string(marshalled), logged.String(), fmt.Sprint(s), fmt.Sprintln(holder)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%08.3f"} {
		printed = append(printed, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, &holder))
	}
	for _, p := range printed {
		for _, leak := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text)} {
			if strings.Contains(p, leak) {
				t.Errorf("printed as %s", p)
			}
		}
	}

	for _, verb := range []string{"%v", "%#v", "%q", "%x"} {
		if got := fmt.Sprintf(verb, s); got != "[set]" {
			t.Errorf("%s prints %q, want [set]", verb, got)
		}
		if got := fmt.Sprintf(verb, config.NewSecret("")); got != "" {
			t.Errorf("%s prints %q for an empty secret, want nothing", verb, got)
		}
	}
	if want := `{"holder":{"Exported":"[set]"},"secret":"[set]","unset":""}`; string(marshalled) != want {
		t.Errorf("JSON is %s, want %s", marshalled, want)
	}
	if s.Reveal() != text || !s.IsSet() || config.NewSecret("").IsSet() || (config.Secret{}).Reveal() != "" {
		t.Error("Reveal or IsSet is wrong")
	}
}

func FuzzLoad(f *testing.F) {
	const token = "5RkTq8ZpWv3mXc7N"
	for _, seed := range []string{
		"", "A=1", "LOG_LEVEL=$CHATWOOT_TOKEN", "CHATWOOT_BASE_URL=https://x/${CHATWOOT_TOKEN}/app", "LISTEN_ADDR='a\nb'",
		"CHATWOOT_TOKEN_FILE=$CHATWOOT_TOKEN", "CHATWOOT_EMBED_TOKEN_FILE=/$CHATWOOT_TOKEN", "-", "export X", "EVIDENCE_RETENTION=1d\nSLA_URGENT_MINUTES=20", "CHATWOOT_BASE_URL=http://a:$CHATWOOT_TOKEN@[",
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		const line = "CHATWOOT_TOKEN=" + token
		for _, content := range []string{text + "\n" + line, line + "\n" + text + "\n" + line} {
			if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := config.Load(config.Options{Dir: dir, UID: os.Getuid()})
			shown := fmt.Sprintf("%v\n%q\n%q\n%+v", err, got.Warnings(), got.Settings(), got.Token)
			if strings.Contains(shown, token) {
				t.Errorf("the token is in the output:\n%s", shown)
			}
			if mistakes, ok := errors.AsType[*config.Mistakes](err); ok && strings.Count(err.Error(), "\n") != len(mistakes.All)-1 {
				t.Errorf("%d mistakes are not a line each:\n%v", len(mistakes.All), err)
			}
		}
	})
}

func setting(l *config.Loaded, name string) config.Setting {
	settings := l.Settings()
	i := slices.IndexFunc(settings, func(s config.Setting) bool { return s.Name == name })
	return settings[i]
}

// writeDotenv returns a new folder with that .env file.
func writeDotenv(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, ".env"), content)
	return dir
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
