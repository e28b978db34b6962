// Package config turns environment variables, and a .env file beneath them,
// into settings.
//
// Load reports every mistake at once, each with its variable and what to do.
// The caller passes the environment in; that of the process is not changed.
package config

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/calendar"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
)

// Config holds the settings, in the order of the documentation.
//
// The tags are that documentation: a test compares env (the variable),
// envDefault and doc with .env.example and docs/configuration.md. Numbers lie
// between min and max, words are among oneof, hint tells where a value is to be
// found, and alias is a second name.
type Config struct {
	BaseURL    *url.URL `env:"CHATWOOT_BASE_URL,required" hint:"the address at which agents open Chatwoot, such as https://chatwoot.example.com" doc:"Where agents open Chatwoot, without /app or /api; required"`
	Token      Secret   `env:"CHATWOOT_TOKEN,required" alias:"CHATWOOT_API_TOKEN" hint:"the access token of an administrator, from Profile Settings in Chatwoot" doc:"Access token of an administrator, from Profile Settings in Chatwoot; required"`
	AccountID  int64    `env:"CHATWOOT_ACCOUNT_ID,required" min:"1" hint:"the number after /app/accounts/ in Chatwoot's address bar" doc:"The number after /app/accounts/ in Chatwoot's address bar, 1 or more; required"`
	EmbedToken Secret   `env:"CHATWOOT_EMBED_TOKEN" doc:"Website token of the chat widget; if set, the widget is probed as well"`

	SLA        time.Duration `env:"CHATWOOT_SLA_MINUTES" unit:"minutes" envDefault:"30" min:"1" max:"525600" doc:"Minutes within which a customer is owed the first human answer, 1 to 525600"`
	SLAWarning time.Duration `env:"SLA_WARNING_MINUTES" unit:"minutes" envDefault:"15" min:"1" max:"525600" doc:"Minutes left at which a waiting conversation turns warning, 1 to 525600"`
	SLAUrgent  time.Duration `env:"SLA_URGENT_MINUTES" unit:"minutes" envDefault:"5" min:"1" max:"525600" doc:"Minutes left below which it turns urgent, 1 to 525600, less than SLA_WARNING_MINUTES"`

	InboxSLA               InboxMinutes  `env:"SLA_INBOX_MINUTES" doc:"Promises of single inboxes instead of CHATWOOT_SLA_MINUTES, as id:minutes, such as 5:15,8:60"`
	BusinessHours          BusinessHours `env:"SLA_BUSINESS_HOURS" envDefault:"off" doc:"Hours that count: off for all time, chatwoot for those of each inbox, or hours such as Mon-Fri 09:00-17:00 Europe/Berlin"`
	PauseDuringMaintenance bool          `env:"SLA_PAUSE_DURING_MAINTENANCE" envDefault:"false" doc:"Whether the clocks stand still during the maintenance of MAINTENANCE_RRULE, true or false"`

	PollInterval      time.Duration `env:"POLL_INTERVAL" envDefault:"30s" min:"5s" doc:"Time between polls for changed conversations, 5s or more"`
	ReconcileInterval time.Duration `env:"RECONCILE_INTERVAL" envDefault:"1h" min:"1m" doc:"Time between full readings of all open conversations, 1m or more"`
	RequestsPerMinute int           `env:"CHATWOOT_REQUESTS_PER_MINUTE" envDefault:"1200" min:"10" max:"3000" doc:"Most requests a minute to Chatwoot, 10 to 3000 (its own limit per IP address)"`

	HealthInterval    time.Duration `env:"HEALTH_INTERVAL" envDefault:"1m" min:"10s" doc:"Time between health checks, 10s or more"`
	HealthPath        string        `env:"CHATWOOT_HEALTH_PATH" envDefault:"/rails/health" doc:"Health path to try first; on a 404 the check falls back to /health, then /api"`
	EvidenceInterval  time.Duration `env:"EVIDENCE_INTERVAL" envDefault:"15m" min:"1m" doc:"Time between evidence files while health does not change, 1m or more"`
	EvidenceRetention time.Duration `env:"EVIDENCE_RETENTION" envDefault:"90d" min:"1d" doc:"Age at which evidence files are deleted, 1d or more"`

	MaintenanceRules    maintenance.Rules `env:"MAINTENANCE_RRULE" envDefault:"FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2;BYMINUTE=0;BYSECOND=0" doc:"When planned maintenance begins: an RFC 5545 recurrence rule in UTC or with a TZID, several with a vertical bar between them, or off"`
	MaintenanceDuration time.Duration     `env:"MAINTENANCE_DURATION" envDefault:"2h" min:"1m" doc:"How long planned maintenance takes, 1m or more"`
	MaintenanceNotice   time.Duration     `env:"MAINTENANCE_NOTICE" envDefault:"72h" min:"0s" max:"30d" doc:"How long ahead maintenance is announced, 0s to 30d"`
	StatusURL           string            `env:"CHATWOOT_STATUS_URL" doc:"Status page of whoever runs Chatwoot, linked to when something fails"`
	ReportZone          Zone              `env:"REPORT_TIMEZONE" envDefault:"UTC" doc:"Time zone in which reports are written, such as Europe/Berlin"`

	WebhookListenAddr    string `env:"WEBHOOK_LISTEN_ADDR" envDefault:"127.0.0.1:9643" doc:"Address at which webhooks are received, as host:port; nothing else is served there"`
	WebhookSecret        Secret `env:"CHATWOOT_WEBHOOK_SECRET" doc:"Secret of the webhook in Chatwoot; while it is changed, the old and the new one with a comma between them"`
	WebhookSignature     string `env:"CHATWOOT_WEBHOOK_SIGNATURE" envDefault:"timestamped" oneof:"timestamped body none" doc:"What is signed: timestamped (Chatwoot 4.12 and later), body, or none for servers that do not sign"`
	WebhookPathToken     Secret `env:"CHATWOOT_WEBHOOK_PATH_TOKEN" doc:"Last part of the address of webhooks, 16 letters and digits or more; none needs it"`
	WebhookMaxBytes      int64  `env:"WEBHOOK_MAX_BYTES" envDefault:"8388608" min:"65536" max:"67108864" doc:"Longest webhook to accept, in bytes, 65536 to 67108864"`
	WebhookForwardURL    string `env:"WEBHOOK_FORWARD_URL" doc:"Another service of yours that is sent every processed webhook, signed again"`
	WebhookForwardSecret Secret `env:"WEBHOOK_FORWARD_SECRET" doc:"Secret that forwarded webhooks are signed with, not the one of Chatwoot's; WEBHOOK_FORWARD_URL needs it"`

	LlamaIndexURL     string        `env:"LLAMAINDEX_URL" doc:"Service that searches the knowledge base for drafts; with AGENT_SDK_URL it turns drafts on"`
	AgentSDKURL       string        `env:"AGENT_SDK_URL" doc:"Service that drafts answers to customers; with LLAMAINDEX_URL it turns drafts on"`
	ApprovalTTL       time.Duration `env:"APPROVAL_TTL" envDefault:"72h" min:"1m" doc:"How long a draft waits for somebody's decision, 1m or more"`
	ApprovalRetention time.Duration `env:"APPROVAL_RETENTION" envDefault:"90d" min:"1d" doc:"Age at which decided drafts are deleted, with what customers wrote, 1d or more"`

	ListenAddr        string        `env:"LISTEN_ADDR" envDefault:"127.0.0.1:9642" doc:"Address of the page, the API and /metrics, as host:port; the container image sets its own"`
	WebConfigFile     string        `env:"WEB_CONFIG_FILE" doc:"File with TLS and basic authentication, in Prometheus' web configuration format"`
	APITokens         Secret        `env:"API_TOKENS" doc:"Who may see approvals and queues and change things, as name:token with commas between them; unset: nobody"`
	AllowedHosts      string        `env:"ALLOWED_HOSTS" doc:"Host names under which the page and the API are answered, with commas between them, besides localhost and IP addresses"`
	MetricsMaxInboxes int           `env:"METRICS_MAX_INBOXES" envDefault:"50" min:"1" doc:"Inboxes with metrics of their own, 1 or more; the rest is inbox other"`
	DatabaseURL       Secret        `env:"DATABASE_URL" doc:"Postgres database, as postgres://user:password@host:5432/name; unset: a SQLite file in DATA_DIR"`
	LedgerBackfill    time.Duration `env:"LEDGER_BACKFILL" envDefault:"24h" min:"0s" max:"30d" doc:"How far back the first start reads outcomes, 0s to 30d"`
	DataDir           string        `env:"DATA_DIR" envDefault:"./data" doc:"Folder of the SQLite file"`
	ArtifactsDir      string        `env:"ARTIFACTS_DIR" envDefault:"./artifacts" doc:"Folder of the evidence files"`
	ShutdownTimeout   time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"15s" min:"1s" doc:"Longest time to finish work in hand after SIGTERM, 1s or more"`

	LogLevel  string `env:"LOG_LEVEL" envDefault:"info" oneof:"debug info warn error" doc:"Least important message to log: debug, info, warn or error"`
	LogFormat string `env:"LOG_FORMAT" envDefault:"auto" oneof:"auto json console" doc:"json, console, or auto: console on a terminal and json elsewhere"`
}

// InboxMinutes is a promise for each of some inboxes, by Chatwoot's inbox id.
type InboxMinutes map[int64]time.Duration

// BusinessHours says which time counts towards a promise. The zero value is
// all time.
type BusinessHours struct {
	text     string
	perInbox bool
	calendar *calendar.Calendar
}

// PerInbox reports whether each inbox has the hours that Chatwoot has for it.
func (b BusinessHours) PerInbox() bool { return b.perInbox }

// Calendar returns the hours of every inbox; nil without any, and for PerInbox.
func (b BusinessHours) Calendar() *calendar.Calendar { return b.calendar }

// String returns the hours as they were written.
func (b BusinessHours) String() string { return b.text }

// Zone is a time zone.
type Zone struct{ *time.Location }

// Loaded is a Config, and where each of its settings came from.
type Loaded struct {
	Config

	settings []Setting
	warnings []string
}

// Setting is one variable as Load found it.
type Setting struct {
	Name string

	// Value is the text as written, or "[set]" for a secret; empty without
	// value and default.
	Value string

	// Origin is "environment", ".env", "default", "not set",
	// "alias CHATWOOT_API_TOKEN" or, for a secret read from a file,
	// "CHATWOOT_TOKEN_FILE → path".
	Origin string

	Doc string // one line

	// Mark changes with the value. Of a secret it holds too little to tell what
	// it was.
	Mark string
}

// Settings returns every variable, in the order of the documentation.
func (l *Loaded) Settings() []Setting { return slices.Clone(l.settings) }

// Warnings returns what is allowed but unwise, one line each: a token that
// travels unencrypted, and names in .env that look like misspelt settings.
func (l *Loaded) Warnings() []string { return slices.Clone(l.warnings) }

// Mistakes is the error that Load returns. All is never empty.
type Mistakes struct { //nolint:errname // it is a list, and reads as one where it is used
	All []Mistake // in the order of the documentation
}

// Error lists the mistakes, one line each.
func (m *Mistakes) Error() string {
	lines := make([]string, len(m.All))
	for i, mistake := range m.All {
		lines[i] = mistake.String()
	}
	return strings.Join(lines, "\n")
}

// Mistake is one thing to put right.
type Mistake struct {
	Variable string // or the path of the .env file
	Problem  string // what is wrong, with the value quoted unless it is secret
	Fix      string // what to do
}

// String returns m as one sentence on one line.
func (m Mistake) String() string { return m.Variable + " " + m.Problem + "; " + m.Fix }

// Secret is a credential that cannot be printed by accident: every fmt verb,
// JSON and loggers show "[set]", or nothing if it is empty. The zero Secret is
// not set.
type Secret struct {
	// fmt calls no methods on unexported fields. Behind a pointer, a Secret in
	// such a field prints as an address instead of its text.
	text *string
}

// NewSecret returns a Secret that holds text. An empty text is not set.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// IsSet reports whether s holds any text.
func (s Secret) IsSet() bool { return s.text != nil }

// Reveal returns the credential itself, for the request that needs it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Parts returns the credentials in a comma-separated list of them.
func (s Secret) Parts() []string {
	var parts []string
	for part := range strings.SplitSeq(s.Reveal(), ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// String returns "[set]", or "" if s is not set.
func (s Secret) String() string {
	if s.IsSet() {
		return "[set]"
	}
	return ""
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format writes String, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText is String, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON is String as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }
