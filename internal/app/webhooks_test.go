package app_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/queue"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

const (
	hookSecret    = "EXAMPLE-webhook-secret-not-real"
	forwardSecret = "EXAMPLE-forward-secret-not-real"
)

// consumer is the other service that webhooks are forwarded to.
type consumer struct {
	*httptest.Server
	t   *testing.T
	now func() time.Time // by which time stamps are judged

	mu     sync.Mutex
	status int // 0: 200
	got    map[string]int
	bodies map[string]string
}

func newConsumer(t *testing.T) *consumer {
	c := &consumer{t: t, now: time.Now, got: map[string]int{}, bodies: map[string]string{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *consumer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
	}
	x := webhook.Explain(webhook.Evidence{
		Form: webhook.Timestamped, Secrets: []string{forwardSecret}, Body: body, At: c.now(),
		Timestamp: r.Header.Get(webhook.HeaderTimestamp), Signature: r.Header.Get(webhook.HeaderSignature),
	})
	if !x.Accepted {
		c.t.Errorf("a forwarded webhook is not signed: %+v", x)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != 0 {
		w.WriteHeader(c.status)
		return
	}
	key := r.Header.Get(webhook.HeaderDelivery)
	c.got[key]++
	c.bodies[key] = string(body)
}

func (c *consumer) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// keys returns how often each delivery came.
func (c *consumer) keys() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.got)
}

func (c *consumer) settings() []string {
	return []string{"WEBHOOK_FORWARD_URL=" + c.URL, "WEBHOOK_FORWARD_SECRET=" + forwardSecret}
}

// listening starts a daemon that the simulated Chatwoot tells of everything, and
// waits for its database: what comes before may be lost.
func listening(t *testing.T, settings ...string) *apptest.Daemon {
	t.Helper()
	d := apptest.Start(t, append([]string{"CHATWOOT_WEBHOOK_SECRET=" + hookSecret}, settings...)...)
	d.Await("/metrics", `chatwoot_sla_queue_jobs`)
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: hookSecret, Subscriptions: webhook.Subscriptions})
	return d
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	// What came in a webhook that is lost takes a minute and a half to be found.
	if !within(3*time.Minute, holds) {
		t.Fatalf("not within three minutes: %s", what)
	}
}

// within reports whether something comes to hold in a time.
func within(limit time.Duration, holds func() bool) bool {
	enough := time.After(limit)
	for !holds() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-enough:
			return false
		}
	}
	return true
}

// With polls an hour apart, what is known at once was brought by webhooks.
func TestWebhooksReachTheBoardTheLedgerAndTheOtherService(t *testing.T) {
	c := newConsumer(t)
	d := listening(t, append(c.settings(), "POLL_INTERVAL=1h")...)
	d.Await("/api/v1/status", `"synced_at"`)
	d.Await("/metrics", `chatwoot_sla_ledger_unwritten_conversations 0`)

	inbox := d.Sim.Inboxes()[0]
	conv := d.Sim.CustomerOpens(time.Now(), inbox, "My parcel is lost.")
	d.Await("/metrics", `chatwoot_sla_waiting_conversations\{inbox="\d+",level="normal"\} 1`)
	d.Sim.Flush() // a webhook tells how things stand when it is sent
	d.Sim.AgentReplies(time.Now(), conv)
	d.Sim.SetStatus(time.Now(), conv, "resolved")
	d.Await("/metrics", `chatwoot_sla_first_response_outcomes\{outcome="met",window="1h"\} 1`)

	eventually(t, "the message and the resolution are forwarded", func() bool { return len(c.keys()) == 2 })
	for key, body := range c.bodies {
		var said struct{ Event, Content string }
		if err := json.Unmarshal([]byte(body), &said); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%d/%s/", chatwootsim.DemoAccountID, said.Event); !strings.HasPrefix(key, want) {
			t.Errorf("a %s has the key %q", said.Event, key)
		}
		if said.Event == "message_created" && said.Content != "My parcel is lost." {
			t.Errorf("the message arrived as %q", body)
		}
	}
	for _, line := range []string{ // a job is done some time after others see what it did
		`chatwoot_sla_stage_attempts_total{result="done",stage="settle"} 2`,
		`chatwoot_sla_webhook_requests_total{event="message_created",result="accepted"} 1`,
		`chatwoot_sla_webhook_requests_total{event="conversation_status_changed",result="accepted"} 1`,
		`chatwoot_sla_stage_attempts_total{result="done",stage="forward"} 2`,
	} {
		d.Await("/metrics", regexp.QuoteMeta(line))
	}
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{hookSecret, forwardSecret, "parcel"} {
		if strings.Contains(d.Log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// Chatwoot tells things twice and out of order; the other service must not
// notice.
func TestDoubledWebhooksAreProcessedOnce(t *testing.T) {
	c := newConsumer(t)
	d := listening(t, c.settings()...)
	d.Await("/api/v1/status", `"synced_at"`)
	d.Sim.WebhookFaults(chatwootsim.WebhookFaults{Duplicate: 1, Reorder: 0.5})
	inbox := d.Sim.Inboxes()[0]
	const conversations = 20
	for range conversations {
		conv := d.Sim.CustomerOpens(time.Now(), inbox, "")
		d.Sim.CustomerWrites(time.Now(), conv, "Hello?")
	}
	d.Sim.Flush()
	eventually(t, "all messages are forwarded", func() bool { return len(c.keys()) == 2*conversations })
	d.Await("/metrics", fmt.Sprintf(`chatwoot_sla_stage_attempts_total\{result="done",stage="settle"\} %d`, 2*conversations))
	for key, n := range c.keys() {
		if n != 1 {
			t.Errorf("%s was forwarded %d times", key, n)
		}
	}
}

// Each time that a conversation is resolved is another, also when it was reopened
// and the daemon has forgotten that, or never heard of it.
func TestEveryResolutionIsForwarded(t *testing.T) {
	c := newConsumer(t)
	d := listening(t, append(c.settings(), "POLL_INTERVAL=1h")...)
	conv := d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], "")
	d.Sim.Flush() // a webhook tells how things stand when it is sent
	d.Sim.SetStatus(time.Now(), conv, "resolved")
	eventually(t, "the message and the resolution are forwarded", func() bool { return len(c.keys()) == 2 })
	d.Sim.SetStatus(time.Now(), conv, "open")
	d.Sim.Flush()
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	d = d.Again()
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: hookSecret, Subscriptions: webhook.Subscriptions})
	d.Await("/metrics", `chatwoot_sla_queue_jobs`)
	d.Sim.SetStatus(time.Now(), conv, "resolved")
	eventually(t, "the second resolution is forwarded", func() bool { return len(c.keys()) == 3 })
}

// What the other service refuses waits, is given up, and is tried again when
// somebody asks for it.
func TestTheQueueOverHTTP(t *testing.T) {
	const token = "EXAMPLE-api-token-of-somebody"
	c := newConsumer(t)
	d := listening(t, append(c.settings(), "API_TOKENS=morgan:"+token)...)
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		var in any
		if body != "" {
			in = json.RawMessage(body)
		}
		code, text := apptest.Ask(t, method, d.URL+path, token, in)
		return code, string(text)
	}
	var list struct {
		Counts []struct {
			Stage, State string
			Jobs         int
		}
		Jobs []struct {
			ID                   int64
			Stage, State, Reason string
			Error                string
			Failures             int
		}
		Total    int
		Services []struct{ Stage string }
	}
	dead := func() bool {
		code, text := ask("GET", "/api/v1/queue?dead=true", "")
		if code != 200 {
			t.Fatalf("%d %s", code, text)
		}
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Jobs) > 0
	}

	c.answer(http.StatusUnprocessableEntity)
	d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], "My parcel is lost.")
	eventually(t, "it is given up", dead)
	job := list.Jobs[0]
	if job.Stage != "forward" || job.State != "dead" || job.Reason != "failed" || job.Failures != 5 || !strings.Contains(job.Error, "HTTP 422") {
		t.Errorf("the dead letter is %+v", job)
	}
	if list.Total != 1 || len(list.Services) != 2 {
		t.Errorf("%d are selected, the services are %v", list.Total, list.Services)
	}
	if code, text := ask("GET", "/api/v1/queue", ""); code != 200 || !strings.Contains(text, `"jobs": []`) {
		t.Errorf("what waits: %d %s", code, text)
	}
	if code, text := ask("GET", "/api/v1/queue?stage=froward", ""); code != 400 || !strings.Contains(text, "settle, forward") {
		t.Errorf("a stage that is not there: %d %s", code, text)
	}
	if len(list.Counts) != 8 {
		t.Errorf("the counts are %+v", list.Counts)
	}
	if code, text := ask("GET", fmt.Sprint("/api/v1/queue/", job.ID), ""); code != 200 || strings.Count(text, "HTTP 422") < 5 || strings.Contains(text, "parcel") {
		t.Errorf("shown: %d %s", code, text)
	}
	if code, text := ask("POST", "/api/v1/queue/retry", ""); code != 400 || !strings.Contains(text, `{\"all\":true}`) {
		t.Errorf("retrying nothing: %d %s", code, text)
	}
	if code, text := ask("GET", "/api/v1/queue/424242", ""); code != 404 {
		t.Errorf("a job that is not there: %d %s", code, text)
	}

	c.answer(0)
	if code, text := ask("POST", "/api/v1/queue/retry", fmt.Sprintf(`{"ids":[%d]}`, job.ID)); code != 200 || !strings.Contains(text, `"retried": 1`) {
		t.Fatalf("retried: %d %s", code, text)
	}
	eventually(t, "it is forwarded", func() bool { return len(c.keys()) == 1 })
	if dead() {
		t.Errorf("dead are still %+v", list.Jobs)
	}

	c.answer(http.StatusUnprocessableEntity)
	d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], "")
	eventually(t, "another is given up", dead)
	if code, text := ask("POST", "/api/v1/queue/purge", `{"all":true}`); code != 200 || !strings.Contains(text, `"purged": 1`) {
		t.Errorf("purged: %d %s", code, text)
	}
	req, err := http.Get(d.URL + "/api/v1/queue")
	if err != nil {
		t.Fatal(err)
	}
	defer req.Body.Close()
	if req.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger gets %d", req.StatusCode)
	}
}

// leftover is a job as the daemon has it, of a stage that it may not have now.
type leftover struct {
	Key  string `json:"key"`
	Body string `json:"body"`
}

func (leftover) Kind() string { return "forward" }

// changeBooks changes the database of a daemon that is stopped.
func changeBooks(t *testing.T, d *apptest.Daemon, change func(*sql.DB) error) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{DataDir: d.Config.DataDir, Account: store.Account{Host: d.Config.BaseURL.Host, ID: d.Config.AccountID}})
	if err == nil {
		err = errors.Join(change(db.Writer()), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What was to be done when more was switched on is known, and can be forgotten;
// what only the database is needed for is done.
func TestJobsOfWhatIsSwitchedOff(t *testing.T) {
	const token = "EXAMPLE-api-token-of-somebody"
	d := listening(t, "API_TOKENS=morgan:"+token)
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	handlers := queue.NewHandlers()
	queue.Handle(handlers, "forward", func(context.Context, queue.Job[leftover]) error { return nil })
	queue.Handle(handlers, "settle", func(context.Context, queue.Job[pipeline.CancelJob]) error { return nil })
	q, err := queue.New(queue.Options{Handlers: handlers, Stages: []queue.Stage{{Name: "forward", Workers: 1}, {Name: "settle", Workers: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	changeBooks(t, d, func(db *sql.DB) error {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			return err
		}
		return errors.Join(q.InsertTx(t.Context(), tx, leftover{}, leftover{}, pipeline.CancelJob{Conversation: 1, At: time.Now()}), tx.Commit())
	})

	d = d.Again()
	d.Await("/metrics", `chatwoot_sla_stage_attempts_total\{result="done",stage="settle"\} 1`)
	eventually(t, "it is logged", func() bool { return strings.Contains(d.Log.String(), `jobs wait for a stage that is off`) })
	code, text := apptest.Ask(t, http.MethodPost, d.URL+"/api/v1/queue/purge", token, map[string]any{"stage": "forward", "waiting": true})
	if code != http.StatusOK || !strings.Contains(string(text), `"purged": 2`) {
		t.Errorf("purged: %d %s", code, text)
	}
}

// A queue that does not start is what somebody must be called for, so what it
// leaves undone is counted.
func TestJobsAreCountedWhileTheQueueDoesNotStart(t *testing.T) {
	d := listening(t)
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	changeBooks(t, d, func(db *sql.DB) error { // a job that was in hand cannot be taken over
		_, err := db.ExecContext(t.Context(), `
			INSERT INTO river_job (args, kind, max_attempts, queue, state) VALUES
				('{}', 'settle', 25, 'settle', 'running'), ('{}', 'settle', 25, 'settle', 'available');
			CREATE TRIGGER broken BEFORE UPDATE ON river_job BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END`)
		return err
	})
	d = d.Again()
	d.Await("/metrics", `chatwoot_sla_queue_jobs\{queue="settle",state="ready"\} 1`)
	eventually(t, "it is logged", func() bool { return strings.Contains(d.Log.String(), "jobs are not worked; it is tried again") })
}

// Two replicas that hear of the same event process it once.
func TestReplicasShareTheInbox(t *testing.T) {
	c := newConsumer(t)
	database := "DATABASE_URL=" + pgtest.Database(t)
	a := listening(t, append(c.settings(), database)...)
	b := listening(t, append(c.settings(), database, "CHATWOOT_BASE_URL="+a.Chatwoot)...)
	body := `{"event":"message_created","id":91004,"message_type":"incoming","private":false,"content":"x","created_at":"2026-06-22T09:16:02.417Z",` +
		`"conversation":{"id":1482,"status":"open","created_at":1782119581},"account":{"id":` + fmt.Sprint(chatwootsim.DemoAccountID) + `}}`
	said := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 40 {
		to := []*apptest.Daemon{a, b}[i%2]
		wg.Go(func() {
			now := time.Now()
			req, err := http.NewRequest(http.MethodPost, to.Webhooks, strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set(webhook.HeaderTimestamp, fmt.Sprint(now.Unix()))
			req.Header.Set(webhook.HeaderSignature, webhook.Sign(hookSecret, now, []byte(body)))
			req.Header.Set(webhook.HeaderDelivery, fmt.Sprint("delivery-", i))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			var answer struct{ Status string }
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			said[answer.Status]++
		})
	}
	wg.Wait()
	if said["accepted"] != 1 || said["duplicate"] != 39 {
		t.Errorf("the answers are %v", said)
	}
	eventually(t, "it is forwarded", func() bool { return len(c.keys()) == 1 })
	for key, n := range c.keys() {
		if n != 1 {
			t.Errorf("%s was forwarded %d times", key, n)
		}
	}
}
