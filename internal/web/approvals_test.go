package web_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/web"
)

// waitingDraft is an item in whose texts somebody tries something.
func waitingDraft() pipeline.Item {
	return pipeline.Item{
		Drafted: pipeline.Drafted{
			Conversation: 7, Message: 71, Inbox: 5, Contact: "Ada <script>", Question: "Where is my <b>order</b>?", Draft: "It left </textarea> today.",
			Confidence: 62, Action: pipeline.Escalate, Sources: []pipeline.Source{{Title: "Shipping <i>", Relevance: 0.9, Version: "3"}},
			Priority: pipeline.Normal, Deadline: t0.Add(2 * time.Minute), UrgentAt: t0.Add(-3 * time.Minute),
		},
		State: pipeline.Pending, CreatedAt: t0.Add(-time.Minute), ExpiresAt: t0.Add(time.Hour), ChangedAt: t0.Add(-time.Minute),
	}
}

// withQueue serves a queue of one item.
func withQueue(t *testing.T, it *pipeline.Item) *httptest.Server {
	t.Helper()
	h, err := web.New(web.Options{
		State: fresh, ConversationURL: func(int64) string { return "https://chat.example.com/app/7" }, Metrics: http.NotFoundHandler(),
		Report: emptyReport, ReportZone: time.UTC, Incidents: noIncidents, Tokens: both, ShowNames: true, Now: func() time.Time { return t0 },
		Approvals: &web.Approvals{
			List: func(context.Context, pipeline.State, int64, int) ([]pipeline.Item, error) {
				return []pipeline.Item{*it}, nil
			},
			Show: func(_ context.Context, id int64) (pipeline.Item, bool, error) { return *it, id == it.Message, nil },
			Decide: func(_ context.Context, _ int64, d pipeline.Decision, reply string, v pipeline.Verdict) (pipeline.Item, bool, error) {
				if it.State != pipeline.Pending {
					return *it, false, nil
				}
				it.State, it.Decision, it.Reply, it.DecidedBy, it.DecidedAt = pipeline.Sending, d, reply, v.By, t0
				return *it, true, nil
			},
			Depth: func() (pipeline.Depth, bool) {
				return pipeline.Depth{Pending: map[pipeline.Priority]int{pipeline.Urgent: 1}, Oldest: it.CreatedAt}, true
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestApprovalsInTheBrowser(t *testing.T) {
	it := waitingDraft()
	s := withQueue(t, &it)
	c := browser(t)
	read := func(path string) string {
		t.Helper()
		status, body, _ := ask(t, c, "GET", s.URL+path, header("Accept", "text/html"))
		if status != http.StatusOK {
			t.Fatalf("%s: %d", path, status)
		}
		return body
	}
	board := read("/")
	if !strings.Contains(board, "wait for approval: 1") || !strings.Contains(board, `href="sign-in"`) || strings.Contains(board, "Where is my") {
		t.Error("to whoever is not signed in the board does not say how many wait, or says more")
	}
	if status, _, to := ask(t, c, "GET", s.URL+"/approvals/71", header("Accept", "text/html")); status != http.StatusSeeOther || to != "../sign-in" {
		t.Errorf("an item: %d, to %q", status, to)
	}
	signIn(t, c, s, adaToken)
	board = read("/")
	for _, want := range []string{`href="approvals/71"`, ">urgent<", "62 %", "Where is my &lt;b&gt;order"} {
		if !strings.Contains(board, want) {
			t.Errorf("the board lacks %q", want)
		}
	}
	page := read("/approvals/71")
	for _, want := range []string{"LOW CONFIDENCE", "It left &lt;/textarea&gt; today.", "Ada &lt;script&gt;", "Shipping &lt;i&gt;", "2 min 00 s left", `action="../api/v1/approvals/71"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	decide := func(form url.Values) (int, string, string) {
		t.Helper()
		resp, err := c.PostForm(s.URL+"/api/v1/approvals/71", form)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("Location"), string(body)
	}
	if status, _, body := decide(url.Values{"action": {"edit"}, "reply": {" "}}); status != http.StatusUnprocessableEntity || !strings.Contains(body, `role="alert"`) || !strings.Contains(body, `href="../../../"`) {
		t.Errorf("an empty reply: %d\n%s", status, body)
	}
	if status, to, _ := decide(url.Values{"action": {"edit"}, "reply": {"It left today."}}); status != http.StatusSeeOther || to != "../../../approvals/71" {
		t.Errorf("a reply: %d, to %q", status, to)
	}
	if page = read("/approvals/71"); !strings.Contains(page, "edited by ada") || !strings.Contains(page, "It left today.") || strings.Contains(page, "<textarea") {
		t.Errorf("the decided item is\n%s", page)
	}
	if status, _, body := decide(url.Values{"action": {"reject"}}); status != http.StatusConflict || !strings.Contains(body, "ada has decided before, the item is sending") {
		t.Errorf("a second decision: %d\n%s", status, body)
	}
}

func TestApprovalsAreOffWithoutServices(t *testing.T) {
	s := guarded(t, nil, both...)
	status, body, _ := ask(t, s.Client(), "GET", s.URL+"/api/v1/approvals", header("Authorization", "Bearer "+adaToken))
	if status != http.StatusNotFound || !strings.Contains(body, "LLAMAINDEX_URL") {
		t.Errorf("%d %s, want 404 with what to set", status, body)
	}
}

func TestApprovalDocument(t *testing.T) {
	it := waitingDraft()
	s := withQueue(t, &it)
	_, body, _ := ask(t, s.Client(), "GET", s.URL+"/api/v1/approvals", header("Authorization", "Bearer "+adaToken))
	var doc struct {
		Pending   int
		Approvals []map[string]any
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Pending != 1 || len(doc.Approvals) != 1 || doc.Approvals[0]["priority"] != "urgent" || doc.Approvals[0]["low_confidence"] != true || doc.Approvals[0]["url"] == "" {
		t.Errorf("the document is %s", body)
	}
}
