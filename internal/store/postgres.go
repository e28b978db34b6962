package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Schema holds our tables on Postgres. Supabase publishes what is in "public".
const Schema = "chatwoot_sla"

const (
	postgresConnections = 6 // Supabase's smallest plan has 15 for everybody
	connectTimeout      = 5 * time.Second
	idleTimeout         = 5 * time.Minute

	// schemaLock is the key of the advisory lock on changes of the tables.
	schemaLock = 0x636861745f736c61
)

var errDatabaseURL = errors.New("DATABASE_URL cannot be read: it must look like postgres://user:password@host:5432/name, " +
	"with the special characters of the password percent-encoded")

func (s *Store) openPostgres(address string) error {
	if err := s.Reader.openPostgres(address); err != nil {
		return err
	}
	s.writer = s.db
	return nil
}

func (r *Reader) openPostgres(address string) error {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return errDatabaseURL // the parser's words could quote the password
	}
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return errDatabaseURL
	}
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, connectTimeout)
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "chatwoot-sla"
	}
	// A pooler in transaction mode hands each transaction to another session,
	// which knows nothing of statements that were prepared before.
	if !u.Query().Has("default_query_exec_mode") {
		cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	r.engine = postgresEngine{}
	// A connection that a restart of the server has cut is not used again.
	ping := func(context.Context, stdlib.ShouldPingParams) bool { return true }
	r.db = stdlib.OpenDB(*cfg, stdlib.OptionShouldPing(ping))
	r.db.SetMaxOpenConns(postgresConnections)
	r.db.SetMaxIdleConns(postgresConnections / 2)
	r.db.SetConnMaxIdleTime(idleTimeout)
	return nil
}

type postgresEngine struct{}

func (postgresEngine) schema() string         { return Schema }
func (postgresEngine) dialect() goose.Dialect { return goose.DialectPostgres }
func (postgresEngine) versionTable() string   { return Schema + "." + versionTable }

func (postgresEngine) sql(query string) string {
	return strings.ReplaceAll(query, "main.", Schema+".")
}

func (postgresEngine) enterSchema(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "SET LOCAL search_path TO "+Schema)
	return err
}

func (postgresEngine) alsoMigrate(ctx context.Context, tx *sql.Tx, name string) error {
	script, err := postgresOnly.ReadFile(path.Join("postgres", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, string(script))
	}
	return err
}

// lockSchema locks with a transaction rather than a session, which poolers in
// transaction mode would share with others.
func (postgresEngine) lockSchema(ctx context.Context, db *sql.DB) (unlock func(), err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	unlock = func() { _ = tx.Rollback() } // it has written nothing
	if _, err = tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
		unlock()
		return nil, err
	}
	// Asked first, because CREATE SCHEMA demands its privilege even for one
	// that exists.
	var exists bool
	err = db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", Schema).Scan(&exists)
	if err == nil && !exists {
		_, err = db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+Schema)
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// Error classes and codes of Postgres, appendix A of its manual.
const (
	classAuthorization = "28"
	classResources     = "53"
	classIntervention  = "57"
	codeNoDatabase     = "3D000"
	codeNoPrivilege    = "42501"
	codeNoTable        = "42P01"
	codeReadOnly       = "25006"
	codeDiskFull       = "53100"
)

func (postgresEngine) noTable(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == codeNoTable
}

// scrub has nothing to do: vacuuming is the server's affair.
func (postgresEngine) scrub(context.Context, *sql.DB) (bool, error) { return true, nil }

func (postgresEngine) unreachable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(pg.Code, classResources) || strings.HasPrefix(pg.Code, classIntervention)
	}
	var (
		connect *pgconn.ConnectError
		network net.Error
	)
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

func (e postgresEngine) explain(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case strings.HasPrefix(pg.Code, classAuthorization):
			return fmt.Errorf("%w; check the user and the password in DATABASE_URL", err)
		case pg.Code == codeNoDatabase:
			return fmt.Errorf("%w; check the name at the end of DATABASE_URL", err)
		case pg.Code == codeNoPrivilege:
			return fmt.Errorf("%w; as the database's owner run CREATE SCHEMA %s AUTHORIZATION and the user of DATABASE_URL", err, Schema)
		case pg.Code == codeReadOnly:
			return fmt.Errorf("%w; DATABASE_URL must name the primary, and hosted databases also refuse writes when their disk is full", err)
		case pg.Code == codeDiskFull:
			return fmt.Errorf("%w; the disk of Postgres is full: make room", err)
		}
		return err
	}
	if e.unreachable(err) {
		return fmt.Errorf("%w; is Postgres running, and reachable under the address in DATABASE_URL?", err)
	}
	return err
}
