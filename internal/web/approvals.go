package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
)

// Approvals is the approval queue.
type Approvals struct {
	List func(ctx context.Context, f pipeline.ItemFilter) ([]pipeline.Item, error)
	Show func(ctx context.Context, message int64) (pipeline.Item, bool, error)

	// Changed returns what has changed since an instant, without texts.
	Changed func(ctx context.Context, since time.Time) ([]pipeline.Item, error)

	// Decide takes a decision. Taken is false if somebody else was faster.
	Decide func(ctx context.Context, message int64, d pipeline.Decision, reply string, v pipeline.Verdict) (it pipeline.Item, taken bool, err error)

	// Settle ends the care for an item that is Unknown. Taken is false if it is in
	// another state.
	Settle func(ctx context.Context, message int64, by string) (it pipeline.Item, taken bool, err error)

	// Depth is how many items wait; false: not known yet.
	Depth func() (pipeline.Depth, bool)

	// Told returns a channel that is closed when the queue changes here.
	Told func() <-chan struct{}
}

// mostPending bounds a list for which no limit was asked.
const mostPending = 200

// approvalRoutes mounts what needs a token.
func (s *server) approvalRoutes(mux *http.ServeMux) {
	off := func(w http.ResponseWriter, r *http.Request, _ string) {
		refuse(w, r, http.StatusNotFound, "drafts are off: set LLAMAINDEX_URL and AGENT_SDK_URL")
	}
	for pattern, handler := range map[string]Protected{
		"GET /api/v1/approvals":       s.approvals,
		"GET /api/v1/approvals/{id}":  s.approval,
		"POST /api/v1/approvals/{id}": s.decide,
		"GET /api/v1/events":          s.events,
		"GET /approvals":              s.approvalsPage,
		"GET /approvals/{id}":         s.approvalPage,
		"POST /approvals/{id}":        s.decideOnPage,
	} {
		if s.Approvals == nil {
			handler = off
		}
		mux.Handle(pattern, s.access.protect(handler))
	}
}

type approvalDoc struct {
	ID            int64             `json:"id"` // of the customer's message
	Conversation  int64             `json:"conversation_id"`
	URL           string            `json:"url"`
	InboxID       int64             `json:"inbox_id,omitempty"`
	State         pipeline.State    `json:"state"`
	Priority      pipeline.Priority `json:"priority"` // now
	Deadline      time.Time         `json:"deadline"`
	CreatedAt     time.Time         `json:"created_at"`
	ExpiresAt     time.Time         `json:"expires_at"`
	ChangedAt     time.Time         `json:"changed_at"`
	Contact       string            `json:"contact,omitempty"`
	Message       string            `json:"customer_message"`
	Draft         string            `json:"draft"` // empty: none, see problem
	Problem       pipeline.Problem  `json:"problem,omitempty"`
	Confidence    float64           `json:"confidence"` // percent
	LowConfidence bool              `json:"low_confidence"`
	Action        pipeline.Action   `json:"suggested_action"`
	Sources       []pipeline.Source `json:"sources"`
	Fallback      bool              `json:"without_sources"`
	Tags          []string          `json:"suggested_tags"`
	Sentiment     string            `json:"sentiment,omitempty"`
	Urgency       string            `json:"urgency,omitempty"`
	NoteID        int64             `json:"note_id"`
	Decision      pipeline.Decision `json:"decision,omitempty"`
	DecidedBy     string            `json:"decided_by,omitempty"`
	DecidedAt     *time.Time        `json:"decided_at"`
	Reply         string            `json:"reply,omitempty"`
	ReplyID       int64             `json:"reply_id,omitempty"`
	SentAt        *time.Time        `json:"sent_at"`
	Reason        string            `json:"reason,omitempty"`
}

func (s *server) approvalDoc(it pipeline.Item, now time.Time) approvalDoc {
	d := approvalDoc{
		ID: it.Message, Conversation: it.Conversation, URL: s.ConversationURL(it.Conversation), InboxID: it.Inbox,
		State: it.State, Priority: it.PriorityAt(now), Deadline: it.Deadline, CreatedAt: it.CreatedAt, ExpiresAt: it.ExpiresAt, ChangedAt: it.ChangedAt,
		Contact: it.Contact, Message: it.Question, Draft: it.Draft, Problem: it.Problem,
		Confidence: it.Confidence, LowConfidence: it.LowConfidence(), Action: it.Action,
		Sources: it.Sources, Fallback: it.Fallback, Tags: it.Tags, Sentiment: it.Sentiment, Urgency: it.Urgency, NoteID: it.Note,
		Decision: it.Decision, DecidedBy: it.DecidedBy, DecidedAt: orNull(it.DecidedAt),
		Reply: it.Reply, ReplyID: it.ReplyID, SentAt: orNull(it.SentAt), Reason: it.Reason,
	}
	if d.Sources == nil {
		d.Sources = []pipeline.Source{}
	}
	if d.Tags == nil {
		d.Tags = []string{}
	}
	return d
}

// approvals lists items: those that wait, unless a state is asked for.
func (s *server) approvals(w http.ResponseWriter, r *http.Request, _ string) {
	q := r.URL.Query()
	f := pipeline.ItemFilter{States: []pipeline.State{pipeline.Pending}, Limit: mostPending}
	var err error
	switch text := q.Get("state"); text {
	case "":
	case "all":
		f.States = nil
	default:
		if f.States[0], err = pipeline.ParseState(text); err != nil {
			WriteProblem(w, http.StatusBadRequest, err.Error()+", or all")
			return
		}
	}
	if text := q.Get("limit"); text != "" {
		if f.Limit, err = strconv.Atoi(text); err != nil || f.Limit < 1 {
			WriteProblem(w, http.StatusBadRequest, "limit "+strconv.Quote(text)+" is not a positive number")
			return
		}
	}
	if text := q.Get("conversation"); text != "" {
		if f.Conversation, err = strconv.ParseInt(text, 10, 64); err != nil || f.Conversation < 1 {
			WriteProblem(w, http.StatusBadRequest, "conversation "+strconv.Quote(text)+" is not the number of one")
			return
		}
	}
	items, err := s.Approvals.List(r.Context(), f)
	if err != nil {
		s.unread(w, r, err)
		return
	}
	now := s.State().Now
	doc := struct {
		Now       time.Time     `json:"now"`
		Pending   *int          `json:"pending"`   // null until counted
		Approvals []approvalDoc `json:"approvals"` // those first whose answer is owed first
	}{Now: now, Approvals: []approvalDoc{}}
	if depth, ok := s.Approvals.Depth(); ok {
		n := total(depth)
		doc.Pending = &n
	}
	for _, it := range items {
		doc.Approvals = append(doc.Approvals, s.approvalDoc(it, now))
	}
	WriteJSON(w, http.StatusOK, doc)
}

func total(d pipeline.Depth) (n int) {
	for _, of := range d.Pending {
		n += of
	}
	return n
}

const unread = "the approval queue cannot be used now: the database does not answer; try again in a moment"

func (s *server) unread(w http.ResponseWriter, r *http.Request, err error) {
	s.log.Warn("the approval queue cannot be used", zap.Error(err))
	refuse(w, r, http.StatusServiceUnavailable, unread)
}

// item returns the item that a path names, or answers that there is none.
func (s *server) item(w http.ResponseWriter, r *http.Request) (it pipeline.Item, ok bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		refuse(w, r, http.StatusNotFound, "approvals are named by the id of the customer's message, a number")
		return it, false
	}
	it, found, err := s.Approvals.Show(r.Context(), id)
	switch {
	case err != nil:
		s.unread(w, r, err)
	case !found:
		refuse(w, r, http.StatusNotFound, fmt.Sprintf("there is no approval %d; it may have been purged", id))
	}
	return it, found && err == nil
}

func (s *server) approval(w http.ResponseWriter, r *http.Request, _ string) {
	if it, ok := s.item(w, r); ok {
		WriteJSON(w, http.StatusOK, s.approvalDoc(it, s.State().Now))
	}
}

// decide takes a decision from a program.
func (s *server) decide(w http.ResponseWriter, r *http.Request, by string) {
	var ask struct {
		Action string `json:"action"`
		Reply  string `json:"reply"`
		Reason string `json:"reason"`
	}
	in := json.NewDecoder(r.Body)
	in.DisallowUnknownFields()
	if err := in.Decode(&ask); err != nil {
		WriteProblem(w, http.StatusBadRequest, `the body is not as it should be: {"action": "approve"}, {"action": "edit", "reply": "…"}, {"action": "reject", "reason": "…"} or {"action": "settle"}`)
		return
	}
	it, ok := s.item(w, r)
	if !ok {
		return
	}
	it, code, problem := s.take(r.Context(), it, pipeline.Verdict{Action: ask.Action, Reply: ask.Reply, Reason: ask.Reason, By: by})
	switch code {
	case http.StatusOK:
		WriteJSON(w, code, s.approvalDoc(it, s.State().Now))
	case http.StatusConflict, http.StatusUnprocessableEntity:
		WriteJSON(w, code, map[string]any{"error": problem, "approval": s.approvalDoc(it, s.State().Now)})
	default:
		WriteProblem(w, code, problem)
	}
}

// take takes a decision about an item, and returns the item as it is then.
// Problem is why the decision was not taken.
func (s *server) take(ctx context.Context, it pipeline.Item, v pipeline.Verdict) (after pipeline.Item, code int, problem string) {
	var (
		taken bool
		err   error
	)
	if v.Action == pipeline.Settle {
		after, taken, err = s.Approvals.Settle(ctx, it.Message, v.By)
	} else {
		decision, reply, unfit := it.Judge(v)
		if unfit != nil {
			return it, http.StatusUnprocessableEntity, unfit.Error()
		}
		after, taken, err = s.Approvals.Decide(ctx, it.Message, decision, reply, v)
	}
	switch {
	case err != nil:
		s.log.Warn("the approval queue cannot be used", zap.Error(err))
		return it, http.StatusServiceUnavailable, unread
	case taken:
		return after, http.StatusOK, ""
	case after.Message == 0:
		return after, http.StatusNotFound, "the approval has just been purged"
	case v.Action == pipeline.Settle:
		problem = fmt.Sprintf("only a reply that is %s can be settled, and this item is %s", pipeline.Unknown, after.State)
		if after.State == pipeline.Settled {
			problem = "the item was " + after.Reason + " before"
		}
		return after, http.StatusConflict, problem
	}
	return after, http.StatusConflict, "this decision was not taken: " + whyNot(after)
}

// whyNot says why an item cannot be decided.
func whyNot(it pipeline.Item) string {
	switch {
	case it.State == pipeline.Pending:
		return "the item has run out"
	case it.DecidedBy != "":
		return fmt.Sprintf("the item was decided before, by %s, and is %s", it.DecidedBy, it.State)
	}
	return fmt.Sprintf("the item is %s", it.State)
}
