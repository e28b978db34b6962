package webhook_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

const public = "https://sla.example.com" + webhook.Path

// chatwootOf is a client of a simulated Chatwoot of a version.
func chatwootOf(t *testing.T, version chatwootsim.Version, hooks ...chatwootsim.Webhook) *chatwoot.Client {
	t.Helper()
	sim := chatwootsim.New(chatwootsim.Options{Version: version, Webhooks: hooks})
	s := httptest.NewServer(sim)
	c, err := chatwoot.New(chatwoot.Options{BaseURL: parse(t, s.URL), Token: chatwootsim.DemoToken, AccountID: chatwootsim.DemoAccountID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		s.Close()
		sim.Close()
	})
	return c
}

func TestRegisterCreatesOnceAndThenCorrects(t *testing.T) {
	c := chatwootOf(t, chatwootsim.V415, chatwootsim.Webhook{URL: "https://other.example.com", Secret: "of another"})
	o := webhook.RegisterOptions{Client: c, URL: parse(t, public)}
	first, err := webhook.Register(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if first.Action != "created" || first.Webhook.Secret == "" || first.Version != "4.15.1" || first.SecretKnown || len(first.Warnings) != 0 {
		t.Errorf("Register = %+v", first)
	}
	again, err := webhook.Register(t.Context(), o)
	if err != nil || again.Action != "unchanged" || again.Webhook.ID != first.Webhook.ID {
		t.Errorf("Register again = %+v, %v", again, err)
	}

	changed := first.Webhook
	changed.Subscriptions = []string{chatwoot.MessageCreated, chatwoot.MessageUpdated}
	if _, err := c.UpdateWebhook(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	o.Secrets = []string{first.Webhook.Secret}
	third, err := webhook.Register(t.Context(), o)
	if err != nil || third.Action != "updated" || third.Webhook.ID != first.Webhook.ID || third.Webhook.Secret != first.Webhook.Secret || !third.SecretKnown {
		t.Errorf("Register after a change = %+v, %v", third, err)
	}
	list, err := c.Webhooks(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("there are %+v (%v), want the other's and ours", list, err)
	}
	if !slices.Equal(list[1].Subscriptions, webhook.Subscriptions) || slices.Equal(list[0].Subscriptions, webhook.Subscriptions) {
		t.Errorf("subscribed to %v, the other to %v", list[1].Subscriptions, list[0].Subscriptions)
	}
}

func TestRegisterWarns(t *testing.T) {
	resolve := func(_ context.Context, _, host string) ([]netip.Addr, error) {
		switch host {
		case "inside.example.com":
			return []netip.Addr{netip.MustParseAddr("10.0.0.8"), netip.MustParseAddr("fd00::8")}, nil
		case "both.example.com":
			return []netip.Addr{netip.MustParseAddr("10.0.0.8"), netip.MustParseAddr("8.8.8.8")}, nil
		}
		return nil, errors.New("unknown")
	}
	const refused, tells = "a private address", "sends nothing to those"
	tests := []struct {
		name    string
		version chatwootsim.Version
		url     string
		change  func(*webhook.RegisterOptions)
		want    []string // a part of each warning
	}{
		{"nothing to warn about", chatwootsim.V415, public, nil, nil},
		{"a path behind a proxy", chatwootsim.V415, "https://sla.example.com/hooks", nil, []string{"the path of the URL is not"}},
		{"with a path token", chatwootsim.V415, public + "/" + token, nil, nil},
		{"plain http", chatwootsim.V415, strings.Replace(public, "https", "http", 1), nil, []string{"plain http"}},
		{"loopback", chatwootsim.V415, "http://127.0.0.1:9643" + webhook.Path, nil, []string{refused}},
		{"loopback, IPv6", chatwootsim.V415, "http://[::1]:9643" + webhook.Path, nil, []string{refused}},
		{"this machine by name", chatwootsim.V415, "http://localhost:9643" + webhook.Path, nil, []string{refused}},
		{"a private network", chatwootsim.V415, "https://192.168.1.4" + webhook.Path, nil, []string{tells}},
		{"Tailscale", chatwootsim.V415, "https://100.101.102.103" + webhook.Path, nil, []string{refused}},
		{"a public address", chatwootsim.V415, "https://8.8.8.8" + webhook.Path, nil, nil},
		{"a name that leads inside", chatwootsim.V415, "https://inside.example.com" + webhook.Path, nil, []string{"SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true"}},
		{"a name that leads inside and outside", chatwootsim.V415, "https://both.example.com" + webhook.Path, nil, nil},
		{"a private network, before Chatwoot minded", chatwootsim.V42, "https://192.168.1.4" + webhook.Path, nil, []string{"does not sign webhooks"}},
		{"a server that does not sign", chatwootsim.V42, public, nil, []string{"CHATWOOT_WEBHOOK_SIGNATURE=none"}},
		{"a server that does not sign, as configured", chatwootsim.V42, public, func(o *webhook.RegisterOptions) { o.Form = webhook.Unsigned }, nil},
		{"a server that signs, unasked", chatwootsim.V415, public, func(o *webhook.RegisterOptions) { o.Form = webhook.Unsigned }, []string{"remove CHATWOOT_WEBHOOK_SIGNATURE"}},
		{"another secret", chatwootsim.V415, public, func(o *webhook.RegisterOptions) { o.Secrets = []string{"another"} }, []string{"is not this webhook's secret"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := webhook.RegisterOptions{Client: chatwootOf(t, tt.version), URL: parse(t, tt.url), Resolve: resolve}
			if tt.change != nil {
				tt.change(&o)
			}
			r, err := webhook.Register(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Warnings) != len(tt.want) {
				t.Fatalf("warnings %q, want %q", r.Warnings, tt.want)
			}
			for i, w := range r.Warnings {
				if !strings.Contains(w.Problem+w.Fix, tt.want[i]) {
					t.Errorf("warning %q, want %q", w, tt.want[i])
				}
			}
		})
	}
}

func TestRegisterWithoutPermission(t *testing.T) {
	sim := chatwootsim.New(chatwootsim.Options{})
	s := httptest.NewServer(sim)
	t.Cleanup(func() {
		s.Close()
		sim.Close()
	})
	c, err := chatwoot.New(chatwoot.Options{BaseURL: parse(t, s.URL), Token: sim.AgentToken(sim.Inboxes()[0]), AccountID: chatwootsim.DemoAccountID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if _, err := webhook.Register(t.Context(), webhook.RegisterOptions{Client: c, URL: parse(t, public)}); !chatwoot.Is(err, chatwoot.Unauthorized) {
		t.Errorf("Register = %v, want Unauthorized", err)
	}
}
