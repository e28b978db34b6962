package chatwootsim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

// receiver is an endpoint that remembers what it was sent.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []posted
	answer func(w http.ResponseWriter, r *http.Request)
}

type posted struct {
	header  http.Header
	body    []byte
	payload map[string]any
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		p := posted{header: req.Header, body: body}
		if err := json.Unmarshal(body, &p.payload); err != nil {
			t.Errorf("webhook body %q: %v", body, err)
		}
		r.mu.Lock()
		r.got = append(r.got, p)
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(w, req)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = nil
}

func (r *receiver) all() []posted {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// events returns the names of what came, sorted, because nothing is ordered.
func (r *receiver) events() []string {
	names := []string{}
	for _, p := range r.all() {
		names = append(names, p.payload["event"].(string))
	}
	slices.Sort(names)
	return names
}

func (r *receiver) one(t *testing.T, event string) map[string]any {
	t.Helper()
	var found []map[string]any
	for _, p := range r.all() {
		if p.payload["event"] == event {
			found = append(found, p.payload)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d deliveries of %s among %v, want 1", len(found), event, r.events())
	}
	return found[0]
}

func TestSignMatchesTheKnownVector(t *testing.T) {
	got := chatwootsim.Sign("EXAMPLE-signing-secret-not-real", 1782119762, []byte(`{"event":"message_created","id":91004,"private":false}`))
	if want := "sha256=f6b59cc6d203cf0115ab2aa1fbf7a94cc7d241ece11e8fa625bcc71b7aec0630"; got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}

func TestNewerServersSignTheirWebhooks(t *testing.T) {
	r := newReceiver(t)
	s := start(t, chatwootsim.Options{Webhooks: []chatwootsim.Webhook{{URL: r.URL, Secret: "s3"}}})
	s.CustomerOpens(noon, chat, "A <b>bold</b> & “quoted” text")
	s.Flush()
	got := r.all()
	if len(got) != 2 {
		t.Fatalf("got %v", r.events())
	}
	for _, p := range got {
		stamp, err := strconv.ParseInt(p.header.Get("X-Chatwoot-Timestamp"), 10, 64)
		if err != nil || stamp != noon.Unix() {
			t.Errorf("timestamp %q, want the server's clock", p.header.Get("X-Chatwoot-Timestamp"))
		}
		if want := chatwootsim.Sign("s3", stamp, p.body); p.header.Get("X-Chatwoot-Signature") != want {
			t.Errorf("signature %q, want %q", p.header.Get("X-Chatwoot-Signature"), want)
		}
		if id := p.header.Get("X-Chatwoot-Delivery"); len(id) != 36 {
			t.Errorf("delivery id %q is no UUID", id)
		}
		if strings.ContainsAny(string(p.body), "<>&") {
			t.Errorf("body is not escaped as Ruby does: %.200s", p.body)
		}
	}
	if got[0].header.Get("X-Chatwoot-Delivery") == got[1].header.Get("X-Chatwoot-Delivery") {
		t.Error("two deliveries share an id")
	}
}

func TestOlderServersDoNotSign(t *testing.T) {
	r := newReceiver(t)
	s := start(t, chatwootsim.Options{Version: chatwootsim.V42, Webhooks: []chatwootsim.Webhook{{URL: r.URL, Secret: "s3"}}})
	s.CustomerOpens(noon, chat, "")
	s.Flush()
	for _, p := range r.all() {
		for name := range p.header {
			if strings.HasPrefix(name, "X-Chatwoot") {
				t.Errorf("header %s", name)
			}
		}
		if p.payload["event"] == "conversation_created" {
			if _, ok := p.payload["account"]; ok {
				t.Error("conversation events named no account then")
			}
		}
	}
	if len(r.all()) != 2 {
		t.Errorf("got %v", r.events())
	}
}

func TestEventsOfAConversation(t *testing.T) {
	r := newReceiver(t)
	s := start(t, chatwootsim.Options{Webhooks: []chatwootsim.Webhook{{URL: r.URL}}})
	var c int64
	for _, step := range []struct {
		name string
		act  func()
		want string
	}{
		{"a customer opens", func() { c = s.CustomerOpens(noon, chat, "") }, "conversation_created message_created"},
		{"assigned: an activity line is not told", func() { s.Assign(noon, c, 11) }, "conversation_updated"},
		{"the first answer moves both clocks at once", func() { s.AgentReplies(noon, c) }, "conversation_updated message_created"},
		{"a look is silent", func() { s.AgentLooks(noon, c) }, ""},
		{"a note changes no column", func() { s.AgentNotes(noon, c) }, "message_created"},
		{"the customer waits again", func() { s.CustomerWrites(noon, c, "") }, "conversation_updated message_created"},
		{"resolved: clearing waiting_since makes no event", func() { s.SetStatus(noon, c, "resolved") }, "conversation_status_changed conversation_updated"},
		{"deleted: nobody is told", func() { s.Delete(noon, c) }, ""},
	} {
		r.clear()
		step.act()
		s.Flush()
		if got := strings.Join(r.events(), " "); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

func TestStatusChangeIsToldWithoutTheOldStatus(t *testing.T) {
	r := newReceiver(t)
	s := start(t, chatwootsim.Options{Webhooks: []chatwootsim.Webhook{{URL: r.URL}}})
	c := s.CustomerOpens(noon, chat, "")
	s.Flush()
	r.clear()
	s.SetStatus(noon.Add(time.Minute), c, "resolved")
	s.Flush()
	status := r.one(t, "conversation_status_changed")
	if v, ok := status["changed_attributes"]; !ok || v != nil {
		t.Errorf("changed_attributes = %v, want null", v)
	}
	updated, _ := json.Marshal(r.one(t, "conversation_updated")["changed_attributes"])
	want := `[{"status":{"current_value":"resolved","previous_value":"open"}},` +
		`{"updated_at":{"current_value":"2026-06-22T12:01:00.000Z","previous_value":"2026-06-22T12:00:00.000Z"}}]`
	if string(updated) != want {
		t.Errorf("changed_attributes = %s, want %s", updated, want)
	}
}

func TestWebhooksKnowNobodysPresence(t *testing.T) {
	r := newReceiver(t)
	s := start(t, chatwootsim.Options{Webhooks: []chatwootsim.Webhook{{URL: r.URL, Subscriptions: []string{"conversation_updated"}}}})
	c := s.CustomerOpens(noon, chat, "")
	s.Assign(noon, c, 11)
	s.Flush()
	assignee := r.one(t, "conversation_updated")["meta"].(map[string]any)["assignee"].(map[string]any)
	if assignee["id"] != 11.0 || assignee["availability_status"] != nil {
		t.Errorf("assignee %v", assignee)
	}
}

func TestDeliveryIsAttemptedOnce(t *testing.T) {
	r := newReceiver(t)
	r.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	s := start(t, chatwootsim.Options{Webhooks: []chatwootsim.Webhook{{URL: r.URL, Subscriptions: []string{"message_created"}}}})
	s.CustomerOpens(noon, chat, "")
	s.Flush()
	if n := len(r.all()); n != 1 {
		t.Errorf("%d attempts, want 1", n)
	}
}

// The payload is built when a worker gets to it, and then the conversation may
// be gone.
func TestWhatIsDeletedBeforeItsTurnIsNotTold(t *testing.T) {
	const workers = 10
	r := newReceiver(t)
	busy, release := make(chan bool), make(chan bool)
	r.answer = func(http.ResponseWriter, *http.Request) {
		busy <- true
		<-release
	}
	s := start(t, chatwootsim.Options{Webhooks: []chatwootsim.Webhook{{URL: r.URL, Subscriptions: []string{"message_created"}}}})
	for range workers {
		s.CustomerOpens(noon, chat, "kept")
		<-busy
	}
	s.Delete(noon, s.CustomerOpens(noon, chat, "gone"))
	close(release)
	s.Flush()
	for _, p := range r.all() {
		if p.payload["content"] != "kept" {
			t.Errorf("told of %v", p.payload["content"])
		}
	}
	if n := len(r.all()); n != workers {
		t.Errorf("%d deliveries, want %d", n, workers)
	}
}

func TestRedirectsAreFollowedByNewerServersOnly(t *testing.T) {
	for version, want := range map[chatwootsim.Version]int{chatwootsim.V415: 1, chatwootsim.V42: 0} {
		final := newReceiver(t)
		first := newReceiver(t)
		first.answer = func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, final.URL, http.StatusFound) }
		s := start(t, chatwootsim.Options{Version: version, Webhooks: []chatwootsim.Webhook{{URL: first.URL, Subscriptions: []string{"message_created"}}}})
		s.CustomerOpens(noon, chat, "")
		s.Flush()
		if n := len(final.all()); n != want {
			t.Errorf("%s: %d deliveries behind the redirect, want %d", version, n, want)
		}
	}
}

func TestWebhookFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault chatwootsim.WebhookFaults
		check func(t *testing.T, ids []string, texts []string)
	}{
		{"all dropped", chatwootsim.WebhookFaults{Drop: 1}, func(t *testing.T, ids, _ []string) {
			if len(ids) != 0 {
				t.Errorf("%d deliveries, want none", len(ids))
			}
		}},
		{"all duplicated, some under a new id", chatwootsim.WebhookFaults{Duplicate: 1}, func(t *testing.T, ids, _ []string) {
			slices.Sort(ids)
			distinct := len(slices.Compact(slices.Clone(ids)))
			if len(ids) != 40 || distinct <= 20 || distinct >= 40 {
				t.Errorf("%d deliveries with %d ids, want 40 with more than 20 and less than 40", len(ids), distinct)
			}
		}},
		{"reordered, none lost", chatwootsim.WebhookFaults{Reorder: 1}, func(t *testing.T, ids, texts []string) {
			if len(ids) != 20 || slices.IsSorted(texts) {
				t.Errorf("deliveries %v, want 20 out of order", texts)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newReceiver(t)
			s := start(t, chatwootsim.Options{Webhooks: []chatwootsim.Webhook{{URL: r.URL, Subscriptions: []string{"message_created"}}}})
			s.WebhookFaults(tt.fault)
			c := s.CustomerOpens(noon, chat, "00")
			for i := range 19 {
				s.CustomerWrites(noon, c, fmt.Sprintf("%02d", i+1))
			}
			s.Flush()
			var ids, texts []string
			for _, p := range r.all() {
				ids = append(ids, p.header.Get("X-Chatwoot-Delivery"))
				texts = append(texts, p.payload["content"].(string))
			}
			tt.check(t, ids, texts)
		})
	}
}

func TestWebhooksAreManagedByTheAPI(t *testing.T) {
	r := newReceiver(t)
	s := start(t, chatwootsim.Options{})
	type answered struct {
		Payload struct {
			Webhook struct {
				ID            int64    `json:"id"`
				Secret        string   `json:"secret"`
				URL           string   `json:"url"`
				Subscriptions []string `json:"subscriptions"`
			} `json:"webhook"`
		} `json:"payload"`
	}
	create := fmt.Sprintf(`{"webhook":{"url":%q,"subscriptions":["message_created"]}}`, r.URL)
	made := decode[answered](t, s.do("POST", account+"/webhooks", chatwootsim.DemoToken, create)).Payload.Webhook
	if made.ID == 0 || made.Secret == "" || made.URL != r.URL {
		t.Fatalf("created %+v", made)
	}
	s.CustomerOpens(noon, chat, "")
	s.Flush()
	if got := r.events(); !slices.Equal(got, []string{"message_created"}) {
		t.Errorf("events %v, want what was subscribed to", got)
	}
	if got := r.all()[0]; got.header.Get("X-Chatwoot-Signature") != chatwootsim.Sign(made.Secret, noon.Unix(), got.body) {
		t.Error("not signed with the secret that was returned")
	}

	for _, tt := range []struct{ name, method, path, body, want string }{
		{"taken URL", "POST", "/webhooks", create, `422 {"message":"Url has already been taken","attributes":["url"]}`},
		{"bad URL", "POST", "/webhooks", `{"webhook":{"url":"ftp://x"}}`, `422 {"message":"Url is invalid","attributes":["url"]}`},
		{"unknown event", "POST", "/webhooks", `{"webhook":{"url":"http://x.test","subscriptions":["nope"]}}`, `422 {"message":"Subscriptions Invalid events","attributes":["subscriptions"]}`},
		{"no root", "POST", "/webhooks", `{"url":"http://x.test"}`, `422 {"error":"param is missing or the value is empty: webhook"}`},
		{"broken JSON", "POST", "/webhooks", `{"webhook":`, `400 {"status":400,"error":"Bad Request"}`},
		{"unknown id", "PATCH", "/webhooks/99", `{"webhook":{"url":"http://x.test"}}`, `404 {"error":"Resource could not be found"}`},
	} {
		a := s.do(tt.method, account+tt.path, chatwootsim.DemoToken, tt.body)
		if got := fmt.Sprintf("%d %s", a.status, a.body); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}

	patch := `{"webhook":{"subscriptions":["conversation_status_changed"]}}`
	changed := decode[answered](t, s.do("PATCH", fmt.Sprintf("%s/webhooks/%d", account, made.ID), chatwootsim.DemoToken, patch)).Payload.Webhook
	if changed.URL != r.URL || !slices.Equal(changed.Subscriptions, []string{"conversation_status_changed"}) {
		t.Errorf("changed to %+v", changed)
	}
	if a := s.do("DELETE", fmt.Sprintf("%s/webhooks/%d", account, made.ID), chatwootsim.DemoToken, ""); a.status != http.StatusOK {
		t.Errorf("delete: %d", a.status)
	}
	if a := s.get(account + "/webhooks"); a.body != `{"payload":{"webhooks":[]}}` {
		t.Errorf("left over: %s", a.body)
	}
}
