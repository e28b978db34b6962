package assist_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hotdash/chatwoot-sla/internal/assist"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
)

const question = "Where is my order?"

type rig struct {
	sim       *chatwootsim.Assist
	knowledge *assist.Knowledge
	agent     *assist.Agent
	reg       *prometheus.Registry
}

func start(t *testing.T) *rig {
	t.Helper()
	r := &rig{sim: &chatwootsim.Assist{}, reg: prometheus.NewPedanticRegistry()}
	server := httptest.NewServer(r.sim)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := assist.Options{URL: u, UserAgent: "test", Registerer: r.reg}
	if r.knowledge, err = assist.NewKnowledge(o); err != nil {
		t.Fatal(err)
	}
	if r.agent, err = assist.NewAgent(o); err != nil {
		t.Fatal(err)
	}
	r.knowledge.Patient()
	r.agent.Patient()
	t.Cleanup(func() {
		r.knowledge.Close()
		r.agent.Close()
		server.Close()
	})
	return r
}

func (r *rig) counted(t *testing.T, metric, result string) {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == metric && m.GetLabel()[0].GetValue() == result && m.GetCounter().GetValue() > 0 {
				return
			}
		}
	}
	t.Errorf("%s counts no %s", metric, result)
}

func TestKnowledge(t *testing.T) {
	r := start(t)
	found, err := r.knowledge.Query(t.Context(), question)
	if err != nil || len(found) != 1 || found[0].Title != "Shipping times" || found[0].Version != "3" || found[0].Relevance != 0.93 {
		t.Errorf("found %+v, %v", found, err)
	}
	r.counted(t, "chatwoot_sla_knowledge_requests_total", "found")
	if found, err = r.knowledge.Query(t.Context(), "chess?"); err != nil || len(found) > 0 {
		t.Errorf("found %+v, %v; want nothing", found, err)
	}
	r.counted(t, "chatwoot_sla_knowledge_requests_total", "empty")
	if problems, err := testutil.GatherAndLint(r.reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestAgent(t *testing.T) {
	r := start(t)
	s, err := r.agent.Draft(t.Context(), pipeline.Ask{
		Message: question, Sources: []pipeline.Source{{Title: "Shipping times", Content: "…", Relevance: 0.9}}, History: []pipeline.Turn{},
	})
	if err != nil || s.Confidence != 92 || s.Action != "approve" || s.Reply == "" || s.Urgency != "low" || s.Sentiment != "neutral" || len(s.Tags) != 1 {
		t.Errorf("suggested %+v, %v", s, err)
	}
	if got, want := string(r.sim.Received(chatwootsim.AgentPath)[0]), `{"conversation_history":[],"customer_context":{"conversation_id":0,"sla_level":""},"customer_message":"Where is my order?","knowledge_context":[{"title":"Shipping times","content":"…","relevance":0.9,"version":""}]}`; got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
	r.counted(t, "chatwoot_sla_agent_requests_total", "drafted")
}

// What a service does wrong is told apart by what can be done about it, and no
// error quotes what a customer wrote.
func TestFailures(t *testing.T) {
	tests := []struct {
		name   string
		fault  chatwootsim.Fault
		result string
		down   bool
		wait   time.Duration
		says   string
	}{
		{"a 500", chatwootsim.Fault{Kind: chatwootsim.FaultStatus}, "unreachable", true, 0, "HTTP 500"},
		{"a 503", chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 503}, "unreachable", true, 0, "HTTP 503"},
		{"a connection that breaks", chatwootsim.Fault{Kind: chatwootsim.FaultDropConn}, "unreachable", true, 0, "can it be reached?"},
		{"a 404", chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 404}, "refused", false, 0, "is the address that of"},
		{"a redirect", chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 302}, "refused", false, 0, "HTTP 302"},
		{"a 429", chatwootsim.Fault{Kind: chatwootsim.FaultThrottle}, "rate_limited", false, 7 * time.Second, "HTTP 429"},
		{"a login page", chatwootsim.Fault{Kind: chatwootsim.FaultHTML}, "nonsense", false, 0, "no JSON by its content type"},
		{"half an answer", chatwootsim.Fault{Kind: chatwootsim.FaultTruncatedJSON}, "nonsense", false, 0, "not the JSON"},
		{"a cut answer", chatwootsim.Fault{Kind: chatwootsim.FaultCutBody}, "unreachable", true, 0, "EOF"},
		{"numbers for words", chatwootsim.Fault{Kind: chatwootsim.FaultWrongType}, "nonsense", false, 0, "not the JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t)
			r.sim.RetryAfter("7")
			r.sim.Inject(tt.fault)
			_, err := r.agent.Draft(t.Context(), pipeline.Ask{Message: question})
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "order") {
				t.Errorf("error %v, want one that says %q", err, tt.says)
			}
			_, down := errors.AsType[*pipeline.Unavailable](err)
			wait, waits := errors.AsType[*pipeline.Wait](err)
			if down != tt.down || waits != (tt.wait > 0) || waits && (wait.For != tt.wait || !wait.Service) {
				t.Errorf("down %v, waits %v: %v", down, waits, err)
			}
			r.counted(t, "chatwoot_sla_agent_requests_total", tt.result)
			if found, err := r.knowledge.Query(t.Context(), question); err == nil || found != nil {
				t.Errorf("the knowledge service: %v, %v", found, err)
			}
			r.counted(t, "chatwoot_sla_knowledge_requests_total", tt.result)
		})
	}
}

func TestAnswersThatAreNotWhatWasAskedFor(t *testing.T) {
	for name, body := range map[string]string{
		"no draft":                   `{"confidence_score": 90}`,
		"no confidence":              `{"draft_response": "x"}`,
		"more confidence than there": `{"draft_response": "x", "confidence_score": 101}`,
		"less than none":             `{"draft_response": "x", "confidence_score": -1}`,
		"a word for a number":        `{"draft_response": "x", "confidence_score": "high"}`,
		"an array":                   `[]`,
		"nothing":                    `null`,
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				_, _ = w.Write([]byte(body))
			}))
			defer server.Close()
			u, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			a, err := assist.NewAgent(assist.Options{URL: u})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if s, err := a.Draft(t.Context(), pipeline.Ask{Message: question}); err == nil {
				t.Errorf("suggested %+v", s)
			}
			k, err := assist.NewKnowledge(assist.Options{URL: u})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			if found, err := k.Query(t.Context(), question); err == nil {
				t.Errorf("found %+v", found)
			}
		})
	}
}

// A knowledge base that is away must not cost every draft two seconds.
func TestKnowledgeThatFailsIsLeftAlone(t *testing.T) {
	r := start(t)
	end := r.sim.Inject(chatwootsim.Fault{Path: chatwootsim.KnowledgePath, Kind: chatwootsim.FaultStatus})
	for range 10 {
		if _, err := r.knowledge.Query(t.Context(), question); err == nil {
			t.Fatal("it answers")
		}
	}
	if n := len(r.sim.Received(chatwootsim.KnowledgePath)); n != 3 {
		t.Errorf("it was asked %d times, want 3", n)
	}
	end()
	r.counted(t, "chatwoot_sla_knowledge_requests_total", "circuit_open")
	if _, err := r.agent.Draft(t.Context(), pipeline.Ask{Message: question}); err != nil {
		t.Errorf("the other service is left alone as well: %v", err)
	}
}
