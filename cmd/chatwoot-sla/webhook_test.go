package main

import (
	"context"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

const (
	testSecret    = "EXAMPLE-signing-secret-not-real"
	testPathToken = "EXAMPLE-path-token"
)

// refuser is an inbox that must stay empty: pings are not processed.
type refuser struct{ ts *testscript.TestScript }

func (r refuser) Accept(context.Context, webhook.Delivery) (bool, error) {
	r.ts.Fatalf("a ping is processed")
	return false, nil
}

// TestWebhookScripts runs the webhook commands. Beside testscript's own verbs
// there are:
//
//	simulator VERSION   a simulated Chatwoot; sets the variables that point at it
//	receiver FORM       a receiver of webhooks; sets WEBHOOK_LISTEN_ADDR
func TestWebhookScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/webhook",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SECRET", testSecret)
			e.Setenv("PATH_TOKEN", testPathToken)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"simulator": func(ts *testscript.TestScript, _ bool, args []string) {
				sim := chatwootsim.New(chatwootsim.Options{Version: chatwootsim.Version(args[0]), Token: testToken, AccountID: testAccount})
				s := httptest.NewServer(sim)
				ts.Defer(func() {
					s.Close()
					sim.Close()
				})
				ts.Setenv("CHATWOOT_BASE_URL", s.URL)
				ts.Setenv("CHATWOOT_TOKEN", testToken)
				ts.Setenv("CHATWOOT_ACCOUNT_ID", strconv.Itoa(testAccount))
			},
			"receiver": func(ts *testscript.TestScript, _ bool, args []string) {
				h, err := webhook.New(webhook.Options{
					AccountID: testAccount, Inbox: refuser{ts}, Form: webhook.Form(args[0]),
					Secrets: []string{"an-older-secret", testSecret}, PathToken: testPathToken,
				})
				ts.Check(err)
				s := httptest.NewServer(h)
				ts.Defer(s.Close)
				ts.Setenv("WEBHOOK_LISTEN_ADDR", strings.TrimPrefix(s.URL, "http://"))
			},
		},
	})
}
