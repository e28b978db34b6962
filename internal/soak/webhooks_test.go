package soak

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/queue"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

const (
	hookSecret    = "EXAMPLE-webhook-secret-not-real"
	forwardSecret = "EXAMPLE-forward-secret-not-real"

	senders  = 32
	perLife  = 500 // deliveries that are sent to one process, at most
	openRows = 40  // conversations that the deliveries tell of
)

// message is one webhook: a customer has written.
func message(id int64) []byte {
	return fmt.Appendf(nil, `{"event":"message_created","id":%d,"message_type":"incoming","private":false,"content":"Message %d. %s",`+
		`"created_at":"2026-06-22T09:16:02.417Z","conversation":{"id":%d,"status":"open","created_at":1782119581},"account":{"id":%d}}`,
		id, id, strings.Repeat("Where is my parcel? ", 20), id%openRows+1, chatwootsim.DemoAccountID)
}

// key is what the other service knows the message by.
func key(id int64) string {
	return fmt.Sprintf("%d/message_created/%d", chatwootsim.DemoAccountID, id)
}

// courier delivers messages, and remembers which of them were acknowledged.
type courier struct {
	t      *testing.T
	client *http.Client

	mu           sync.Mutex
	next         int64
	acknowledged []int64
	unsure       []int64 // were sent, and never answered
}

// post sends a message and returns what the answer says of it; an error means
// that there was none.
func (c *courier) post(address string, id int64, attempt string) (status string, err error) {
	body, now := message(id), time.Now()
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(string(body)))
	if err != nil {
		return "", err
	}
	req.Header.Set(webhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(webhook.HeaderSignature, webhook.Sign(hookSecret, now, body))
	req.Header.Set(webhook.HeaderDelivery, attempt)
	resp, err := c.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var said struct{ Status string }
	if err := json.Unmarshal(text, &said); err != nil {
		return "", fmt.Errorf("%s: %w", text, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, text)
	}
	return said.Status, nil
}

// acknowledges returns how many messages were acknowledged.
func (c *courier) acknowledges() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acknowledged)
}

// deliver sends new messages from many sides at once until there have been
// perLife, or the daemon is gone; then it closes sent.
func (c *courier) deliver(d *daemon) (sent <-chan struct{}) {
	left := make(chan struct{}, perLife)
	for range perLife {
		left <- struct{}{}
	}
	close(left)
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range left {
				select {
				case <-d.ended:
					return
				default:
				}
				c.mu.Lock()
				c.next++
				id := c.next
				c.mu.Unlock()
				status, err := c.post(d.webhooks, id, fmt.Sprint("first-", id))
				c.mu.Lock()
				switch {
				case err != nil:
					c.unsure = append(c.unsure, id)
				case status != "accepted":
					c.t.Errorf("a new message is answered %q", status)
				default:
					c.acknowledged = append(c.acknowledged, id)
				}
				c.mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
	}()
	return done
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// until lets the daemon work until something holds.
func (d *daemon) until(holds func() bool) {
	d.t.Helper()
	enough := time.Now().Add(limit)
	for !holds() {
		d.runs(time.Millisecond)
		if time.Now().After(enough) {
			d.t.Fatalf("nothing happens within %v:\n%s", limit, d.said())
		}
	}
}

// finishes lets the daemon work until nothing is left of messages that were not
// forwarded and jobs that are not done, however long that takes.
func (d *daemon) finishes(left func() (int, error)) {
	d.t.Helper()
	least, since := -1, time.Now()
	for {
		n, err := left()
		switch {
		case err == nil && n == 0:
			return
		case err == nil && (least < 0 || n < least):
			least, since = n, time.Now()
		case time.Since(since) > limit:
			d.t.Fatalf("%d messages and jobs are left, and none is done within %v (%v):\n%s", n, limit, err, d.said())
		}
		d.runs(50 * time.Millisecond)
	}
}

// repeat sends again some of what was acknowledged, which must be known, and
// every other message that was never answered.
func (c *courier) repeat(d *daemon, rng *rand.Rand) {
	c.t.Helper()
	again := func(id int64, attempt string) (status string) {
		await(c.t, "an answer to a repeated delivery", func() (err error) {
			status, err = c.post(d.webhooks, id, attempt)
			return err
		})
		return status
	}
	for i := range min(50, len(c.acknowledged)) {
		id := c.acknowledged[rng.IntN(len(c.acknowledged))]
		attempt := fmt.Sprint("first-", id)
		if i%2 == 0 {
			attempt = fmt.Sprintf("again-%d-%d", id, d.cmd.Process.Pid)
		}
		if status := again(id, attempt); status != "duplicate" {
			c.t.Errorf("message %d was acknowledged, and is answered %q when it is repeated", id, status)
		}
	}
	for i, id := range c.unsure {
		if i%2 == 0 {
			again(id, fmt.Sprint("first-", id)) // it may have been kept or not
			c.acknowledged = append(c.acknowledged, id)
		}
	}
	c.unsure = nil
}

// consumer is the other service. It refuses some messages at first.
type consumer struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	refused map[string]bool
	taken   map[string][]string // by key: the lives of the daemon that have brought it
}

func newConsumer(t *testing.T) *consumer {
	c := &consumer{t: t, refused: map[string]bool{}, taken: map[string][]string{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *consumer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the daemon was killed as it wrote
	}
	k := r.Header.Get(webhook.HeaderDelivery)
	id, err := strconv.ParseInt(k[strings.LastIndex(k, "/")+1:], 10, 64)
	if err != nil || k != key(id) || string(body) != string(message(id)) {
		c.t.Errorf("%q brings %s", k, body)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if id%20 == 0 && !c.refused[k] {
		c.refused[k] = true
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	c.taken[k] = append(c.taken[k], r.URL.Path)
}

// takes returns how many messages were taken, counting each once.
func (c *consumer) takes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.taken)
}

// However often the daemon is killed, and whatever it is doing then: each
// delivery that it has acknowledged is processed, is known when it is repeated,
// and reaches the other service again only if the process that sent it died.
func TestKilledDaemonProcessesWhatItAcknowledged(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		killUnderWebhooks(t, store.Options{DataDir: t.TempDir()}, queue.Engine{})
	})
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		killUnderWebhooks(t, store.Options{DatabaseURL: pgtest.Database(t)}, queue.Engine{Postgres: true, Schema: store.Schema})
	})
}

func killUnderWebhooks(t *testing.T, database store.Options, engine queue.Engine) {
	rng := moments(t)
	sim := chatwootsim.New(chatwootsim.Options{NoThrottle: true})
	sim.Fill(openRows, time.Now())
	chatwoot := httptest.NewServer(sim)
	t.Cleanup(func() {
		chatwoot.Close()
		sim.Close()
	})
	sends := &courier{t: t, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}}
	t.Cleanup(sends.client.CloseIdleConnections)
	takes := newConsumer(t)
	dir := t.TempDir()
	life := 0
	run := func() *daemon {
		life++
		return start(t, chatwoot.URL, dir, "CHATWOOT_WEBHOOK_SECRET="+hookSecret, "CHATWOOT_SLA_MINUTES=30", "SLA_WARNING_MINUTES=15", "SLA_URGENT_MINUTES=5",
			"WEBHOOK_FORWARD_URL="+takes.URL+"/life/"+strconv.Itoa(life), "WEBHOOK_FORWARD_SECRET="+forwardSecret,
			"DATA_DIR="+database.DataDir, "DATABASE_URL="+database.DatabaseURL)
	}
	for round := range *kills {
		d := run()
		if round%4 != 3 { // else it is killed while it takes over what the last one left
			sends.repeat(d, rng)
		}
		acks, forwards := sends.acknowledges(), takes.takes()
		sent := sends.deliver(d)
		if round%2 == 0 {
			acks += 1 + rng.IntN(perLife)
			d.until(func() bool { return sends.acknowledges() >= acks || closed(sent) })
		} else {
			forwards += 1 + rng.IntN(perLife/2)
			d.until(func() bool { return takes.takes() >= forwards })
		}
		d.runs(upTo(rng, 20*time.Millisecond)) // between this moment and what it leads to
		d.kill()
		<-sent
	}

	last := run()
	sends.repeat(last, rng)
	office := openOffice(t, chatwoot.URL, database, engine)
	last.finishes(func() (int, error) {
		takes.mu.Lock()
		missing := slices.DeleteFunc(slices.Clone(sends.acknowledged), func(id int64) bool { return len(takes.taken[key(id)]) > 0 })
		takes.mu.Unlock()
		jobs, err := office.Count(t.Context(), queue.Selection{})
		return len(missing) + jobs, err
	})

	again := 0
	for k, lives := range takes.taken {
		slices.Sort(lives)
		again += len(lives) - 1
		if len(slices.Compact(slices.Clone(lives))) < len(lives) {
			t.Errorf("%s was forwarded twice by one process: %v", k, lives)
		}
	}
	t.Logf("%d kills; %d acknowledged deliveries were processed, %d of them again after the process that did it died",
		*kills, len(sends.acknowledged), again)
	if len(sends.acknowledged) < 10**kills {
		t.Error("that proves little")
	}
}

// openOffice reads the jobs beside the daemon that works them.
func openOffice(t *testing.T, chatwoot string, database store.Options, engine queue.Engine) *queue.Office {
	t.Helper()
	database.Account = store.Account{Host: strings.TrimPrefix(chatwoot, "http://"), ID: chatwootsim.DemoAccountID}
	r, err := store.OpenReader(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	office, err := queue.NewOffice(engine, r.Database())
	if err != nil {
		t.Fatal(err)
	}
	return office
}
