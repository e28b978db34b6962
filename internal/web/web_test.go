package web_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/calendar"
	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/report"
	"github.com/hotdash/chatwoot-sla/internal/sla"
	"github.com/hotdash/chatwoot-sla/internal/web"
)

var (
	policy   = sla.Policy{Target: 30 * time.Minute, Warning: 15 * time.Minute, Urgent: 5 * time.Minute}
	promises = sla.Promises{Default: policy}
	t0       = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
)

func waiting(id int64, since time.Duration) sla.Entry {
	start := t0.Add(-since)
	return sla.Entry{
		ID: id, Inbox: 5, Contact: "Ada <script>", Assignee: "Tomas",
		Clock: sla.Clock{State: sla.Waiting, Start: start, Deadline: policy.Deadline(start)},
	}
}

// fresh is a state in which everything is known and recent.
func fresh() web.State {
	return web.State{
		Now: t0, Promises: promises, SyncedAt: t0.Add(-7 * time.Second), StaleFrom: t0.Add(-2 * time.Minute), Account: "Example Shop",
		Board: sla.NewBoard(promises, 0, slices.Values([]sla.Entry{
			waiting(1, time.Minute), waiting(2, 20*time.Minute), waiting(3, 28*time.Minute), waiting(4, 95*time.Minute),
			{ID: 5, Inbox: 5, Clock: sla.Clock{State: sla.Answered, Deadline: t0, AnsweredAt: t0.Add(time.Minute)}},
			{ID: 6, Inbox: 5, Clock: sla.Clock{State: sla.Unknown}},
		}), nil),
		Inboxes: map[int64]string{5: "Website"},
		Probes: []web.Probe{
			{Name: "rails_health", Title: "Platform Health", Known: true, Up: true, Since: t0.Add(-time.Hour), Latency: 12 * time.Millisecond, Endpoint: "/health"},
			{Name: "authenticated_api", Title: "Authenticated API", Known: true, Since: t0, Error: "Failed with HTTP 401"},
		},
	}
}

// emptyReport reports on a helpdesk where nothing happened.
func emptyReport(_ context.Context, p report.Period, f report.Format, w io.Writer) error {
	b, err := report.New(report.Options{From: p.From, To: p.To, AsOf: p.To, Promise: 30 * time.Minute})
	if err != nil {
		return err
	}
	return b.Report().Write(w, f)
}

func TestReport(t *testing.T) {
	s := serve(t, true, func() web.State { return web.State{Now: t0} })
	tests := []struct {
		path   string
		status int
		says   string
	}{
		{"/api/v1/report", http.StatusOK, `"schema": "chatwoot-sla/breach-report/v1"`},
		{"/api/v1/report?format=html&from=2026-03-01&to=2026-03-02", http.StatusOK, "<!DOCTYPE html>"},
		{"/api/v1/report?format=pdf", http.StatusBadRequest, "pdf"},
		{"/api/v1/report?from=yesterday", http.StatusBadRequest, "write 2026-11-01"},
		{"/api/v1/report?from=2020-01-01", http.StatusBadRequest, "at most 366 fit into a report"},
	}
	for _, tt := range tests {
		resp, err := http.Get(s.URL + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.says) {
			t.Errorf("%s: %d (%v), want %d and %q in:\n%.300s", tt.path, resp.StatusCode, err, tt.status, tt.says, body)
		}
	}
	strangers := serve(t, false, func() web.State { return web.State{Now: t0} })
	resp, err := http.Get(strangers.URL + "/api/v1/report")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("to strangers: %d, want 403", resp.StatusCode)
	}
}

func noIncidents(context.Context, int) ([]incident.Incident, error) { return nil, nil }

func serve(t *testing.T, names bool, state func() web.State) *httptest.Server {
	t.Helper()
	h, err := web.New(web.Options{
		State:           state,
		ConversationURL: func(id int64) string { return "https://chat.example.com/app/" + strconv.FormatInt(id, 10) },
		Metrics:         http.NotFoundHandler(),
		Report:          emptyReport,
		ReportZone:      time.UTC,
		Incidents:       noIncidents,
		Version:         "test",
		ShowNames:       names,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, s *httptest.Server, path string) (int, string) {
	t.Helper()
	resp, err := s.Client().Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestStatus(t *testing.T) {
	_, body := get(t, serve(t, true, fresh), "/api/v1/status")
	var doc struct {
		Open    int            `json:"open_conversations"`
		Levels  map[string]int `json:"conversations"`
		Waiting map[string]int `json:"waiting_conversations"`
		Picture struct{ State string }
		Next    time.Time `json:"next_deadline"`
		Probes  []struct {
			Name string
			Up   *bool
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Open != 6 || doc.Levels["breach"] != 2 || doc.Waiting["breach"] != 1 || doc.Levels["normal"] != 2 || doc.Picture.State != "fresh" {
		t.Errorf("status is %s", body)
	}
	if want := t0.Add(2 * time.Minute); !doc.Next.Equal(want) {
		t.Errorf("next deadline %v, want %v", doc.Next, want)
	}
	if len(doc.Probes) != 2 || !*doc.Probes[0].Up || *doc.Probes[1].Up {
		t.Errorf("probes are %+v", doc.Probes)
	}
}

func TestBeforeTheFirstReadingNothingIsZero(t *testing.T) {
	s := serve(t, true, func() web.State {
		return web.State{Now: t0, Promises: promises, Problem: "GET /api/v1/profile: HTTP 401"}
	})
	_, status := get(t, s, "/api/v1/status")
	for _, want := range []string{`"open_conversations": null`, `"waiting_conversations": null`, `"state": "starting"`, "HTTP 401"} {
		if !strings.Contains(status, want) {
			t.Errorf("status lacks %s: %s", want, status)
		}
	}
	if code, body := get(t, s, "/api/v1/conversations"); code != http.StatusServiceUnavailable || !strings.Contains(body, "HTTP 401") {
		t.Errorf("conversations: %d %s, want 503 with the reason", code, body)
	}
	if code, page := get(t, s, "/"); code != http.StatusOK || !strings.Contains(page, "read for the first time") || !strings.Contains(page, "HTTP 401") {
		t.Errorf("page: %d %s", code, page)
	}
	if code, _ := get(t, s, "/readyz"); code != http.StatusOK {
		t.Errorf("readyz: %d; a Chatwoot that is down must not take its monitor away", code)
	}
}

func TestConversations(t *testing.T) {
	s := serve(t, true, fresh)
	tests := []struct {
		query string
		ids   []int64
	}{
		{"", []int64{4, 3, 2, 1, 5, 6}},
		{"?level=breach", []int64{4, 5}},
		{"?level=urgent,warning", []int64{3, 2}},
		{"?level=urgent&level=warning", []int64{3, 2}},
		{"?level=normal&limit=1", []int64{1}},
	}
	for _, tt := range tests {
		_, body := get(t, s, "/api/v1/conversations"+tt.query)
		var doc struct {
			Conversations []struct {
				ID          int64
				Level       string
				SecondsLeft *float64 `json:"seconds_left"`
				URL         string
			}
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatalf("%s: %v", tt.query, err)
		}
		var ids []int64
		for _, c := range doc.Conversations {
			ids = append(ids, c.ID)
			if c.ID == 3 && (c.Level != "urgent" || *c.SecondsLeft != 120 || c.URL != "https://chat.example.com/app/3") {
				t.Errorf("conversation 3 is %+v", c)
			}
		}
		if !equal(ids, tt.ids) {
			t.Errorf("%q lists %v, want %v", tt.query, ids, tt.ids)
		}
	}
	for _, bad := range []string{"?level=critical", "?limit=0", "?limit=many"} {
		if code, body := get(t, s, "/api/v1/conversations"+bad); code != http.StatusBadRequest || !strings.Contains(body, "error") {
			t.Errorf("%s: %d %s, want 400 with a reason", bad, code, body)
		}
	}
}

func equal(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestPage(t *testing.T) {
	code, page := get(t, serve(t, true, fresh), "/")
	if code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	for _, want := range []string{
		"Example Shop", "First answer within 30 minutes ·", "Open conversations: 6", "1 h 05 min late", "2 min 00 s left", "next deadline in 2 min 00 s",
		"Ada &lt;script&gt;", "Tomas", `href="https://chat.example.com/app/4"`, "Platform Health", "Failed with HTTP 401", "read 7 s ago",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "may be wrong") {
		t.Error("a fresh page calls itself stale")
	}
	if strings.Contains(page, "stand still") || strings.Contains(page, "paused") {
		t.Error("clocks stand still in an inbox that has no hours")
	}
}

// Inbox 5 closes at t0, a Monday at 9, until Tuesday; inbox 7 has a promise of
// its own.
func TestHoursAndPromisesOfInboxes(t *testing.T) {
	hours, err := calendar.Parse("Mon-Sun 00:00-09:00 UTC")
	if err != nil {
		t.Fatal(err)
	}
	nights, hour := policy, policy
	nights.Calendar, hour.Target = hours, time.Hour
	own := sla.Promises{Default: policy, ByInbox: map[int64]sla.Policy{5: nights, 7: hour}}
	entry := func(id, inbox int64, since time.Duration) sla.Entry {
		start := t0.Add(-since)
		return sla.Entry{ID: id, Inbox: inbox, Clock: sla.Clock{State: sla.Waiting, Start: start, Deadline: own.For(inbox).Deadline(start)}}
	}
	state := fresh()
	state.Promises, state.Inboxes = own, map[int64]string{5: "Website", 7: "E-mail"}
	state.Board = sla.NewBoard(own, 0, slices.Values([]sla.Entry{entry(1, 5, 20*time.Minute), entry(2, 5, time.Hour), entry(3, 7, 10*time.Minute), entry(4, 9, 10*time.Minute)}), nil)
	s := serve(t, true, func() web.State { return state })

	_, page := get(t, s, "/")
	for _, want := range []string{
		"First answer within 30 minutes, 60 minutes in E-mail ·", "the clocks stand still: Website.<",
		"10 min 00 s left, paused<", "Tue 3 Mar, 00:10:00", // open time, and the day that it is due
		"30 min 00 s late", "50 min 00 s left<", "20 min 00 s left<", ">09:20:00<",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	_, status := get(t, s, "/api/v1/status")
	var doc struct {
		Inboxes []struct {
			ID         int64
			SLAMinutes float64 `json:"sla_minutes"`
			Paused     bool
		}
	}
	if err := json.Unmarshal([]byte(status), &doc); err != nil {
		t.Fatal(err)
	}
	if in := doc.Inboxes; len(in) != 3 || !in[0].Paused || in[0].SLAMinutes != 30 || in[1].Paused || in[1].SLAMinutes != 60 || in[2].Paused {
		t.Errorf("inboxes are %+v", doc.Inboxes)
	}
	if _, list := get(t, s, "/api/v1/conversations?level=warning"); !strings.Contains(list, `"seconds_left": 600,`) {
		t.Errorf("the closed inbox's conversation has not its 10 minutes of open time left: %s", list)
	}
}

func TestStalePictureSaysSo(t *testing.T) {
	stale := map[string]func(*web.State){
		"old":        func(s *web.State) { s.SyncedAt = t0.Add(-3 * time.Minute) },
		"failed":     func(s *web.State) { s.Problem = "Connection timeout after 20000ms" },
		"incomplete": func(s *web.State) { s.Incomplete = 3 },
		"partial":    func(s *web.State) { s.Partial = true },
	}
	words := map[string]string{
		"old": "3 min 00 s old and may be wrong", "failed": "Connection timeout after 20000ms",
		"incomplete": "counts 3 open conversations more or fewer", "partial": "no administrator",
	}
	for name, change := range stale {
		state := fresh()
		change(&state)
		if _, page := get(t, serve(t, true, func() web.State { return state }), "/"); !strings.Contains(page, words[name]) {
			t.Errorf("%s: the page lacks %q", name, words[name])
		}
	}
}

func TestNamesAreHiddenFromStrangers(t *testing.T) {
	s := serve(t, false, fresh)
	for _, path := range []string{"/", "/api/v1/conversations", "/api/v1/status"} {
		if _, body := get(t, s, path); strings.Contains(body, "Ada") || strings.Contains(body, "Tomas") {
			t.Errorf("%s names people to whoever can reach it", path)
		}
	}
}

func TestOnlyReadingIsPossible(t *testing.T) {
	s := serve(t, true, fresh)
	for _, path := range []string{"/", "/api/v1/status", "/metrics"} {
		resp, err := s.Client().Post(s.URL+path, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d, want 405", path, resp.StatusCode)
		}
	}
	if code, _ := get(t, s, "/nothing"); code != http.StatusNotFound {
		t.Errorf("GET /nothing: %d, want 404", code)
	}
}
