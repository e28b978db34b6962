// Package store keeps what must outlive the process: the ledger, the history of
// health probes, and what a restart must know.
//
// It is a SQLite file by default, and Postgres on request, with the same SQL,
// the same tables and the same promises. A SQLite file belongs to one process;
// a Postgres database may be shared by several that watch the same account.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/pressly/goose/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Options says which database to open.
type Options struct {
	// DataDir is the folder of the SQLite file. It is made if it is missing.
	DataDir string

	// DatabaseURL, when set, names a Postgres database instead
	// ("postgres://user:password@host:5432/name"). Direct connections work, and
	// so do poolers in session or transaction mode, such as Supabase's: neither
	// prepared statements nor anything else is left in a session. It is never
	// logged, and no error quotes it.
	DatabaseURL string

	// Account is whose facts the database holds. The first to open it says so,
	// and everybody else is refused. OpenReader takes a zero Account for any.
	Account Account

	// Migrate, if set, brings tables up to date that are not this package's. It
	// is called when ours are, and never twice at the same time.
	Migrate func(context.Context, *sql.DB) error

	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// Account names a Chatwoot account.
type Account struct {
	Host string // of its base URL, with the port and path if there are any
	ID   int64
}

func (a Account) String() string {
	return fmt.Sprintf("account %d of %s", a.ID, strings.ToLower(a.Host))
}

// Reader reads a database. Its methods may be called from several goroutines.
type Reader struct {
	db     *sql.DB
	engine engine
	log    *zap.Logger
	errors *prometheus.CounterVec

	// ready must have succeeded before anything else is asked of db.
	ready func(context.Context) error
}

// Store reads and writes a database. Every method that writes does so in one
// transaction, on disk when it returns.
type Store struct {
	*Reader
	writer *sql.DB
	lock   *lock // of the SQLite file; nil on Postgres

	account   Account
	others    func(context.Context, *sql.DB) error // brings tables up to date that are not ours
	prepared  atomic.Bool
	preparing chan struct{} // holds one: who prepares the database
}

// Open opens the database, makes it if there is none, and brings its tables up
// to date. Several processes may do so at once on Postgres; a SQLite file that
// another process has open is refused.
//
// A Postgres that cannot be reached is no error: what is asked of the Store
// fails until it can.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Account.Host == "" || o.Account.ID <= 0 {
		return nil, errors.New("store: an account is required")
	}
	s := &Store{account: o.Account, others: o.Migrate, preparing: make(chan struct{}, 1)}
	s.Reader = newReader(o)
	s.Reader.ready = s.prepare
	if err := s.open(ctx, o); err != nil {
		s.errors.WithLabelValues(opOpen).Inc()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) error {
	var err error
	if o.DatabaseURL == "" {
		err = s.openSQLite(o.DataDir)
	} else {
		err = s.openPostgres(o.DatabaseURL)
	}
	if err != nil {
		return err
	}
	err = s.prepare(ctx)
	switch {
	case err == nil:
		return nil
	case s.engine.unreachable(err):
		s.errors.WithLabelValues(opOpen).Inc()
		s.log.Warn("the database cannot be reached; going on without it", zap.Error(s.engine.explain(err)))
		return nil
	}
	return errors.Join(fmt.Errorf("open the database: %w", s.engine.explain(err)), s.Close())
}

// OpenReader opens a database that exists, also while a daemon has it.
func OpenReader(ctx context.Context, o Options) (*Reader, error) {
	r := newReader(o)
	var err error
	if o.DatabaseURL == "" {
		err = r.openSQLite(o.DataDir)
	} else {
		err = r.openPostgres(o.DatabaseURL)
	}
	if err != nil {
		return nil, err
	}
	r.ready = func(context.Context) error { return nil }
	if err := r.check(ctx, o.Account); err != nil {
		return nil, errors.Join(fmt.Errorf("open the database: %w", r.engine.explain(err)), r.Close())
	}
	return r, nil
}

// OpenBeside opens a database that exists for reading and writing, also while a
// daemon has it: for a command that changes a row or two. It leaves the tables
// as they are.
func OpenBeside(ctx context.Context, o Options) (*Store, error) {
	s := &Store{Reader: newReader(o), account: o.Account}
	var err error
	if o.DatabaseURL == "" {
		err = s.writeSQLite(o.DataDir)
	} else {
		err = s.openPostgres(o.DatabaseURL)
	}
	if err != nil {
		return nil, err
	}
	s.ready = func(context.Context) error { return nil }
	if err := s.check(ctx, o.Account); err != nil {
		return nil, errors.Join(fmt.Errorf("open the database: %w", s.engine.explain(err)), s.Close())
	}
	return s, nil
}

func newReader(o Options) *Reader {
	r := &Reader{log: o.Logger, errors: newErrors(o.Registerer)}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	return r
}

// Close closes the database. Nothing may be under way.
func (r *Reader) Close() error { return r.db.Close() }

// Close closes the database and lets another process have it. Nothing may be
// under way.
func (s *Store) Close() error {
	errs := []error{s.Reader.Close()}
	if s.writer != s.db {
		errs = append(errs, s.writer.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}

// prepare brings the database up to date, once.
func (s *Store) prepare(ctx context.Context) error {
	if s.prepared.Load() {
		return nil
	}
	select {
	case s.preparing <- struct{}{}:
		defer func() { <-s.preparing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.prepared.Load() {
		return nil
	}
	unlock, err := s.engine.lockSchema(ctx, s.writer)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if s.others != nil {
		if err := s.others(ctx, s.writer); err != nil {
			return err
		}
	}
	if err := s.claim(ctx); err != nil {
		return err
	}
	s.prepared.Store(true)
	return nil
}

// check refuses a database that this program cannot read.
func (r *Reader) check(ctx context.Context, a Account) error {
	if err := r.checkSchema(ctx); err != nil {
		return err
	}
	if a == (Account{}) {
		return nil
	}
	owner, err := r.value(ctx, metaAccount)
	if err != nil {
		return err
	}
	return r.sameAccount(owner, a)
}

// claim says whose database it is, or refuses another's.
func (s *Store) claim(ctx context.Context) error {
	owner, err := s.setFirst(ctx, metaAccount, s.account.String())
	if err != nil {
		return err
	}
	return s.sameAccount(owner, s.account)
}

func (r *Reader) sameAccount(owner string, a Account) error {
	if owner == a.String() {
		return nil
	}
	return fmt.Errorf("it belongs to %s, not to %s: give each account a database of its own (DATA_DIR or DATABASE_URL); "+
		"if this is the same Chatwoot under a new address, say so to the database: UPDATE %s.meta SET value = '%s' WHERE name = '%s'",
		owner, a, r.engine.schema(), strings.ReplaceAll(a.String(), "'", "''"), metaAccount)
}

// do runs what an operation asks of the database, and says what went wrong.
// The words complete "cannot …".
func (r *Reader) do(ctx context.Context, operation, words string, f func() error) error {
	err := r.ready(ctx)
	if err == nil {
		err = f()
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, context.Canceled) {
		r.errors.WithLabelValues(operation).Inc()
	}
	return fmt.Errorf("%s: %w", words, r.engine.explain(err))
}

// write is do with a transaction.
func (s *Store) write(ctx context.Context, operation, words string, f func(*sql.Tx) error) error {
	return s.do(ctx, operation, words, func() error {
		tx, err := s.writer.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("%w: %w", errBegin, err)
		}
		defer func() { _ = tx.Rollback() }() // nothing to undo after a commit
		if err := f(tx); err != nil {
			return err
		}
		return tx.Commit()
	})
}

// errBegin says that nothing was written yet.
var errBegin = errors.New("begin to write")

// Ready returns when the tables are there and up to date.
func (s *Store) Ready(ctx context.Context) error {
	return s.do(ctx, opOpen, "prepare the database", func() error { return nil })
}

// Writer returns the database for what is not this package's. On SQLite it has
// one connection: whoever has a transaction must not ask for another.
func (s *Store) Writer() *sql.DB { return s.writer }

// Database is Writer for a Reader, which reads only.
func (r *Reader) Database() *sql.DB { return r.db }

// sql returns a query for the engine. Queries are written for Postgres, with
// their tables in the schema "main", as SQLite calls its own, and with every
// parameter once and in order.
func (r *Reader) sql(query string) string { return r.engine.sql(query) }

// engine is what the two databases do not have in common.
type engine interface {
	// schema is where the tables are.
	schema() string
	sql(query string) string
	dialect() goose.Dialect
	versionTable() string // as goose names it
	// enterSchema makes a transaction create its tables in the schema.
	enterSchema(context.Context, *sql.Tx) error
	// alsoMigrate does what belongs to a migration on this engine alone.
	alsoMigrate(ctx context.Context, tx *sql.Tx, name string) error
	// lockSchema keeps others from changing the tables, and makes the schema.
	lockSchema(context.Context, *sql.DB) (unlock func(), err error)

	// scrub takes what was deleted out of what the engine keeps beside its
	// tables; false: somebody who reads or writes keeps it from doing so.
	scrub(context.Context, *sql.DB) (done bool, err error)

	// explain adds to an error what to do about it.
	explain(error) error
	// unreachable reports whether the same may work later without anybody
	// changing a setting.
	unreachable(error) bool
	// noTable reports whether a query failed because there is no such table.
	noTable(error) bool
}
