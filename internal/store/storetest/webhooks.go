package storetest

import (
	"database/sql"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/store"
)

func delivery(key, id string) store.Delivery {
	return store.Delivery{Key: key, ID: id, Conversation: 7, Message: 70, Status: "open", UpdatedAt: Noon, ReceivedAt: Noon}
}

func none(*sql.Tx, []int) error { return nil }

func deliveriesOnce(t *testing.T, o store.Options) {
	s := Open(t, o)
	accept := func(with func(*sql.Tx, []int) error, ds ...store.Delivery) []bool {
		t.Helper()
		fresh, err := s.AcceptDeliveries(t.Context(), ds, with)
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	var given []int
	got := accept(func(_ *sql.Tx, fresh []int) error { given = fresh; return nil },
		delivery("a", "1"), delivery("b", ""), delivery("a", "2"), delivery("c", "1"), delivery("d", ""))
	// The second a is the first one's event, and c is the first one's attempt.
	if want := []bool{true, true, false, false, true}; !slices.Equal(got, want) {
		t.Errorf("fresh are %v, want %v", got, want)
	}
	if want := []int{0, 1, 4}; !slices.Equal(given, want) {
		t.Errorf("given are %v, want %v", given, want)
	}
	if got := accept(none, delivery("a", "9"), delivery("e", "1"), delivery("f", "")); !slices.Equal(got, []bool{false, false, true}) {
		t.Errorf("later, fresh are %v", got)
	}

	// What cannot be kept with its jobs is not kept.
	full := errors.New("no jobs today")
	if _, err := s.AcceptDeliveries(t.Context(), []store.Delivery{delivery("g", "")}, func(*sql.Tx, []int) error { return full }); !errors.Is(err, full) {
		t.Errorf("the error is %v", err)
	}
	if got := accept(none, delivery("g", "")); !got[0] {
		t.Error("a delivery whose jobs could not be kept was kept")
	}
}

func missingDeliveries(t *testing.T, o store.Options) {
	s := Open(t, o)
	old := delivery("old", "")
	old.ReceivedAt = Noon.Add(-time.Hour)
	if _, err := s.AcceptDeliveries(t.Context(), []store.Delivery{old, delivery("new", "")}, none); err != nil {
		t.Fatal(err)
	}
	missing := func() []string {
		t.Helper()
		got, err := s.MissingDeliveries(t.Context(), []string{"x", "old", "y", "new"})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := missing(); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("missing are %q", got)
	}
	if err := s.PruneWebhooks(t.Context(), Noon); err != nil {
		t.Fatal(err)
	}
	if got := missing(); !slices.Equal(got, []string{"x", "old", "y"}) {
		t.Errorf("after pruning, missing are %q", got)
	}

	for _, at := range []time.Time{Noon, Noon.Add(time.Hour)} {
		if began, err := s.BeginWebhooks(t.Context(), at); !began.Equal(Noon) || err != nil {
			t.Errorf("webhooks began at %v, %v", began, err)
		}
	}
}

func webhookCounts(t *testing.T, o store.Options) {
	s := Open(t, o)
	count := func(day, label string) store.WebhookCount {
		return store.WebhookCount{Day: day, Name: "rejected", Label: label}
	}
	for _, add := range []map[store.WebhookCount]int64{
		{count("2026-03-02", "too_large"): 2, count("2026-03-02", "method"): 1},
		{count("2026-03-02", "too_large"): 3, count("2026-03-03", "method"): 7},
		nil,
	} {
		if err := s.AddWebhookCounts(t.Context(), add); err != nil {
			t.Fatal(err)
		}
	}
	counted := func(day string, want map[store.WebhookCount]int64) {
		t.Helper()
		if got, err := s.WebhookCounts(t.Context(), day); err != nil || !maps.Equal(got, want) {
			t.Errorf("counted are %v, %v, want %v", got, err, want)
		}
	}
	first := map[store.WebhookCount]int64{count("2026-03-02", "too_large"): 5, count("2026-03-02", "method"): 1}
	second := map[store.WebhookCount]int64{count("2026-03-03", "method"): 7}
	prune := func(before time.Time) {
		t.Helper()
		if err := s.PruneWebhooks(t.Context(), before); err != nil {
			t.Fatal(err)
		}
	}
	counted("2026-03-02", first)
	prune(time.Date(2026, 3, 2, 23, 0, 0, 0, time.UTC))
	counted("2026-03-02", first)
	prune(time.Date(2026, 3, 3, 1, 0, 0, 0, time.UTC))
	counted("2026-03-02", map[store.WebhookCount]int64{})
	counted("2026-03-03", second)
}
