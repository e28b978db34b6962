package chatwoot_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

// helpdesk is a client of a simulated Chatwoot.
func helpdesk(t *testing.T, version chatwootsim.Version, as func(*chatwootsim.Server) string) *chatwoot.Client {
	t.Helper()
	sim := chatwootsim.New(chatwootsim.Options{Version: version})
	server := httptest.NewServer(sim)
	c, err := chatwoot.New(chatwoot.Options{BaseURL: parse(t, server.URL), Token: as(sim), AccountID: chatwootsim.DemoAccountID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		server.Close()
		sim.Close()
	})
	return c
}

func administrator(*chatwootsim.Server) string { return chatwootsim.DemoToken }

func TestWebhooksAreCreatedListedAndUpdated(t *testing.T) {
	for version, signs := range map[chatwootsim.Version]bool{chatwootsim.V42: false, chatwootsim.V415: true} {
		t.Run(string(version), func(t *testing.T) {
			c := helpdesk(t, version, administrator)
			if list, err := c.Webhooks(t.Context()); err != nil || len(list) != 0 {
				t.Fatalf("Webhooks = %v, %v; want none", list, err)
			}
			made, err := c.CreateWebhook(t.Context(), chatwoot.Webhook{
				Name: "watch", URL: "https://sla.example.com/hook?a=1&b=2", Subscriptions: []string{chatwoot.MessageCreated},
			})
			if err != nil {
				t.Fatal(err)
			}
			if made.ID == 0 || made.Name != "watch" || made.URL != "https://sla.example.com/hook?a=1&b=2" || (made.Secret != "") != signs {
				t.Errorf("created %+v", made)
			}
			secret := made.Secret
			made.Subscriptions = []string{chatwoot.ConversationUpdated, chatwoot.MessageCreated}
			changed, err := c.UpdateWebhook(t.Context(), made)
			if err != nil {
				t.Fatal(err)
			}
			if changed.ID != made.ID || changed.Secret != secret || !slices.Equal(changed.Subscriptions, made.Subscriptions) {
				t.Errorf("updated to %+v", changed)
			}
			list, err := c.Webhooks(t.Context())
			if err != nil || len(list) != 1 || list[0].URL != made.URL || list[0].Secret != secret {
				t.Errorf("Webhooks = %+v, %v", list, err)
			}
		})
	}
}

func TestWebhooksThatCannotBeChanged(t *testing.T) {
	c := helpdesk(t, chatwootsim.V415, administrator)
	hook := chatwoot.Webhook{URL: "https://sla.example.com/hook", Subscriptions: []string{chatwoot.MessageCreated}}
	if _, err := c.CreateWebhook(t.Context(), hook); err != nil {
		t.Fatal(err)
	}
	_, err := c.CreateWebhook(t.Context(), hook)
	wantError(t, err, chatwoot.Refused, 422, permanent, "POST /api/v1/accounts/3/webhooks", "Url has already been taken")
	_, err = c.UpdateWebhook(t.Context(), chatwoot.Webhook{ID: 99, URL: hook.URL, Subscriptions: hook.Subscriptions})
	wantError(t, err, chatwoot.NotFound, 404, permanent, "PATCH /api/v1/accounts/3/webhooks/{id}")

	agent := helpdesk(t, chatwootsim.V415, func(s *chatwootsim.Server) string { return s.AgentToken(s.Inboxes()[0]) })
	_, err = agent.Webhooks(t.Context())
	wantError(t, err, chatwoot.Unauthorized, 401, permanent)
}

func TestAnswersAboutWebhooksThatAreNone(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		kind    chatwoot.Kind
		status  int
		again   bool
	}{
		"a login page":     {says(200, "text/html", "<html>"), chatwoot.NotJSON, 200, permanent},
		"something else":   {saysJSON(`{"payload":{}}`), chatwoot.Malformed, 200, temporary},
		"cut":              {saysJSON(`{"payload":{"webhook":{"id":1`), chatwoot.Malformed, 200, temporary},
		"a server's error": {says(502, "text/html", rubyHTML), chatwoot.ServerError, 502, temporary},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tt.handler)
			defer server.Close()
			c, err := chatwoot.New(chatwoot.Options{BaseURL: parse(t, server.URL), Token: token, AccountID: 3})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Webhooks(t.Context())
			wantError(t, err, tt.kind, tt.status, tt.again)
			_, err = c.CreateWebhook(t.Context(), chatwoot.Webhook{URL: "https://sla.example.com"})
			wantError(t, err, tt.kind, tt.status, tt.again)
		})
	}
}
