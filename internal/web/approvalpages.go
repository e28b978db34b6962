package web

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
)

const (
	mostOnBoard = 20 // of either list of the board
	mostOnPage  = 50

	// unsettledFor is how long the board shows a reply that may not have reached
	// its customer: over a weekend.
	unsettledFor = 72 * time.Hour
)

// unsettled are the states in which a customer may wait for a reply that
// somebody has approved.
var unsettled = []pipeline.State{pipeline.Failed, pipeline.Unknown}

var (
	//go:embed approval.html
	approvalText     string
	approvalTemplate = template.Must(template.New("approval").Parse(approvalText))

	//go:embed approvals.html
	approvalsText     string
	approvalsTemplate = template.Must(template.New("approvals").Parse(approvalsText))
)

type approvalPageData struct {
	approvalDoc
	Problem string // with what was just tried
	Typed   string // with it, and not sent
	Missing pipeline.Problem
	Due     string
	Decided string
	Outcome string
	Refresh bool
	Open    bool // it can be decided
	Unsure  bool // somebody is to look after it
}

func (s *server) approvalPage(w http.ResponseWriter, r *http.Request, _ string) {
	if it, ok := s.item(w, r); ok {
		s.showApproval(w, http.StatusOK, it, "", "")
	}
}

// decideOnPage takes a decision from the form of an item's page.
func (s *server) decideOnPage(w http.ResponseWriter, r *http.Request, by string) {
	it, ok := s.item(w, r)
	if !ok {
		return
	}
	v := pipeline.Verdict{Action: r.PostFormValue("action"), Reply: r.PostFormValue("reply"), Reason: r.PostFormValue("reason"), By: by}
	it, code, problem := s.take(r.Context(), it, v)
	switch code {
	case http.StatusOK:
		redirect(w, strconv.FormatInt(it.Message, 10))
	case http.StatusNotFound:
		refuse(w, r, code, problem)
	default:
		s.showApproval(w, code, it, sentence(problem), v.Reply)
	}
}

func (s *server) showApproval(w http.ResponseWriter, code int, it pipeline.Item, problem, typed string) {
	now := s.State().Now
	d := approvalPageData{
		approvalDoc: s.approvalDoc(it, now), Problem: problem, Typed: strings.TrimSpace(typed), Missing: it.Problem,
		Due: untilOrSince(it.Deadline, now), Outcome: outcome(it, now),
		Refresh: it.State == pipeline.Sending && problem == "", // which would take away what was typed
		Open:    it.State == pipeline.Pending && now.Before(it.ExpiresAt) || it.State == pipeline.Failed,
		Unsure:  it.State == pipeline.Unknown,
	}
	if !it.DecidedAt.IsZero() {
		d.Decided = due(it.DecidedAt, now) + " UTC"
	}
	s.render(w, code, approvalTemplate, d)
}

func (s *server) render(w http.ResponseWriter, code int, t *template.Template, data any) {
	var body bytes.Buffer
	if err := t.Execute(&body, data); err != nil {
		s.log.Error("render page", zap.Error(err))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = body.WriteTo(w) // the client is gone if it fails
}

// outcome says what became of an item, and what is left to do; empty: it waits
// for a decision.
func outcome(it pipeline.Item, now time.Time) string {
	switch it.State {
	case pipeline.Sending:
		return "The reply is on its way."
	case pipeline.Sent:
		return "The reply was sent."
	case pipeline.Failed:
		return "The reply was not sent: " + it.Reason + ". It is not tried again by itself: send it once more, change it, or reject it."
	case pipeline.Unknown:
		return "The reply may or may not have been sent. Look into the conversation; if the reply is not there, send it there by hand. Then settle it here."
	case pipeline.Settled:
		return "The reply may not have been sent at first. It was " + it.Reason + "."
	case pipeline.Rejected:
		return "The draft was rejected. Nothing was sent."
	case pipeline.Cancelled:
		return "Nothing was sent: " + orText(cancelled[it.Reason], it.Reason) + "."
	case pipeline.Pending:
		if now.Before(it.ExpiresAt) {
			return ""
		}
	}
	return "Nothing was sent: nobody decided in time."
}

// cancelled says why items are.
var cancelled = map[string]string{
	string(pipeline.Answered): "somebody has answered in the conversation",
	string(pipeline.Resolved): "the conversation is resolved",
	string(pipeline.Gone):     "the message or its conversation was deleted",
}

func untilOrSince(t, now time.Time) string {
	if left := t.Sub(now); left >= 0 {
		return short(left) + " left"
	}
	return short(now.Sub(t)) + " late"
}

// approvalRow is an item in a list.
type approvalRow struct {
	ID, Conversation              int64
	State                         pipeline.State
	Priority, Due, Action, Inbox  string
	Contact, Confidence, Question string
	Decided, Changed, Ended       string
}

func (s *server) approvalRow(it pipeline.Item, st State) approvalRow {
	r := approvalRow{
		ID: it.Message, Conversation: it.Conversation, State: it.State, Priority: string(it.PriorityAt(st.Now)), Due: untilOrSince(it.Deadline, st.Now),
		Action: string(it.Action), Inbox: st.Inboxes[it.Inbox], Contact: it.Contact, Confidence: "no draft", Question: excerpt(it.Question),
		Changed: due(it.ChangedAt, st.Now), Ended: ended[it.State],
	}
	if it.Problem == "" {
		r.Confidence = fmt.Sprintf("%.0f %%", it.Confidence)
	}
	if it.DecidedBy != "" {
		r.Decided = string(it.Decision) + " by " + it.DecidedBy
	}
	return r
}

// ended says in a list what became of a reply.
var ended = map[pipeline.State]string{pipeline.Failed: "was not sent", pipeline.Unknown: "may not have been sent"}

// approvalSection is what the board shows of the queue.
type approvalSection struct {
	Pending, Urgent int
	Oldest          string
	Rows            []approvalRow // for those who are signed in
	More            int
	Problem         string

	Unsettled     []approvalRow // replies that somebody must look after
	MoreUnsettled bool
}

func (s *server) approvalSection(ctx context.Context, st State, by string) *approvalSection {
	if s.Approvals == nil {
		return nil
	}
	depth, ok := s.Approvals.Depth()
	if !ok {
		return nil
	}
	sec := &approvalSection{Pending: total(depth), Urgent: depth.Pending[pipeline.Urgent]}
	if !depth.Oldest.IsZero() {
		sec.Oldest = short(st.Now.Sub(depth.Oldest))
	}
	if by == "" {
		return sec
	}
	waiting, err := s.Approvals.List(ctx, pipeline.ItemFilter{States: []pipeline.State{pipeline.Pending}, Limit: mostOnBoard})
	if err == nil {
		var lost []pipeline.Item
		lost, err = s.Approvals.List(ctx, pipeline.ItemFilter{
			States: unsettled, Since: st.Now.Add(-unsettledFor), LastChanged: true, Limit: mostOnBoard + 1,
		})
		sec.MoreUnsettled = len(lost) > mostOnBoard
		for _, it := range lost[:min(mostOnBoard, len(lost))] {
			sec.Unsettled = append(sec.Unsettled, s.approvalRow(it, st))
		}
	}
	if err != nil {
		s.log.Warn("the approval queue cannot be shown", zap.Error(err))
		sec.Problem = "The approval queue cannot be read now."
		return sec
	}
	for _, it := range waiting {
		sec.Rows = append(sec.Rows, s.approvalRow(it, st))
	}
	sec.More = max(0, sec.Pending-len(sec.Rows))
	return sec
}

// excerpt is the beginning of a text, on one line.
func excerpt(text string) string {
	const most = 80
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) <= most {
		return string(line)
	}
	return string(line[:most]) + "…"
}

// approvalChoice is a choice of states on the page that lists items.
type approvalChoice struct {
	Value, Title string
	Chosen       bool
	states       []pipeline.State
}

var approvalChoices = []approvalChoice{
	{Value: "pending", Title: "that wait for approval", states: []pipeline.State{pipeline.Pending}},
	{Value: "unsettled", Title: "whose replies need somebody", states: unsettled},
	{Value: "sending", Title: "whose replies are on their way", states: []pipeline.State{pipeline.Sending}},
	{Value: "sent", Title: "whose replies were sent", states: []pipeline.State{pipeline.Sent}},
	{Value: "settled", Title: "whose replies somebody has looked after", states: []pipeline.State{pipeline.Settled}},
	{Value: "rejected", Title: "that were rejected", states: []pipeline.State{pipeline.Rejected}},
	{Value: "cancelled", Title: "that were cancelled", states: []pipeline.State{pipeline.Cancelled}},
	{Value: "expired", Title: "that nobody decided in time", states: []pipeline.State{pipeline.Expired}},
	{Value: "all", Title: "of every kind"},
}

type approvalsPageData struct {
	Now            time.Time
	Choices        []approvalChoice
	Title          string
	Waiting        bool // of those that wait the time is shown, of others what became of them
	Rows           []approvalRow
	Page           int
	Previous, Next string // addresses; empty: there is none
}

// approvalsPage lists items for people. It does not renew itself, which would
// take the keyboard's focus away.
func (s *server) approvalsPage(w http.ResponseWriter, r *http.Request, _ string) {
	st := s.State()
	d := approvalsPageData{Now: st.Now, Page: 1}
	var asked approvalChoice
	value := orText(r.URL.Query().Get("state"), "pending")
	for _, c := range approvalChoices {
		if c.Value == value {
			c.Chosen, asked = true, c
		}
		d.Choices = append(d.Choices, c)
	}
	if asked.Value == "" {
		refuse(w, r, http.StatusBadRequest, "there is no list of drafts with the name "+strconv.Quote(value))
		return
	}
	if text := r.URL.Query().Get("page"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1_000_000 {
			refuse(w, r, http.StatusBadRequest, "page "+strconv.Quote(text)+" is not the number of one")
			return
		}
		d.Page = n
	}
	items, err := s.Approvals.List(r.Context(), pipeline.ItemFilter{
		States: asked.states, LastChanged: !slices.Equal(asked.states, []pipeline.State{pipeline.Pending}), // what waits: due first
		Limit: mostOnPage + 1, Skip: (d.Page - 1) * mostOnPage,
	})
	if err != nil {
		s.unread(w, r, err)
		return
	}
	page := func(n int) string { return "?" + url.Values{"state": {value}, "page": {strconv.Itoa(n)}}.Encode() }
	if d.Page > 1 {
		d.Previous = page(d.Page - 1)
	}
	if len(items) > mostOnPage {
		d.Next = page(d.Page + 1)
	}
	d.Title, d.Waiting = asked.Title, asked.Value == "pending"
	for _, it := range items[:min(mostOnPage, len(items))] {
		d.Rows = append(d.Rows, s.approvalRow(it, st))
	}
	s.render(w, http.StatusOK, approvalsTemplate, d)
}
