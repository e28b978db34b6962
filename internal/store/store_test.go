package store_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		writeUntilKilled()
	}
	status := pgtest.Main(m)
	if err := goleak.Find(); err != nil && status == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		status = 1
	}
	os.Exit(status)
}

// engines are what holds for one and must hold for the other.
var engines = map[string]func(testing.TB) store.Options{
	"SQLite": func(t testing.TB) store.Options {
		return store.Options{DataDir: t.TempDir(), Account: storetest.Account}
	},
	"Postgres": func(t testing.TB) store.Options {
		return store.Options{DatabaseURL: pgtest.Database(t), Account: storetest.Account}
	},
}

func TestStore(t *testing.T) {
	for name, empty := range engines {
		t.Run(name, func(t *testing.T) { storetest.Run(t, empty) })
	}
}
