package apptest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// Secrets of a daemon that drafts.
const (
	WebhookSecret = "EXAMPLE-webhook-secret-not-real"
	Ada           = "EXAMPLE-token-of-ada"   // in API_TOKENS
	Tomas         = "EXAMPLE-token-of-tomas" // likewise
)

// DraftSettings are the settings of a daemon that drafts with the services at
// an address.
func DraftSettings(services string) []string {
	return []string{
		"LLAMAINDEX_URL=" + services, "AGENT_SDK_URL=" + services,
		"CHATWOOT_WEBHOOK_SECRET=" + WebhookSecret, "API_TOKENS=ada:" + Ada + ",tomas:" + Tomas,
		"CHATWOOT_REQUESTS_PER_MINUTE=3000",
	}
}

// Drafting is a Daemon that drafts with stand-ins for its services, and that
// Chatwoot sends its webhooks to.
type Drafting struct {
	*Daemon
	Assist *chatwootsim.Assist
	Client *chatwoot.Client // of the simulated Chatwoot
}

// StartDrafting runs one until the test ends.
func StartDrafting(t testing.TB, settings ...string) *Drafting {
	t.Helper()
	assist := &chatwootsim.Assist{}
	services := httptest.NewServer(assist)
	t.Cleanup(services.Close)
	d := &Drafting{Assist: assist, Daemon: start(t, clock{}, func(*chatwootsim.Server) {}, append(DraftSettings(services.URL), settings...))}
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: WebhookSecret, Subscriptions: webhook.Subscriptions})
	d.Client = Client(t, d.Chatwoot)
	Until(t, "the database is open", func() bool {
		status, _ := Ask(t, http.MethodGet, d.URL+"/api/v1/approvals", Ada, nil)
		return status == http.StatusOK
	})
	return d
}

// Client returns a client of a simulated Chatwoot.
func Client(t testing.TB, address string) *chatwoot.Client {
	t.Helper()
	base, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := chatwoot.New(chatwoot.Options{BaseURL: base, Token: Token, AccountID: chatwootsim.DemoAccountID, RequestsPerMinute: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Messages returns all messages of a conversation.
func (d *Drafting) Messages(conversation int64) []chatwoot.Message {
	d.t.Helper()
	return Messages(d.t, d.Client, conversation)
}

// Messages returns all messages of a conversation.
func Messages(t testing.TB, c *chatwoot.Client, conversation int64) (all []chatwoot.Message) {
	t.Helper()
	err := c.Messages(t.Context(), conversation, 0, func(ms []chatwoot.Message) bool {
		all = append(all, ms...)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Notes returns those that are our notes.
func Notes(all []chatwoot.Message) (notes []chatwoot.Message) {
	for _, m := range all {
		if strings.HasPrefix(m.SourceID, "chatwoot-sla-draft-") {
			notes = append(notes, m)
		}
	}
	return notes
}

// Approval is an item as the API tells it.
type Approval struct {
	ID            int64
	Conversation  int64 `json:"conversation_id"`
	State         string
	Priority      string
	Deadline      time.Time
	Contact       string
	Message       string `json:"customer_message"`
	Draft         string
	Problem       string
	Confidence    float64
	LowConfidence bool   `json:"low_confidence"`
	Action        string `json:"suggested_action"`
	Sources       []struct{ Title string }
	Fallback      bool `json:"without_sources"`
	Tags          []string
	Sentiment     string
	Urgency       string
	NoteID        int64 `json:"note_id"`
	Decision      string
	DecidedBy     string     `json:"decided_by"`
	DecidedAt     *time.Time `json:"decided_at"`
	Reply         string
	ReplyID       int64 `json:"reply_id"`
	Reason        string
}

// Approvals returns the items of a conversation, whatever their state.
func (d *Drafting) Approvals(conversation int64) []Approval {
	d.t.Helper()
	return Approvals(d.t, d.URL, conversation)
}

// Approvals returns the items of a conversation that a daemon has.
func Approvals(t testing.TB, daemon string, conversation int64) []Approval {
	t.Helper()
	status, body := Ask(t, http.MethodGet, daemon+"/api/v1/approvals?state=all&conversation="+strconv.FormatInt(conversation, 10), Ada, nil)
	var doc struct{ Approvals []Approval }
	if err := json.Unmarshal(body, &doc); err != nil || status != http.StatusOK {
		t.Fatalf("approvals: %d (%v): %s", status, err, body)
	}
	return doc.Approvals
}

// Ask sends a request as the owner of a token, with a body if it has one.
func Ask(t testing.TB, method, address, token string, body any) (status int, answer []byte) {
	t.Helper()
	var in bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&in).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, &in)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, out.Bytes()
}

// Decide sends a decision about an item.
func (d *Drafting) Decide(id int64, token string, body map[string]string) (status int, answer []byte) {
	d.t.Helper()
	return Ask(d.t, http.MethodPost, d.URL+"/api/v1/approvals/"+strconv.FormatInt(id, 10), token, body)
}

// Until calls a function until it returns true.
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	// What came in a webhook that is lost takes a minute and a half to be found.
	for deadline := time.Now().Add(3 * time.Minute); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited three minutes: %s", what)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			return
		}
	}
}

// Item waits for the item of a conversation, and returns it.
func (d *Drafting) Item(conversation int64) Approval {
	d.t.Helper()
	return d.ItemIn(conversation, "")
}

// ItemIn waits for the one item of a conversation to reach a state.
func (d *Drafting) ItemIn(conversation int64, state string) (it Approval) {
	d.t.Helper()
	Until(d.t, "an item of the conversation in state "+state, func() bool {
		items := d.Approvals(conversation)
		if len(items) > 1 {
			d.t.Fatalf("%d items of one message", len(items))
		}
		if len(items) == 1 {
			it = items[0]
		}
		return len(items) == 1 && (state == "" || it.State == state)
	})
	return it
}
