package web

import (
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// mostRows bounds the list on the page; the JSON has them all.
const mostRows = 100

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

type pageData struct {
	statusDoc
	State   string
	Age     string // of the picture
	Cells   []cell
	Rows    []row
	More    int // waiting conversations that Rows leaves out
	Probes  []probeRow
	Names   bool
	NextDue string
	Promise string
	Paused  string // the inboxes whose clocks stand still now
	SignIn  bool   // there is somebody who could
	By      string // who has; empty: nobody

	InMaintenance, NextMaintenance string           // when; empty: there is none, or it is far
	IncidentFor                    string           // how long it has lasted
	Approvals                      *approvalSection // nil: off, or not known yet
}

type cell struct {
	Level         string
	Open, Waiting int
}

type row struct {
	ID                                int64
	URL, Inbox, Level, Left, Deadline string
	Contact, Assignee                 string
}

type probeRow struct {
	Title, State, Detail string
}

func (s *server) page(w http.ResponseWriter, r *http.Request) {
	st := s.State()
	d := s.pageData(st)
	d.SignIn = len(s.Tokens) > 0
	d.By, _ = s.access.session(r)
	d.Approvals = s.approvalSection(r.Context(), st, d.By)
	s.render(w, http.StatusOK, pageTemplate, d)
}

func (s *server) pageData(st State) pageData {
	d := pageData{statusDoc: s.statusDoc(st), State: st.picture(), Names: s.ShowNames}
	d.Promise, d.Paused = d.statusDoc.promise(), d.statusDoc.paused()
	if m := st.Maintenance; !m.Start.IsZero() {
		d.InMaintenance = span(m.Start, m.End, st.Now)
	}
	if m := st.Maintenance; m.Announced {
		d.NextMaintenance = span(m.NextStart, m.NextEnd, st.Now)
	}
	if st.Incident.Open() {
		d.IncidentFor = short(st.Incident.Duration(st.Now))
	}
	for _, p := range st.Probes {
		d.Probes = append(d.Probes, probeLine(p, st.Now))
	}
	if st.Board == nil {
		return d
	}
	d.Age = short(st.Now.Sub(st.SyncedAt))
	open, waiting := d.statusDoc.Levels, d.statusDoc.Waiting
	d.Cells = []cell{
		{"breach", open.Breach, waiting.Breach},
		{"urgent", open.Urgent, waiting.Urgent},
		{"warning", open.Warning, waiting.Warning},
		{"normal", open.Normal, waiting.Normal},
	}
	list := st.Board.List(st.Now, func(l sla.Listed) bool { return l.Clock.State == sla.Waiting })
	for _, l := range list[:min(mostRows, len(list))] {
		r := row{
			ID: l.ID, URL: s.ConversationURL(l.ID), Inbox: st.Inboxes[l.Inbox], Level: l.Level.String(),
			Deadline: due(l.Clock.Deadline, st.Now),
		}
		promise := st.Promises.For(l.Inbox)
		switch left := promise.Remaining(l.Clock, st.Now); {
		case left < 0:
			r.Left = short(-left) + " late"
		case promise.Paused(st.Now):
			r.Left = short(left) + " left, paused"
		default:
			r.Left = short(left) + " left"
		}
		if s.ShowNames {
			r.Contact, r.Assignee = l.Contact, l.Assignee
		}
		d.Rows = append(d.Rows, r)
	}
	d.More = len(list) - len(d.Rows)
	if d.Next != nil {
		d.NextDue = short(d.Next.Sub(st.Now))
	}
	return d
}

// few is how many inboxes are named in a sentence, and not just counted.
const few = 5

// promise is the promise in words, with those of single inboxes.
func (d statusDoc) promise() string {
	text := minutes(d.SLAMinutes)
	var own []string
	for _, in := range d.Inboxes {
		if in.SLAMinutes != d.SLAMinutes {
			own = append(own, minutes(in.SLAMinutes)+" in "+in.title())
		}
	}
	switch {
	case len(own) > few:
		return fmt.Sprintf("%s, and otherwise in %d inboxes", text, len(own))
	case len(own) > 0:
		return text + ", " + strings.Join(own, ", ")
	}
	return text
}

// paused names the inboxes whose clocks stand still now.
func (d statusDoc) paused() string {
	var names []string
	for _, in := range d.Inboxes {
		if in.Paused {
			names = append(names, in.title())
		}
	}
	if len(names) > few {
		return fmt.Sprintf("%d of %d inboxes", len(names), len(d.Inboxes))
	}
	return strings.Join(names, ", ")
}

func (in inboxDoc) title() string { return orText(in.Name, fmt.Sprintf("inbox %d", in.ID)) }

func minutes(n float64) string {
	if n == 1 {
		return "1 minute"
	}
	return fmt.Sprintf("%v minutes", n)
}

// due writes a deadline as somebody needs it at now: the time, and the day
// unless it is today.
func due(t, now time.Time) string {
	t = t.UTC()
	if t.Format(time.DateOnly) == now.UTC().Format(time.DateOnly) {
		return t.Format("15:04:05")
	}
	return t.Format("Mon 2 Jan, 15:04:05")
}

func probeLine(p Probe, now time.Time) probeRow {
	r := probeRow{Title: p.Title, State: "unknown", Detail: p.Error}
	switch {
	case p.Known && p.Up:
		r.State = "up"
	case p.Known:
		r.State = "down"
	}
	if p.Known && p.Error == "" {
		r.Detail = fmt.Sprintf("%s, %d ms, for %s", p.Endpoint, p.Latency.Milliseconds(), short(now.Sub(p.Since)))
	}
	return r
}

// short writes a duration as a person would say it: the two largest units.
func short(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	s := int(d.Seconds())
	switch {
	case s >= 86400:
		return fmt.Sprintf("%d d %02d h", s/86400, s%86400/3600)
	case s >= 3600:
		return fmt.Sprintf("%d h %02d min", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	}
	return fmt.Sprintf("%d s", s)
}
