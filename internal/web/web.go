// Package web serves what people and other tools read: the board, its JSON,
// the metrics and the liveness of the daemon itself.
//
// What shows customers' words, or changes anything, is protected: only those
// who have a token of Options.Tokens get there, be it with a header or with the
// session that the token buys in a browser. Other parts of the daemon mount
// such handlers through Options.Protected, by the pattern of an
// http.ServeMux:
//
//	Protected: map[string]web.Protected{
//		"GET /api/v1/queue": func(w http.ResponseWriter, r *http.Request, by string) {
//			web.WriteJSON(w, http.StatusOK, list())
//		},
//	}
//
// Without any token they answer 404 and say how to turn them on. They need no
// protection of their own against requests that another site makes a browser
// send. WriteJSON and WriteProblem answer as everything else here does.
package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/report"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// State is all that the pages tell, at one instant.
type State struct {
	Now       time.Time    // by Chatwoot's clock
	Promises  sla.Promises // those that the Board was made with
	Board     *sla.Board   // nil until everything was read once
	SyncedAt  time.Time    // when the last good poll began; zero without a Board
	StaleFrom time.Time    // from when on a Board of that age is called stale
	// Incomplete is by how many open conversations Chatwoot's count differs.
	Incomplete int
	Problem    string // why the last poll failed; empty: it did not
	Account    string // the account's name; empty while unknown
	Partial    bool   // the token's user does not see every conversation
	Inboxes    map[int64]string
	Probes     []Probe

	Maintenance Maintenance
	Incident    incident.Incident // zero or over: none is under way
	StatusURL   string            // of Chatwoot's status page; empty: unknown
}

// Probe is how one health probe stands.
type Probe struct {
	Name     string
	Title    string
	Known    bool
	Up       bool
	Since    time.Time
	Latency  time.Duration // of the last answer
	Endpoint string
	Error    string // of the last answer; empty: it was good
}

// Options configures New. All fields up to Incidents are required.
type Options struct {
	State           func() State
	ConversationURL func(id int64) string
	Metrics         http.Handler
	Version         string

	// Report writes the breach report of a period; its days are those of
	// ReportZone.
	Report     func(context.Context, report.Period, report.Format, io.Writer) error
	ReportZone *time.Location

	// Incidents returns the newest, the last one first.
	Incidents func(ctx context.Context, limit int) ([]incident.Incident, error)

	// Hosts are the names under which pages and JSON are answered, besides
	// localhost and IP addresses.
	Hosts []string

	// Tokens are who may use what is protected, and Protected what other parts want to have protected.
	Tokens    []Token
	Protected map[string]Protected
	Now       func() time.Time // of sessions; nil: time.Now

	Approvals *Approvals // nil: off

	// Closing ends what would otherwise go on for ever, so that the server can
	// stop. Nil: never.
	Closing <-chan struct{}

	// ShowNames lets the pages name customers and agents. It must be false
	// where anybody may read them.
	ShowNames bool
	Logger    *zap.Logger
}

type server struct {
	Options
	log    *zap.Logger
	access *access
}

// New returns the handler of the main listener.
func New(o Options) (http.Handler, error) {
	if o.State == nil || o.ConversationURL == nil || o.Metrics == nil || o.Report == nil || o.ReportZone == nil || o.Incidents == nil {
		return nil, errors.New("web: state, conversation URL, metrics, report, its zone and incidents are required")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &server{Options: o, log: o.Logger, access: &access{
		tokens: o.Tokens, hosts: o.Hosts, now: o.Now, cross: http.NewCrossOriginProtection(), log: o.Logger,
	}}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /healthz", plain("ok\n"))
	// A Chatwoot that is down must not take its monitor out of service.
	mux.HandleFunc("GET /readyz", plain("ready\n"))
	mux.HandleFunc("GET /api/v1/status", s.status)
	mux.HandleFunc("GET /api/v1/conversations", s.conversations)
	mux.HandleFunc("GET /api/v1/report", s.report)
	mux.HandleFunc("GET /api/v1/incidents", s.incidents)
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /"+signInPath, s.access.signIn)
	mux.HandleFunc("POST /"+signInPath, s.access.signIn)
	mux.HandleFunc("POST /sign-out", s.access.signOut)
	s.approvalRoutes(mux)
	for pattern, handler := range o.Protected {
		mux.Handle(pattern, s.access.protect(handler))
	}
	return secure(s.access.atHome(mux)), nil
}

// secure sets the headers that every answer carries.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		// Under no-referrer browsers would send "Origin: null" with our own forms,
		// and over plain HTTP nothing else that says whose they are.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func plain(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(text)) // the client is gone if it fails
	}
}

// levels is a count per level, as JSON has it.
type levels struct {
	Normal  int `json:"normal"`
	Warning int `json:"warning"`
	Urgent  int `json:"urgent"`
	Breach  int `json:"breach"`
}

func (l *levels) add(c sla.Counts) {
	l.Normal += c[sla.Normal]
	l.Warning += c[sla.Warning]
	l.Urgent += c[sla.Urgent]
	l.Breach += c[sla.Breach]
}

type statusDoc struct {
	Now        time.Time  `json:"now"` // by Chatwoot's clock
	Version    string     `json:"version"`
	Account    string     `json:"account,omitempty"`
	SLAMinutes float64    `json:"sla_minutes"` // of inboxes without a promise of their own
	Picture    pictureDoc `json:"picture"`
	Open       *int       `json:"open_conversations"`    // null until everything was read once
	Levels     *levels    `json:"conversations"`         // likewise
	Waiting    *levels    `json:"waiting_conversations"` // likewise
	Undecided  int        `json:"undecided_conversations"`
	Oldest     *time.Time `json:"oldest_waiting"`
	Next       *time.Time `json:"next_deadline"`
	Breach     *time.Time `json:"newest_breach"`
	Inboxes    []inboxDoc `json:"inboxes"`
	Probes     []probeDoc `json:"probes"`

	Maintenance maintenanceDoc     `json:"maintenance"`
	Incident    *incident.Document `json:"incident"`             // null: none is under way
	StatusURL   string             `json:"status_url,omitempty"` // of Chatwoot's status page
}

type pictureDoc struct {
	State      string     `json:"state"` // starting, fresh or stale
	SyncedAt   *time.Time `json:"synced_at"`
	Incomplete int        `json:"incomplete"`
	Partial    bool       `json:"partial"` // the token does not see every inbox
	Problem    string     `json:"problem,omitempty"`
}

type inboxDoc struct {
	ID         int64   `json:"id"`
	Name       string  `json:"name,omitempty"`
	SLAMinutes float64 `json:"sla_minutes"`
	Paused     bool    `json:"paused"` // its clocks stand still now
	Levels     levels  `json:"conversations"`
	Waiting    levels  `json:"waiting_conversations"`
}

type probeDoc struct {
	Name      string     `json:"name"`
	Up        *bool      `json:"up"` // null until known
	Since     *time.Time `json:"since"`
	LatencyMS float64    `json:"latency_ms"`
	Endpoint  string     `json:"endpoint,omitempty"`
	Error     string     `json:"error,omitempty"`
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, s.statusDoc(s.State()))
}

func (s *server) statusDoc(st State) statusDoc {
	doc := statusDoc{
		Now: st.Now, Version: s.Version, Account: st.Account, SLAMinutes: st.Promises.Default.Target.Minutes(),
		Picture: pictureDoc{State: st.picture(), Incomplete: st.Incomplete, Partial: st.Partial, Problem: st.Problem},
		Inboxes: []inboxDoc{}, Probes: []probeDoc{},
		Maintenance: st.Maintenance.document(), StatusURL: st.StatusURL,
	}
	if st.Incident.Open() {
		d := s.incidentDoc(st.Incident, st)
		doc.Incident = &d
	}
	for _, p := range st.Probes {
		d := probeDoc{Name: p.Name, LatencyMS: float64(p.Latency.Microseconds()) / 1000, Endpoint: p.Endpoint, Error: p.Error}
		if p.Known {
			d.Up, d.Since = &p.Up, &p.Since
		}
		doc.Probes = append(doc.Probes, d)
	}
	if st.Board == nil {
		return doc
	}
	doc.Picture.SyncedAt = &st.SyncedAt
	open := st.Board.Len()
	doc.Open, doc.Levels, doc.Waiting = &open, &levels{}, &levels{}
	for _, t := range st.Board.Tally(st.Now) {
		promise := st.Promises.For(t.Inbox)
		in := inboxDoc{ID: t.Inbox, Name: st.Inboxes[t.Inbox], SLAMinutes: promise.Target.Minutes(), Paused: promise.Paused(st.Now)}
		in.Levels.add(t.Open)
		in.Waiting.add(t.Waiting)
		doc.Inboxes = append(doc.Inboxes, in)
		doc.Levels.add(t.Open)
		doc.Waiting.add(t.Waiting)
		doc.Undecided += t.Unknown
	}
	marks := st.Board.Landmarks(st.Now)
	doc.Oldest, doc.Next, doc.Breach = orNull(marks.OldestWaiting), orNull(marks.NextDeadline), orNull(marks.NewestBreach)
	return doc
}

// picture says how far the board can be trusted.
func (st State) picture() string {
	switch {
	case st.Board == nil:
		return "starting"
	case st.Problem != "" || st.SyncedAt.Before(st.StaleFrom):
		return "stale"
	}
	return "fresh"
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

type conversationDoc struct {
	ID          int64      `json:"id"`
	InboxID     int64      `json:"inbox_id"`
	Inbox       string     `json:"inbox,omitempty"`
	Level       string     `json:"level"`
	State       string     `json:"state"` // unknown, idle, waiting or answered
	Started     *time.Time `json:"clock_started"`
	Deadline    *time.Time `json:"deadline"`
	SecondsLeft *float64   `json:"seconds_left"` // of open time, while waiting; negative past the deadline, and then of all time
	AnsweredAt  *time.Time `json:"answered_at"`
	Contact     string     `json:"contact,omitempty"`
	Assignee    string     `json:"assignee,omitempty"`
	URL         string     `json:"url"`
}

// mostListed bounds a list for which no limit was asked.
const mostListed = 1000

func (s *server) conversations(w http.ResponseWriter, r *http.Request) {
	wanted := map[sla.Level]bool{}
	for _, name := range r.URL.Query()["level"] {
		for part := range strings.SplitSeq(name, ",") {
			level, err := sla.ParseLevel(part)
			if err != nil {
				WriteProblem(w, http.StatusBadRequest, err.Error())
				return
			}
			wanted[level] = true
		}
	}
	limit := mostListed
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			WriteProblem(w, http.StatusBadRequest, "limit "+strconv.Quote(text)+" is not a positive number")
			return
		}
		limit = n
	}
	st := s.State()
	if st.Board == nil {
		WriteProblem(w, http.StatusServiceUnavailable, "the conversations have not been read yet; "+orText(st.Problem, "try again in a moment"))
		return
	}
	list := st.Board.List(st.Now, func(l sla.Listed) bool { return len(wanted) == 0 || wanted[l.Level] })
	doc := struct {
		Now           time.Time         `json:"now"`
		Picture       string            `json:"picture"`
		Total         int               `json:"total"`
		Conversations []conversationDoc `json:"conversations"` // those waiting first, soonest deadline first
	}{st.Now, st.picture(), len(list), []conversationDoc{}}
	for _, l := range list[:min(limit, len(list))] {
		doc.Conversations = append(doc.Conversations, s.conversationDoc(st, l))
	}
	WriteJSON(w, http.StatusOK, doc)
}

func (s *server) conversationDoc(st State, l sla.Listed) conversationDoc {
	d := conversationDoc{
		ID: l.ID, InboxID: l.Inbox, Inbox: st.Inboxes[l.Inbox],
		Level: l.Level.String(), State: l.Clock.State.String(),
		Started: orNull(l.Clock.Start), Deadline: orNull(l.Clock.Deadline), AnsweredAt: orNull(l.Clock.AnsweredAt),
		URL: s.ConversationURL(l.ID),
	}
	if l.Clock.State == sla.Waiting {
		left := st.Promises.For(l.Inbox).Remaining(l.Clock, st.Now).Seconds()
		d.SecondsLeft = &left
	}
	if s.ShowNames {
		d.Contact, d.Assignee = l.Contact, l.Assignee
	}
	return d
}

// WriteProblem answers with what is wrong.
func WriteProblem(w http.ResponseWriter, code int, text string) {
	WriteJSON(w, code, map[string]string{"error": text})
}

// WriteJSON answers with a document.
func WriteJSON(w http.ResponseWriter, code int, doc any) {
	body, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		http.Error(w, "internal error: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the client is gone if it fails
}

func orText(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

// report answers /api/v1/report?from=&to=&format=, JSON unless told otherwise.
func (s *server) report(w http.ResponseWriter, r *http.Request) {
	if !s.ShowNames { // it names agents
		WriteProblem(w, http.StatusForbidden, "the report names agents, and anybody may read this page: protect it with WEB_CONFIG_FILE, or listen on loopback")
		return
	}
	q := r.URL.Query()
	format := report.JSON
	if f := q.Get("format"); f != "" {
		if err := format.UnmarshalText([]byte(f)); err != nil {
			WriteProblem(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	period, err := report.ParsePeriod(q.Get("from"), q.Get("to"), s.State().Now, s.ReportZone)
	if err != nil {
		WriteProblem(w, http.StatusBadRequest, err.Error())
		return
	}
	var out bytes.Buffer // half a report must not look like a whole one
	if err := s.Report(r.Context(), period, format, &out); err != nil {
		s.log.Warn("no report", zap.Error(err))
		WriteProblem(w, http.StatusServiceUnavailable, "the report cannot be made now: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", format.ContentType())
	_, _ = out.WriteTo(w) // the client is gone if it fails
}
