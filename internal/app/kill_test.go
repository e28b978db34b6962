package app_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
)

// childEnv makes the test's own binary run a daemon, which can be killed.
const childEnv = "CHATWOOT_SLA_TEST_DAEMON"

func runIfChild() {
	if os.Getenv(childEnv) == "" {
		return
	}
	loaded, err := config.Load(config.Options{Environ: os.Environ()})
	if err != nil {
		panic(err)
	}
	a, err := app.New(app.Options{Config: loaded.Config, Version: "test", Logger: zap.NewNop()})
	if err != nil {
		panic(err)
	}
	fmt.Printf("http://%s http://%s/api/webhooks/chatwoot\n", a.Addr(), a.WebhookAddr())
	if err := a.Run(context.Background()); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// process is a daemon in a process of its own.
type process struct {
	cmd         *exec.Cmd
	page, hooks string
}

func startProcess(t *testing.T, environ []string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.CommandContext(t.Context(), exe)}
	p.cmd.Env = append([]string{childEnv + "=1"}, environ...)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &p.page, &p.hooks); err != nil {
		t.Fatal(err)
	}
	apptest.Until(t, "the database is open", func() bool {
		status, _ := apptest.Ask(t, http.MethodGet, p.page+"/api/v1/approvals", apptest.Ada, nil)
		return status == http.StatusOK
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be dead already
	_ = p.cmd.Wait()
}

// trap strikes once it is armed, before or after a request of the daemon is
// served.
type trap struct {
	next   http.Handler
	match  func(r *http.Request, body []byte) bool
	after  bool                // when it was served, and the answer is not on its way yet
	served func(*http.Request) // told of the others; may be nil
	armed  atomic.Bool
	struck chan struct{} // closed when it strikes
	dead   chan struct{} // closed when the daemon is dead
}

func (s *trap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body.Bytes()))
	if !s.match(r, body.Bytes()) || !s.armed.CompareAndSwap(true, false) {
		s.next.ServeHTTP(w, r)
		if s.served != nil {
			s.served(r)
		}
		return
	}
	if s.after {
		s.next.ServeHTTP(httptest.NewRecorder(), r)
	}
	close(s.struck)
	select {
	case <-s.dead:
	case <-r.Context().Done(): // also when a test ends before
	}
}

// set serves a Chatwoot and the services of drafts through the trap, and returns
// the Chatwoot and the environment of a daemon that uses them.
func (s *trap) set(t *testing.T) (sim *chatwootsim.Server, address string, environ []string) {
	t.Helper()
	sim = chatwootsim.New(chatwootsim.Options{Token: apptest.Token, NoThrottle: true})
	t.Cleanup(sim.Close)
	world := http.NewServeMux()
	world.Handle("/", sim)
	world.Handle(chatwootsim.KnowledgePath, &chatwootsim.Assist{})
	world.Handle(chatwootsim.AgentPath, &chatwootsim.Assist{})
	s.next, s.struck, s.dead = world, make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return sim, server.URL, append(apptest.DraftSettings(server.URL),
		"CHATWOOT_BASE_URL="+server.URL, "CHATWOOT_TOKEN="+apptest.Token, fmt.Sprint("CHATWOOT_ACCOUNT_ID=", chatwootsim.DemoAccountID),
		"LISTEN_ADDR=127.0.0.1:0", "WEBHOOK_LISTEN_ADDR=127.0.0.1:0", "ARTIFACTS_DIR="+t.TempDir(), "DATA_DIR="+t.TempDir(), "POLL_INTERVAL=1h", "MAINTENANCE_RRULE=off",
	)
}

// strikes waits until the trap does.
func (s *trap) strikes(t *testing.T) {
	t.Helper()
	select {
	case <-s.struck:
	case <-time.After(time.Minute):
		t.Fatal("the step does not come")
	}
}

// posts matches requests that post a note or a reply.
func posts(private bool) func(*http.Request, []byte) bool {
	return func(r *http.Request, body []byte) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/messages") && bytes.Contains(body, []byte(`"private":true`)) == private
	}
}

// A daemon that is killed at any step loses no message, posts no note twice and
// sends no reply twice.
func TestKilledAtEveryStep(t *testing.T) {
	at := func(path string) func(*http.Request, []byte) bool {
		return func(r *http.Request, _ []byte) bool { return r.URL.Path == path }
	}
	reads := func(query string) func(*http.Request, []byte) bool {
		return func(r *http.Request, _ []byte) bool {
			return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/messages") && strings.Contains(r.URL.RawQuery, query)
		}
	}
	tests := []struct {
		name    string
		match   func(*http.Request, []byte) bool
		after   bool
		approve bool   // the trap is set when the item has been approved
		state   string // that the item comes to
		replies int
	}{
		{name: "as the conversation is read", match: reads("filter_internal_messages"), state: "pending"},
		{name: "as the knowledge base is asked", match: at(chatwootsim.KnowledgePath), state: "pending"},
		{name: "as the draft is asked for", match: at(chatwootsim.AgentPath), state: "pending"},
		{name: "when the draft was made", match: at(chatwootsim.AgentPath), after: true, state: "pending"},
		{name: "as the note is looked for", match: reads("after="), state: "pending"},
		{name: "before the note is posted", match: posts(true), state: "pending"},
		{name: "when the note was posted", match: posts(true), after: true, state: "pending"},
		{name: "as an answer is looked for", match: reads("after="), approve: true, state: "sent", replies: 1},
		{name: "before the reply is sent", match: posts(false), approve: true, state: "unknown"},
		{name: "when the reply was sent", match: posts(false), after: true, approve: true, state: "sent", replies: 1},
	}
	for _, engine := range []string{"SQLite", "Postgres"} {
		for _, tt := range tests {
			if engine == "Postgres" && !tt.after {
				continue // rescues take half a minute there; the steps are the same
			}
			t.Run(engine+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				mine := &trap{match: tt.match, after: tt.after}
				sim, address, environ := mine.set(t)
				if engine == "Postgres" {
					environ = append(environ, "DATABASE_URL="+pgtest.Database(t))
				}
				client := apptest.Client(t, address)
				p := startProcess(t, environ)
				defer func() { p.kill() }()
				sim.Subscribe(chatwootsim.Webhook{URL: p.hooks, Secret: apptest.WebhookSecret})

				mine.armed.Store(!tt.approve)
				conversation := sim.CustomerOpens(time.Now(), sim.Inboxes()[0], question)
				if tt.approve {
					var items []apptest.Approval
					apptest.Until(t, "the item", func() bool {
						items = apptest.Approvals(t, p.page, conversation)
						return len(items) == 1
					})
					mine.armed.Store(true)
					path := fmt.Sprint(p.page, "/api/v1/approvals/", items[0].ID)
					if status, answer := apptest.Ask(t, http.MethodPost, path, apptest.Ada, map[string]string{"action": "approve"}); status != http.StatusOK {
						t.Fatalf("%d %s", status, answer)
					}
				}
				mine.strikes(t)
				p.kill()
				close(mine.dead)

				p = startProcess(t, environ)
				var items []apptest.Approval
				apptest.Until(t, "the item is "+tt.state, func() bool {
					items = apptest.Approvals(t, p.page, conversation)
					return len(items) == 1 && items[0].State == tt.state
				})
				all := apptest.Messages(t, client, conversation)
				replies := 0
				for _, m := range all {
					if m.Human() {
						replies++
					}
				}
				if notes := apptest.Notes(all); len(notes) != 1 || replies != tt.replies || items[0].NoteID != notes[0].ID {
					t.Errorf("%d notes and %d replies, want 1 and %d; the item is %+v", len(notes), replies, tt.replies, items[0])
				}
				if tt.state == "unknown" {
					path := fmt.Sprint(p.page, "/api/v1/approvals/", items[0].ID)
					if status, answer := apptest.Ask(t, http.MethodPost, path, apptest.Ada, map[string]string{"action": "settle"}); status != http.StatusOK {
						t.Errorf("%d %s", status, answer)
					}
				}
			})
		}
	}
}

// Chatwoot has a reply, and takes its time to say so: what else waits in the
// conversation is neither cancelled nor held up.
func TestAReplyThatIsNotConfirmedYetAnswersOneMessage(t *testing.T) {
	looked := make(chan struct{}, 100)
	mine := &trap{match: posts(false), after: true}
	mine.served = func(r *http.Request) {
		if r.Method != http.MethodGet || !r.URL.Query().Has("after") {
			return
		}
		select {
		case <-mine.struck:
			looked <- struct{}{}
		default:
		}
	}
	sim, address, environ := mine.set(t)
	p := startProcess(t, append(environ, "POLL_INTERVAL=5s"))
	defer func() { p.kill() }()
	sim.Subscribe(chatwootsim.Webhook{URL: p.hooks, Secret: apptest.WebhookSecret})
	conversation := sim.CustomerOpens(time.Now(), sim.Inboxes()[0], question)
	sim.CustomerWrites(time.Now(), conversation, "Also, can I get an invoice?")
	items := func(state string) (found []apptest.Approval) {
		for _, it := range apptest.Approvals(t, p.page, conversation) {
			if it.State == state {
				found = append(found, it)
			}
		}
		return found
	}
	approve := func(it apptest.Approval) {
		t.Helper()
		path := fmt.Sprint(p.page, "/api/v1/approvals/", it.ID)
		if status, answer := apptest.Ask(t, http.MethodPost, path, apptest.Ada, map[string]string{"action": "approve"}); status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
	}
	apptest.Until(t, "two items", func() bool { return len(items("pending")) == 2 })
	pending := items("pending")

	mine.armed.Store(true)
	approve(pending[0])
	mine.strikes(t)
	select { // the daemon sees that the conversation has changed
	case <-looked:
	case <-time.After(time.Minute):
		t.Fatal("nobody looks for an answer")
	}
	approve(pending[1])
	apptest.Until(t, "the other reply is sent", func() bool { return len(items("sent")) > 0 })
	if len(items("sending")) != 1 || len(items("cancelled")) > 0 {
		t.Errorf("the items are %+v", apptest.Approvals(t, p.page, conversation))
	}
	close(mine.dead)
	apptest.Until(t, "both replies are sent", func() bool { return len(items("sent")) == 2 })
	replies := 0
	for _, m := range apptest.Messages(t, apptest.Client(t, address), conversation) {
		if m.Human() {
			replies++
		}
	}
	if replies != 2 {
		t.Errorf("%d replies were sent, want 2", replies)
	}
}
