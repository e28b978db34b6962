package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// Drafted returns a draft of an answer to a message.
func Drafted(conversation, message int64) pipeline.Drafted {
	return pipeline.Drafted{
		Conversation: conversation, Message: message, Inbox: 5, Contact: "Ana", Question: "Where is my order?",
		Draft: "It left today.", Confidence: 85.5, Action: pipeline.Approve,
		Sources: []pipeline.Source{{Title: "Shipping", Content: "…", Relevance: 0.92, Version: "3"}}, Tags: []string{"shipping"},
		Sentiment: "neutral", Urgency: "low", Priority: pipeline.Normal,
		Deadline: Noon.Add(30 * time.Minute), UrgentAt: Noon.Add(25 * time.Minute),
	}
}

// Queued returns an item that waits for a decision since Noon.
func Queued(conversation, message int64) pipeline.Item {
	return pipeline.Item{
		Drafted: Drafted(conversation, message), State: pipeline.Pending, Note: 70_000 + message,
		CreatedAt: Noon, ExpiresAt: Noon.Add(72 * time.Hour), ChangedAt: Noon,
	}
}

func put(t *testing.T, s *store.Store, items ...pipeline.Item) {
	t.Helper()
	for _, it := range items {
		if fresh, err := s.PutApproval(t.Context(), it, nil); err != nil || !fresh {
			t.Fatalf("message %d: fresh %v, %v", it.Message, fresh, err)
		}
	}
}

func item(t *testing.T, s *store.Store, message int64) pipeline.Item {
	t.Helper()
	it, found, err := s.Approval(t.Context(), message)
	if err != nil || !found {
		t.Fatalf("item %d: found %v, %v", message, found, err)
	}
	return it
}

func draftsAreKept(t *testing.T, o store.Options) {
	s := Open(t, o)
	want := Drafted(1, 11)
	want.Question = "nul\x00 and 日本語 {{x}}"
	if err := s.SaveDraft(t.Context(), want, Noon, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveDraft(t.Context(), Drafted(1, 11), Noon, nil); err != nil {
		t.Fatalf("the same again: %v", err)
	}
	oneAttempt(t, s.PostingNote, 11)
	got, posting, found, err := s.Draft(t.Context(), 11)
	if err != nil || !found || !posting.Equal(Noon) {
		t.Fatalf("found %v, posting %v, %v", found, posting, err)
	}
	want.Question = got.Question // how NUL is written is the JSON's affair
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if kept, err := s.PostingNote(t.Context(), 11, Noon, time.Time{}); err != nil || !kept {
		t.Fatal(kept, err)
	}
	if _, posting, _, err := s.Draft(t.Context(), 11); err != nil || !posting.IsZero() {
		t.Errorf("posting %v, %v; want never", posting, err)
	}
	put(t, s, Queued(1, 11))
	if _, _, found, err := s.Draft(t.Context(), 11); err != nil || found {
		t.Errorf("a draft whose item is queued is still there: %v, %v", found, err)
	}
}

func itemsAreQueuedOnce(t *testing.T, o store.Options) {
	s := Open(t, o)
	full := Queued(1, 11)
	full.Contact, full.Draft = "O'Brien \"and\" $1; 日本語 🙂", "a\nb\n"
	put(t, s, full)
	if got := item(t, s, 11); !reflect.DeepEqual(got, full) {
		t.Errorf("got  %+v\nwant %+v", got, full)
	}
	again := Queued(1, 11)
	again.Draft = "another"
	called := false
	fresh, err := s.PutApproval(t.Context(), again, func(context.Context, *sql.Tx) error {
		called = true
		return nil
	})
	if err != nil || fresh || !called {
		t.Errorf("the same message again: fresh %v, %v, and the rest of the transaction %v", fresh, err, called)
	}
	if got := item(t, s, 11); got.Draft != full.Draft {
		t.Errorf("a duplicate has changed the item: %+v", got)
	}
	failure := errors.New("the rest failed")
	if _, err := s.PutApproval(t.Context(), Queued(1, 12), func(context.Context, *sql.Tx) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("error %v, want that of the rest", err)
	}
	if _, found, err := s.Approval(t.Context(), 12); err != nil || found {
		t.Errorf("an item without the rest of its transaction: found %v, %v", found, err)
	}
}

func itemsComeByDeadline(t *testing.T, o store.Options) {
	s := Open(t, o)
	late, soon, other := Queued(1, 11), Queued(2, 12), Queued(3, 13)
	soon.Deadline, late.Priority, other.Deadline = Noon, pipeline.Urgent, Noon.Add(time.Hour)
	other.UrgentAt = time.Time{}
	put(t, s, late, soon, other)
	for name, tt := range map[string]struct {
		filter pipeline.ItemFilter
		want   string
	}{
		"all":             {pipeline.ItemFilter{}, "[12 11 13]"},
		"two":             {pipeline.ItemFilter{States: []pipeline.State{pipeline.Pending}, Limit: 2}, "[12 11]"},
		"a conversation":  {pipeline.ItemFilter{States: []pipeline.State{pipeline.Pending}, Conversation: 3}, "[13]"},
		"those that sent": {pipeline.ItemFilter{States: []pipeline.State{pipeline.Sent}}, "[]"},
	} {
		items, err := s.Approvals(t.Context(), tt.filter)
		ids := []int64{}
		for _, it := range items {
			ids = append(ids, it.Message)
		}
		if err != nil || fmt.Sprint(ids) != tt.want {
			t.Errorf("%s: %v, %v; want %s", name, ids, err, tt.want)
		}
	}
	for at, want := range map[time.Time]string{Noon: "1 urgent, 2 normal", Noon.Add(25 * time.Minute): "2 urgent, 1 normal"} {
		d, err := s.ApprovalDepth(t.Context(), at)
		if got := fmt.Sprintf("%d urgent, %d normal", d.Pending[pipeline.Urgent], d.Pending[pipeline.Normal]); err != nil || got != want || !d.Oldest.Equal(Noon) {
			t.Errorf("at %v: %s since %v, %v; want %s", at, got, d.Oldest, err, want)
		}
	}
	waiting, err := s.WaitingApprovals(t.Context())
	if err != nil || fmt.Sprint(waiting) != "map[1:[11] 2:[12] 3:[13]]" {
		t.Errorf("waiting are %v, %v", waiting, err)
	}
}

func oneDecision(t *testing.T, o store.Options) {
	s := Open(t, o)
	put(t, s, Queued(1, 11))
	ownReplies(t, s)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var winners []string
	for i := range 16 {
		wg.Go(func() {
			by := fmt.Sprint("agent-", i)
			_, taken, err := s.DecideApproval(t.Context(), store.Decided{
				Message: 11, Decision: pipeline.Approved, State: pipeline.Sending, By: by, At: Noon.Add(time.Minute), Reply: "by " + by,
			}, nil)
			if err != nil {
				t.Error(err)
			}
			if taken {
				mu.Lock()
				winners = append(winners, by)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	got := item(t, s, 11)
	if len(winners) != 1 || got.DecidedBy != winners[0] || got.Reply != "by "+winners[0] || got.State != pipeline.Sending || !got.DecidedAt.Equal(Noon.Add(time.Minute)) {
		t.Errorf("%v decided, and the item is %+v", winners, got)
	}
	if it, taken, err := s.DecideApproval(t.Context(), store.Decided{Message: 99, At: Noon}, nil); err != nil || taken || it.Message != 0 {
		t.Errorf("an item that is not there: %+v, %v, %v", it, taken, err)
	}

	oneAttempt(t, s.SendingReply, 11)
	if got := item(t, s, 11); !got.AttemptedAt.Equal(Noon) {
		t.Errorf("attempted at %v", got.AttemptedAt)
	}
	ours := pipeline.OwnReply{Message: 11, Text: got.Reply, Since: Noon}
	ownReplies(t, s, ours)
	sent := pipeline.Outcome{State: pipeline.Sent, Reply: 500}
	if kept, err := s.FinishReply(t.Context(), 11, sent, Noon.Add(3*time.Minute), nil); err != nil || !kept {
		t.Fatal(kept, err)
	}
	if kept, err := s.FinishReply(t.Context(), 11, pipeline.Outcome{State: pipeline.Failed}, Noon.Add(4*time.Minute), nil); err != nil || kept {
		t.Errorf("what was sent has failed: kept %v, %v", kept, err)
	}
	got = item(t, s, 11)
	if got.State != pipeline.Sent || got.ReplyID != 500 || !got.SentAt.Equal(Noon.Add(3*time.Minute)) {
		t.Errorf("what was sent is %+v", got)
	}
	ours.ID = 500
	ownReplies(t, s, ours)
	if kept, err := s.SendingReply(t.Context(), 11, Noon, Noon.Add(time.Hour)); err != nil || kept {
		t.Errorf("an attempt at what was sent: kept %v, %v", kept, err)
	}

	if it, taken, err := s.SettleApproval(t.Context(), 11, "ada", Noon); err != nil || taken || it.State != pipeline.Sent {
		t.Errorf("what was sent is settled: %v, %v, %+v", taken, err, it)
	}

	put(t, s, Queued(2, 12))
	decide := func(at time.Time) bool {
		_, taken, err := s.DecideApproval(t.Context(), store.Decided{Message: 12, Decision: pipeline.Approved, State: pipeline.Sending, By: "ada", At: at}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	if decide(Noon.Add(72 * time.Hour)) {
		t.Error("a decision was taken when the item had run out")
	}
	if !decide(Noon.Add(72*time.Hour - time.Microsecond)) {
		t.Error("no decision was taken just before")
	}
	if _, err := s.FinishReply(t.Context(), 12, pipeline.Outcome{State: pipeline.Failed, Reason: "no"}, Noon, nil); err != nil {
		t.Fatal(err)
	}
	if !decide(Noon.Add(80 * time.Hour)) {
		t.Error("a reply that was certainly not sent cannot be decided again")
	}
}

// lostRepliesAreSettled checks what is kept of a reply that may have been sent.
func lostRepliesAreSettled(t *testing.T, o store.Options) {
	s := Open(t, o)
	put(t, s, Queued(1, 11))
	decide := func() bool {
		_, taken, err := s.DecideApproval(t.Context(), store.Decided{
			Message: 11, Decision: pipeline.Approved, State: pipeline.Sending, By: "tomas", At: Noon, Reply: "It left.",
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	if !decide() {
		t.Fatal("not decided")
	}
	if kept, err := s.SendingReply(t.Context(), 11, time.Time{}, Noon); err != nil || !kept {
		t.Fatal(kept, err)
	}
	if _, err := s.FinishReply(t.Context(), 11, pipeline.Outcome{State: pipeline.Unknown, Reason: "it broke off"}, Noon, nil); err != nil {
		t.Fatal(err)
	}
	if decide() {
		t.Error("what may have been sent can be sent again")
	}
	at := Noon.Add(time.Minute)
	it, taken, err := s.SettleApproval(t.Context(), 11, "ada", at)
	if err != nil || !taken || it.State != pipeline.Settled || it.DecidedBy != "tomas" || it.Reason != "settled by ada" || !it.ChangedAt.Equal(at) {
		t.Errorf("settled: %v, %v, %+v", taken, err, it)
	}
	if _, taken, err := s.SettleApproval(t.Context(), 11, "bob", at); err != nil || taken {
		t.Errorf("settled again: %v, %v", taken, err)
	}
	ownReplies(t, s, pipeline.OwnReply{Message: 11, Text: "It left.", Since: Noon}) // in case it is there
	if _, taken, err := s.SettleApproval(t.Context(), 99, "ada", at); err != nil || taken {
		t.Errorf("what is not there is settled: %v, %v", taken, err)
	}
}

// oneAttempt checks that of several attempts to post one begins, and that it
// takes over from another only who knows of that. In the end one has begun at
// Noon.
func oneAttempt(t *testing.T, keep func(context.Context, int64, time.Time, time.Time) (bool, error), message int64) {
	t.Helper()
	for _, tt := range []struct {
		message int64
		was, at time.Time
		kept    bool
	}{
		{message, Noon, Noon.Add(time.Second), false},
		{message, time.Time{}, Noon.Add(time.Second), true},
		{message, time.Time{}, Noon, false},
		{message, Noon, time.Time{}, false},
		{message, Noon.Add(time.Second), time.Time{}, true},
		{message, time.Time{}, Noon.Add(time.Minute), true},
		{message, Noon.Add(time.Minute), Noon, true},
		{99, time.Time{}, Noon, false},
	} {
		if kept, err := keep(t.Context(), tt.message, tt.was, tt.at); err != nil || kept != tt.kept {
			t.Errorf("message %d, from %v to %v: kept %v, %v; want %v", tt.message, tt.was, tt.at, kept, err, tt.kept)
		}
	}
}

// ownReplies checks those of conversation 1.
func ownReplies(t *testing.T, s *store.Store, want ...pipeline.OwnReply) {
	t.Helper()
	if got, err := s.OwnReplies(t.Context(), 1); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("our replies are %+v, %v; want %+v", got, err, want)
	}
}

func itemsEnd(t *testing.T, o store.Options) {
	s := Open(t, o)
	late := Queued(1, 12)
	late.CreatedAt, late.ChangedAt = Noon.Add(time.Hour), Noon.Add(time.Hour)
	put(t, s, Queued(1, 11), late, Queued(2, 21), Queued(3, 31), Queued(3, 32))
	cancelled, err := s.CancelApprovals(t.Context(), 1, nil, pipeline.Resolved, Noon.Add(time.Minute), nil)
	if err != nil || len(cancelled) != 1 || cancelled[0].Message != 11 || cancelled[0].Decision != pipeline.WasCancelled {
		t.Errorf("cancelled %+v, %v; want 11, which is older than the resolution", cancelled, err)
	}
	cancelled, err = s.CancelApprovals(t.Context(), 3, []int64{31, 99}, pipeline.Answered, Noon.Add(time.Minute), nil)
	if err != nil || len(cancelled) != 1 || item(t, s, 31).Reason != "answered" || item(t, s, 32).State != pipeline.Pending {
		t.Errorf("cancelled %+v, %v; want 31", cancelled, err)
	}
	changed, err := s.ChangedApprovals(t.Context(), Noon.Add(time.Minute))
	if err != nil || len(changed) != 3 || changed[0].Message != 11 || changed[2].Message != 12 {
		t.Errorf("changed are %+v, %v", changed, err)
	}
	expired, err := s.ExpireApprovals(t.Context(), Noon.Add(72*time.Hour))
	if err != nil || len(expired) != 3 || item(t, s, 21).State != pipeline.Expired {
		t.Errorf("expired %+v, %v", expired, err)
	}
	if again, err := s.ExpireApprovals(t.Context(), Noon.Add(72*time.Hour)); err != nil || len(again) > 0 {
		t.Errorf("expired again: %+v, %v", again, err)
	}
	put(t, s, Queued(4, 41))
	if n, err := s.PruneApprovals(t.Context(), Noon.Add(2*time.Hour), nil); err != nil || n != 2 {
		t.Errorf("pruned %d, %v; want the two that were cancelled", n, err)
	}
	if err := s.SaveDraft(t.Context(), Drafted(4, 42), Noon, nil); err != nil {
		t.Fatal(err)
	}
	if n, err := s.PurgeApprovals(t.Context(), 4, nil); err != nil || n != 2 {
		t.Errorf("purged %d, %v; want an item and a draft", n, err)
	}
	if _, _, found, err := s.Draft(t.Context(), 42); err != nil || found {
		t.Errorf("a purged draft is there: %v, %v", found, err)
	}
	if _, found, err := s.Approval(t.Context(), 21); err != nil || !found {
		t.Errorf("the item of another conversation is gone: %v", err)
	}
	failure := errors.New("the rest failed")
	if _, err := s.PurgeApprovals(t.Context(), 2, func(context.Context, *sql.Tx) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("error %v, want that of the rest", err)
	}
	item(t, s, 21)
}

// What got stuck is deleted with time, unless there is somebody who comes for
// it.
func stuckItemsEnd(t *testing.T, o store.Options) {
	s := Open(t, o)
	for _, message := range []int64{11, 12, 13} {
		put(t, s, Queued(1, message))
		if err := s.SaveDraft(t.Context(), Drafted(1, message+10), Noon, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, message := range []int64{11, 12} {
		if _, taken, err := s.DecideApproval(t.Context(), store.Decided{Message: message, State: pipeline.Sending, At: Noon}, nil); err != nil || !taken {
			t.Fatal(taken, err)
		}
	}
	if n, err := s.PruneApprovals(t.Context(), Noon, nil); err != nil || n != 0 {
		t.Errorf("pruned %d that were not old enough, %v", n, err)
	}
	if n, err := s.PruneApprovals(t.Context(), Noon.Add(time.Microsecond), []int64{12, 22}); err != nil || n != 3 {
		t.Errorf("pruned %d, %v; want 11, 21 and 23", n, err)
	}
	item(t, s, 12)
	item(t, s, 13)
	if _, _, found, err := s.Draft(t.Context(), 22); err != nil || !found {
		t.Errorf("a draft that somebody comes for is gone: %v", err)
	}
}
