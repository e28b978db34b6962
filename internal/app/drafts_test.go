package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/queue"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

func TestAfterFiveAttemptsAPersonIsAsked(t *testing.T) {
	t.Parallel()
	d := apptest.StartDrafting(t)
	d.Assist.Inject(chatwootsim.Fault{Path: chatwootsim.AgentPath, Kind: chatwootsim.FaultHTML})
	conversation := opens(d, question)
	it := d.Item(conversation)
	if it.Draft != "" || it.Problem != string(pipeline.NoDraft) || it.Action != "escalate" {
		t.Errorf("the item is %+v", it)
	}
	if n := len(d.Assist.Received(chatwootsim.AgentPath)); n != 5 {
		t.Errorf("%d attempts, want five", n)
	}
	if status, answer := d.Decide(it.ID, apptest.Ada, map[string]string{"action": "approve"}); status != http.StatusUnprocessableEntity || !strings.Contains(string(answer), "write a reply") {
		t.Errorf("an item without a draft was approved: %d %s", status, answer)
	}
	if status, _ := d.Decide(it.ID, apptest.Ada, map[string]string{"action": "edit", "reply": "It left today."}); status != http.StatusOK {
		t.Errorf("a reply of one's own: %d", status)
	}
	d.ItemIn(conversation, "sent")
}

// While the agent service is down, messages wait for it, and not for ever.
func TestAPersonIsAskedWhenTheAgentServiceIsDown(t *testing.T) {
	for name, settings := range map[string]func(*testing.T) []string{
		"SQLite":   func(*testing.T) []string { return nil },
		"Postgres": func(t *testing.T) []string { return []string{"DATABASE_URL=" + pgtest.Database(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := apptest.StartDrafting(t, settings(t)...)
			up := d.Assist.Inject(chatwootsim.Fault{Path: chatwootsim.AgentPath, Kind: chatwootsim.FaultStatus, Status: http.StatusInternalServerError})
			conversation := opens(d, question)
			d.Await("/metrics", `chatwoot_sla_circuit_open\{stage="draft"\} 1`)
			if items := d.Approvals(conversation); len(items) > 0 {
				t.Fatalf("the message does not wait: %+v", items)
			}
			passes(t, d, 3*time.Minute)
			if it := d.Item(conversation); it.Draft != "" || it.Problem != string(pipeline.NoDraft) || it.Action != "escalate" || it.NoteID == 0 {
				t.Errorf("the item is %+v", it)
			}
			up()
			if it := d.Item(opens(d, question)); it.Draft == "" {
				t.Errorf("the service is back, and the item is %+v", it)
			}
		})
	}
}

// passes makes the jobs older.
func passes(t *testing.T, d *apptest.Drafting, age time.Duration) {
	t.Helper()
	db, err := store.OpenBeside(t.Context(), store.Options{DataDir: d.Config.DataDir, DatabaseURL: d.Config.DatabaseURL.Reveal()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	query := fmt.Sprintf(`UPDATE river_job SET created_at = datetime(created_at, '-%d seconds', 'subsec')`, int(age.Seconds()))
	if d.Config.DatabaseURL.IsSet() {
		query = fmt.Sprintf(`UPDATE %s.river_job SET created_at = created_at - interval '%d seconds'`, store.Schema, int(age.Seconds()))
	}
	if _, err := db.Writer().ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

// However many click, one reply is sent.
func TestOneOfManyDecides(t *testing.T) {
	for name, settings := range map[string]func(*testing.T) []string{
		"SQLite":   func(*testing.T) []string { return nil },
		"Postgres": func(t *testing.T) []string { return []string{"DATABASE_URL=" + pgtest.Database(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			d := apptest.StartDrafting(t, settings(t)...)
			conversation := opens(d, question)
			it := d.Item(conversation)
			var wg sync.WaitGroup
			var mu sync.Mutex
			statuses := map[int]int{}
			for i := range 12 {
				wg.Go(func() {
					token, action := apptest.Ada, "approve"
					if i%2 == 1 {
						token, action = apptest.Tomas, "reject"
					}
					status, _ := d.Decide(it.ID, token, map[string]string{"action": action})
					mu.Lock()
					statuses[status]++
					mu.Unlock()
				})
			}
			wg.Wait()
			if statuses[http.StatusOK] != 1 || statuses[http.StatusConflict] != 11 {
				t.Errorf("the answers are %v", statuses)
			}
			apptest.Until(t, "the item is settled", func() bool {
				it = d.Approvals(conversation)[0]
				return it.State == "sent" || it.State == "rejected"
			})
			replies := 0
			for _, m := range d.Messages(conversation) {
				if m.Human() {
					replies++
				}
			}
			if want := map[string]int{"sent": 1, "rejected": 0}[it.State]; replies != want {
				t.Errorf("the item is %s, and %d replies were sent", it.State, replies)
			}
		})
	}
}

func TestWhatIsAnsweredOrResolvedNeedsNoDecision(t *testing.T) {
	d := apptest.StartDrafting(t)
	answered, resolved := opens(d, question), opens(d, question)
	it := d.Item(answered)
	d.Item(resolved)
	d.Sim.AgentNotes(time.Now(), answered) // is no answer
	d.Sim.AgentReplies(time.Now(), answered)
	d.Sim.SetStatus(time.Now(), resolved, "resolved")
	if got := d.ItemIn(answered, "cancelled"); got.Reason != "answered" || got.Decision != "cancelled" {
		t.Errorf("the answered item is %+v", got)
	}
	if got := d.ItemIn(resolved, "cancelled"); got.Reason != "resolved" {
		t.Errorf("the resolved item is %+v", got)
	}
	if status, answer := d.Decide(it.ID, apptest.Ada, map[string]string{"action": "approve"}); status != http.StatusConflict {
		t.Errorf("a cancelled item was approved: %d %s", status, answer)
	}
	d.Await("/metrics", `chatwoot_sla_approvals_pending\{priority="normal"\} 0`)
	d.Await("/metrics", `chatwoot_sla_approvals_total\{decision="cancelled"\} 2`)
}

// unlisted keeps a daemon from reading lists of conversations, which webhooks
// make it do whatever POLL_INTERVAL is.
func unlisted(d *apptest.Drafting) {
	d.Sim.Inject(chatwootsim.Fault{Query: "assignee_type", Kind: chatwootsim.FaultStatus, Status: 503})
}

// An agent who is faster than the approval, but not than its click.
func TestAnApprovedReplyThatCameTooLateIsNotSent(t *testing.T) {
	d := apptest.StartDrafting(t, "POLL_INTERVAL=1h")
	conversation := opens(d, question)
	it := d.Item(conversation)
	d.Sim.WebhookFaults(chatwootsim.WebhookFaults{Drop: 1})
	unlisted(d)
	d.Sim.AgentReplies(time.Now(), conversation)
	if status, _ := d.Decide(it.ID, apptest.Ada, map[string]string{"action": "approve"}); status != http.StatusOK {
		t.Fatal(status)
	}
	if got := d.ItemIn(conversation, "cancelled"); got.Reason != "answered" || got.ReplyID != 0 {
		t.Errorf("the item is %+v", got)
	}
}

// Whoever approves a reply looks away; somebody must see that it was not sent.
func TestApprovedReplyThatCannotBeSentIsShown(t *testing.T) {
	d := apptest.StartDrafting(t, "POLL_INTERVAL=1h")
	unlisted(d)
	conversation := opens(d, question)
	it := d.Item(conversation)
	d.Sim.Delete(time.Now(), conversation)
	if status, _ := d.Decide(it.ID, apptest.Ada, map[string]string{"action": "approve"}); status != http.StatusOK {
		t.Fatal(status)
	}
	d.ItemIn(conversation, "failed")
	d.Await("/metrics", `chatwoot_sla_approval_replies_total\{result="failed"\} 1`)
	for path, want := range map[string]string{
		"/approvals?state=unsettled":           `class="failed">failed<`,
		"/approvals/" + jsonText(t, it.ID):     "The reply was not sent",
		"/approvals?state=sent":                "There are none",
		"/approvals?state=all&page=2":          "none on this page",
		"/approvals?state=pending' OR '1'='1'": "",
	} {
		status, page := apptest.Ask(t, http.MethodGet, d.URL+strings.ReplaceAll(path, " ", "%20"), apptest.Ada, nil)
		if want != "" && (status != http.StatusOK || !strings.Contains(string(page), want)) || want == "" && status != http.StatusBadRequest {
			t.Errorf("%s: %d, want %q:\n%s", path, status, want, page)
		}
	}
}

// The reply to an older message is no answer to a newer one whose draft takes
// its time.
func TestANewerMessageKeepsItsDraftWhenAnOlderOneIsAnswered(t *testing.T) {
	d := apptest.StartDrafting(t)
	conversation := opens(d, question)
	first := d.Item(conversation)
	d.Assist.RetryAfter("1")
	served := d.Assist.Inject(chatwootsim.Fault{Path: chatwootsim.AgentPath, Kind: chatwootsim.FaultThrottle})
	d.Sim.CustomerWrites(time.Now(), conversation, "Also, can I get an invoice?")
	apptest.Until(t, "the second draft is asked for", func() bool { return len(d.Assist.Received(chatwootsim.AgentPath)) > 1 })
	if status, answer := d.Decide(first.ID, apptest.Ada, map[string]string{"action": "approve"}); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	d.ItemIn(conversation, "sent")
	served()
	apptest.Until(t, "an item of the second message", func() bool { return len(d.Approvals(conversation)) == 2 })
}

func TestWhatRefusesADecision(t *testing.T) {
	d := apptest.StartDrafting(t)
	it := d.Item(opens(d, question))
	path := d.URL + "/api/v1/approvals/"
	tests := []struct {
		name, token string
		id          int64
		body        any
		status      int
		says        string
	}{
		{"no token", "", it.ID, map[string]string{"action": "approve"}, http.StatusUnauthorized, "API_TOKENS"},
		{"an unknown item", apptest.Ada, 999_999, map[string]string{"action": "approve"}, http.StatusNotFound, "no approval 999999"},
		{"an unknown action", apptest.Ada, it.ID, map[string]string{"action": "send"}, http.StatusUnprocessableEntity, "approve, edit, reject or settle"},
		{"an empty reply", apptest.Ada, it.ID, map[string]string{"action": "edit", "reply": " "}, http.StatusUnprocessableEntity, "empty"},
		{"an endless reply", apptest.Ada, it.ID, map[string]string{"action": "edit", "reply": strings.Repeat("x", 150_001)}, http.StatusUnprocessableEntity, "150000"},
		{"no object", apptest.Ada, it.ID, []string{"approve"}, http.StatusBadRequest, "should be"},
		{"a misspelt member", apptest.Ada, it.ID, map[string]string{"action": "edit", "text": "x"}, http.StatusBadRequest, "should be"},
	}
	for _, tt := range tests {
		status, answer := apptest.Ask(t, http.MethodPost, path+jsonText(t, tt.id), tt.token, tt.body)
		if status != tt.status || !strings.Contains(string(answer), tt.says) {
			t.Errorf("%s: %d %s, want %d with %q", tt.name, status, answer, tt.status, tt.says)
		}
	}
	for _, query := range []string{"state=open", "limit=0", "conversation=x"} {
		if status, answer := apptest.Ask(t, http.MethodGet, d.URL+"/api/v1/approvals?"+query, apptest.Ada, nil); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, status, answer)
		}
	}
	if it = d.Item(it.Conversation); it.State != "pending" {
		t.Errorf("the item is %+v", it)
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A conversation that is purged is in no file any more, though the other service
// was out of reach and a webhook waits for it.
func TestErasure(t *testing.T) {
	const secret = "xyzzy"
	d := apptest.StartDrafting(t, "WEBHOOK_FORWARD_URL=http://127.0.0.1:1", "WEBHOOK_FORWARD_SECRET=EXAMPLE-forward-secret-not-real")
	purged, kept := opens(d, question+" I am "+secret), opens(d, question)
	d.Item(purged)
	d.Item(kept)
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	copies := func() (n int) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(d.Config.DataDir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			n += bytes.Count(text, []byte(secret))
		}
		return n
	}
	if n := copies(); n < 2 {
		t.Fatalf("%d copies, want those of the item and of the webhook", n)
	}
	if n, err := app.PurgeApprovals(t.Context(), d.Config, purged); err != nil || n < 2 || copies() != 0 {
		t.Errorf("deleted %d rows, %v; %d copies are left", n, err, copies())
	}
	if items, err := app.Approvals(t.Context(), d.Config, pipeline.ItemFilter{}); err != nil || len(items) != 1 || items[0].Conversation != kept {
		t.Errorf("the items are %+v, %v", items, err)
	}
	err := app.ReadQueue(t.Context(), d.Config, func(o *queue.Office) error {
		waiting, err := o.List(t.Context(), queue.Selection{Stage: "forward"}, 10)
		if len(waiting) == 0 {
			t.Error("the webhooks of the other conversation are gone")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPurgeWinsOverADraftThatIsBeingMade(t *testing.T) {
	d := apptest.StartDrafting(t)
	release := make(chan time.Time)
	d.Assist.After = func(time.Duration) <-chan time.Time { return release }
	d.Assist.Inject(chatwootsim.Fault{Path: chatwootsim.AgentPath, Kind: chatwootsim.FaultLatency, Delay: time.Second, Times: 1})
	conversation := opens(d, question)
	apptest.Until(t, "the draft is being made", func() bool { return len(d.Assist.Received(chatwootsim.AgentPath)) == 1 })
	if n, err := app.PurgeApprovals(t.Context(), d.Config, conversation); err != nil || n == 0 {
		t.Fatalf("deleted %d rows, %v", n, err)
	}
	close(release)
	d.Await("/metrics", `chatwoot_sla_stage_attempts_total\{result="failed",stage="draft"\} 1`)
	if items := d.Approvals(conversation); len(items) > 0 || len(apptest.Notes(d.Messages(conversation))) > 0 {
		t.Errorf("there are a note or items: %+v", items)
	}
}

// What customers write is in the database and in Chatwoot, and nowhere else.
func TestTextsOfCustomersAreNotLogged(t *testing.T) {
	d := apptest.StartDrafting(t)
	d.Assist.Inject(chatwootsim.Fault{Path: chatwootsim.AgentPath, Kind: chatwootsim.FaultTruncatedJSON, Times: 1})
	d.Sim.Inject(chatwootsim.Fault{Path: "/messages", Kind: chatwootsim.FaultStatus, Status: 500, Times: 1})
	const secret = "My order 4711-xyzzy, please write to hortensia@example.org"
	conversation := opens(d, secret)
	it := d.Item(conversation)
	if status, _ := d.Decide(it.ID, apptest.Ada, map[string]string{"action": "edit", "reply": "Dear Hortensia, xyzzy is on its way."}); status != http.StatusOK {
		t.Fatal(status)
	}
	d.ItemIn(conversation, "sent")
	seen := d.Get("/metrics") + d.Get("/api/v1/status") + d.Get("/")
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	seen += d.Log.String()
	for _, word := range []string{"xyzzy", "ortensia", it.Draft, apptest.Ada, apptest.WebhookSecret} {
		if strings.Contains(seen, word) {
			t.Errorf("%q is to be read where it should not", word)
		}
	}
}
