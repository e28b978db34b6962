package health_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/porttest"
)

// says returns a probe with a fixed outcome.
func says(name string, out health.Outcome) health.Probe {
	return health.Probe{Name: name, Run: func(context.Context) health.Outcome { return out }}
}

func newChecker(t *testing.T, o health.CheckerOptions) *health.Checker {
	t.Helper()
	c, err := health.NewChecker(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func checkOne(t *testing.T, p health.Probe) health.Result {
	t.Helper()
	return newChecker(t, health.CheckerOptions{Probes: []health.Probe{p}}).Check(t.Context()).Results[0]
}

func TestOutcomesAreJudged(t *testing.T) {
	ok := map[string]string{"queue_services": "ok", "data_services": "ok"}
	tests := []struct {
		name string
		out  health.Outcome
		want string // reason
	}{
		{"200 passes", health.Outcome{Status: 200}, ""},
		{"200 with every dependency ok passes", health.Outcome{Status: 200, Dependencies: ok}, ""},
		{"an empty outcome is no pass", health.Outcome{}, health.ReasonOther},
		{"204 is not 200", health.Outcome{Status: 204}, health.ReasonHTTPStatus},
		{"a status alone is enough to fail", health.Outcome{Status: 503}, health.ReasonHTTPStatus},
		{"a redirect", health.Outcome{Status: 308}, health.ReasonRedirect},
		{"one dependency failing under a 200", health.Outcome{Status: 200, Dependencies: map[string]string{"queue_services": "ok", "data_services": "failing"}}, health.ReasonDependency},
		{"a dependency that Chatwoot did not name before", health.Outcome{Status: 200, Dependencies: map[string]string{"search_services": "failing"}}, health.ReasonDependency},
		{"a reason under a 200 and without an error", health.Outcome{Status: 200, Reason: health.ReasonAccount}, health.ReasonAccount},
		{"the probe's reason beats the status", health.Outcome{Status: 401, Reason: health.ReasonAccount}, health.ReasonAccount},
		{"a reason outside the set", health.Outcome{Status: 200, Reason: "gremlins"}, health.ReasonOther},
		{"an error under a 200", health.Outcome{Status: 200, Err: errors.New("odd")}, health.ReasonOther},
		{"an unknown error beside a refusal", health.Outcome{Status: 500, Err: errors.New("HTTP 500")}, health.ReasonHTTPStatus},
		{"our own cancelling", health.Outcome{Err: fmt.Errorf("get: %w", context.Canceled)}, health.ReasonCanceled},
		{"a deadline", health.Outcome{Err: fmt.Errorf("get: %w", context.DeadlineExceeded)}, health.ReasonTimeout},
		{"an unknown host", health.Outcome{Err: &net.DNSError{Err: "no such host", Name: "chat.example.com", IsNotFound: true}}, health.ReasonDNS},
		{"an answer cut in the middle", health.Outcome{Status: 200, Err: fmt.Errorf("read: %w", io.ErrUnexpectedEOF)}, health.ReasonConnection},
		{"invalid JSON", health.Outcome{Status: 200, Err: fmt.Errorf("decode: %w", &json.SyntaxError{})}, health.ReasonNotJSON},
		{"a broken handshake", health.Outcome{Err: tls.AlertError(40)}, health.ReasonTLS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := checkOne(t, says(health.RailsHealth, tt.out))
			if res.Reason != tt.want || res.Success != (tt.want == "") {
				t.Errorf("reason %q, success %v; want reason %q", res.Reason, res.Success, tt.want)
			}
			if (res.Error == "") != res.Success || (res.Advice() == "") != res.Success {
				t.Errorf("success %v with error %q, advice %q", res.Success, res.Error, res.Advice())
			}
		})
	}
}

// get asks url as a probe would, with a token in the query as the widget's.
func get(client *http.Client, url string) func(context.Context) health.Outcome {
	return func(ctx context.Context) health.Outcome {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/widget?website_token="+testToken, nil)
		if err != nil {
			return health.Outcome{Err: err}
		}
		resp, err := client.Do(req)
		if err != nil {
			return health.Outcome{Err: fmt.Errorf("get widget: %w", err)}
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return health.Outcome{Status: resp.StatusCode, Endpoint: "/widget", Err: err}
	}
}

func TestRealFailuresGetTheirReasonAndKeepTheToken(t *testing.T) {
	serve := func(t *testing.T, h http.HandlerFunc) string {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return srv.URL
	}
	refused := func(t *testing.T, _ http.HandlerFunc) string {
		return "http://" + porttest.Refusing(t)
	}
	untrusted := func(t *testing.T, h http.HandlerFunc) string {
		srv := httptest.NewUnstartedServer(h)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // the refused handshake is the point
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv.URL
	}
	plain := func(t *testing.T, h http.HandlerFunc) string {
		return strings.Replace(serve(t, h), "http:", "https:", 1)
	}
	tests := []struct {
		name    string
		start   func(*testing.T, http.HandlerFunc) string
		handler http.HandlerFunc
		timeout time.Duration
		reason  string
		text    string
	}{
		{"nobody listens", refused, nil, 0, health.ReasonConnection, "connection refused"},
		{"the server hangs up", serve, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, health.ReasonConnection, "EOF"},
		{"the body is cut", serve, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "half")
		}, 0, health.ReasonConnection, "unexpected EOF"},
		{"the certificate is unknown", untrusted, nil, 0, health.ReasonTLS, "certificate"},
		{"plain HTTP where TLS is expected", plain, nil, 0, health.ReasonTLS, "HTTP response to HTTPS client"},
		{"no answer in time", serve, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 200 * time.Millisecond, health.ReasonTimeout, "Connection timeout after 200ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			run := get(&http.Client{Transport: transport}, tt.start(t, tt.handler))
			c := newChecker(t, health.CheckerOptions{
				Probes:  []health.Probe{{Name: health.Widget, Informational: true, Run: run}},
				Timeout: tt.timeout,
			})
			report := c.Check(t.Context())
			res := report.Results[0]
			if res.Reason != tt.reason || !strings.Contains(res.Error, tt.text) {
				t.Errorf("reason %q, error %q; want %q and %q", res.Reason, res.Error, tt.reason, tt.text)
			}
			if strings.Contains(res.Error, "://") {
				t.Errorf("error %q repeats the address", res.Error)
			}
			if all := fmt.Sprintf("%+v", report); strings.Contains(all, testToken) {
				t.Errorf("the token is in the report: %s", all)
			}
		})
	}
}

func TestForeignTextIsMadeHarmless(t *testing.T) {
	res := checkOne(t, says(health.RailsHealth, health.Outcome{
		Status:       500,
		Detail:       "\x1b[2Jtwo\r\nlines \xff " + strings.Repeat("é", 500),
		Version:      "4.15.1\n",
		Dependencies: map[string]string{"data\n_services": "fail\x00ing"},
		Reason:       health.ReasonOther,
		Err:          errors.New("fetch https://me:" + testToken + "@chat.example.com/x?token=" + testToken + " now"),
	}))
	if want := "[2Jtwo lines � é"; !strings.HasPrefix(res.Detail, want) || len(res.Detail) > 310 {
		t.Errorf("detail is %q", res.Detail)
	}
	if res.Version != "4.15.1" {
		t.Errorf("version is %q", res.Version)
	}
	if want := map[string]string{"data _services": "fail ing"}; !maps.Equal(res.Dependencies, want) {
		t.Errorf("dependencies are %q", res.Dependencies)
	}
	if want := "fetch https://…@chat.example.com/x?… now"; res.Error != want {
		t.Errorf("error is %q, want %q", res.Error, want)
	}
}

func TestWhatIsInformationalNeverCounts(t *testing.T) {
	rails := says(health.RailsHealth, health.Outcome{Status: 503})
	rails.Informational = true
	api := says(health.AuthenticatedAPI, health.Outcome{Status: 503})
	if got := newChecker(t, health.CheckerOptions{Probes: []health.Probe{rails, api}}).Check(t.Context()).ExitCode(); got != 3 {
		t.Errorf("exit code %d, want 3 for the probe that counts", got)
	}
}

func TestExitCodes(t *testing.T) {
	good, bad := health.Outcome{Status: 200}, health.Outcome{Status: 503}
	tests := []struct {
		name               string
		rails, api, widget health.Outcome
		want               int
	}{
		{"all passed", good, good, good, 0},
		{"rails health failed", bad, good, good, 2},
		{"authenticated API failed", good, bad, good, 3},
		{"both failed", bad, bad, bad, 4},
		{"the widget never counts", good, good, bad, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			widget := says(health.Widget, tt.widget)
			widget.Informational = true
			c := newChecker(t, health.CheckerOptions{Probes: []health.Probe{
				says(health.RailsHealth, tt.rails), says(health.AuthenticatedAPI, tt.api), widget,
			}})
			if got := c.Check(t.Context()).ExitCode(); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
}

// takes returns a probe that passes after d, or says that it was stopped.
func takes(name string, d time.Duration) health.Probe {
	return health.Probe{Name: name, Run: func(ctx context.Context) health.Outcome {
		select {
		case <-time.After(d):
			return health.Outcome{Status: 200, Endpoint: "/" + name}
		case <-ctx.Done():
			return health.Outcome{Endpoint: "/" + name, Err: ctx.Err()}
		}
	}}
}

func TestProbesRunSideBySideAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := newChecker(t, health.CheckerOptions{Host: "chat.example.com", Probes: []health.Probe{
			takes(health.RailsHealth, 3*time.Second), takes(health.AuthenticatedAPI, 2*time.Second), takes(health.Widget, time.Second),
		}})
		r := c.Check(t.Context())
		if took := time.Since(start); took != 3*time.Second || r.Finished.Sub(r.Started) != took {
			t.Errorf("the check took %v, reported %v; want the slowest probe's 3s", took, r.Finished.Sub(r.Started))
		}
		for i, want := range []struct {
			probe string
			took  time.Duration
		}{{health.RailsHealth, 3 * time.Second}, {health.AuthenticatedAPI, 2 * time.Second}, {health.Widget, time.Second}} {
			if got := r.Results[i]; got.Probe != want.probe || got.Duration != want.took || !got.Started.Equal(start) {
				t.Errorf("result %d is %s after %v from %v, want %s after %v", i, got.Probe, got.Duration, got.Started, want.probe, want.took)
			}
		}
	})
}

func TestAProbeThatHeedsItsContextSaysWhereItWasStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newChecker(t, health.CheckerOptions{Probes: []health.Probe{takes(health.RailsHealth, time.Hour)}}).Check(t.Context())
		want := health.Result{
			Probe: health.RailsHealth, Endpoint: "/rails_health", Reason: health.ReasonTimeout,
			Error: "Connection timeout after 10000ms", Started: r.Started, Duration: 10 * time.Second,
		}
		if got := r.Results[0]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("result is %+v\nwant %+v", got, want)
		}
	})
}

func TestAProbeThatIgnoresItsContextIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, release := time.Now(), make(chan struct{})
		deaf := health.Probe{Name: health.RailsHealth, Run: func(context.Context) health.Outcome {
			<-release
			return health.Outcome{Status: 200}
		}}
		r := newChecker(t, health.CheckerOptions{Probes: []health.Probe{deaf, takes(health.AuthenticatedAPI, time.Second)}, Timeout: 5 * time.Second}).Check(t.Context())
		if took := time.Since(start); took > 5*time.Second+20*time.Millisecond {
			t.Errorf("the check took %v, want 5s", took)
		}
		if got := r.Results[0]; got.Error != "Connection timeout after 5000ms" || got.Duration != 5*time.Second {
			t.Errorf("error %q after %v", got.Error, got.Duration)
		}
		if !r.Results[1].Success {
			t.Errorf("the other probe failed: %q", r.Results[1].Error)
		}
		close(release) // its goroutine must now end, or synctest fails the test
	})
}

func TestAProbeThatNeverReturnsIsAFailedProbe(t *testing.T) {
	tests := []struct {
		name string
		run  func(context.Context) health.Outcome
		want string
	}{
		{"a panic", func(context.Context) health.Outcome {
			var m map[string]int
			m["x"] = 1
			return health.Outcome{Status: 200}
		}, "the probe panicked: assignment to entry in nil map"},
		{"an exit", func(context.Context) health.Outcome { runtime.Goexit(); return health.Outcome{Status: 200} }, "the probe ended without an answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := checkOne(t, health.Probe{Name: health.RailsHealth, Run: tt.run})
			if res.Success || res.Reason != health.ReasonOther || res.Error != tt.want {
				t.Errorf("success %v, reason %q, error %q; want %q", res.Success, res.Reason, res.Error, tt.want)
			}
		})
	}
}

func TestACancelledCheckEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		r := newChecker(t, health.CheckerOptions{Probes: []health.Probe{takes(health.RailsHealth, time.Hour)}}).Check(ctx)
		if took := time.Since(start); took != time.Second || r.Results[0].Reason != health.ReasonCanceled {
			t.Errorf("ended after %v with reason %q", took, r.Results[0].Reason)
		}
	})
}

func TestCheckerOptionsAreChecked(t *testing.T) {
	good := says(health.RailsHealth, health.Outcome{Status: 200})
	tests := []struct {
		name string
		o    health.CheckerOptions
		want string
	}{
		{"no probe", health.CheckerOptions{}, "no probe"},
		{"an unknown name", health.CheckerOptions{Probes: []health.Probe{says("sidekiq", health.Outcome{})}}, `"sidekiq" is unknown`},
		{"a name twice", health.CheckerOptions{Probes: []health.Probe{good, good}}, "given twice"},
		{"nothing to run", health.CheckerOptions{Probes: []health.Probe{{Name: health.Widget}}}, "cannot run"},
		{"a negative time-out", health.CheckerOptions{Probes: []health.Probe{good}, Timeout: -1}, "negative"},
		{"an address with a password as host", health.CheckerOptions{Probes: []health.Probe{good}, Host: "https://me:" + testToken + "@chat.example.com"}, "not a bare host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := health.NewChecker(tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), testToken) {
				t.Errorf("error is %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestReasonsAreDistinct(t *testing.T) {
	all := health.Reasons()
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) || slices.Contains(all, "") {
		t.Errorf("reasons are %q", all)
	}
}
