package app_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/checkup"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
)

// patient is a Chatwoot and the settings that a doctor examines it with. Later
// settings win.
type patient struct {
	sim      *chatwootsim.Server
	front    func(http.Handler) http.Handler // a proxy; nil: none
	secure   bool                            // https, with a certificate that nobody knows
	settings []string
}

func (p *patient) set(settings ...string) { p.settings = append(p.settings, settings...) }

// fault makes Chatwoot fail at a path.
func fault(path string, kind chatwootsim.FaultKind) func(*testing.T, *patient) {
	return func(_ *testing.T, p *patient) {
		p.sim.Inject(chatwootsim.Fault{Path: path, Kind: kind, Delay: 3 * time.Minute, Status: 503})
	}
}

// register makes a webhook in the simulated Chatwoot and returns its secret.
func register(t *testing.T, p *patient, address string) string {
	t.Helper()
	s := httptest.NewServer(p.sim)
	defer s.Close()
	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := chatwoot.New(chatwoot.Options{BaseURL: base, Token: apptest.Token, AccountID: chatwootsim.DemoAccountID})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w, err := client.CreateWebhook(t.Context(), chatwoot.Webhook{Name: "test", URL: address, Subscriptions: []string{chatwoot.MessageCreated}})
	if err != nil {
		t.Fatal(err)
	}
	return w.Secret
}

func TestDoctor(t *testing.T) {
	const hook = "/api/webhooks/chatwoot"
	// A Date header says whole seconds; how far apart clocks are that stand still
	// is rounded alike each time.
	noon := time.Date(2026, 3, 10, 12, 0, 0, 250_000_000, time.UTC)
	clock := func() time.Time { return noon }
	tests := []struct {
		name    string
		ail     func(*testing.T, *patient)
		item    string
		verdict checkup.Verdict
		finds   string // in the evidence
		fix     string // in the fix
	}{
		{"all is well", func(*testing.T, *patient) {}, "base_url", checkup.OK, "Chatwoot 4.15.1 answers at 127.0.0.1:", ""},
		{"and the rest", func(*testing.T, *patient) {}, "role", checkup.OK, "administrator", ""},
		{"a setting is wrong", func(_ *testing.T, p *patient) { p.set("CHATWOOT_ACCOUNT_ID=seven") }, "settings", checkup.Failed, "CHATWOOT_ACCOUNT_ID", "the number after /app/accounts/"},
		{"no settings at all", func(_ *testing.T, p *patient) { p.set("CHATWOOT_BASE_URL=", "CHATWOOT_TOKEN=", "CHATWOOT_ACCOUNT_ID=") }, "token", checkup.Skipped, "settings have to be put right first", ""},
		{"a name that nobody knows", func(_ *testing.T, p *patient) { p.set("CHATWOOT_BASE_URL=http://chatwoot.invalid") }, "name", checkup.Failed, "chatwoot.invalid", "this machine's DNS"},
		{"no server there", func(_ *testing.T, p *patient) { p.set("CHATWOOT_BASE_URL=http://127.0.0.1:1") }, "base_url", checkup.Failed, "refused", "proxy is running at CHATWOOT_BASE_URL"},
		{"an unknown certificate", func(_ *testing.T, p *patient) { p.secure = true }, "tls", checkup.Failed, "certificate", "Check the server's certificate"},
		{"https to a server without", func(_ *testing.T, p *patient) { p.set("CHATWOOT_BASE_URL=https://127.0.0.1:1") }, "tls", checkup.Failed, "refused", "listens there"},
		{"503", fault("", chatwootsim.FaultStatus), "base_url", checkup.Failed, "HTTP 503", "During maintenance a 503 is expected"},
		{"a login page", fault("", chatwootsim.FaultHTML), "base_url", checkup.Failed, "instead of JSON", "A login page or proxy answered"},
		{"a connection that drops", fault("", chatwootsim.FaultDropConn), "base_url", checkup.Failed, "EOF", "the firewall between"},
		{"a document that is cut", fault("/api", chatwootsim.FaultCutBody), "base_url", checkup.Failed, "the body ends before", "login page or proxy"},
		{"half a document", fault("/api", chatwootsim.FaultTruncatedJSON), "base_url", checkup.Failed, "/api", "login page or proxy"},
		{"throttled", fault("", chatwootsim.FaultThrottle), "base_url", checkup.Failed, "HTTP 429", "lower CHATWOOT_REQUESTS_PER_MINUTE"},
		{"its dependencies fail", fault("", chatwootsim.FaultServicesFailing), "dependencies", checkup.Failed, "failing", "data_services is Postgres"},
		{"a proxy drops the header", func(_ *testing.T, p *patient) {
			p.front = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					r.Header.Del("Api-Access-Token")
					next.ServeHTTP(w, r)
				})
			}
		}, "header", checkup.Failed, "Chatwoot saw no token", "Let the proxy pass the Api-Access-Token header"},
		{"an unknown token", func(_ *testing.T, p *patient) { p.set("CHATWOOT_TOKEN=an-old-token") }, "token", checkup.Failed, "HTTP 401", "Rotate CHATWOOT_TOKEN"},
		{"whose header arrives", func(_ *testing.T, p *patient) { p.set("CHATWOOT_TOKEN=an-old-token") }, "header", checkup.OK, "Chatwoot saw a token", ""},
		{"a refused token", fault("/profile", chatwootsim.FaultUnauthorized), "token", checkup.Failed, "HTTP 401", "Rotate CHATWOOT_TOKEN"},
		{"another account", func(_ *testing.T, p *patient) { p.set("CHATWOOT_ACCOUNT_ID=999") }, "account", checkup.Failed, "account 999 is not among", "Set CHATWOOT_ACCOUNT_ID to the number"},
		{"an agent's token", func(_ *testing.T, p *patient) { p.set("CHATWOOT_TOKEN=" + p.sim.AgentToken(p.sim.Inboxes()[0])) }, "role", checkup.Warning, "agent: only the inboxes", "administrator's profile"},
		{"a clock that is off", fault("", chatwootsim.FaultClockSkew), "clock", checkup.Failed, "Chatwoot's clock is 3m0s ahead", "NTP"},
		{"a clock that is slow", func(_ *testing.T, p *patient) {
			p.sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultClockSkew, Delay: -20 * time.Second})
		}, "clock", checkup.Warning, "Chatwoot's clock is 20s behind", "NTP"},
		{"a clock that nobody hears of", func(_ *testing.T, p *patient) { p.set("CHATWOOT_BASE_URL=http://127.0.0.1:1") }, "clock", checkup.Skipped, "no answer has told", ""},
		{"the role of a token that is refused", func(_ *testing.T, p *patient) {
			p.set("CHATWOOT_TOKEN=an-old-token", "CHATWOOT_WEBHOOK_SECRET=some-secret-or-other")
		}, "signature", checkup.Skipped, "the profile cannot be read", ""},
		{"an agent's token and webhooks", func(_ *testing.T, p *patient) {
			p.set("CHATWOOT_TOKEN="+p.sim.AgentToken(p.sim.Inboxes()[0]), "CHATWOOT_WEBHOOK_SECRET=some-secret-or-other")
		}, "callback", checkup.Skipped, "only an administrator's token may read", ""},
		{"webhooks are off", func(*testing.T, *patient) {}, "signature", checkup.Warning, "CHATWOOT_WEBHOOK_SECRET is not set", "webhook register"},
		{"no webhook is registered", func(_ *testing.T, p *patient) { p.set("CHATWOOT_WEBHOOK_SECRET=some-secret-or-other") }, "signature", checkup.Failed, "no webhook in Chatwoot leads to /api/webhooks/chatwoot", "webhook register"},
		{"another secret", func(t *testing.T, p *patient) {
			register(t, p, "https://sla.example.com"+hook)
			p.set("CHATWOOT_WEBHOOK_SECRET=some-secret-or-other")
		}, "signature", checkup.Failed, "is not the secret of webhook 1 in Chatwoot", "--show-secret"},
		{"the right secret", func(t *testing.T, p *patient) {
			p.set("CHATWOOT_WEBHOOK_SECRET=" + register(t, p, "https://sla.example.com"+hook))
		}, "signature", checkup.OK, "has one of our 1 secrets", ""},
		{"the right secret of the second of two", func(t *testing.T, p *patient) {
			register(t, p, "http://10.0.0.7:9643"+hook)
			p.set("CHATWOOT_WEBHOOK_SECRET=" + register(t, p, "https://8.8.8.8"+hook))
		}, "signature", checkup.OK, "webhook 2 in Chatwoot has one of our 1 secrets", ""},
		{"whose address counts", func(t *testing.T, p *patient) {
			register(t, p, "http://10.0.0.7:9643"+hook)
			p.set("CHATWOOT_WEBHOOK_SECRET=" + register(t, p, "https://8.8.8.8"+hook))
		}, "callback", checkup.OK, "8.8.8.8 is an address that Chatwoot 4.15.1 sends to", ""},
		{"a private address", func(t *testing.T, p *patient) {
			p.set("CHATWOOT_WEBHOOK_SECRET=" + register(t, p, "http://10.0.0.7:9643"+hook))
		}, "callback", checkup.Warning, "10.0.0.7 is a private address, and Chatwoot 4.15.1 sends nothing", "SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true"},
		{"a server that does not sign", func(t *testing.T, p *patient) {
			p.sim.Close()
			p.sim = chatwootsim.New(chatwootsim.Options{Token: apptest.Token, NoThrottle: true, Version: chatwootsim.V42, Now: clock})
			register(t, p, "https://sla.example.com"+hook)
			p.set("CHATWOOT_WEBHOOK_SECRET=some-secret-or-other")
		}, "signature", checkup.Failed, "does not sign", "4.12.0"},
		{"a folder that cannot be made", func(t *testing.T, p *patient) {
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			p.set("ARTIFACTS_DIR=" + filepath.Join(file, "artifacts"))
		}, "disk_artifacts", checkup.Failed, "not a directory", "set another"},
		{"room on the disk", func(*testing.T, *patient) {}, "disk_data", checkup.OK, "MiB free", ""},
		{"no database yet", func(*testing.T, *patient) {}, "database", checkup.Skipped, "chatwoot-sla serve makes it", ""},
		{"a Postgres that is not there", func(_ *testing.T, p *patient) { p.set("DATABASE_URL=postgres://user:hunter2-secret@127.0.0.1:1/sla") }, "database", checkup.Failed, "is Postgres running", "Do what the message says"},
		{"an empty Postgres", func(t *testing.T, p *patient) { p.set("DATABASE_URL=" + pgtest.Database(t)) }, "database", checkup.Skipped, "there is none yet", ""},
		{"no draft service", func(*testing.T, *patient) {}, "agent", checkup.Skipped, "not configured", ""},
		{"a knowledge service", func(t *testing.T, p *patient) {
			there := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(there.Close)
			p.set("LLAMAINDEX_URL="+there.URL, "AGENT_SDK_URL=http://127.0.0.1:1")
		}, "knowledge", checkup.OK, "answers, HTTP 404", ""},
		{"an agent service that is down", func(_ *testing.T, p *patient) {
			p.set("LLAMAINDEX_URL=http://127.0.0.1:1", "AGENT_SDK_URL=http://127.0.0.1:1")
		}, "agent", checkup.Failed, "refused", "messages wait for their drafts"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &patient{sim: chatwootsim.New(chatwootsim.Options{Token: apptest.Token, NoThrottle: true, Now: clock})}
			p.set("CHATWOOT_TOKEN="+apptest.Token, fmt.Sprintf("CHATWOOT_ACCOUNT_ID=%d", chatwootsim.DemoAccountID), "DATA_DIR="+t.TempDir(), "ARTIFACTS_DIR="+t.TempDir())
			tt.ail(t, p)
			t.Cleanup(func() { p.sim.Close() })
			var handler http.Handler = p.sim
			if p.front != nil {
				handler = p.front(handler)
			}
			s := httptest.NewUnstartedServer(handler)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			if p.secure {
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			loaded, mistakes := config.Load(config.Options{Environ: append([]string{"CHATWOOT_BASE_URL=" + s.URL}, p.settings...)})
			list := app.Doctor(t.Context(), app.Options{Config: loaded.Config, Version: "test", Now: clock}, loaded.Warnings(), mistakes)

			var text bytes.Buffer
			if err := list.WriteText(&text, false); err != nil {
				t.Fatal(err)
			}
			found := false
			for _, i := range list.Items {
				if i.Name != tt.item {
					continue
				}
				found = true
				if i.Verdict != tt.verdict || !strings.Contains(i.Evidence, tt.finds) || !strings.Contains(i.Fix, tt.fix) || tt.fix == "" && i.Fix != "" {
					t.Errorf("%s: %s, %q, %q; want %s, %q, %q in:\n%s", i.Name, i.Verdict, i.Evidence, i.Fix, tt.verdict, tt.finds, tt.fix, &text)
				}
			}
			if !found || list.Passed != (len(list.Failed()) == 0) || tt.verdict == checkup.Failed && list.Passed {
				t.Errorf("found %v, passed %v:\n%s", found, list.Passed, &text)
			}
			for _, secret := range []string{apptest.Token, "hunter2", "some-secret-or-other", "an-old-token"} {
				if strings.Contains(text.String(), secret) {
					t.Errorf("%s is told:\n%s", secret, &text)
				}
			}
		})
	}
}
