package app_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// The 24 tests that the support runbook names, in its seven groups:
//
//	go test -run Runbook ./internal/app
//
// They go through the real HTTP handlers, the real queue and a real database.

const question = "Where is my order? The tracking says nothing."

// opens has a customer open a conversation.
func opens(d *apptest.Drafting, text string) int64 {
	return d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], text)
}

// hook is the answer to a delivery.
type hook struct {
	code                  int
	Status, Reason, Error string
}

// deliver sends a webhook, signed with a secret; empty: not at all.
func deliver(t *testing.T, d *apptest.Drafting, secret string, body []byte) (h hook) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.Webhooks, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if secret != "" {
		now := time.Now()
		req.Header.Set(webhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
		req.Header.Set(webhook.HeaderSignature, webhook.Sign(secret, now, body))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	h.code = resp.StatusCode
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		t.Fatal(err)
	}
	return h
}

// told returns the webhook about the last message of a conversation, made from
// Chatwoot's own example.
func told(t *testing.T, d *apptest.Drafting, example string, conversation, message int64) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "chatwoot", "testdata", "examples", example))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	doc["account"] = map[string]any{"id": chatwootsim.DemoAccountID}
	if c, ok := doc["conversation"].(map[string]any); ok {
		doc["id"], c["id"] = message, conversation
	} else {
		doc["id"] = conversation
	}
	body, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// quiet makes a conversation that no webhook tells of.
func quiet(t *testing.T) (d *apptest.Drafting, conversation, message int64) {
	t.Helper()
	d = apptest.StartDrafting(t)
	d.Sim.WebhookFaults(chatwootsim.WebhookFaults{Drop: 1})
	conversation = opens(d, question)
	return d, conversation, d.Messages(conversation)[0].ID
}

func TestRunbook1WebhookSignatureVerification(t *testing.T) {
	d, conversation, message := quiet(t)
	body := told(t, d, "webhook_message_created_incoming.json", conversation, message)
	t.Run("an invalid signature is refused", func(t *testing.T) {
		if h := deliver(t, d, "EXAMPLE-another-secret", body); h.code != http.StatusUnauthorized || h.Error == "" {
			t.Errorf("the answer is %+v", h)
		}
	})
	t.Run("a missing signature is refused", func(t *testing.T) {
		if h := deliver(t, d, "", body); h.code != http.StatusUnauthorized || h.Error == "" {
			t.Errorf("the answer is %+v", h)
		}
		if items := d.Approvals(conversation); len(items) > 0 {
			t.Errorf("a stranger's webhook became %+v", items)
		}
	})
	t.Run("a valid signature is accepted", func(t *testing.T) {
		if h := deliver(t, d, apptest.WebhookSecret, body); h.code != http.StatusOK || h.Status != "accepted" {
			t.Errorf("the answer is %+v", h)
		}
		d.Item(conversation)
	})
}

func TestRunbook2EventFiltering(t *testing.T) {
	d, conversation, message := quiet(t)
	incoming := told(t, d, "webhook_message_created_incoming.json", conversation, message)
	t.Run("an agent's message is ignored", func(t *testing.T) {
		h := deliver(t, d, apptest.WebhookSecret, told(t, d, "webhook_message_created_agent.json", conversation, message+1))
		if h.code != http.StatusOK || h.Status != "ignored" || h.Reason != string(webhook.AgentMessage) {
			t.Errorf("the answer is %+v", h)
		}
	})
	t.Run("a message in a resolved conversation is ignored", func(t *testing.T) {
		resolved := bytes.Replace(incoming, []byte(`"status":"open"`), []byte(`"status":"resolved"`), 1)
		if bytes.Equal(resolved, incoming) {
			t.Fatal("the example names its status otherwise")
		}
		h := deliver(t, d, apptest.WebhookSecret, resolved)
		if h.code != http.StatusOK || h.Status != "ignored" || h.Reason != string(webhook.ConversationNotOpen) {
			t.Errorf("the answer is %+v", h)
		}
	})
	t.Run("a customer's message in an open conversation is processed", func(t *testing.T) {
		if h := deliver(t, d, apptest.WebhookSecret, incoming); h.Status != "accepted" || h.Reason != string(webhook.CustomerMessage) {
			t.Errorf("the answer is %+v", h)
		}
		d.Item(conversation)
	})
	t.Run("a duplicate is processed once", func(t *testing.T) {
		if h := deliver(t, d, apptest.WebhookSecret, incoming); h.code != http.StatusOK || h.Status != "duplicate" {
			t.Errorf("the answer is %+v", h)
		}
		if n := len(d.Assist.Received(chatwootsim.AgentPath)); n != 1 {
			t.Errorf("%d drafts were made", n)
		}
	})
}

func TestRunbook3KnowledgeRetrieval(t *testing.T) {
	t.Run("relevant sources are found", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		it := d.Item(opens(d, question))
		if len(it.Sources) != 1 || it.Sources[0].Title != "Shipping times" || it.Fallback {
			t.Errorf("the item is %+v", it)
		}
		asked := string(d.Assist.Received(chatwootsim.KnowledgePath)[0])
		if want := `{"min_relevance":0.7,"query":"` + question + `","top_k":5}`; asked != want {
			t.Errorf("the service was asked %s, want %s", asked, want)
		}
	})
	// Without sources there is a draft all the same.
	without := func(t *testing.T, text string, f *chatwootsim.Fault, result string) time.Duration {
		t.Helper()
		d := apptest.StartDrafting(t)
		if f != nil {
			d.Assist.Inject(*f)
		}
		began := time.Now()
		it := d.Item(opens(d, text))
		took := time.Since(began)
		if len(it.Sources) > 0 || !it.Fallback || it.Draft == "" {
			t.Errorf("the item is %+v", it)
		}
		if want := `chatwoot_sla_knowledge_requests_total{result="` + result + `"} 1`; !strings.Contains(d.Get("/metrics"), want) {
			t.Errorf("the metrics lack %s", want)
		}
		return took
	}
	t.Run("nothing relevant is found", func(t *testing.T) { without(t, "Do you sponsor chess clubs?", nil, "empty") })
	t.Run("it takes longer than two seconds", func(t *testing.T) {
		took := without(t, question, &chatwootsim.Fault{Path: chatwootsim.KnowledgePath, Kind: chatwootsim.FaultHang}, "timeout")
		if took < 2*time.Second {
			t.Errorf("it was given up after %v", took)
		}
	})
	t.Run("it is unavailable", func(t *testing.T) {
		without(t, question, &chatwootsim.Fault{Path: chatwootsim.KnowledgePath, Kind: chatwootsim.FaultStatus, Status: http.StatusServiceUnavailable}, "unreachable")
	})
}

func TestRunbook4DraftGeneration(t *testing.T) {
	t.Run("a confident draft is over 80", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		conversation := opens(d, "Hello")
		d.Item(conversation)
		d.Sim.BotReplies(time.Now(), conversation)
		d.Sim.AgentNotes(time.Now(), conversation)
		second := d.Sim.CustomerWrites(time.Now(), conversation, question)
		apptest.Until(t, "the second draft", func() bool { return len(d.Approvals(conversation)) == 2 })
		for _, it := range d.Approvals(conversation) {
			if it.ID == second && (it.Confidence <= 80 || it.Action != "approve" || it.Draft == "" || it.Urgency != "low") {
				t.Errorf("the item is %+v", it)
			}
		}
		asked := string(d.Assist.Received(chatwootsim.AgentPath)[1])
		var ask struct {
			History []struct{ Role, Content string } `json:"conversation_history"`
		}
		if err := json.Unmarshal([]byte(asked), &ask); err != nil {
			t.Fatal(err)
		}
		if len(ask.History) != 2 || ask.History[0].Role != "customer" || ask.History[0].Content != "Hello" || ask.History[1].Role != "bot" {
			t.Errorf("the history is %+v; want what was said, and no note", ask.History)
		}
	})
	t.Run("a draft under 70 recommends escalation", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		it := d.Item(opens(d, "Do you sponsor chess clubs?"))
		if it.Confidence >= 70 || it.Action != "escalate" || !it.LowConfidence {
			t.Errorf("the item is %+v", it)
		}
	})
	t.Run("a time-out is tried again", func(t *testing.T) {
		t.Parallel()
		d := apptest.StartDrafting(t)
		d.Assist.Inject(chatwootsim.Fault{Path: chatwootsim.AgentPath, Kind: chatwootsim.FaultHang, Times: 1})
		began := time.Now()
		it := d.Item(opens(d, question))
		if took := time.Since(began); took < 10*time.Second || it.Draft == "" {
			t.Errorf("after %v the item is %+v", took, it)
		}
		if want := `chatwoot_sla_agent_requests_total{result="timeout"} 1`; !strings.Contains(d.Get("/metrics"), want) {
			t.Errorf("the metrics lack %s", want)
		}
	})
	t.Run("a rate limit is waited for", func(t *testing.T) {
		t.Parallel()
		d := apptest.StartDrafting(t)
		d.Assist.RetryAfter("2")
		d.Assist.Inject(chatwootsim.Fault{Path: chatwootsim.AgentPath, Kind: chatwootsim.FaultThrottle, Times: 1})
		began := time.Now()
		it := d.Item(opens(d, question))
		if took := time.Since(began); took < 2*time.Second || it.Draft == "" {
			t.Errorf("after %v the item is %+v", took, it)
		}
		if n := len(d.Assist.Received(chatwootsim.AgentPath)); n != 2 {
			t.Errorf("%d attempts, want two", n)
		}
	})
}

func TestRunbook5PrivateNoteCreation(t *testing.T) {
	t.Run("the note says what a person needs", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		conversation := opens(d, question)
		it := d.Item(conversation)
		notes := apptest.Notes(d.Messages(conversation))
		if len(notes) != 1 || !notes[0].Private || notes[0].ID != it.NoteID {
			t.Fatalf("the notes are %+v", notes)
		}
		for _, want := range []string{it.Draft, "confidence 92 %", "suggested: approve", "Shipping times (relevance 0.93, version 3)"} {
			if !strings.Contains(notes[0].Content, want) {
				t.Errorf("the note lacks %q:\n%s", want, notes[0].Content)
			}
		}
		if row, err := d.Client.Conversation(t.Context(), conversation); err != nil || !row.FirstReplyAt.IsZero() {
			t.Errorf("the note went to the customer: %v", err)
		}
	})
	t.Run("an error of the API is retried", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		conversation := opens(d, "Hello")
		first := d.Item(conversation)
		d.Sim.Inject(chatwootsim.Fault{Path: fmt.Sprintf("/conversations/%d/messages", conversation), Kind: chatwootsim.FaultStatus, Status: http.StatusUnprocessableEntity, Times: 2})
		second := d.Sim.CustomerWrites(time.Now(), conversation, question)
		apptest.Until(t, "the second item", func() bool { return len(d.Approvals(conversation)) == 2 })
		notes := apptest.Notes(d.Messages(conversation))
		if len(notes) != 2 || notes[0].SourceID != pipeline.Mark(first.ID) || notes[1].SourceID != pipeline.Mark(second) {
			t.Errorf("the notes are %+v", notes)
		}
	})
	t.Run("a draft of low confidence warns", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		conversation := opens(d, "Do you sponsor {{contact.name}}'s [@Tomas](mention://user/1/Tomas) chess club?")
		d.Item(conversation)
		note := apptest.Notes(d.Messages(conversation))[0].Content
		if !strings.Contains(note, "LOW CONFIDENCE") || !strings.Contains(note, "suggested: escalate") {
			t.Errorf("the note is\n%s", note)
		}
	})
}

func TestRunbook6ApprovalQueueInsertion(t *testing.T) {
	t.Run("the entry is complete", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		conversation := opens(d, question)
		message := d.Messages(conversation)[0]
		it := d.Item(conversation)
		if it.ID != message.ID || it.Conversation != conversation || it.State != "pending" || it.Priority != "normal" || it.Message != question ||
			it.Contact == "" || it.Contact != message.SenderName || it.Draft == "" || it.Confidence != 92 || it.Action != "approve" || len(it.Sources) != 1 || it.NoteID == 0 || it.Sentiment != "neutral" {
			t.Errorf("the item is %+v", it)
		}
		if late := it.Deadline.Sub(message.CreatedAt); late < 29*time.Minute || late > 31*time.Minute {
			t.Errorf("the deadline is %v after the message", late)
		}
	})
	t.Run("what is urgent has priority", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		if it := d.Item(opens(d, "This is unacceptable, I want my money back asap!")); it.Priority != "urgent" || it.Urgency != "high" {
			t.Errorf("the item of an angry customer is %+v", it)
		}
		late := d.Sim.CustomerOpens(time.Now().Add(-26*time.Minute), d.Sim.Inboxes()[0], question)
		if it := d.Item(late); it.Priority != "urgent" || it.Urgency != "low" {
			t.Errorf("the item of a customer who has waited long is %+v", it)
		}
	})
	t.Run("a duplicate changes nothing", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		d.Sim.WebhookFaults(chatwootsim.WebhookFaults{Duplicate: 1})
		conversation := opens(d, question)
		it := d.Item(conversation)
		d.Sim.Flush()
		if status, _ := d.Decide(it.ID, apptest.Ada, map[string]string{"action": "reject"}); status != http.StatusOK {
			t.Fatal("the item cannot be rejected")
		}
		body := told(t, d, "webhook_message_created_incoming.json", conversation, it.ID)
		if h := deliver(t, d, apptest.WebhookSecret, body); h.Status != "duplicate" {
			t.Errorf("the answer is %+v", h)
		}
		if again := d.ItemIn(conversation, "rejected"); again.DecidedBy != "ada" || len(apptest.Notes(d.Messages(conversation))) != 1 {
			t.Errorf("the item is %+v", again)
		}
	})
	t.Run("an insertion is announced", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		events := listen(t, d)
		conversation := opens(d, question)
		if e := next(t, events); e.Conversation != conversation || e.State != "pending" {
			t.Errorf("the event is %+v", e)
		}
		it := d.Item(conversation)
		if status, _ := d.Decide(it.ID, apptest.Ada, map[string]string{"action": "reject"}); status != http.StatusOK {
			t.Fatal("the item cannot be rejected")
		}
		if e := next(t, events); e.ID != it.ID || e.State != "rejected" {
			t.Errorf("the event is %+v", e)
		}
	})
}

// event is what the server-sent events say of an item.
type event struct {
	ID           int64
	Conversation int64 `json:"conversation_id"`
	State        string
}

func next(t *testing.T, events <-chan event) (e event) {
	t.Helper()
	select {
	case e = <-events:
	case <-time.After(time.Minute):
		t.Error("no event for a minute")
	}
	return e
}

// listen returns the server-sent events from now on.
func listen(t *testing.T, d *apptest.Drafting) <-chan event {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apptest.Ada)
	resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // below, when the events end
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(resp.Body)
	if !in.Scan() || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("no events: %d %s", resp.StatusCode, in.Text())
	}
	events := make(chan event, 10)
	go func() {
		defer resp.Body.Close()
		defer close(events)
		for in.Scan() {
			if strings.HasPrefix(in.Text(), "id:") {
				t.Error("events carry ids, from which a client would expect to go on")
			}
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				var e event
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Errorf("an event is %s", data)
				}
				events <- e
			}
		}
	}()
	return events
}

func TestRunbook7EndToEndWebhookFlow(t *testing.T) {
	t.Run("from the webhook to the reply", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		conversation := opens(d, question)
		it := d.Item(conversation)
		if status, answer := d.Decide(it.ID, apptest.Tomas, map[string]string{"action": "edit", "reply": it.Draft + " Best, {{agent.name}}"}); status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
		it = d.ItemIn(conversation, "sent")
		if it.Decision != "edited" || it.DecidedBy != "tomas" || it.DecidedAt == nil || !strings.HasSuffix(it.Reply, "Best, { {agent.name} }") {
			t.Errorf("the item is %+v", it)
		}
		var replies []chatwoot.Message
		for _, m := range d.Messages(conversation) {
			if m.Human() {
				replies = append(replies, m)
			}
		}
		if len(replies) != 1 || replies[0].Content != it.Reply || replies[0].ID != it.ReplyID || replies[0].SourceID != "" {
			t.Errorf("the replies are %+v", replies)
		}
	})
	t.Run("within three seconds", func(t *testing.T) {
		d := apptest.StartDrafting(t)
		d.Assist.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultLatency, Delay: time.Second})
		took := make([]time.Duration, 5)
		for i := range took {
			began := time.Now()
			d.Item(opens(d, question))
			took[i] = time.Since(began)
		}
		slices.Sort(took)
		if took[2] > 3*time.Second { // the machine may stand still now and then, the daemon may not
			t.Errorf("with services that answer in one second each it took %v", took)
		}
	})
}
