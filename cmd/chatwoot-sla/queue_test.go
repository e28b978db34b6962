package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// The commands work on the database of a daemon that runs.
func TestQueueBesideTheDaemon(t *testing.T) {
	const secret = "EXAMPLE-webhook-secret-not-real"
	var status atomic.Int32 // of the other service's answers
	status.Store(http.StatusNotFound)
	forwarded := make(chan struct{}, 1)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		if status.Load() == http.StatusOK {
			forwarded <- struct{}{}
		}
	}))
	defer service.Close()
	settings := []string{
		"DATA_DIR=" + t.TempDir(), "CHATWOOT_WEBHOOK_SECRET=" + secret,
		"WEBHOOK_FORWARD_URL=" + service.URL, "WEBHOOK_FORWARD_SECRET=EXAMPLE-forward-secret-not-real",
	}
	d := apptest.Start(t, settings...)
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: secret, Subscriptions: webhook.Subscriptions})
	environ := append(settingsFor(d.Chatwoot), settings...)
	cli := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"queue"}, args...), environ, &out, &errs); code != want {
			t.Fatalf("queue %v exits %d, want %d:\n%s%s", args, code, want, &out, &errs)
		}
		return out.String() + errs.String()
	}
	d.Await("/metrics", `chatwoot_sla_queue_jobs`)
	if text := cli(0, "list", "--dead"); text != "There are no dead letters.\n" {
		t.Errorf("an empty list reads %q", text)
	}

	d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], "My parcel is lost.")
	d.Await("/metrics", `chatwoot_sla_dead_letters_total\{reason="failed",stage="forward"\} 1`)
	var jobs []struct {
		ID     int64
		Reason string
	}
	await := time.After(time.Minute) // it is counted a moment before it is noted
	for len(jobs) == 0 {
		if err := json.Unmarshal([]byte(cli(0, "list", "--dead", "--output", "json")), &jobs); err != nil {
			t.Fatal(err)
		}
		select {
		case <-await:
			t.Fatal("the dead letter is not listed within a minute")
		case <-time.After(50 * time.Millisecond):
		}
	}
	id := strconv.FormatInt(jobs[0].ID, 10)
	if text := cli(0, "list"); !strings.HasPrefix(text, "Nothing waits.\n") || !strings.Contains(text, "not listed here: 1. To see them: chatwoot-sla queue list --dead") {
		t.Errorf("a list of dead letters alone reads %q", text)
	}
	for _, args := range [][]string{{"list", "--stage", "froward"}, {"retry", "--stage", "froward"}} {
		if text := cli(1, args...); !strings.Contains(text, `there is no stage "froward"; the stages are settle, forward,`) {
			t.Errorf("%v says %q", args, text)
		}
	}
	list := cli(0, "list", "--dead")
	for _, word := range []string{id, "forward", "dead (failed)", "5", "forward to WEBHOOK_FORWARD_URL: HTTP 404"} {
		if !strings.Contains(list, word) {
			t.Errorf("the list lacks %q:\n%s", word, list)
		}
	}
	show := cli(0, "show", id)
	if strings.Count(show, "HTTP 404") != 5 || !strings.Contains(show, "chatwoot-sla queue retry "+id) || strings.Contains(show, "parcel") {
		t.Errorf("shown is\n%s", show)
	}
	if text := cli(1, "retry"); !strings.Contains(text, "--all") {
		t.Errorf("retrying nothing says %q", text)
	}
	if text := cli(1, "purge", "424242"); !strings.Contains(text, "none of these can be purged") {
		t.Errorf("purging what is not there says %q", text)
	}
	if text := cli(1, "show", "424242"); !strings.Contains(text, "there is no such job") {
		t.Errorf("showing what is not there says %q", text)
	}

	status.Store(http.StatusOK)
	if text := cli(0, "retry", id); text != "1 retried\n" {
		t.Errorf("retry says %q", text)
	}
	select {
	case <-forwarded:
	case <-time.After(time.Minute):
		t.Fatal("the daemon does not take it up within a minute")
	}
	if text := cli(0, "purge", "--all"); text != "0 purged\n" {
		t.Errorf("purge says %q", text)
	}

	status.Store(http.StatusBadGateway)
	d.Sim.CustomerOpens(time.Now(), d.Sim.Inboxes()[0], "")
	d.Await("/metrics", `chatwoot_sla_queue_jobs\{queue="forward",state="retry"\} 1`)
	environ = append(environ, "WEBHOOK_FORWARD_URL=", "WEBHOOK_FORWARD_SECRET=") // as after a restart without it
	text := cli(0, "list")
	for await = time.After(time.Minute); !strings.Contains(text, "The stage forward is off. Jobs that wait until it is on: 1."); text = cli(0, "list") {
		select { // that the first one is done is noted a moment after it is
		case <-await:
			t.Fatalf("jobs of a stage that is off are listed as\n%s", text)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if strings.Contains(text, "stage note") {
		t.Errorf("a stage that was never on is listed in\n%s", text)
	}
	await = time.After(time.Minute) // what is in hand stays
	for cli(0, "purge", "--stage", "forward", "--waiting") != "1 purged\n" {
		select {
		case <-await:
			t.Fatal("the job that waits is not purged within a minute")
		case <-time.After(50 * time.Millisecond):
		}
	}
	for text = cli(0, "list"); text != "Nothing waits.\n"; text = cli(0, "list") {
		select { // what settles may still be in hand
		case <-await:
			t.Fatalf("the list still reads\n%s", text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
