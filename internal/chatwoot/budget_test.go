package chatwoot_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

// inMemory lets a handler answer without a network, which testing/synctest
// needs to know when everybody waits.
type inMemory http.HandlerFunc

func (h inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h(w, r)
	return w.Result(), nil
}

// offline returns a client with the given budget, inside a synctest bubble.
func offline(t *testing.T, perMinute int, h http.HandlerFunc) *chatwoot.Client {
	t.Helper()
	return dial(t, &url.URL{Scheme: "http", Host: "chatwoot.example.com"}, func(o *chatwoot.Options) {
		o.RequestsPerMinute, o.Transport = perMinute, inMemory(h)
	})
}

var index = saysJSON(`{"version":"4.15.1","queue_services":"ok","data_services":"ok"}`)

func ask(t *testing.T, c *chatwoot.Client) {
	t.Helper()
	if _, err := c.Index(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBudgetIsABurstAndThenARate(t *testing.T) {
	tests := []struct {
		set, perMinute int // what is set, and what it means
	}{
		{0, 1200}, {1, 1}, {7, 7}, {60, 60}, {700, 700},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d a minute", tt.set), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := offline(t, tt.set, index)
				start := time.Now()
				for range tt.perMinute {
					ask(t, c)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("the burst took %v", took)
				}
				for range 3 * tt.perMinute {
					ask(t, c)
				}
				share := time.Minute / time.Duration(tt.perMinute)
				if took := time.Since(start); took < 3*time.Minute-share || took > 3*time.Minute+2*share {
					t.Errorf("three minutes' worth behind the burst took %v", took)
				}
			})
		})
	}
}

func TestBudgetRefillsWhileNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := offline(t, 60, index)
		for range 60 {
			ask(t, c)
		}
		time.Sleep(10 * time.Second)
		start := time.Now()
		for range 10 {
			ask(t, c)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("ten requests after ten seconds of rest took %v", took)
		}
		ask(t, c)
		if took := time.Since(start); took != time.Second {
			t.Errorf("the eleventh took %v", took)
		}
		time.Sleep(time.Hour)
		start = time.Now()
		for range 61 {
			ask(t, c)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("after an hour of rest, one request more than the burst took %v", took)
		}
	})
}

func TestBudgetIsSharedByAllClasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := offline(t, 60, index)
		start := time.Now()
		for range 15 {
			for _, class := range []chatwoot.Class{chatwoot.Probe, chatwoot.Poll, chatwoot.Sync, chatwoot.Lookup} {
				ask(t, c.For(class))
			}
		}
		ask(t, c)
		if took := time.Since(start); took != time.Second {
			t.Errorf("61 requests in four classes took %v", took)
		}
	})
}

func TestProbesSpendTheBudgetAndNeverWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := offline(t, 60, index)
		for range 60 {
			ask(t, c)
		}
		start := time.Now()
		for range 5 {
			ask(t, c.For(chatwoot.Probe))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("five probes with nothing left took %v", took)
		}
		ask(t, c)
		if took := time.Since(start); took != 6*time.Second {
			t.Errorf("the poll behind them took %v, want 6s: they are paid for", took)
		}
	})
}

// The queue forms in the order given; what counts is the order of sending.
func TestClassesPassEachOther(t *testing.T) {
	const (
		poll   = chatwoot.Poll
		sweep  = chatwoot.Sync
		lookup = chatwoot.Lookup
	)
	tests := []struct {
		name        string
		queue, sent []chatwoot.Class
	}{
		{"a poll passes look-ups that queue", []chatwoot.Class{lookup, lookup, poll}, []chatwoot.Class{poll, lookup, lookup}},
		{"a poll passes a full sync", []chatwoot.Class{sweep, sweep, poll}, []chatwoot.Class{poll, sweep, sweep}},
		{"a full sync passes look-ups", []chatwoot.Class{lookup, sweep, lookup, sweep}, []chatwoot.Class{sweep, sweep, lookup, lookup}},
		{
			"all three",
			[]chatwoot.Class{lookup, sweep, poll, lookup, sweep, poll},
			[]chatwoot.Class{poll, poll, sweep, sweep, lookup, lookup},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var (
					mu   sync.Mutex
					sent []chatwoot.Class
				)
				c := offline(t, 60, index)
				for range 60 {
					ask(t, c)
				}
				start := time.Now()
				var group sync.WaitGroup
				for _, class := range tt.queue {
					group.Go(func() {
						ask(t, c.For(class))
						mu.Lock()
						defer mu.Unlock()
						sent = append(sent, class)
					})
					synctest.Wait()
				}
				group.Wait()
				if !slices.Equal(sent, tt.sent) {
					t.Errorf("sent in the order %v, want %v", sent, tt.sent)
				}
				if took := time.Since(start); took != time.Duration(len(tt.queue))*time.Second {
					t.Errorf("%d requests took %v", len(tt.queue), took)
				}
			})
		})
	}
}

func TestManyWaitersAllGetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := offline(t, 600, index)
		for range 600 {
			ask(t, c)
		}
		start := time.Now()
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() { ask(t, c.For(chatwoot.Poll+chatwoot.Class(i%3))) })
		}
		group.Wait()
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("100 requests at ten a second took %v", took)
		}
	})
}

func TestWaitingForTheBudgetCanBeGivenUp(t *testing.T) {
	tests := []struct {
		name      string
		ctx       func(context.Context) (context.Context, context.CancelFunc)
		kind      chatwoot.Kind
		temporary bool
		says      string
	}{
		{
			"by a deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 300*time.Millisecond)
			},
			chatwoot.TimedOut, temporary, "not sent before the deadline: requests wait while the budget is spent or Chatwoot throttles us; ",
		},
		{
			"by the caller", func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(300*time.Millisecond, cancel)
				return ctx, cancel
			},
			chatwoot.Canceled, permanent, "context canceled",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := 0
				c := offline(t, 60, func(w http.ResponseWriter, r *http.Request) {
					sent++
					index(w, r)
				})
				for range 60 {
					ask(t, c)
				}
				start := time.Now()
				ctx, cancel := tt.ctx(t.Context())
				defer cancel()
				_, err := c.Conversation(ctx, 1482)
				wantError(t, err, tt.kind, 0, tt.temporary, "GET /api/v1/accounts/3/conversations/{id}: ", tt.says)
				if took := time.Since(start); took != 300*time.Millisecond {
					t.Errorf("it gave up after %v", took)
				}
				// Who gave up must not hold back the classes behind.
				ask(t, c.For(chatwoot.Lookup))
				if took := time.Since(start); took > 1300*time.Millisecond || sent != 61 {
					t.Errorf("the look-up behind went out after %v, as request %d; want 61", took, sent)
				}
			})
		})
	}
}

func TestThrottlingPausesAllButProbes(t *testing.T) {
	tests := []struct {
		name        string
		retryAfter  string
		least, most time.Duration
	}{
		// The bubble's clock stands at 0:20 past a full minute.
		{"to the next full minute and some jitter", "", 41 * time.Second, 43 * time.Second},
		{"for as long as a proxy says", "90", 90 * time.Second, 90 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(20 * time.Second)
				throttle := true
				c := offline(t, 1200, func(w http.ResponseWriter, r *http.Request) {
					if !throttle {
						index(w, r)
						return
					}
					throttle = false
					if tt.retryAfter != "" {
						w.Header().Set("Retry-After", tt.retryAfter)
					}
					says(429, "text/plain", "Retry later\n")(w, r)
				})
				start := time.Now()
				_, err := c.Index(t.Context())
				e := wantError(t, err, chatwoot.Throttled, 429, temporary, "GET /api: HTTP 429")
				if e.RetryAfter < tt.least || e.RetryAfter > tt.most {
					t.Errorf("RetryAfter is %v, want %v to %v", e.RetryAfter, tt.least, tt.most)
				}

				ask(t, c.For(chatwoot.Probe))
				if took := time.Since(start); took != 0 {
					t.Errorf("a probe waited %v", took)
				}
				var group sync.WaitGroup
				for _, class := range []chatwoot.Class{chatwoot.Poll, chatwoot.Sync, chatwoot.Lookup} {
					group.Go(func() {
						ask(t, c.For(class))
						if took := time.Since(start); took < e.RetryAfter || took > e.RetryAfter+time.Second {
							t.Errorf("class %d waited %v, want %v", class, took, e.RetryAfter)
						}
					})
				}
				group.Wait()
			})
		})
	}
}

func TestTheLongestPauseHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := []string{"90", "5"}
		c := offline(t, 1200, func(w http.ResponseWriter, r *http.Request) {
			if len(waits) == 0 {
				index(w, r)
				return
			}
			w.Header().Set("Retry-After", waits[0])
			waits = waits[1:]
			says(429, "text/plain", "Retry later\n")(w, r)
		})
		start := time.Now()
		for range 2 {
			_, err := c.For(chatwoot.Probe).Index(t.Context())
			if e := wantError(t, err, chatwoot.Throttled, 429, temporary); e.RetryAfter != 90*time.Second {
				t.Errorf("RetryAfter is %v, want what is left of 90s", e.RetryAfter)
			}
		}
		ask(t, c)
		if took := time.Since(start); took != 90*time.Second {
			t.Errorf("a poll waited %v", took)
		}
	})
}

// Five loads an hour without a conversation are allowed: that limit says
// nothing about the rest of the server, and must not stop the polls.
func TestThrottledWidgetPausesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(20 * time.Minute)
		c := offline(t, 1200, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/widget" {
				says(429, "text/plain", "Retry later\n")(w, r)
				return
			}
			index(w, r)
		})
		start := time.Now()
		_, err := c.For(chatwoot.Probe).Widget(t.Context(), websiteToken, "")
		e := wantError(t, err, chatwoot.Throttled, 429, temporary, "GET /widget: HTTP 429; ", "conversation token")
		if e.RetryAfter < 40*time.Minute || e.RetryAfter > 40*time.Minute+3*time.Second {
			t.Errorf("RetryAfter is %v, want the rest of the hour", e.RetryAfter)
		}
		ask(t, c)
		if took := time.Since(start); took != 0 {
			t.Errorf("a poll waited %v", took)
		}
	})
}
