package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/store/storetest"
)

// Programs of others, such as those on Supabase, hear of every change, and of
// no text.
func TestPostgresAnnouncesApprovals(t *testing.T) {
	o := postgres(t)
	s := storetest.Open(t, o)
	conn, err := pgx.Connect(t.Context(), o.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "LISTEN approval_queue"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutApproval(t.Context(), storetest.Queued(1, 11), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CancelApprovals(t.Context(), 1, nil, pipeline.Resolved, storetest.Noon, nil); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"pending", "cancelled"} {
		n, err := conn.WaitForNotification(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(n.Payload), &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != 4 || got["message"] != 11.0 || got["conversation"] != 1.0 || got["state"] != state || got["priority"] != "normal" {
			t.Errorf("the notification is %s", n.Payload)
		}
	}
}

// BenchmarkApprovalsListed is a list out of 10,000 items, as long as the API
// makes it by itself. It must take less than 50 ms.
func BenchmarkApprovalsListed(b *testing.B) {
	for name, empty := range engines {
		b.Run(name, func(b *testing.B) {
			s := storetest.Open(b, empty(b))
			for i := range int64(10_000) {
				it := storetest.Queued(i+1, i+1)
				it.Deadline = storetest.Noon.Add(time.Duration(i*7919%10_000) * time.Second)
				if _, err := s.PutApproval(b.Context(), it, nil); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				items, err := s.Approvals(b.Context(), pipeline.ItemFilter{States: []pipeline.State{pipeline.Pending}, Limit: 200})
				if err != nil || len(items) != 200 {
					b.Fatal(len(items), err)
				}
			}
		})
	}
}
