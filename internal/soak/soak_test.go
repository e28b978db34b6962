// Package soak kills the daemon at any moment, again and again, and holds what
// it has kept and done to what really happened.
package soak

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/ledger/ledgertest"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

var (
	kills = flag.Int("kills", 5, "how often each test kills the daemon")
	seed  = flag.Uint64("seed", 0, "of the moments at which it does; 0: another one each time")
)

const (
	// The shortest promise there is, so that clocks run out while the test does.
	promise = time.Minute

	// limit is how long anything may take before the test calls it a hang.
	limit = 3 * time.Minute

	// nothing but the hand-off itself happens to a conversation for so long
	// after its hand-off, so a daemon that was away for less can date it.
	quiet = 15 * time.Second
)

var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "chatwoot-sla-soak-")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "chatwoot-sla")
	out, err := exec.Command("go", "build", "-o", name, "github.com/hotdash/chatwoot-sla/cmd/chatwoot-sla").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return name, nil
})

func TestMain(m *testing.M) {
	status := pgtest.Main(m)
	if name, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(name))
	}
	os.Exit(status)
}

// helpdesk is a simulated Chatwoot in real time, with hours of history and
// customer every other second.
type helpdesk struct {
	sim      *chatwootsim.Server
	scene    *chatwootsim.Scene
	url      string
	requests atomic.Int64
	arrived  chan struct{} // a request has
}

func openHelpdesk(t *testing.T, seed uint64) *helpdesk {
	t.Helper()
	h := &helpdesk{arrived: make(chan struct{}, 1)}
	h.sim = chatwootsim.New(chatwootsim.Options{Seed: seed, NoThrottle: true})
	// Half a minute at least passes before an answer, so with a mean of twenty
	// seconds more, one customer in five waits too long.
	h.sim.Start(chatwootsim.Traffic{ArrivalsPerHour: 2700, CampaignsPerHour: 60, Agents: 400, FirstReply: 20 * time.Second, SlowShare: 0.02})
	h.scene = chatwootsim.NewScene(h.sim, time.Now)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		select {
		case h.arrived <- struct{}{}:
		default:
		}
		h.scene.ServeHTTP(w, r)
	}))
	h.url = server.URL
	t.Cleanup(func() {
		server.Close()
		h.sim.Close()
	})
	return h
}

// hurry adds customers whose conversations are over within seconds, so that
// some of them end whenever no daemon runs, until an instant. None is deleted
// or a bot's: whatever happens to them must be in the ledger.
func (h *helpdesk) hurry(rng *rand.Rand, until time.Time) {
	const perSecond = 3
	seconds := func(from, to float64) time.Duration {
		return time.Duration((from + (to-from)*rng.Float64()) * float64(time.Second))
	}
	inboxes := h.sim.Inboxes()[:3] // those without a bot
	for at := time.Now(); at.Before(until); at = at.Add(seconds(0, 2.0/perSecond)) {
		var id int64
		opened, inbox := at, inboxes[rng.IntN(len(inboxes))]
		then := func(after time.Duration, do func(at time.Time)) { h.scene.At(opened.Add(after), do) }
		replies := func(at time.Time) { h.sim.AgentReplies(at, id) }
		twice := func(at time.Time) { h.sim.TwoRepliesAtOnce(at, id) }
		status := func(name string) func(time.Time) { return func(at time.Time) { h.sim.SetStatus(at, id, name) } }

		then(0, func(at time.Time) { id = h.sim.CustomerOpens(at, inbox, "") })
		answer, gone := seconds(1, 90), seconds(0.2, 4)
		switch rng.IntN(8) {
		case 0, 1, 2: // before or after the deadline
			then(answer, replies)
			then(answer+gone, status("resolved"))
		case 3: // at the deadline
			answer = promise + seconds(-2, 2)
			then(answer, replies)
			then(answer+gone, status("resolved"))
		case 4: // the row does not tell when it was answered
			then(answer, twice)
			then(answer+gone, status("resolved"))
		case 5:
			then(answer, status("resolved"))
		case 6:
			then(seconds(0.5, 1), status("snoozed"))
			then(answer, replies)
		case 7: // never answered
			then(gone, status("snoozed"))
		}
	}
}

// daemon is a process of the built binary.
type daemon struct {
	t        *testing.T
	cmd      *exec.Cmd
	url      string
	webhooks string // the address at which they are received
	ended    chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// start runs "chatwoot-sla serve" on a folder, until it listens.
func start(t *testing.T, chatwoot, dir string, settings ...string) *daemon {
	t.Helper()
	name, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, ended: make(chan struct{})}
	d.cmd = exec.Command(name, "serve")
	d.cmd.Dir = dir
	d.cmd.Env = append(environ(chatwoot, dir), settings...)
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.ended)
		_, _ = io.Copy(d, stderr)
		_ = d.cmd.Wait() // killed
	}()
	t.Cleanup(d.kill)
	listening := regexp.MustCompile(`"listening":"([^"]+)","webhooks":"([^"]+)"`)
	await(t, "the daemon to listen", func() error {
		if m := listening.FindStringSubmatch(d.said()); m != nil {
			d.url, d.webhooks = "http://"+m[1], "http://"+m[2]+webhook.Path
			return nil
		}
		select {
		case <-d.ended:
			t.Fatalf("the daemon ended by itself:\n%s", d.said())
		default:
		}
		return errors.New("it does not")
	})
	return d
}

func environ(chatwoot, dir string) []string {
	return []string{
		"CHATWOOT_BASE_URL=" + chatwoot, "CHATWOOT_TOKEN=" + chatwootsim.DemoToken,
		"CHATWOOT_ACCOUNT_ID=" + strconv.Itoa(chatwootsim.DemoAccountID), "CHATWOOT_REQUESTS_PER_MINUTE=3000",
		"CHATWOOT_SLA_MINUTES=1", "SLA_WARNING_MINUTES=2", "SLA_URGENT_MINUTES=1",
		"POLL_INTERVAL=5s", "HEALTH_INTERVAL=10s", "LISTEN_ADDR=127.0.0.1:0", "WEBHOOK_LISTEN_ADDR=127.0.0.1:0", "MAINTENANCE_RRULE=off",
		"DATA_DIR=" + filepath.Join(dir, "data"), "ARTIFACTS_DIR=" + filepath.Join(dir, "artifacts"),
	}
}

// Write takes in what the process says.
func (d *daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(p)
}

func (d *daemon) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// kill is kill -9.
func (d *daemon) kill() {
	select {
	case <-d.ended:
		return
	default:
	}
	if err := d.cmd.Process.Kill(); err != nil {
		d.t.Error(err)
	}
	<-d.ended
	if status, ok := d.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		d.t.Errorf("the daemon was to be killed, and ended with %v:\n%s", d.cmd.ProcessState, d.said())
	}
}

// fresh waits until the daemon has read everything, and returns when that was.
func (d *daemon) fresh() time.Time {
	d.t.Helper()
	await(d.t, "a first picture", func() error {
		resp, err := http.Get(d.url + "/metrics")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && !bytes.Contains(text, []byte("\nchatwoot_sla_poll_last_success_timestamp_seconds ")) {
			err = errors.New("there is none yet")
		}
		return err
	})
	return time.Now()
}

// runs lets the daemon work for a while, which it must survive.
func (d *daemon) runs(pause time.Duration) {
	d.t.Helper()
	select {
	case <-d.ended:
		d.t.Fatalf("the daemon ended by itself:\n%s", d.said())
	case <-time.After(pause):
	}
}

// pause lets Chatwoot go on while no daemon runs.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

// moments returns what decides when the daemon is killed.
func moments(t *testing.T) *rand.Rand {
	n := *seed
	if n == 0 {
		n = uint64(time.Now().UnixNano())
	}
	t.Logf("to repeat the moments of the kills: -seed %d", n)
	return rand.New(rand.NewPCG(n, 1))
}

func upTo(rng *rand.Rand, d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }

// await asks again and again until there is no error.
func await(t *testing.T, what string, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// watch has the times during which a daemon ran that knew everything.
type watch struct{ spans []span }

type span struct{ from, to time.Time }

// add notes another one.
func (w *watch) add(from, to time.Time) {
	if n := len(w.spans); n > 0 && from.Sub(w.spans[n-1].to) < quiet {
		w.spans[n-1].to = to // what happened in between can still be dated
		return
	}
	w.spans = append(w.spans, span{from, to})
}

// has reports whether what happened at t was seen, and how it stood before: a
// conversation that a bot lets go of must have been seen while the bot had it.
func (w *watch) has(t time.Time) bool {
	return slices.ContainsFunc(w.spans, func(s span) bool { return t.After(s.from.Add(quiet)) && t.Before(s.to.Add(-quiet)) })
}

// However often the daemon is killed, and whatever it is doing then, its ledger
// says in the end what really happened: nothing is missing, nothing is there
// twice and nothing is wrong.
func TestKilledDaemonKeepsTheLedger(t *testing.T) {
	rng := moments(t)
	h := openHelpdesk(t, 7)
	began := time.Now()
	h.hurry(rng, began.Add(time.Minute+time.Duration(*kills)*30*time.Second)) // longer than it takes
	dir := t.TempDir()

	var seen watch
	for round := range *kills {
		if round > 0 {
			pause(t, upTo(rng, 4*time.Second))
		}
		d := start(t, h.url, dir)
		if round%3 == 0 && round > 0 { // while it reads everything, at a request
			last := h.requests.Load() + rng.Int64N(100)
			for h.requests.Load() < last {
				select {
				case <-h.arrived:
				case <-time.After(limit):
					t.Fatalf("no request within %v:\n%s", limit, d.said())
				}
			}
			d.runs(upTo(rng, 20*time.Millisecond)) // between this request and what it leads to
			d.kill()
			continue
		}
		from := d.fresh()
		d.runs(upTo(rng, 12*time.Second)) // any moment at all
		d.kill()
		seen.add(from, time.Now())
	}

	// The clocks that ran when it was killed first have run out by then.
	last := start(t, h.url, dir)
	from := last.fresh()
	until := time.Now()
	if first := began.Add(promise + 10*time.Second); until.Before(first) {
		until = first
	}
	last.runs(time.Until(until))
	h.scene.Advance(until)
	h.sim.Advance(until)
	seen.add(from, until)

	var want ledgertest.Verdicts
	truth := h.sim.Truth()
	await(t, "the ledger to say what happened", func() error {
		// What was deleted meanwhile may have been gone before it was seen.
		deleted := map[int64]time.Time{}
		for _, tr := range h.sim.Truth() {
			deleted[tr.ID] = tr.DeletedAt
		}
		for i := range truth {
			truth[i].DeletedAt = deleted[truth[i].ID]
		}
		want = ledgertest.Judge(truth, promise, until, seen.has)
		got, err := outcomes(t, h, dir)
		if err != nil {
			return err
		}
		if lines := want.Differences(got, time.Time{}); len(lines) > 0 {
			return fmt.Errorf("%d differences:\n%s", len(lines), strings.Join(lines, "\n"))
		}
		return nil
	})
	live := want.Len(began)
	t.Logf("%d kills; %d outcomes are as they must be, %d of them decided meanwhile; met %d, breached %d, excluded %d", *kills,
		want.Len(time.Time{}), live, want.Count(ledger.Met), want.Count(ledger.Breached), want.Count(ledger.Excluded))
	if live < 20 || want.Count(ledger.Met) == 0 || want.Count(ledger.Breached) == 0 || want.Count(ledger.Excluded) == 0 {
		t.Error("that proves little")
	}
}

// outcomes reads the ledger beside the daemon that writes it. One conversation
// has one clock here: nobody comes back after an end without an answer.
func outcomes(t *testing.T, h *helpdesk, dir string) (map[int64]ledgertest.Verdict, error) {
	t.Helper()
	r, err := store.OpenReader(t.Context(), store.Options{
		DataDir: filepath.Join(dir, "data"),
		Account: store.Account{Host: strings.TrimPrefix(h.url, "http://"), ID: chatwootsim.DemoAccountID},
	})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	found := map[int64]ledgertest.Verdict{}
	err = r.Decided(t.Context(), time.Unix(0, 0), time.Now().Add(time.Hour), func(e ledger.Entry) error {
		if old, twice := found[e.Conversation]; twice {
			t.Fatalf("conversation %d has two outcomes: %+v and %+v", e.Conversation, old, e)
		}
		found[e.Conversation] = ledgertest.Verdict{Outcome: e.Outcome, At: e.DecidedAt}
		return nil
	})
	return found, err
}
