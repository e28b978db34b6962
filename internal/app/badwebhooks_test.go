package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/apptest"
	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/ledger/ledgertest"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// shown returns how those stand who are on the board.
func shown(t *testing.T, d *apptest.Daemon) map[int64]string {
	t.Helper()
	var board struct {
		Conversations []struct {
			ID    int64
			State string
		}
	}
	if err := json.Unmarshal([]byte(d.Get("/api/v1/conversations?limit=10000")), &board); err != nil {
		t.Fatal(err)
	}
	m := map[int64]string{}
	for _, c := range board.Conversations {
		m[c.ID] = c.State
	}
	return m
}

// open returns how those stand who are open in Chatwoot.
func open(sim *chatwootsim.Server) map[int64]string {
	m := map[int64]string{}
	for _, tr := range sim.Truth() {
		switch {
		case tr.Status != "open" || !tr.DeletedAt.IsZero():
		case tr.CustomerAt.IsZero():
			m[tr.ID] = "idle"
		case tr.ReplyAt.IsZero():
			m[tr.ID] = "waiting"
		default:
			m[tr.ID] = "answered"
		}
	}
	return m
}

// unanswered returns the keys of what customers wrote and no human has answered,
// in conversations that are open and after a time.
func unanswered(t *testing.T, d *apptest.Daemon, after, before time.Time) (keys []string) {
	t.Helper()
	base, err := url.Parse(d.Chatwoot)
	if err != nil {
		t.Fatal(err)
	}
	client, err := chatwoot.New(chatwoot.Options{
		BaseURL: base, Token: apptest.Token, AccountID: chatwootsim.DemoAccountID, RequestsPerMinute: 1_000_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, tr := range d.Sim.Truth() {
		if tr.Status != "open" || !tr.DeletedAt.IsZero() || tr.CustomerAt.IsZero() {
			continue
		}
		opened := tr.OpenSince.Truncate(time.Second) // what was written to a bot before is the bot's
		var list []string
		err := client.Messages(t.Context(), tr.ID, 0, func(page []chatwoot.Message) bool {
			for _, m := range page {
				switch {
				case m.Human():
					list = nil
				case m.Kind == chatwoot.Incoming && m.CreatedAt.After(after) && !m.CreatedAt.Before(opened) && m.CreatedAt.Before(before):
					list = append(list, fmt.Sprintf("%d/message_created/%d", chatwootsim.DemoAccountID, m.ID))
				}
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, list...)
	}
	return keys
}

// For hours webhooks are lost, doubled and out of order; the board and the
// ledger follow Chatwoot all the same, and the other service is told of
// everything once.
func TestBadWebhooksChangeNothing(t *testing.T) {
	const (
		hours   = 2
		step    = 20 * time.Second
		promise = 30 * time.Minute
	)
	c := newConsumer(t)
	clock := chatwootsim.NewManualClock(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))
	c.now = clock.Now
	began, dir := clock.Now(), t.TempDir()
	d := apptest.StartBy(t, clock, func(sim *chatwootsim.Server) {
		sim.Start(chatwootsim.Traffic{ArrivalsPerHour: 90, SlowShare: 0.1})
	}, append(c.settings(), "CHATWOOT_WEBHOOK_SECRET="+hookSecret, "POLL_INTERVAL=20s", "HEALTH_INTERVAL=5m", "DATA_DIR="+dir, "CHATWOOT_REQUESTS_PER_MINUTE=3000")...)
	d.Sim.Subscribe(chatwootsim.Webhook{URL: d.Webhooks, Secret: hookSecret, Subscriptions: webhook.Subscriptions})
	d.Await("/metrics", `chatwoot_sla_queue_jobs`) // nobody looks for what is missed before
	d.Sim.WebhookFaults(chatwootsim.WebhookFaults{Drop: 0.3, Duplicate: 0.3, Reorder: 0.3})

	// Nobody looks away for long: before time goes on, the daemon has seen what
	// there was to see forty seconds ago, and has looked for missed messages
	// within the last minute.
	looks, looked := 0, began
	follows := func() {
		t.Helper()
		seen := func() bool {
			if n := strings.Count(d.Log.String(), "looked for messages without webhooks"); n != looks {
				looks, looked = n, clock.Now()
			}
			var status struct {
				Picture struct {
					SyncedAt *time.Time `json:"synced_at"`
				}
			}
			if err := json.Unmarshal([]byte(d.Get("/api/v1/status")), &status); err != nil {
				t.Fatal(err)
			}
			at := status.Picture.SyncedAt
			return at != nil && clock.Now().Sub(*at) <= 2*step && clock.Now().Sub(looked) <= 3*step
		}
		for range 10 {
			if within(10*time.Second, seen) {
				return
			}
			// Whoever was about to sleep when time went on sleeps for as much longer.
			clock.Advance(step)
			d.Sim.Advance(clock.Now())
		}
		t.Fatal("the daemon does not follow")
	}
	follows()
	for clock.Now().Sub(began) < hours*time.Hour {
		clock.Advance(step)
		d.Sim.Advance(clock.Now())
		follows()
	}
	d.Sim.Flush()

	truth := d.Sim.Truth()
	until := clock.Now().Add(-time.Minute) // what has only just happened comes with the next poll
	want := ledgertest.Judge(truth, promise, until, func(at time.Time) bool { return at.After(began) })
	r, err := store.OpenReader(t.Context(), store.Options{
		DataDir: dir, Account: store.Account{Host: strings.TrimPrefix(d.Chatwoot, "http://"), ID: chatwootsim.DemoAccountID},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// passes lets a little time go by until something holds, because what has only
	// just happened comes with the next polls, and then gives the daemon time to
	// write and to forward.
	passes := func(holds func() bool) {
		t.Helper()
		for range 20 {
			if holds() {
				return
			}
			clock.Advance(step)
			d.Sim.Advance(clock.Now())
			d.Sim.Flush()
			follows()
		}
		within(2*time.Minute, holds)
	}
	var wrong []string
	passes(func() bool {
		got := map[int64]ledgertest.Verdict{}
		err := r.Decided(t.Context(), began.Add(-24*time.Hour), clock.Now().Add(time.Hour), func(e ledger.Entry) error {
			if old, twice := got[e.Conversation]; twice {
				t.Errorf("conversation %d has two outcomes: %+v and %+v", e.Conversation, old, e)
			}
			got[e.Conversation] = ledgertest.Verdict{Outcome: e.Outcome, At: e.DecidedAt}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		wrong = want.Differences(got, began)
		return len(wrong) == 0
	})
	if len(wrong) > 0 || want.Len(began) < 100 {
		t.Errorf("of %d outcomes:\n%s", want.Len(began), strings.Join(wrong, "\n"))
	}

	var board, really map[int64]string
	passes(func() bool {
		board, really = shown(t, d), open(d.Sim)
		return maps.Equal(board, really)
	})
	if !maps.Equal(board, really) || len(board) < 20 {
		t.Errorf("the board shows %v\nChatwoot has %v", board, really)
	}

	// Whatever has waited for minutes was told of, by a webhook or by a poll.
	waiting := unanswered(t, d, began, until.Add(-5*time.Minute))
	var untold []string
	passes(func() bool {
		told := c.keys()
		untold = slices.DeleteFunc(slices.Clone(waiting), func(key string) bool { return told[key] > 0 })
		return len(untold) == 0
	})
	if len(untold) > 0 || len(waiting) < 20 {
		t.Errorf("of %d messages that wait the other service does not know %v", len(waiting), untold)
	}
	for key, n := range c.keys() {
		if n != 1 {
			t.Errorf("%s was forwarded %d times", key, n)
		}
	}
	metrics := d.Get("/metrics")
	for _, zero := range []string{
		`chatwoot_sla_webhook_missed_total 0`,
		`chatwoot_sla_webhook_requests_total{event="message_created",result="duplicate"} 0`,
	} {
		if strings.Contains(metrics, zero+"\n") {
			t.Errorf("that proves little: %s", zero)
		}
	}
}
