package chatwootsim_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

// fetch reads a list page and returns what the client sees.
func (s *sim) fetch(ctx context.Context) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+account+"/conversations", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Api-Access-Token", chatwootsim.DemoToken)
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	return answer{res.StatusCode, res.Header, string(b)}, err
}

func TestFaultsSpoilAnswers(t *testing.T) {
	seen := map[chatwootsim.FaultKind]bool{
		// Tested below: they need a clock, or something else than a list.
		chatwootsim.FaultLatency: true, chatwootsim.FaultHang: true, chatwootsim.FaultServicesFailing: true, chatwootsim.FaultClockSkew: true,
	}
	valid := func(a answer) bool { return json.Valid([]byte(a.body)) }
	for _, tt := range []struct {
		name  string
		fault chatwootsim.Fault
		check func(a answer, err error) bool
	}{
		{"500 is Rails'", chatwootsim.Fault{Kind: chatwootsim.FaultStatus}, func(a answer, _ error) bool {
			return a.status == 500 && a.body == `{"status":500,"error":"Internal Server Error"}`
		}},
		{"502 is the proxy's", chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 502}, func(a answer, _ error) bool {
			return a.status == 502 && strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
		}},
		{"401 by policy", chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 401}, func(a answer, _ error) bool {
			return a.status == 401 && a.body == `{"error":"You are not authorized to do this action"}`
		}},
		{"throttled", chatwootsim.Fault{Kind: chatwootsim.FaultThrottle}, func(a answer, _ error) bool {
			return a.status == 429 && a.body == "Retry later\n" && a.header.Get("Retry-After") == ""
		}},
		{"cut body", chatwootsim.Fault{Kind: chatwootsim.FaultCutBody}, func(a answer, err error) bool {
			return a.status == 200 && errors.Is(err, io.ErrUnexpectedEOF) && a.body != "" && !valid(a)
		}},
		{"truncated JSON", chatwootsim.Fault{Kind: chatwootsim.FaultTruncatedJSON}, func(a answer, err error) bool {
			return a.status == 200 && err == nil && a.body != "" && !valid(a)
		}},
		{"HTML", chatwootsim.Fault{Kind: chatwootsim.FaultHTML}, func(a answer, _ error) bool {
			return a.status == 200 && strings.HasPrefix(a.header.Get("Content-Type"), "text/html") && strings.Contains(a.body, "<html")
		}},
		{"wrong type", chatwootsim.Fault{Kind: chatwootsim.FaultWrongType}, func(a answer, _ error) bool {
			return a.status == 200 && valid(a) && strings.Contains(a.body, `"created_at":"yesterday"`)
		}},
		{"wrong content type", chatwootsim.Fault{Kind: chatwootsim.FaultWrongContentType}, func(a answer, _ error) bool {
			return a.status == 200 && valid(a) && strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
		}},
		{"huge", chatwootsim.Fault{Kind: chatwootsim.FaultHuge}, func(a answer, err error) bool {
			return a.status == 200 && err == nil && len(a.body) == 8<<20
		}},
		{"dropped connection", chatwootsim.Fault{Kind: chatwootsim.FaultDropConn}, func(_ answer, err error) bool { return err != nil }},
		{"unauthorized", chatwootsim.Fault{Kind: chatwootsim.FaultUnauthorized}, func(a answer, _ error) bool {
			return a.status == 401 && a.body == `{"error":"Invalid Access Token"}`
		}},
	} {
		seen[tt.fault.Kind] = true
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, chatwootsim.Options{})
			s.Fill(3, noon)
			end := s.Inject(tt.fault)
			if a, err := s.fetch(t.Context()); !tt.check(a, err) {
				t.Errorf("%d %v %v %.200s", a.status, err, a.header, a.body)
			}
			end()
			if a, err := s.fetch(t.Context()); err != nil || a.status != 200 || !valid(a) || strings.Contains(a.body, "yesterday") {
				t.Errorf("afterwards: %d %v", a.status, err)
			}
		})
	}
	for _, kind := range chatwootsim.FaultKinds() {
		if !seen[kind] {
			t.Errorf("no test of %s", kind)
		}
	}
}

func TestFaultsStrikeWhatTheyMatchAsOftenAsTheySay(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	s.Inject(chatwootsim.Fault{Path: "/conversations", Query: "page=2", Kind: chatwootsim.FaultStatus, Status: 503, Times: 2})
	for i, tt := range []struct {
		path string
		want int
	}{
		{"/api", 200},
		{account + "/conversations?page=1", 200},
		{account + "/conversations?page=2", 503},
		{account + "/conversations/meta?page=2", 503},
		{account + "/conversations?page=2", 200},
	} {
		if a := s.get(tt.path); a.status != tt.want {
			t.Errorf("request %d, %s: %d, want %d", i+1, tt.path, a.status, tt.want)
		}
	}
	s.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultThrottle})
	s.ClearFaults()
	if a := s.get("/api"); a.status != 200 {
		t.Errorf("after ClearFaults: %d", a.status)
	}
}

func TestHangLastsUntilTheClientLeavesOrTheServerCloses(t *testing.T) {
	for name, end := range map[string]func(s *chatwootsim.Server, leave func()){
		"the client leaves": func(_ *chatwootsim.Server, leave func()) { leave() },
		"the server closes": func(s *chatwootsim.Server, _ func()) { s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := chatwootsim.New(chatwootsim.Options{})
				s.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultHang})
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				over := false
				go func() {
					s.ServeHTTP(&memory{}, request("/api").WithContext(ctx))
					over = true
				}()
				synctest.Wait()
				if over {
					t.Fatal("answered")
				}
				end(s, leave)
				synctest.Wait()
				if !over {
					t.Error("still hanging")
				}
			})
		})
	}
}

func TestLatencyPassesInSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		clock := chatwootsim.NewClock(noon, 60)
		s := chatwootsim.New(chatwootsim.Options{Now: clock.Now, After: clock.After})
		s.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultLatency, Delay: time.Minute})
		s.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultLatency, Delay: time.Minute})
		var rec memory
		s.ServeHTTP(&rec, request("/api"))
		if took := time.Since(began); rec.status != 200 || took != 2*time.Second {
			t.Errorf("%d after %s, want 200 after two minutes at sixty times the speed", rec.status, took)
		}
		if got := rec.Header().Get("Date"); got != "Mon, 22 Jun 2026 12:02:00 GMT" {
			t.Errorf("Date %q, want that of the answer", got)
		}
	})
}

func TestServicesFailingIsSaidWithStatus200(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	s.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultServicesFailing, Times: 1})
	s.get(account + "/conversations") // does not use it up
	if a := s.get("/api"); a.status != 200 || !strings.Contains(a.body, `"queue_services":"failing","data_services":"failing"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.get("/api"); strings.Contains(a.body, "failing") {
		t.Errorf("still %s", a.body)
	}
}

func TestClockSkewShowsInTheDateOnly(t *testing.T) {
	s := start(t, chatwootsim.Options{})
	s.CustomerOpens(noon, chat, "")
	s.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultClockSkew, Delay: 90 * time.Second})
	a := s.get(account + "/conversations")
	if got := a.header.Get("Date"); got != "Mon, 22 Jun 2026 12:01:30 GMT" {
		t.Errorf("Date %q", got)
	}
	if got := decode[list](t, a).Data.Payload[0].CreatedAt; got != noon.Unix() {
		t.Errorf("created_at moved by %d s", got-noon.Unix())
	}
}
