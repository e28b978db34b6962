package monitor_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/monitor"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	halfHour = sla.Policy{Target: 30 * time.Minute, Warning: 15 * time.Minute, Urgent: 5 * time.Minute}
	start    = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
)

func halfAnHour([]chatwoot.Inbox) sla.Promises { return sla.Promises{Default: halfHour} }

// clock is time for a rig: it stands still until the monitor sleeps, and is
// then moved to the end of the sleep. The monitor sleeps in one place, so a
// new nap replaces the one before.
type clock struct {
	ahead time.Duration // of the simulated server's clock, before ours

	mu    sync.Mutex
	now   time.Time
	until time.Time
	wake  chan time.Time
}

func newClock(ahead time.Duration) *clock {
	return &clock{now: start, ahead: ahead}
}

// pass lets time go by while the monitor is awake.
func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// ServerNow is the simulated server's time.
func (c *clock) ServerNow() time.Time { return c.Now().Add(c.ahead) }

func (c *clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.wake = c.now.Add(d), make(chan time.Time, 1)
	return c.wake
}

// skip moves on to the end of the nap.
func (c *clock) skip() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until.After(c.now) {
		c.now = c.until
	}
	select {
	case c.wake <- c.now:
	default: // it was woken before
	}
}

// rig is a monitor that watches a simulated Chatwoot.
type rig struct {
	*clock
	t        *testing.T
	sim      *chatwootsim.Server
	client   *chatwoot.Client
	mon      *monitor.Monitor
	registry *prometheus.Registry
	pictures chan *monitor.Picture // the newest that the test has not seen
	rests    chan struct{}         // the monitor rests
}

type rigOptions struct {
	sim      chatwootsim.Options
	clock    *clock        // nil: one that is ahead
	token    string        // "": the simulator's administrator
	ahead    time.Duration // of the server's clock
	timeout  time.Duration // of the client
	around   func(http.Handler) http.Handler
	prepare  func(*chatwootsim.Server) // before the monitor starts
	interval time.Duration
	promises func([]chatwoot.Inbox) sla.Promises // nil: half an hour
	ledger   monitor.Ledger
	chatwoot *chatwootsim.Server // nil: a new one; the caller closes one that is given
}

func newRig(t *testing.T, o rigOptions) *rig {
	t.Helper()
	if o.clock == nil {
		o.clock = newClock(o.ahead)
	}
	r := &rig{clock: o.clock, t: t, pictures: make(chan *monitor.Picture, 1), rests: make(chan struct{}, 1)}
	if r.sim = o.chatwoot; r.sim == nil {
		o.sim.Now, o.sim.NoThrottle = r.ServerNow, true
		r.sim = chatwootsim.New(o.sim)
		if o.ledger == nil {
			t.Cleanup(r.sim.Close)
		}
	}
	if o.prepare != nil {
		o.prepare(r.sim)
	}
	var handler http.Handler = r.sim
	if o.around != nil {
		handler = o.around(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if o.token == "" {
		o.token = chatwootsim.DemoToken
	}
	r.client, err = chatwoot.New(chatwoot.Options{
		BaseURL: base, Token: o.token, AccountID: chatwootsim.DemoAccountID, Now: r.Now, Timeout: o.timeout, RequestsPerMinute: 1_000_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	if o.promises == nil {
		o.promises = halfAnHour
	}
	r.registry = prometheus.NewPedanticRegistry()
	r.mon, err = monitor.New(monitor.Options{
		Client: r.client, Promises: o.promises, Ledger: o.ledger, Now: r.Now, After: r.After, Registerer: r.registry, PollInterval: o.interval,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.mon.Watch(func(p *monitor.Picture) {
		select {
		case <-r.pictures:
		default:
		}
		r.pictures <- p
	}, func() {
		select {
		case r.rests <- struct{}{}:
		default:
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.mon.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		r.client.Close()
	})
	return r
}

// next lets the monitor work until it has published another picture, and
// returns that.
func (r *rig) next() *monitor.Picture {
	r.t.Helper()
	limit := time.After(2 * time.Minute) // whatever the machine, this is a hang
	for {
		select {
		case p := <-r.pictures:
			return p
		case <-r.rests:
			select {
			case p := <-r.pictures:
				r.rests <- struct{}{} // it rests still
				return p
			default:
				r.skip()
			}
		case <-limit:
			r.t.Fatal("no picture within two minutes of real time")
		}
	}
}

// until lets the monitor work until ok, for at most 200 pictures.
func (r *rig) until(what string, ok func(*monitor.Picture) bool) *monitor.Picture {
	r.t.Helper()
	for range 200 {
		if p := r.next(); ok(p) {
			return p
		}
	}
	r.t.Fatalf("%s: not within 200 pictures", what)
	return nil
}

// settled lets the monitor work until no clock is undecided.
func (r *rig) settled() *monitor.Picture {
	r.t.Helper()
	return r.until("every clock is known", func(p *monitor.Picture) bool {
		if p.Board == nil {
			return false
		}
		for _, tally := range p.Board.Tally(r.ServerNow()) {
			if tally.Unknown > 0 {
				return false
			}
		}
		return true
	})
}

// settle has a conversation read when the monitor rests: the next rest is then
// one after it has taken that in.
func (r *rig) settle(ctx context.Context, id int64) error {
	select {
	case <-r.rests:
		return r.mon.Settle(ctx, id)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clocks returns the clocks on a picture by conversation.
func clocks(p *monitor.Picture) map[int64]sla.Clock {
	m := map[int64]sla.Clock{}
	for _, l := range p.Board.List(start, func(sla.Listed) bool { return true }) {
		m[l.ID] = l.Clock
	}
	return m
}
