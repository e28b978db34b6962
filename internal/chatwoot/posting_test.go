package chatwoot_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/porttest"
)

// spoken is a client of a simulated Chatwoot with one conversation.
func spoken(t *testing.T, version chatwootsim.Version) (*chatwoot.Client, *chatwootsim.Server, int64) {
	t.Helper()
	sim := chatwootsim.New(chatwootsim.Options{Version: version, NoThrottle: true})
	server := httptest.NewServer(sim)
	c, err := chatwoot.New(chatwoot.Options{BaseURL: parse(t, server.URL), Token: chatwootsim.DemoToken, AccountID: chatwootsim.DemoAccountID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		server.Close()
		sim.Close()
	})
	return c, sim, sim.CustomerOpens(time.Now(), sim.Inboxes()[0], "Where is my order?")
}

func TestNotesArePrivateAndMarked(t *testing.T) {
	for _, version := range []chatwootsim.Version{chatwootsim.V42, chatwootsim.V415} {
		t.Run(string(version), func(t *testing.T) {
			c, _, conv := spoken(t, version)
			posted, err := c.PostNote(t.Context(), conv, chatwoot.Note{Content: "a draft", SourceID: "mark-1"})
			if err != nil {
				t.Fatal(err)
			}
			if !posted.Private || posted.Kind != chatwoot.Outgoing || posted.SourceID != "mark-1" || posted.ID == 0 || posted.SenderType != "user" {
				t.Errorf("the note is %+v", posted)
			}
			row, err := c.Conversation(t.Context(), conv)
			if err != nil || !row.FirstReplyAt.IsZero() {
				t.Errorf("a note counts as an answer: %v, %v", row.FirstReplyAt, err)
			}
			recent, err := c.RecentMessages(t.Context(), conv, 0)
			if err != nil || len(recent) != 1 || recent[0].Content != "Where is my order?" {
				t.Errorf("RecentMessages = %+v, %v; want the customer's alone", recent, err)
			}
		})
	}
}

func TestRepliesArePublicAndCarryNoMark(t *testing.T) {
	c, sim, conv := spoken(t, chatwootsim.V415)
	posted, err := c.PostReply(t.Context(), conv, "It left today.")
	if err != nil {
		t.Fatal(err)
	}
	if posted.Private || !posted.Human() || posted.SourceID != "" {
		t.Errorf("the reply is %+v", posted)
	}
	row, err := c.Conversation(t.Context(), conv)
	if err != nil || row.FirstReplyAt.IsZero() {
		t.Errorf("a reply is no answer: %v", err)
	}
	for range 30 {
		sim.CustomerWrites(time.Now(), conv, "and?")
	}
	recent, err := c.RecentMessages(t.Context(), conv, posted.ID+1)
	if err != nil || len(recent) != 2 || recent[1].ID != posted.ID {
		t.Errorf("RecentMessages before = %d messages, %v; want two that end in the reply", len(recent), err)
	}
	if recent, err = c.RecentMessages(t.Context(), conv, 0); err != nil || len(recent) != 20 {
		t.Errorf("RecentMessages = %d messages, %v; want twenty", len(recent), err)
	}
}

// After a failure that may have changed something, the same must not be sent
// again.
func TestFailuresThatCertainlyChangedNothing(t *testing.T) {
	tests := []struct {
		name             string
		fault            chatwootsim.Fault
		undone, finished bool
	}{
		{"429", chatwootsim.Fault{Kind: chatwootsim.FaultThrottle}, true, true},
		{"401", chatwootsim.Fault{Kind: chatwootsim.FaultUnauthorized}, true, true},
		{"404", chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 404}, true, true},
		{"422", chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 422}, false, true},
		{"500", chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 500}, false, true},
		{"502", chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 502}, false, false},
		{"a connection that breaks", chatwootsim.Fault{Kind: chatwootsim.FaultDropConn}, false, false},
		{"an answer that is cut", chatwootsim.Fault{Kind: chatwootsim.FaultCutBody}, false, false},
		{"a login page", chatwootsim.Fault{Kind: chatwootsim.FaultHTML}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, sim, conv := spoken(t, chatwootsim.V415)
			sim.Inject(tt.fault)
			_, err := c.PostReply(t.Context(), conv, "x")
			failed, ok := errors.AsType[*chatwoot.Error](err)
			if !ok || failed.Undone() != tt.undone || failed.Finished() != tt.finished {
				t.Errorf("of %v Undone is not %v, or Finished not %v", err, tt.undone, tt.finished)
			}
		})
	}
	c, err := chatwoot.New(chatwoot.Options{BaseURL: parse(t, "http://"+porttest.Refusing(t)), AccountID: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PostReply(t.Context(), 1, "x")
	if failed, ok := errors.AsType[*chatwoot.Error](err); !ok || !failed.Undone() {
		t.Errorf("nothing listens, and yet something may have changed: %v", err)
	}
}
