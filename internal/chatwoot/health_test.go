package chatwoot_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

func TestHealthFindsAPathAndKeepsIt(t *testing.T) {
	type routes map[string]int // path to status; others are 404
	type step struct {
		routes routes
		asked  []string
		path   string // what Health says has answered
		kind   chatwoot.Kind
	}
	v42 := routes{"/api": 200}
	v415 := routes{"/api": 200, "/health": 200}
	tests := []struct {
		name  string
		steps []step
	}{
		{"a proxy serves the configured path", []step{
			{routes{"/rails/health": 200, "/api": 200}, []string{"/rails/health"}, "/rails/health", 0},
			{routes{"/rails/health": 200, "/api": 200}, []string{"/rails/health"}, "/rails/health", 0},
		}},
		{"4.15 has /health", []step{
			{v415, []string{"/rails/health", "/health"}, "/health", 0},
			{v415, []string{"/health"}, "/health", 0},
		}},
		{"4.2 has /api only", []step{
			{v42, []string{"/rails/health", "/health", "/api"}, "/api", 0},
			{v42, []string{"/api"}, "/api", 0},
		}},
		{"a downgrade loses the path that answered", []step{
			{v415, []string{"/rails/health", "/health"}, "/health", 0},
			{v42, []string{"/health", "/rails/health", "/api"}, "/api", 0},
			{v42, []string{"/api"}, "/api", 0},
		}},
		{"a failure is no reason to look elsewhere", []step{
			{routes{"/rails/health": 503, "/health": 200}, []string{"/rails/health"}, "/rails/health", chatwoot.ServerError},
		}},
		{"a failure of the path that answered is told, and the path kept", []step{
			{v415, []string{"/rails/health", "/health"}, "/health", 0},
			{routes{"/health": 503, "/api": 200}, []string{"/health"}, "/health", chatwoot.ServerError},
			{v415, []string{"/health"}, "/health", 0},
		}},
		{"nothing answers, and nothing is kept", []step{
			{routes{}, []string{"/rails/health", "/health", "/api"}, "/rails/health", chatwoot.NotFound},
			{v415, []string{"/rails/health", "/health"}, "/health", 0},
		}},
		{"a failure is not kept as the path that answers", []step{
			{routes{"/health": 503}, []string{"/rails/health", "/health"}, "/health", chatwoot.ServerError},
			{routes{"/rails/health": 200}, []string{"/rails/health"}, "/rails/health", 0},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var (
				now   routes
				asked []string
			)
			c := client(t, func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.Path)
				if r.Header.Get("Api-Access-Token") != "" {
					t.Errorf("%s was asked with the token", r.URL.Path)
				}
				status, ok := now[r.URL.Path]
				if !ok {
					status = http.StatusNotFound
				}
				says(status, "application/json", `{"status":"woot"}`)(w, r)
			}).For(chatwoot.Probe)
			for i, s := range tt.steps {
				now, asked = s.routes, nil
				path, err := c.Health(t.Context(), "/rails/health")
				same(t, fmt.Sprintf("step %d: the list of paths asked", i+1), asked, s.asked)
				if path != s.path || (err != nil) != (s.kind != 0) || s.kind != 0 && !chatwoot.Is(err, s.kind) {
					t.Errorf("step %d: %q, %v; want %q and kind %d", i+1, path, err, s.path, s.kind)
				}
			}
		})
	}
}

func TestHealthAsksTheUsualPathsOnce(t *testing.T) {
	for _, path := range []string{"", "/health", "/api"} {
		var asked []string
		c := client(t, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Path)
			http.NotFound(w, r)
		})
		if _, err := c.Health(t.Context(), path); !chatwoot.Is(err, chatwoot.NotFound) {
			t.Errorf("path %q: %v", path, err)
		}
		if len(asked) != 2 {
			t.Errorf("path %q: asked %q, want /health and /api once each", path, asked)
		}
	}
}

// widgetPage is what Chatwoot serves, cut to the part that matters.
func widgetPage(token string) string {
	return `<!DOCTYPE html><html><head><script>
      window.chatwootWebChannel = { websiteToken: 'T' }
      window.authToken = '` + token + `'
      window.chatwootPubsubToken = 'EXAMPLE-pubsub-not-real'
    </script></head></html>`
}

func TestWidgetKeepsOneContact(t *testing.T) {
	var asked []url.Values
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query())
		known := r.URL.Query().Get("cw_conversation")
		if known == "" {
			known = "eyJ.EXAMPLE.1"
		}
		says(200, "text/html; charset=utf-8", widgetPage(known))(w, r)
	}).For(chatwoot.Probe)

	conversation := ""
	for range 3 {
		var err error
		if conversation, err = c.Widget(t.Context(), websiteToken, conversation); err != nil || conversation != "eyJ.EXAMPLE.1" {
			t.Fatalf("got %q, %v", conversation, err)
		}
	}
	with := url.Values{"website_token": {websiteToken}, "cw_conversation": {"eyJ.EXAMPLE.1"}}
	same(t, "the list of queries", asked, []url.Values{{"website_token": {websiteToken}}, with, with})
}

func TestWidgetConversation(t *testing.T) {
	tests := []struct {
		name, stored string
		h            http.HandlerFunc
		want         string
		fails        bool
	}{
		{"the page names another: the old one was not accepted", "old", says(200, "text/html", widgetPage("new")), "new", false},
		{"double quotes and no spaces", "", says(200, "text/html", `window.authToken="a.b.c";`), "a.b.c", false},
		{"an empty token is none", "old", says(200, "text/html", widgetPage("")), "old", true},
		{"a page that holds no widget loses nothing", "old", says(200, "text/html", "<html>"), "old", true},
		{"a failure loses nothing", "old", says(503, "text/html", "<html>"), "old", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client(t, tt.h).Widget(t.Context(), websiteToken, tt.stored)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %q, %v; want %q, an error %v", got, err, tt.want, tt.fails)
			}
		})
	}
}
