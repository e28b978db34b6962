package chatwoot_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

const (
	token        = "EXAMPLE-user-token-not-real"
	websiteToken = "EXAMPLE-website-token-not-real"
	account      = 3
)

// serve starts a server on loopback and returns its address.
func serve(t *testing.T, h http.HandlerFunc) *url.URL {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return parse(t, s.URL)
}

// dial returns a client of the server at base.
func dial(t *testing.T, base *url.URL, options ...func(*chatwoot.Options)) *chatwoot.Client {
	t.Helper()
	o := chatwoot.Options{BaseURL: base, Token: token, AccountID: account}
	for _, set := range options {
		set(&o)
	}
	c, err := chatwoot.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// client returns a client of a server that answers with h.
func client(t *testing.T, h http.HandlerFunc) *chatwoot.Client {
	t.Helper()
	return dial(t, serve(t, h))
}

// says is a handler with one answer. An empty content type is sent as none.
func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func saysJSON(body string) http.HandlerFunc {
	return says(http.StatusOK, "application/json; charset=utf-8", body)
}

// hangs never answers; the request ends when the client gives up.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func example(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "examples", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// calls is one call of each method that sends a request.
var calls = []struct {
	name   string
	do     func(context.Context, *chatwoot.Client) error
	url    string // what the server must be asked for
	public bool   // sent without the token
	html   bool   // asks for a page rather than for JSON
}{
	{
		name: "open conversations, first page",
		do:   list(chatwoot.Query{Status: chatwoot.Open, Sort: chatwoot.OldestFirst, Page: 1}),
		url:  "/api/v1/accounts/3/conversations?assignee_type=all&sort_by=created_at_asc&status=open",
	},
	{
		name: "a later page",
		do:   list(chatwoot.Query{Status: chatwoot.Resolved, Sort: chatwoot.RecentlyActive, Page: 7}),
		url:  "/api/v1/accounts/3/conversations?assignee_type=all&page=7&sort_by=last_activity_at_desc&status=resolved",
	},
	{
		name: "no order, no page",
		do:   list(chatwoot.Query{Status: chatwoot.Pending}),
		url:  "/api/v1/accounts/3/conversations?assignee_type=all&status=pending",
	},
	{
		name: "changes of whole seconds",
		do:   list(chatwoot.Query{Status: chatwoot.AnyStatus, UpdatedWithin: time.Minute}),
		url:  "/api/v1/accounts/3/conversations?assignee_type=all&status=all&updated_within=60",
	},
	{
		name: "changes of a minute and a nanosecond",
		do:   list(chatwoot.Query{Status: chatwoot.AnyStatus, UpdatedWithin: time.Minute + 1}),
		url:  "/api/v1/accounts/3/conversations?assignee_type=all&status=all&updated_within=61",
	},
	{
		name: "changes of a nanosecond",
		do:   list(chatwoot.Query{Status: chatwoot.AnyStatus, UpdatedWithin: 1}),
		url:  "/api/v1/accounts/3/conversations?assignee_type=all&status=all&updated_within=1",
	},
	{
		name: "one conversation",
		do: func(ctx context.Context, c *chatwoot.Client) error {
			_, err := c.Conversation(ctx, 1482)
			return err
		},
		url: "/api/v1/accounts/3/conversations/1482",
	},
	{
		name: "messages",
		do: func(ctx context.Context, c *chatwoot.Client) error {
			return c.Messages(ctx, 1482, 0, func([]chatwoot.Message) bool { return true })
		},
		url: "/api/v1/accounts/3/conversations/1482/messages?after=0",
	},
	{
		name: "inboxes",
		do: func(ctx context.Context, c *chatwoot.Client) error {
			_, err := c.Inboxes(ctx)
			return err
		},
		url: "/api/v1/accounts/3/inboxes",
	},
	{
		name: "profile",
		do: func(ctx context.Context, c *chatwoot.Client) error {
			_, _, err := c.Profile(ctx)
			return err
		},
		url: "/api/v1/profile",
	},
	{
		name:   "index",
		do:     func(ctx context.Context, c *chatwoot.Client) error { _, err := c.Index(ctx); return err },
		url:    "/api",
		public: true,
	},
	{
		name: "health",
		do: func(ctx context.Context, c *chatwoot.Client) error {
			_, err := c.Health(ctx, "/rails/health")
			return err
		},
		url:    "/rails/health",
		public: true,
		html:   true,
	},
	{
		name: "widget",
		do: func(ctx context.Context, c *chatwoot.Client) error {
			_, err := c.Widget(ctx, websiteToken, "")
			return err
		},
		url:    "/widget?website_token=" + websiteToken,
		public: true,
		html:   true,
	},
}

func list(q chatwoot.Query) func(context.Context, *chatwoot.Client) error {
	return func(ctx context.Context, c *chatwoot.Client) error {
		_, err := c.Conversations(ctx, q)
		return err
	}
}

func TestRequestsAsTheServerSeesThem(t *testing.T) {
	for _, prefix := range []string{"", "/", "/support", "/support/"} {
		for _, tt := range calls {
			t.Run(fmt.Sprintf("%s below %q", tt.name, prefix), func(t *testing.T) {
				var got *http.Request
				base := serve(t, func(w http.ResponseWriter, r *http.Request) {
					if got == nil { // a 404 makes Health ask elsewhere
						got = r.Clone(context.Background())
					}
					http.NotFound(w, r)
				}).JoinPath(prefix)
				c := dial(t, base, func(o *chatwoot.Options) { o.UserAgent = "agent/1" })
				if err := tt.do(t.Context(), c); err == nil {
					t.Error("no error from a server that has nothing")
				}

				if want := strings.TrimRight(prefix, "/") + tt.url; got.RequestURI != want {
					t.Errorf("asks for %s, want %s", got.RequestURI, want)
				}
				var carriers []string
				for name, values := range got.Header {
					for _, v := range values {
						if strings.Contains(v, token) {
							carriers = append(carriers, name)
						}
					}
				}
				carriersWant, acceptWant := []string{"Api-Access-Token"}, []string{"application/json"}
				if tt.public {
					carriersWant = nil
				}
				if tt.html {
					acceptWant = []string{"text/html"}
				}
				if !slices.Equal(carriers, carriersWant) {
					t.Errorf("the token is in the headers %q, want %q", carriers, carriersWant)
				}
				if accept := got.Header["Accept"]; !slices.Equal(accept, acceptWant) {
					t.Errorf("Accept is %q, want %q", accept, acceptWant)
				}
				if agent := got.UserAgent(); agent != "agent/1" {
					t.Errorf("User-Agent is %q", agent)
				}
			})
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	base := parse(t, "https://support.example.com")
	tests := []struct {
		name string
		o    chatwoot.Options
		says string // empty: it is fine
	}{
		{"the least there must be", chatwoot.Options{BaseURL: base, AccountID: 3}, ""},
		{"no base URL", chatwoot.Options{AccountID: 3}, "base URL"},
		{"a base URL without a host", chatwoot.Options{BaseURL: parse(t, "support.example.com"), AccountID: 3}, "base URL"},
		{"account zero", chatwoot.Options{BaseURL: base}, "account id 0"},
		{"a negative account", chatwoot.Options{BaseURL: base, AccountID: -3}, "account id -3"},
		{"a negative budget", chatwoot.Options{BaseURL: base, AccountID: 3, RequestsPerMinute: -1}, "-1 requests per minute"},
		{"a negative time-out", chatwoot.Options{BaseURL: base, AccountID: 3, Timeout: -time.Second}, "time-out -1s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Token = token
			_, err := chatwoot.New(tt.o)
			switch {
			case tt.says == "" && err != nil:
				t.Error(err)
			case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("New says %v, want %q in it", err, tt.says)
			case err != nil && strings.Contains(err.Error(), token):
				t.Errorf("the token is in %q", err)
			}
		})
	}
}

func TestConversationURLIsWhereAgentsOpenIt(t *testing.T) {
	tests := []struct{ base, want string }{
		{"https://support.example.com", "https://support.example.com/app/accounts/3/conversations/1482"},
		{"https://example.com/support/", "https://example.com/support/app/accounts/3/conversations/1482"},
		{"https://proxy:EXAMPLE-password@example.com/?from=env#top", "https://example.com/app/accounts/3/conversations/1482"},
	}
	for _, tt := range tests {
		if got := dial(t, parse(t, tt.base)).ConversationURL(1482); got != tt.want {
			t.Errorf("base %s: %s, want %s", tt.base, got, tt.want)
		}
	}
}

func TestEveryRequestIsObserved(t *testing.T) {
	tests := []struct {
		name   string
		h      http.HandlerFunc
		status int
	}{
		{"not found", http.NotFound, 404},
		{"an answer that does not decode", saysJSON(`[`), 200},
		{"a server error", says(503, "text/html", "<h1>maintenance</h1>"), 503},
		{"no answer in time", hangs, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := serve(t, tt.h)
			for _, call := range calls {
				var seen int
				c := dial(t, base, func(o *chatwoot.Options) {
					if tt.status == 0 {
						o.Timeout = 10 * time.Millisecond
					}
					o.Observe = func(endpoint string, status int, took time.Duration) {
						seen++
						if !slices.Contains(chatwoot.Endpoints, endpoint) || strings.ContainsAny(endpoint, "/?0123456789") {
							t.Errorf("%s: endpoint %q is no template", call.name, endpoint)
						}
						if status != tt.status || took <= 0 || took > time.Minute {
							t.Errorf("%s: observed %d after %v, want %d", call.name, status, took, tt.status)
						}
					}
				})
				_ = call.do(t.Context(), c)
				if seen == 0 {
					t.Errorf("%s: nothing observed", call.name)
				}
			}
		})
	}
}

// Answers share pooled memory while they are read: none may keep a piece of it.
func TestConcurrentAnswersDoNotMix(t *testing.T) {
	row := func(id string) string {
		return fmt.Sprintf(`{"id":%s,"status":"custom-%[1]s","created_at":1782119581,"meta":{"sender":{"name":"customer %[1]s"}},
			"last_non_activity_message":{"content_type":"type-%[1]s"}}`, id)
	}
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		saysJSON(row(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]))(w, r)
	})
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 20 {
				id := int64(1000 + 100*worker + i)
				got, err := c.Conversation(t.Context(), id)
				if err != nil {
					t.Error(err)
					return
				}
				n := strconv.FormatInt(id, 10)
				if got.ID != id || got.Contact != "customer "+n || got.Status != chatwoot.Status("custom-"+n) || got.Spoken.ContentType != "type-"+n {
					t.Errorf("conversation %d came as %+v", id, got)
				}
			}
		})
	}
	group.Wait()
}
