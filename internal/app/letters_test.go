package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/queue"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

// Whoever looks at jobs does not hold up the webhooks that are being written.
func TestJobsAreLookedAtBesideTheWriter(t *testing.T) {
	cfg := config.Config{DataDir: t.TempDir()}
	db, err := store.Open(t.Context(), store.Options{
		DataDir: cfg.DataDir, Account: store.Account{Host: "support.example.com", ID: 1}, Migrate: queueEngine(cfg).Migrate,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	q, err := queue.New(queue.Options{Handlers: queue.NewHandlers()})
	if err != nil {
		t.Fatal(err)
	}
	w := &webhooks{cfg: cfg, books: &books{db: db}, queue: q}
	tx, err := db.Writer().BeginTx(t.Context(), nil) // the only connection that writes
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for path, want := range map[string]int{"GET /api/v1/queue": http.StatusOK, "GET /api/v1/queue/{id}": http.StatusNotFound} {
		answer := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
		r.SetPathValue("id", "1")
		w.protected()[path](answer, r, "morgan")
		if answer.Code != want {
			t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
		}
	}
}
