package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
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

// withQueue serves a queue; what is decided is about the first item. Without any
// its database does not answer.
func withQueue(t *testing.T, items ...*pipeline.Item) *httptest.Server {
	t.Helper()
	it, away := &pipeline.Item{}, errors.New("the database is away")
	if len(items) > 0 {
		it, away = items[0], nil
	}
	h, err := web.New(web.Options{
		State: fresh, ConversationURL: func(int64) string { return "https://chat.example.com/app/7" }, Metrics: http.NotFoundHandler(),
		Report: emptyReport, ReportZone: time.UTC, Incidents: noIncidents, Tokens: both, ShowNames: true, Now: func() time.Time { return t0 },
		Approvals: &web.Approvals{
			List: func(_ context.Context, p pipeline.ItemFilter) (page []pipeline.Item, err error) {
				for _, it := range items {
					if (len(p.States) == 0 || slices.Contains(p.States, it.State)) && !it.ChangedAt.Before(p.Since) {
						page = append(page, *it)
					}
				}
				page = page[min(p.Skip, len(page)):]
				return page[:min(p.Limit, len(page))], away
			},
			Show: func(_ context.Context, id int64) (pipeline.Item, bool, error) { return *it, id == it.Message, away },
			Decide: func(_ context.Context, _ int64, d pipeline.Decision, reply string, v pipeline.Verdict) (pipeline.Item, bool, error) {
				if it.State != pipeline.Pending && it.State != pipeline.Failed {
					return *it, false, nil
				}
				it.State, it.Decision, it.Reply, it.DecidedBy, it.DecidedAt = pipeline.Sending, d, reply, v.By, t0
				return *it, true, nil
			},
			Settle: func(_ context.Context, _ int64, by string) (pipeline.Item, bool, error) {
				if it.State != pipeline.Unknown {
					return *it, false, nil
				}
				it.State, it.Reason = pipeline.Settled, "settled by "+by
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
	if status, _, to := ask(t, c, "GET", s.URL+"/approvals/71", header("Accept", "text/html")); status != http.StatusSeeOther || to != "../sign-in?next=%2Fapprovals%2F71" {
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
	for _, want := range []string{"LOW CONFIDENCE", "It left &lt;/textarea&gt; today.", "Ada &lt;script&gt;", "Shipping &lt;i&gt;", "2 min 00 s left", `action="71"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if status, _, body := decide(t, c, s, url.Values{"action": {"edit"}, "reply": {" "}}); status != http.StatusUnprocessableEntity || !strings.Contains(body, `role="alert">The reply is empty`) {
		t.Errorf("an empty reply: %d\n%s", status, body)
	}
	if status, to, _ := decide(t, c, s, url.Values{"action": {"edit"}, "reply": {"It left today."}}); status != http.StatusSeeOther || to != "71" {
		t.Errorf("a reply: %d, to %q", status, to)
	}
	if page = read("/approvals/71"); !strings.Contains(page, "edited by ada") || !strings.Contains(page, "It left today.") || strings.Contains(page, "<textarea") {
		t.Errorf("the decided item is\n%s", page)
	}
	status, _, body := decide(t, c, s, url.Values{"action": {"edit"}, "reply": {"It left yesterday."}})
	if status != http.StatusConflict || !strings.Contains(body, "was decided before, by ada, and is sending") || strings.Contains(body, "othing was sent") {
		t.Errorf("a second decision: %d\n%s", status, body)
	}
	if !strings.Contains(body, "readonly>It left yesterday.</textarea>") || strings.Contains(body, `http-equiv="refresh"`) {
		t.Errorf("what was typed is gone, or will be:\n%s", body)
	}
}

// decide sends the form of item 71.
func decide(t *testing.T, c *http.Client, s *httptest.Server, form url.Values) (status int, to, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/approvals/71", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "text/html")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(text)
}

// A person who writes a reply for ten minutes may find the session over.
func TestFormOfAnEndedSessionLeadsBack(t *testing.T) {
	it := waitingDraft()
	s := withQueue(t, &it)
	c := browser(t)
	status, _, body := decide(t, c, s, url.Values{"action": {"edit"}, "reply": {"It <b>left</b> today."}})
	for _, want := range []string{"<!DOCTYPE html>", "Your session has ended", `action="../sign-in"`, `name="next" value="/approvals/71"`, "readonly>It &lt;b&gt;left&lt;/b&gt; today.</textarea>"} {
		if status != http.StatusUnauthorized || !strings.Contains(body, want) {
			t.Errorf("%d, and the page lacks %q:\n%s", status, want, body)
		}
	}
	tests := []struct{ next, to string }{
		{"/approvals/71", "./approvals/71"},
		{"/approvals?state=all&page=2", "./approvals?state=all&page=2"},
		{"", "./"},
		{"https://evil.example/", "./"},
		{"//evil.example/x", "./"},
		{"///evil.example/", "./"},
		{`/\evil.example`, "./%5Cevil.example"},
		{"/../evil", "./"},
		{"/%2e%2e/evil", "./"},
		{"javascript:alert(1)", "./"},
		{"evil", "./"},
	}
	for _, tt := range tests {
		_, form, _ := ask(t, c, "GET", s.URL+"/sign-in?next="+url.QueryEscape(tt.next), nil)
		next := regexp.MustCompile(`name="next" value="(.*?)"`).FindStringSubmatch(form)
		if next == nil {
			t.Fatalf("the form is\n%s", form)
		}
		resp, err := c.PostForm(s.URL+"/sign-in", url.Values{"token": {"EXAMPLE-wrong"}, "next": {tt.next}})
		if err != nil {
			t.Fatal(err)
		}
		again, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(again), next[0]) {
			t.Errorf("%q: a wrong token forgets it (%v):\n%s", tt.next, err, again)
		}
		resp, err = c.PostForm(s.URL+"/sign-in", url.Values{"token": {adaToken}, "next": {tt.next}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if to := resp.Header.Get("Location"); to != tt.to || "."+html.UnescapeString(next[1]) != tt.to {
			t.Errorf("next=%q leads to %q, and the form has %q, want %q", tt.next, to, next[1], tt.to)
		}
	}
}

func TestProblemsInTheBrowserArePages(t *testing.T) {
	it := waitingDraft()
	s := withQueue(t, &it)
	c := browser(t)
	signIn(t, c, s, adaToken)
	it.Message = 72
	form := url.Values{"action": {"edit"}, "reply": {"It left today."}}
	status, _, body := decide(t, c, s, form)
	if status != http.StatusNotFound || !strings.Contains(body, "<!DOCTYPE html>") || !strings.Contains(body, "may have been purged") || !strings.Contains(body, ">It left today.</textarea>") || !strings.Contains(body, `href="../"`) {
		t.Errorf("a purged item: %d\n%s", status, body)
	}
	it.Message = 71
	broken := withQueue(t) // its database does not answer
	c = browser(t)
	signIn(t, c, broken, adaToken)
	if status, _, body = decide(t, c, broken, form); status != http.StatusServiceUnavailable || !strings.Contains(body, "<!DOCTYPE html>") || !strings.Contains(body, ">It left today.</textarea>") {
		t.Errorf("without a database: %d\n%s", status, body)
	}
	if status, body, _ = ask(t, c, "GET", broken.URL+"/approvals", header("Accept", "text/html")); status != http.StatusServiceUnavailable || !strings.Contains(body, "<!DOCTYPE html>") {
		t.Errorf("all drafts without a database: %d\n%s", status, body)
	}
	if status, body, _ = ask(t, c, "GET", broken.URL+"/api/v1/approvals/71", header("Accept", "*/*")); status != http.StatusServiceUnavailable || !strings.HasPrefix(body, "{") {
		t.Errorf("to a program: %d\n%s", status, body)
	}
}

// curl calls whatever it sends a form, unless it is told otherwise.
func TestProgramsNeedNotNameTheirContentType(t *testing.T) {
	it := waitingDraft()
	s := withQueue(t, &it)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/v1/approvals/71", strings.NewReader(`{"action": "approve"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+adaToken)
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || it.Decision != pipeline.Approved {
		t.Errorf("%d, and the item is %+v", resp.StatusCode, it)
	}
}

func TestPageOfAnItemSaysWhatBecameOfIt(t *testing.T) {
	tests := []struct {
		state    pipeline.State
		reason   string
		decision pipeline.Decision
		says     []string
		refresh  bool
		form     bool
	}{
		{pipeline.Sending, "", pipeline.Approved, []string{"approved by ada", "on its way"}, true, false},
		{pipeline.Sent, "", pipeline.Approved, []string{"The reply was sent."}, false, false},
		{pipeline.Failed, "the conversation is gone", pipeline.Edited, []string{"edited by ada", "was not sent: the conversation is gone.", "not tried again by itself"}, false, true},
		{pipeline.Unknown, "it broke off", pipeline.Approved, []string{"may or may not have been sent", "Look into the conversation", `value="settle"`}, false, true},
		{pipeline.Settled, "settled by ada", pipeline.Approved, []string{"may not have been sent at first. It was settled by ada."}, false, false},
		{pipeline.Rejected, "a colleague calls", pipeline.DecidedNo, []string{"Nothing was sent.", "a colleague calls"}, false, false},
		{pipeline.Cancelled, "answered", pipeline.Approved, []string{"approved by ada", "Nothing was sent: somebody has answered"}, false, false},
		{pipeline.Cancelled, "resolved", pipeline.WasCancelled, []string{"Nothing was sent: the conversation is resolved"}, false, false},
		{pipeline.Expired, "", pipeline.RanOut, []string{"Nothing was sent: nobody decided in time"}, false, false},
	}
	for _, tt := range tests {
		t.Run(string(tt.state)+"/"+tt.reason, func(t *testing.T) {
			it := waitingDraft()
			it.State, it.Reason, it.Decision, it.DecidedBy, it.DecidedAt = tt.state, tt.reason, tt.decision, "ada", t0
			s := withQueue(t, &it)
			c := browser(t)
			signIn(t, c, s, adaToken)
			_, page, _ := ask(t, c, "GET", s.URL+"/approvals/71", header("Accept", "text/html"))
			for _, want := range tt.says {
				if !strings.Contains(page, want) {
					t.Errorf("the page lacks %q:\n%s", want, page)
				}
			}
			if refresh := strings.Contains(page, `http-equiv="refresh"`); refresh != tt.refresh {
				t.Errorf("the page renews itself: %v", refresh)
			}
			if form := strings.Contains(page, "<form"); form != tt.form {
				t.Errorf("the page lets one decide: %v", form)
			}
		})
	}
	it := waitingDraft()
	it.ExpiresAt = t0
	s := withQueue(t, &it)
	if _, page, _ := ask(t, s.Client(), "GET", s.URL+"/approvals/71", header("Authorization", "Bearer "+adaToken)); !strings.Contains(page, "nobody decided in time") {
		t.Errorf("the page of an item that has just run out is\n%s", page)
	}
}

func TestAReplyThatMayNotHaveBeenSentIsSettledOnce(t *testing.T) {
	it := waitingDraft()
	it.State, it.Decision, it.DecidedBy = pipeline.Unknown, pipeline.Approved, "tomas"
	s := withQueue(t, &it)
	c := browser(t)
	signIn(t, c, s, adaToken)
	if status, to, _ := decide(t, c, s, url.Values{"action": {"settle"}}); status != http.StatusSeeOther || to != "71" || it.State != pipeline.Settled {
		t.Errorf("%d, to %q; the item is %+v", status, to, it)
	}
	if status, _, body := decide(t, c, s, url.Values{"action": {"settle"}}); status != http.StatusConflict || !strings.Contains(body, "The item was settled by ada before") {
		t.Errorf("once more: %d\n%s", status, body)
	}
}

func TestBoardShowsRepliesThatNeedSomebody(t *testing.T) {
	var items []*pipeline.Item
	for n, state := range pipeline.States {
		it := waitingDraft()
		it.Message, it.Conversation, it.State, it.Decision, it.DecidedBy = int64(71+n), int64(7+n), state, pipeline.Approved, "tomas"
		items = append(items, &it)
	}
	old := waitingDraft()
	old.Message, old.State, old.ChangedAt = 99, pipeline.Unknown, t0.Add(-73*time.Hour)
	s := withQueue(t, append(items, &old)...)
	c := browser(t)
	if _, board, _ := ask(t, c, "GET", s.URL+"/", nil); strings.Contains(board, "need somebody") {
		t.Error("strangers see replies")
	}
	signIn(t, c, s, adaToken)
	_, board, _ := ask(t, c, "GET", s.URL+"/", nil)
	_, section, _ := strings.Cut(board, "Replies that need somebody")
	section, _, _ = strings.Cut(section, "</table>")
	for _, want := range []string{"was not sent", "may not have been sent", "approved by tomas"} {
		if !strings.Contains(section, want) {
			t.Errorf("the section lacks %q:\n%s", want, board)
		}
	}
	if n := strings.Count(section, "<a href="); n != 2 {
		t.Errorf("the section shows %d items, want the failed and the unknown one of late:\n%s", n, section)
	}
}

// The page of all drafts is the one for a keyboard: it holds still, and little
// comes before the first draft.
func TestAllDraftsInPages(t *testing.T) {
	var items []*pipeline.Item
	for n := range int64(120) {
		it := waitingDraft()
		it.Message = 1000 + n
		items = append(items, &it)
	}
	sent := waitingDraft()
	sent.Message, sent.State, sent.Decision, sent.DecidedBy = 71, pipeline.Sent, pipeline.Edited, "tomas"
	s := withQueue(t, append(items, &sent)...)
	c := browser(t)
	if status, _, to := ask(t, c, "GET", s.URL+"/approvals?state=all&page=2", header("Accept", "text/html")); status != http.StatusSeeOther || to != "./sign-in?next=%2Fapprovals%3Fstate%3Dall%26page%3D2" {
		t.Errorf("without a session: %d, to %q", status, to)
	}
	signIn(t, c, s, adaToken)
	if _, board, _ := ask(t, c, "GET", s.URL+"/", nil); strings.Index(board, `href="approvals"`) != strings.Index(board, `href="`) {
		t.Error("the page of all drafts is not the first link of the board")
	}
	tests := []struct {
		query       string
		first, last int64
		rows        int
		has, lacks  []string
	}{
		{"", 1000, 1049, 50, []string{`href="approvals?page=2&amp;state=pending"`, `value="pending" selected`, "Where is my &lt;b&gt;order"}, []string{"Previous", "Next page</a> ·", "refresh"}},
		{"?state=pending&page=2", 1050, 1099, 50, []string{`href="approvals?page=1&amp;state=pending"`, `href="approvals?page=3&amp;state=pending"`}, nil},
		{"?state=pending&page=3", 1100, 1119, 20, []string{"Previous"}, []string{"Next"}},
		{"?state=pending&page=4", 0, 0, 0, []string{"none on this page", "Previous"}, []string{"Next"}},
		{"?state=sent", 71, 71, 1, []string{"edited by tomas"}, []string{"Previous", "Next"}},
		{"?state=unsettled", 0, 0, 0, []string{"There are none."}, []string{"Previous", "Next"}},
		{"?state=all&page=3", 1100, 71, 21, nil, []string{"Next"}},
	}
	link := regexp.MustCompile(`href="approvals/(\d+)"`)
	for _, tt := range tests {
		status, page, _ := ask(t, c, "GET", s.URL+"/approvals"+tt.query, header("Accept", "text/html"))
		rows := link.FindAllStringSubmatch(page, -1)
		if status != http.StatusOK || len(rows) != tt.rows {
			t.Errorf("%s: %d with %d drafts, want %d", tt.query, status, len(rows), tt.rows)
			continue
		}
		if tt.rows > 0 && (rows[0][1] != strconv.FormatInt(tt.first, 10) || rows[tt.rows-1][1] != strconv.FormatInt(tt.last, 10)) {
			t.Errorf("%s: from %s to %s, want %d to %d", tt.query, rows[0][1], rows[tt.rows-1][1], tt.first, tt.last)
		}
		for _, want := range tt.has {
			if !strings.Contains(page, want) {
				t.Errorf("%s lacks %q:\n%s", tt.query, want, page)
			}
		}
		for _, no := range tt.lacks {
			if strings.Contains(page, no) {
				t.Errorf("%s has %q", tt.query, no)
			}
		}
	}
	for _, query := range []string{"?state=open", "?page=0", "?page=x", "?page=99999999999"} {
		if status, _, _ := ask(t, c, "GET", s.URL+"/approvals"+query, nil); status != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", query, status)
		}
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
