package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// pagesOfApprovals queues items of which the later ones are due earlier, and
// lets some of them come to their end.
func pagesOfApprovals(t *testing.T, o store.Options) {
	s := Open(t, o)
	for n := range int64(6) {
		it := Queued(1, 11+n)
		it.Deadline = Noon.Add(time.Duration(60-n) * time.Minute)
		put(t, s, it)
	}
	for message, end := range map[int64]pipeline.State{11: pipeline.Failed, 12: pipeline.Unknown, 13: pipeline.Sent} {
		at := Noon.Add(time.Duration(message) * time.Minute)
		if _, taken, err := s.DecideApproval(t.Context(), store.Decided{
			Message: message, Decision: pipeline.Approved, State: pipeline.Sending, By: "ada", At: at, Reply: "It left today.",
		}, nil); err != nil || !taken {
			t.Fatal(taken, err)
		}
		if _, err := s.FinishReply(t.Context(), message, pipeline.Outcome{State: end}, at, nil); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		page pipeline.ItemFilter
		want []int64
	}{
		{"what waits, due first", pipeline.ItemFilter{States: []pipeline.State{pipeline.Pending}, Limit: 9}, []int64{16, 15, 14}},
		{"its second page", pipeline.ItemFilter{States: []pipeline.State{pipeline.Pending}, Skip: 2, Limit: 2}, []int64{14}},
		{"past its end", pipeline.ItemFilter{States: []pipeline.State{pipeline.Pending}, Skip: 3, Limit: 2}, nil},
		{"of two states, changed last first", pipeline.ItemFilter{States: []pipeline.State{pipeline.Failed, pipeline.Unknown}, LastChanged: true, Limit: 9}, []int64{12, 11}},
		{"of late", pipeline.ItemFilter{States: []pipeline.State{pipeline.Failed, pipeline.Unknown}, LastChanged: true, Since: Noon.Add(12 * time.Minute), Limit: 9}, []int64{12}},
		{"of every state", pipeline.ItemFilter{LastChanged: true, Limit: 4}, []int64{13, 12, 11, 16}},
	}
	for _, tt := range tests {
		items, err := s.Approvals(t.Context(), tt.page)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, it := range items {
			got = append(got, it.Message)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if _, err := s.Approvals(t.Context(), pipeline.ItemFilter{States: []pipeline.State{"open' OR '1"}, Limit: 1}); err == nil {
		t.Error("a state that there is not is looked for")
	}
}
