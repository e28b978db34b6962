package monitor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/monitor"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/store/storetest"
)

// rows is a real ledger, told to in minutes after an instant.
type rows struct {
	*ledger.Ledger
	t     *testing.T
	db    *store.Store
	past  monitor.Past
	since time.Time
}

func newRows(t *testing.T, since time.Time) *rows {
	t.Helper()
	db := storetest.Open(t, store.Options{DataDir: t.TempDir(), Account: storetest.Account})
	l, err := ledger.New(ledger.Options{Store: db})
	if err != nil {
		t.Fatal(err)
	}
	return &rows{Ledger: l, t: t, db: db, since: since, past: monitor.Past{Since: start.Add(-24 * time.Hour)}}
}

func (r *rows) Past(context.Context) (monitor.Past, error) { return r.past, nil }

func (*rows) SaveHandoffs([]monitor.Handoff) {}

// told says what is known of a conversation: each round's outcome and when it
// was decided, the start, the answer and the end.
func (r *rows) told(conversation int64) string {
	r.t.Helper()
	if err := r.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	minutes := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return fmt.Sprint(t.Sub(r.since).Round(time.Minute).Minutes())
	}
	var lines []string
	tell := func(e ledger.Entry) {
		if e.Conversation == conversation {
			outcome := string(e.Outcome)
			if outcome == "" {
				outcome = "running"
			}
			lines = append(lines, fmt.Sprintf("%d %s@%s start %s answer %s end %s", e.Round, outcome,
				minutes(e.DecidedAt), minutes(e.Start), minutes(e.FirstResponseAt), minutes(e.EndedAt)))
		}
	}
	err := r.db.Decided(r.t.Context(), time.Unix(0, 0), start.AddDate(1, 0, 0), func(e ledger.Entry) error { tell(e); return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	running, err := r.db.Running(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range running {
		tell(e)
	}
	return strings.Join(lines, "; ")
}

// rewritten serves the messages of conversations with their activity lines as
// change leaves them; it returns false for those that are not there.
func rewritten(h http.Handler, change func(line map[string]any) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/messages") {
			h.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		var doc struct {
			Meta    json.RawMessage  `json:"meta"`
			Payload []map[string]any `json:"payload"`
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &doc); err != nil {
			panic(err)
		}
		kept := doc.Payload[:0]
		for _, m := range doc.Payload {
			if m["message_type"] != 2.0 || change(m) {
				kept = append(kept, m)
			}
		}
		doc.Payload = kept
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(doc)
	})
}

// The lines of a conversation as servers write them. All of them tell of a
// resolution in English in the simulator.
var (
	inEnglish = func(map[string]any) bool { return true }
	inGerman  = func(line map[string]any) bool {
		line["content"] = "Die Unterhaltung hat sich geändert"
		return true
	}
	inAttributes = func(line map[string]any) bool {
		about := map[string]any{"type": "assignee_changed"}
		for word, status := range map[string]string{"resolved": "resolved", "reopened": "open"} {
			if strings.Contains(line["content"].(string), word) {
				about = map[string]any{"type": "conversation_status_changed", "status": status}
			}
		}
		line["content_attributes"] = map[string]any{"activity": about}
		return inGerman(line)
	}
	notResolved = func(line map[string]any) bool { return !strings.Contains(line["content"].(string), "resolved") }
)

// What happened while nobody watched is told by the row as it is now, and by
// the messages. Where they do not tell when a conversation ended, a breach is
// not taken away by a line about something else.
func TestWhatHappenedBeforeAnybodyWatched(t *testing.T) {
	opened := start.Add(-3 * time.Hour)
	type act struct {
		minute float64
		do     func(s *chatwootsim.Server, at time.Time, id int64)
	}
	resolves := func(s *chatwootsim.Server, at time.Time, id int64) { s.SetStatus(at, id, "resolved") }
	reopens := func(s *chatwootsim.Server, at time.Time, id int64) { s.SetStatus(at, id, "open") }
	snoozes := func(s *chatwootsim.Server, at time.Time, id int64) { s.SetStatus(at, id, "snoozed") }
	assigns := func(s *chatwootsim.Server, at time.Time, id int64) { s.Assign(at, id, s.Agents()[0]) }
	writes := func(s *chatwootsim.Server, at time.Time, id int64) { s.CustomerWrites(at, id, "Hello?") }
	replies := func(s *chatwootsim.Server, at time.Time, id int64) { s.AgentReplies(at, id) }

	for _, tt := range []struct {
		name  string
		lines func(map[string]any) bool
		acts  []act
		want  string
	}{
		{"resolved in time", inEnglish, []act{{5, resolves}}, "1 excluded@5 start 0 answer - end 5"},
		{"resolved in time, and assigned later", inEnglish, []act{{5, resolves}, {60, assigns}}, "1 excluded@5 start 0 answer - end 5"},
		{"the same, told in attributes", inAttributes, []act{{5, resolves}, {60, assigns}}, "1 excluded@5 start 0 answer - end 5"},
		{"the same in words that nobody knows", inGerman, []act{{5, resolves}, {60, assigns}}, "1 breached@30 start 0 answer - end 60"},
		{"assigned in time, and resolved too late", inEnglish, []act{{1, assigns}, {179, resolves}}, "1 breached@30 start 0 answer - end 179"},
		{"the same in words that nobody knows", inGerman, []act{{1, assigns}, {179, resolves}}, "1 breached@30 start 0 answer - end 179"},
		{"the same before the line is written", notResolved, []act{{1, assigns}, {179, resolves}}, "1 breached@30 start 0 answer - end 179"},
		{"resolved in time, reopened by an agent, and resolved", inEnglish, []act{{5, resolves}, {40, reopens}, {60, resolves}}, "1 excluded@5 start 0 answer - end 5"},

		{
			"back after an end in time, and answered", inEnglish,
			[]act{{5, resolves}, {120, writes}, {121, replies}},
			"1 excluded@5 start 0 answer - end 5; 2 met@121 start 120 answer 121 end -",
		},
		{
			"the same, told in attributes", inAttributes,
			[]act{{5, resolves}, {120, writes}, {121, replies}},
			"1 excluded@5 start 0 answer - end 5; 2 met@121 start 120 answer 121 end -",
		},
		{
			"back after an end in time, answered, and resolved", inEnglish,
			[]act{{5, resolves}, {120, writes}, {121, replies}, {122, resolves}},
			"1 excluded@5 start 0 answer - end 5; 2 met@121 start 120 answer 121 end -",
		},
		{
			"back after an end too late, and answered late again", inEnglish,
			[]act{{40, resolves}, {120, writes}, {160, replies}},
			"1 breached@30 start 0 answer - end 40; 2 breached@150 start 120 answer 160 end -",
		},
		{
			"back after an end in time, and waiting", inEnglish,
			[]act{{5, resolves}, {170, writes}},
			"1 excluded@5 start 0 answer - end 5; 2 running@- start 170 answer - end -",
		},
		{
			"back after an end in time, and never answered", inEnglish,
			[]act{{5, resolves}, {60, writes}, {100, resolves}},
			"1 excluded@5 start 0 answer - end 5; 2 breached@90 start 60 answer - end 100",
		},
		{
			"back twice", inEnglish,
			[]act{{5, resolves}, {60, writes}, {65, resolves}, {120, writes}, {121, replies}},
			"1 excluded@5 start 0 answer - end 5; 2 excluded@65 start 60 answer - end 65; 3 met@121 start 120 answer 121 end -",
		},
		{"answered after an end in time, to nobody's call", inEnglish, []act{{5, resolves}, {50, replies}}, "1 excluded@5 start 0 answer - end 5"},
		{"answered after an end too late", inEnglish, []act{{40, resolves}, {41, replies}}, "1 breached@30 start 0 answer 41 end -"},
		{"snoozed in time, back, and answered late", inEnglish, []act{{5, snoozes}, {120, writes}, {121, replies}}, "1 breached@30 start 0 answer 121 end -"},
		{"answered late", inEnglish, []act{{45, replies}, {50, resolves}, {120, writes}, {121, replies}}, "1 breached@30 start 0 answer 45 end -"},
	} {
		for _, version := range []chatwootsim.Version{chatwootsim.V42, chatwootsim.V415} {
			t.Run(tt.name+" on "+string(version), func(t *testing.T) {
				kept := newRows(t, opened)
				var id int64
				r := newRig(t, rigOptions{
					ledger: kept, sim: chatwootsim.Options{Version: version},
					around: func(h http.Handler) http.Handler { return rewritten(h, tt.lines) },
					prepare: func(s *chatwootsim.Server) {
						id = s.CustomerOpens(opened, s.Inboxes()[0], "Hello?")
						for _, a := range tt.acts {
							a.do(s, opened.Add(time.Duration(a.minute*float64(time.Minute))), id)
						}
					},
				})
				defer r.sim.Close()
				for range 4 { // the look-ups come with the pictures after the first
					r.next()
				}
				if got := kept.told(id); got != tt.want {
					t.Errorf("\ngot  %s\nwant %s", got, tt.want)
				}
			})
		}
	}
}
