package web

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
)

// Approvals is the approval queue.
type Approvals struct {
	List func(ctx context.Context, state pipeline.State, conversation int64, most int) ([]pipeline.Item, error)
	Show func(ctx context.Context, message int64) (pipeline.Item, bool, error)

	// Changed returns what has changed since an instant, without texts.
	Changed func(ctx context.Context, since time.Time) ([]pipeline.Item, error)

	// Decide takes a decision. Taken is false if somebody else was faster.
	Decide func(ctx context.Context, message int64, d pipeline.Decision, reply string, v pipeline.Verdict) (it pipeline.Item, taken bool, err error)

	// Depth is how many items wait; false: not known yet.
	Depth func() (pipeline.Depth, bool)

	// Told returns a channel that is closed when the queue changes here.
	Told func() <-chan struct{}
}

const (
	mostOnPage  = 20
	mostPending = 200 // in a list for which no limit was asked

	otherTeller = time.Second           // between looks for what other replicas have changed
	gathers     = 20 * time.Millisecond // how long changes wait for others, to be told together
	commits     = 5 * time.Second       // how long after its time a change may come to be seen
	keepAlive   = 15 * time.Second
)

//go:embed approval.html
var approvalText string

var approvalTemplate = template.Must(template.New("approval").Parse(approvalText))

// routes mounts what needs a token.
func (s *server) approvalRoutes(mux *http.ServeMux) {
	off := func(w http.ResponseWriter, _ *http.Request, _ string) {
		WriteProblem(w, http.StatusNotFound, "drafts are off: set LLAMAINDEX_URL and AGENT_SDK_URL")
	}
	for pattern, handler := range map[string]Protected{
		"GET /api/v1/approvals":       s.approvals,
		"GET /api/v1/approvals/{id}":  s.approval,
		"POST /api/v1/approvals/{id}": s.decide,
		"GET /api/v1/events":          s.events,
		"GET /approvals/{id}":         s.approvalPage,
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
	state, limit, conversation := pipeline.Pending, mostPending, int64(0)
	var err error
	switch text := q.Get("state"); text {
	case "":
	case "all":
		state = ""
	default:
		if state, err = pipeline.ParseState(text); err != nil {
			WriteProblem(w, http.StatusBadRequest, err.Error()+", or all")
			return
		}
	}
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			WriteProblem(w, http.StatusBadRequest, "limit "+strconv.Quote(text)+" is not a positive number")
			return
		}
	}
	if text := q.Get("conversation"); text != "" {
		if conversation, err = strconv.ParseInt(text, 10, 64); err != nil || conversation < 1 {
			WriteProblem(w, http.StatusBadRequest, "conversation "+strconv.Quote(text)+" is not the number of one")
			return
		}
	}
	items, err := s.Approvals.List(r.Context(), state, conversation, limit)
	if err != nil {
		s.unread(w, err)
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

func (s *server) unread(w http.ResponseWriter, err error) {
	s.log.Warn("the approval queue cannot be used", zap.Error(err))
	WriteProblem(w, http.StatusServiceUnavailable, "the approval queue cannot be used now: the database does not answer; try again in a moment")
}

// item returns the item that a path names, or answers that there is none.
func (s *server) item(w http.ResponseWriter, r *http.Request) (it pipeline.Item, ok bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		WriteProblem(w, http.StatusNotFound, "approvals are named by the id of the customer's message, a number")
		return it, false
	}
	it, found, err := s.Approvals.Show(r.Context(), id)
	switch {
	case err != nil:
		s.unread(w, err)
	case !found:
		WriteProblem(w, http.StatusNotFound, fmt.Sprintf("there is no approval %d; it may have been purged", id))
	}
	return it, found && err == nil
}

func (s *server) approval(w http.ResponseWriter, r *http.Request, _ string) {
	if it, ok := s.item(w, r); ok {
		WriteJSON(w, http.StatusOK, s.approvalDoc(it, s.State().Now))
	}
}

// decide takes a decision, from a program as JSON or from the page's form.
func (s *server) decide(w http.ResponseWriter, r *http.Request, by string) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	var ask struct {
		Action string `json:"action"`
		Reply  string `json:"reply"`
		Reason string `json:"reason"`
	}
	form := strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	if form {
		ask.Action, ask.Reply, ask.Reason = r.PostFormValue("action"), r.PostFormValue("reply"), r.PostFormValue("reason")
	} else {
		in := json.NewDecoder(r.Body)
		in.DisallowUnknownFields()
		if err := in.Decode(&ask); err != nil {
			WriteProblem(w, http.StatusBadRequest, `the body is not as it should be: {"action": "approve"}, {"action": "edit", "reply": "…"} or {"action": "reject", "reason": "…"}`)
			return
		}
	}
	it, ok := s.item(w, r)
	if !ok {
		return
	}
	v := pipeline.Verdict{Action: ask.Action, Reply: ask.Reply, Reason: ask.Reason, By: by}
	decision, reply, err := it.Judge(v)
	if err != nil {
		s.decided(w, r, form, http.StatusUnprocessableEntity, it, err.Error())
		return
	}
	it, taken, err := s.Approvals.Decide(r.Context(), it.Message, decision, reply, v)
	switch {
	case err != nil:
		s.unread(w, err)
	case !taken && it.Message == 0:
		WriteProblem(w, http.StatusNotFound, "the approval has just been purged")
	case !taken:
		s.decided(w, r, form, http.StatusConflict, it, "nothing was sent: "+s.settledBy(it))
	default:
		s.decided(w, r, form, http.StatusOK, it, "")
	}
}

// settledBy says why an item cannot be decided.
func (s *server) settledBy(it pipeline.Item) string {
	switch {
	case it.State == pipeline.Pending:
		return "the approval has run out"
	case it.DecidedBy != "":
		return fmt.Sprintf("%s has decided before, the item is %s", it.DecidedBy, it.State)
	}
	return fmt.Sprintf("the item is %s", it.State)
}

func (s *server) decided(w http.ResponseWriter, _ *http.Request, form bool, code int, it pipeline.Item, problem string) {
	switch {
	case form && problem == "":
		redirect(w, fmt.Sprintf("../../../approvals/%d", it.Message))
	case form:
		s.showApproval(w, code, it, problem)
	case problem != "":
		WriteJSON(w, code, map[string]any{"error": problem, "approval": s.approvalDoc(it, s.State().Now)})
	default:
		WriteJSON(w, code, s.approvalDoc(it, s.State().Now))
	}
}

type approvalPageData struct {
	approvalDoc
	Problem string // with what was just tried
	Missing pipeline.Problem
	Due     string
	Decided string
	Open    bool   // it can be decided
	Root    string // where the board is
}

func (s *server) approvalPage(w http.ResponseWriter, r *http.Request, _ string) {
	if it, ok := s.item(w, r); ok {
		s.showApproval(w, http.StatusOK, it, "")
	}
}

func (s *server) showApproval(w http.ResponseWriter, code int, it pipeline.Item, problem string) {
	now := s.State().Now
	d := approvalPageData{
		approvalDoc: s.approvalDoc(it, now), Problem: problem, Missing: it.Problem, Due: untilOrSince(it.Deadline, now),
		Open: it.State == pipeline.Pending && now.Before(it.ExpiresAt) || it.State == pipeline.Failed, Root: "../",
	}
	if code != http.StatusOK { // the answer to a form, three folders down
		d.Root = "../../../"
	}
	if !it.DecidedAt.IsZero() {
		d.Decided = due(it.DecidedAt, now) + " UTC"
	}
	var body bytes.Buffer
	if err := approvalTemplate.Execute(&body, d); err != nil {
		s.log.Error("render page", zap.Error(err))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = body.WriteTo(w) // the client is gone if it fails
}

func untilOrSince(t, now time.Time) string {
	if left := t.Sub(now); left >= 0 {
		return short(left) + " left"
	}
	return short(now.Sub(t)) + " late"
}

// approvalRow is an item as the board shows it.
type approvalRow struct {
	ID, Conversation              int64
	Priority, Due, Action, Inbox  string
	Contact, Confidence, Question string
}

// approvalSection is what the board shows of the queue.
type approvalSection struct {
	Pending, Urgent int
	Oldest          string
	Rows            []approvalRow // for those who are signed in
	More            int
	Problem         string
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
	items, err := s.Approvals.List(ctx, pipeline.Pending, 0, mostOnPage)
	if err != nil {
		s.log.Warn("the approval queue cannot be shown", zap.Error(err))
		sec.Problem = "The approval queue cannot be read now."
		return sec
	}
	for _, it := range items {
		r := approvalRow{
			ID: it.Message, Conversation: it.Conversation, Priority: string(it.PriorityAt(st.Now)), Due: untilOrSince(it.Deadline, st.Now),
			Action: string(it.Action), Inbox: st.Inboxes[it.Inbox], Contact: it.Contact, Confidence: "no draft", Question: excerpt(it.Question),
		}
		if it.Problem == "" {
			r.Confidence = fmt.Sprintf("%.0f %%", it.Confidence)
		}
		sec.Rows = append(sec.Rows, r)
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

// events tells of every item that is queued or changes, as server-sent events.
// They name items and quote nothing; what they say is in /api/v1/approvals.
func (s *server) events(w http.ResponseWriter, r *http.Request, _ string) {
	out := http.NewResponseController(w)
	send := func(text string) error {
		err := out.SetWriteDeadline(time.Now().Add(keepAlive)) //nolint:forbidigo // the kernel's clock, whatever ours is
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return out.Flush()
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep them for itself
	newest := s.State().Now
	known := map[int64]time.Time{} // versions that were told; those from before need not be
	if items, err := s.Approvals.Changed(r.Context(), newest.Add(-commits)); err == nil {
		for _, it := range items {
			known[it.Message] = it.ChangedAt
		}
	}
	told := s.Approvals.Told()
	if err := send(": approvals\n\n"); err != nil { // what comes from here on is told
		return
	}
	look, alive := time.NewTicker(otherTeller), time.NewTicker(keepAlive/2)
	defer look.Stop()
	defer alive.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-s.Closing:
			return
		case <-alive.C:
			if send(": alive\n\n") != nil {
				return
			}
			continue
		case <-told:
			told = s.Approvals.Told()
			select {
			case <-time.After(gathers):
			case <-r.Context().Done():
				return
			}
		case <-look.C:
		}
		items, err := s.Approvals.Changed(r.Context(), newest.Add(-commits))
		if err != nil { // the database is away; what changes meanwhile is told later
			continue
		}
		for _, it := range items {
			if known[it.Message].Equal(it.ChangedAt) {
				continue
			}
			text, err := json.Marshal(map[string]any{
				"id": it.Message, "conversation_id": it.Conversation, "state": it.State,
				"priority": it.PriorityAt(s.State().Now), "deadline": it.Deadline, "changed_at": it.ChangedAt,
			})
			if err != nil || send(fmt.Sprintf("event: approval\nid: %d\ndata: %s\n\n", it.ChangedAt.UnixMicro(), text)) != nil {
				return
			}
			if it.ChangedAt.After(newest) {
				newest = it.ChangedAt
			}
			known[it.Message] = it.ChangedAt
		}
		for id, at := range known {
			if at.Before(newest.Add(-commits)) {
				delete(known, id)
			}
		}
	}
}
