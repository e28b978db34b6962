// Package apptest starts the daemon against a simulated Chatwoot, for tests.
package apptest

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// Token is the access token that the daemon has been given.
const Token = "EXAMPLE-token-that-must-not-be-printed"

// Daemon is an App that watches a simulated Chatwoot.
type Daemon struct {
	Sim       *chatwootsim.Server
	URL       string // of the main listener, without a slash at its end
	Webhooks  string // address at which webhooks are received
	Chatwoot  string // address of the simulated Chatwoot
	Artifacts string // folder
	Log       *Log
	Config    config.Config // for what works beside the daemon

	t      testing.TB
	loaded *config.Loaded
	clock  clock
	stop   func() error
}

// Log is what a Daemon has said, also while it runs.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Start runs a Daemon until the test ends. Settings are NAME=value.
func Start(t testing.TB, settings ...string) *Daemon {
	t.Helper()
	return start(t, clock{}, func(*chatwootsim.Server) {}, settings)
}

// StartFast is Start where time, Chatwoot's and the daemon's, begins at an
// instant and passes so many times as fast.
func StartFast(t testing.TB, at time.Time, speed float64, settings ...string) *Daemon {
	t.Helper()
	c := chatwootsim.NewClock(at, speed)
	return start(t, clock{c.Now, c.After}, func(*chatwootsim.Server) {}, settings)
}

// StartAt is Start by another clock, Chatwoot's and the daemon's.
func StartAt(t testing.TB, now func() time.Time, settings ...string) *Daemon {
	t.Helper()
	return start(t, clock{now: now}, func(*chatwootsim.Server) {}, settings)
}

// StartBy is StartWith by a clock that the test moves, Chatwoot's and the
// daemon's.
func StartBy(t testing.TB, c *chatwootsim.ManualClock, prepare func(*chatwootsim.Server), settings ...string) *Daemon {
	t.Helper()
	return start(t, clock{c.Now, c.After}, prepare, settings)
}

// StartWith runs a Daemon that finds what prepare has put into Chatwoot.
func StartWith(t testing.TB, prepare func(*chatwootsim.Server), settings ...string) *Daemon {
	t.Helper()
	return start(t, clock{}, prepare, settings)
}

// clock is time for Chatwoot and the daemon; what is nil is this machine's.
type clock struct {
	now   func() time.Time
	after func(time.Duration) <-chan time.Time
}

func start(t testing.TB, c clock, prepare func(*chatwootsim.Server), settings []string) *Daemon {
	t.Helper()
	d := &Daemon{t: t, Artifacts: t.TempDir(), Log: &Log{}, clock: c}
	d.Sim = chatwootsim.New(chatwootsim.Options{Token: Token, NoThrottle: true, Now: c.now, After: c.after})
	prepare(d.Sim)
	server := httptest.NewServer(d.Sim)
	d.Chatwoot = server.URL
	var planned []string
	if time.Since(d.Now()).Abs() < time.Hour {
		// The default would hold work back whenever a test runs in its window. This
		// one is four days ahead, beyond the notice, and has been three days ago.
		day := time.Now().UTC().AddDate(0, 0, 4).Weekday().String()
		planned = []string{"MAINTENANCE_RRULE=FREQ=WEEKLY;BYHOUR=12;BYDAY=" + strings.ToUpper(day[:2])}
	}
	loaded, err := config.Load(config.Options{Environ: append([]string{
		"CHATWOOT_BASE_URL=" + server.URL,
		"CHATWOOT_TOKEN=" + Token,
		"CHATWOOT_ACCOUNT_ID=" + strconv.Itoa(chatwootsim.DemoAccountID),
		"LISTEN_ADDR=127.0.0.1:0",
		"WEBHOOK_LISTEN_ADDR=127.0.0.1:0",
		"ARTIFACTS_DIR=" + d.Artifacts,
		"DATA_DIR=" + t.TempDir(),
		"POLL_INTERVAL=5s",
		"HEALTH_INTERVAL=10s",
		"SHUTDOWN_TIMEOUT=2m", // of many commits, on a disk that may be slow
	}, append(planned, settings...)...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Close()
		d.Sim.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	d.loaded, d.Config = loaded, loaded.Config
	d.run()
	return d
}

// Now returns the time by the daemon's clock.
func (d *Daemon) Now() time.Time {
	if d.clock.now == nil {
		return time.Now()
	}
	return d.clock.now()
}

// Again runs another Daemon with the same settings, database and Chatwoot. On
// SQLite the first one has to be stopped before.
func (d *Daemon) Again() *Daemon {
	d.t.Helper()
	again := *d
	again.Log = &Log{}
	again.run()
	return &again
}

func (d *Daemon) run() {
	t := d.t
	t.Helper()
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(d.Log), zap.DebugLevel))
	a, err := app.New(app.Options{Config: d.Config, Settings: d.loaded.Settings(), Version: "test", Logger: log, Now: d.clock.now, After: d.clock.after})
	if err != nil {
		t.Fatal(err)
	}
	d.URL = "http://" + a.Addr().String()
	d.Webhooks = "http://" + a.WebhookAddr().String() + webhook.Path
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	d.stop = func() error {
		cancel()
		d.stop = func() error { return nil }
		return <-done
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// EveryLevel prepares one waiting customer at each level of an SLA of 30
// minutes. They stay there for at least four and a half minutes.
func EveryLevel(sim *chatwootsim.Server) {
	inbox, now := sim.Inboxes()[0], time.Now()
	for _, waited := range []time.Duration{time.Minute, 16 * time.Minute, 25*time.Minute + 10*time.Second, 31 * time.Minute} {
		sim.CustomerOpens(now.Add(-waited), inbox, "")
	}
}

// Stop ends the daemon, if it runs, and returns what its Run returned.
func (d *Daemon) Stop() error { return d.stop() }

// Get returns the body that path answers with, whatever the status.
func (d *Daemon) Get(path string) string {
	d.t.Helper()
	resp, err := http.Get(d.URL + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		d.t.Fatal(err)
	}
	return body.String()
}

// Await asks path until its answer matches the pattern, and returns it.
func (d *Daemon) Await(path, pattern string) string {
	d.t.Helper()
	want := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		body := d.Get(path)
		if want.MatchString(body) {
			return body
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s does not come to match %s:\n%s", path, pattern, body)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-d.t.Context().Done():
		}
	}
}

var probes = regexp.MustCompile(`(?m)^chatwoot_sla_probes_total\{.*`)

// BetweenChecks waits for the end of a daemon's health check. All probes of the
// next one see what changes then.
func BetweenChecks(t testing.TB, daemon string) {
	t.Helper()
	counted := func() string {
		_, body := Ask(t, http.MethodGet, daemon+"/metrics", "", nil)
		return string(bytes.Join(probes.FindAll(body, -1), nil))
	}
	was := counted()
	Until(t, "a health check ends", func() bool { return counted() != was })
}
