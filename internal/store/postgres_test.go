package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/porttest"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/store/storetest"
)

func postgres(t *testing.T) store.Options { return engines["Postgres"](t) }

func TestReplicasMayStartAtOnceOnAnEmptyDatabase(t *testing.T) {
	o := postgres(t)
	const replicas = 8
	stores, errs := make([]*store.Store, replicas), make([]error, replicas)
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() { stores[i], errs[i] = store.Open(t.Context(), o) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, s := range stores {
		defer s.Close()
	}

	// All of them see the same facts, and each outcome is written by one.
	const clocks = 1000
	var mu sync.Mutex
	winners := map[ledger.Key]int{}
	for i, s := range stores {
		wg.Go(func() {
			var b ledger.Batch
			for n := range int64(clocks) {
				e := storetest.Decided(n+1, ledger.Met, storetest.Noon)
				e.Assignee = fmt.Sprint("seen by ", i)
				b.Put = append(b.Put, e)
			}
			written, err := s.Write(t.Context(), b)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, k := range written {
				winners[k]++
			}
		})
	}
	wg.Wait()
	if len(winners) != clocks {
		t.Errorf("%d outcomes were written, want %d", len(winners), clocks)
	}
	for k, n := range winners {
		if n != 1 {
			t.Errorf("%v was written %d times", k, n)
		}
	}
}

// A pooler in transaction mode gives the sessions of a database to whoever
// asks, and what one leaves behind another finds.
func TestPostgresLeavesNothingInASession(t *testing.T) {
	o := postgres(t)
	s := storetest.Open(t, o)
	if _, err := s.Write(t.Context(), put(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Running(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		"SELECT COUNT(*) FROM pg_prepared_statements",
		"SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory'",
	} {
		for range 2 {
			if n, err := s.Ask(t.Context(), query); err != nil || n != 0 {
				t.Errorf("%s: %d, %v", query, n, err)
			}
		}
	}
	if n, err := s.Ask(t.Context(), "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'"); err != nil || n != 0 {
		t.Errorf("%d tables are in the schema that Supabase publishes, %v", n, err)
	}
}

// A user who may use the database but not make schemas in it is told what to
// ask for, and that is enough.
func TestPostgresUserWithoutPrivileges(t *testing.T) {
	o := postgres(t)
	owner, err := sql.Open("pgx", o.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	exec := func(statement string) {
		t.Helper()
		if _, err := owner.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE ROLE guest LOGIN")
	o.DatabaseURL = strings.Replace(o.DatabaseURL, "postgres@", "guest@", 1)
	_, err = store.Open(t.Context(), o)
	wantWords(t, err, "permission denied", "CREATE SCHEMA chatwoot_sla AUTHORIZATION")
	exec("CREATE SCHEMA chatwoot_sla AUTHORIZATION guest")
	storetest.Open(t, o)
}

func TestPostgresErrorsNameTheSettingAndNotTheSecret(t *testing.T) {
	good := postgres(t).DatabaseURL
	nobody := porttest.Refusing(t)
	const secret = "s3cr3t"
	for name, tt := range map[string]struct{ url, want string }{
		"not a URL":                       {"postgres://me:" + secret + "@host:port/db", "percent-encoded"},
		"a slash in the password":         {"postgres://me:" + secret + "/x@host/db", "percent-encoded"},
		"a percent sign in the password":  {"postgres://me:" + secret + "%zz@host/db", "percent-encoded"},
		"another database's":              {"mysql://me:" + secret + "@host/db", "postgres://user:password@host:5432/name"},
		"keywords":                        {"host=h password=" + secret, "postgres://user:password@host:5432/name"},
		"a parameter that does not exist": {good + "?sslmode=" + secret, "percent-encoded"},
		"a database that does not exist":  {strings.Replace(good, "postgres@", "postgres:"+secret+"@", 1) + "x", "name at the end of DATABASE_URL"},
		"a user who does not exist":       {strings.Replace(good, "postgres@", "nobody:"+secret+"@", 1), "user and the password in DATABASE_URL"},
		"nobody listens (read)":           {"postgres://me:" + secret + "@" + nobody + "/db", "is Postgres running"},
	} {
		t.Run(name, func(t *testing.T) {
			o := store.Options{DatabaseURL: tt.url, Account: storetest.Account}
			_, err := store.OpenReader(t.Context(), o)
			if err == nil {
				t.Fatal("it was opened")
			}
			wantWords(t, err, tt.want)
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells the secret: %v", err)
			}
			if strings.HasPrefix(name, "nobody") {
				return // for a daemon, no error: see below
			}
			if _, err := store.Open(t.Context(), o); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("Open() = %v", err)
			}
		})
	}
}

func TestPostgresIsBackedUpWithItsOwnTool(t *testing.T) {
	s := storetest.Open(t, postgres(t))
	wantWords(t, s.Backup(t.Context(), "unused"), "pg_dump")
}

func TestPostgresThatIsDownAtFirstAndLater(t *testing.T) {
	server := pgtest.New(t)
	server.Stop(t)
	core, logs := observer.New(zapcore.DebugLevel)
	reg := prometheus.NewPedanticRegistry()
	s := storetest.Open(t, store.Options{
		DatabaseURL: server.URL("postgres"), Account: storetest.Account, Logger: zap.New(core), Registerer: reg,
	})
	if n := logs.FilterMessageSnippet("going on without it").Len(); n != 1 {
		t.Errorf("the log has %v", logs.All())
	}
	_, err := s.Running(t.Context())
	wantWords(t, err, "is Postgres running")

	server.Start(t)
	if _, err := s.Write(t.Context(), put(1)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		server.Stop(t)
		if _, err := s.Write(t.Context(), put(2)); err == nil {
			t.Fatal("a server that is stopped took a batch")
		}
		server.Start(t)
		if _, err := s.Write(t.Context(), put(2)); err != nil {
			t.Fatalf("after it came back: %v", err)
		}
	}
	if n := testutil.CollectAndCount(reg, "chatwoot_sla_store_errors_total"); n != 15 {
		t.Errorf("%d series of errors", n)
	}
}

// A server that takes connections and says nothing must not hold up a caller
// beyond its own patience.
func TestPostgresThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	s, err := store.Open(ctx, store.Options{DatabaseURL: "postgres://me@" + l.Addr().String() + "/db", Account: storetest.Account})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Running(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Running() = %v", err)
	}
}

// Two replicas that keep the same webhooks at the same time wait for each other,
// and never in a circle: whatever the order they came in, one of them holds the
// row that comes first.
func TestReplicasKeepWebhooksInOneOrder(t *testing.T) {
	s, err := store.Open(t.Context(), postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	other, err := s.Writer().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback()
	keeps := func(key string) {
		t.Helper()
		_, err := other.ExecContext(t.Context(), `INSERT INTO chatwoot_sla.deliveries
			(event_key, conversation, message, status, received_at, missed) VALUES ($1, 1, 1, 'open', 0, false)`, key)
		if err != nil {
			t.Fatalf("the other replica: %v", err)
		}
	}
	keeps("a")
	type answer struct {
		fresh []bool
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		ds := []store.Delivery{{Key: "c"}, {Key: "b"}, {Key: "a"}}
		for i := range ds {
			ds[i].ReceivedAt = storetest.Noon
		}
		fresh, err := s.AcceptDeliveries(t.Context(), ds, func(*sql.Tx, []int) error { return nil })
		answers <- answer{fresh, err}
	}()
	for waiting := 0; waiting == 0 && len(answers) == 0; {
		if waiting, err = s.Ask(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted"); err != nil {
			t.Fatal(err)
		}
	}
	keeps("b")
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := <-answers; got.err != nil || !slices.Equal(got.fresh, []bool{true, false, false}) {
		t.Errorf("fresh are %v, %v; want the first", got.fresh, got.err)
	}
}
