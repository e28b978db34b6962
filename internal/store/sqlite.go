package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Names in the data folder.
const (
	databaseFile = "chatwoot-sla.db"
	lockFile     = "chatwoot-sla.lock"
)

const (
	sqliteReaders = 4      // connections
	busyTimeout   = "5000" // ms
)

// openSQLite opens the file with one connection that writes, because SQLite has
// one writer at a time, and some that read beside it.
func (s *Store) openSQLite(dir string) error {
	if dir == "" {
		return errors.New("store: a data folder is required")
	}
	name := filepath.Join(dir, databaseFile)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w; DATA_DIR must name a folder that this user may write", err)
	}
	lock, err := acquire(filepath.Join(dir, lockFile))
	if err != nil {
		return err
	}
	s.lock = lock
	// SQLite would make it readable for everybody that the umask lets in.
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = s.writeSQLite(dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open the database: %w", err), lock.release())
	}
	return nil
}

// writeSQLite opens a file that is there, for reading and writing.
func (s *Store) writeSQLite(dir string) (err error) {
	if err := s.Reader.openSQLite(dir); err != nil {
		return err
	}
	s.writer, err = sql.Open("sqlite", dsn(filepath.Join(dir, databaseFile), url.Values{
		"_busy_timeout": {busyTimeout}, "_journal_mode": {"WAL"}, "_synchronous": {"FULL"}, "_txlock": {"immediate"},
		"_pragma": {"secure_delete(1)"}, // what customers wrote is overwritten when it is deleted
	}))
	if err != nil {
		return errors.Join(err, s.Reader.Close())
	}
	s.writer.SetMaxOpenConns(1)
	return nil
}

func (r *Reader) openSQLite(dir string) error {
	if dir == "" {
		return errors.New("store: a data folder is required")
	}
	name := filepath.Join(dir, databaseFile)
	r.engine = sqliteEngine{name}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s does not exist; start the daemon once, or set DATA_DIR to the folder that it uses", ErrNoDatabase, name)
	} else if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(name, url.Values{"mode": {"ro"}, "_busy_timeout": {busyTimeout}}))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(sqliteReaders)
	db.SetMaxIdleConns(sqliteReaders)
	r.db = db
	return nil
}

// dsn returns the driver's name of a file, whatever characters it has.
func dsn(name string, parameters url.Values) string {
	parameters.Set("_dqs", "0")      // a misspelt column is an error, not a text
	parameters.Set("_error_rc", "1") // no stale text in an error
	u := url.URL{Scheme: "file", OmitHost: true, Path: name, RawQuery: parameters.Encode()}
	if !filepath.IsAbs(name) {
		u.Path, u.Opaque = "", url.PathEscape(filepath.ToSlash(name))
	}
	return u.String()
}

// lock is a file that the kernel keeps for one process. It is never deleted:
// another process may already wait for it.
type lock struct{ f *os.File }

func acquire(name string) (*lock, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w; DATA_DIR must name a folder that this user may write", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w; put DATA_DIR on a local disk", name, err)
		}
		owner := "another process"
		if pid, rerr := io.ReadAll(io.LimitReader(f, 20)); rerr == nil && len(pid) > 0 {
			owner = "process " + strings.TrimSpace(string(pid))
		}
		return nil, fmt.Errorf("the data folder %s is in use by %s: stop it, or give this one a DATA_DIR of its own; to run several, use Postgres (DATABASE_URL)",
			filepath.Dir(name), owner)
	}
	l := &lock{f}
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", name, err), l.release())
	}
	return l, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// release lets others in. The kernel does the same when a process ends.
func (l *lock) release() error { return l.f.Close() }

type sqliteEngine struct{ file string }

func (sqliteEngine) schema() string         { return "main" }
func (sqliteEngine) dialect() goose.Dialect { return goose.DialectSQLite3 }
func (sqliteEngine) versionTable() string   { return versionTable }

// sql takes the numbers off the parameters: SQLite looks every name up among
// all the others, which takes minutes for a thousand rows.
func (sqliteEngine) sql(query string) string {
	b := make([]byte, 0, len(query))
	for i := 0; i < len(query); i++ {
		if query[i] != '$' {
			b = append(b, query[i])
			continue
		}
		b = append(b, '?')
		for i+1 < len(query) && '0' <= query[i+1] && query[i+1] <= '9' {
			i++
		}
	}
	return string(b)
}

func (sqliteEngine) enterSchema(context.Context, *sql.Tx) error { return nil }

func (sqliteEngine) alsoMigrate(context.Context, *sql.Tx, string) error { return nil }

// lockSchema has nothing to do: the whole file is ours.
func (sqliteEngine) lockSchema(context.Context, *sql.DB) (func(), error) { return func() {}, nil }

// scrub moves what was written from the log into the file, and cuts the log
// off. It waits for nobody, because nothing is written meanwhile.
func (sqliteEngine) scrub(ctx context.Context, db *sql.DB) (done bool, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return false, err
	}
	var busy, pages, moved int
	err = conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved)
	if failed, ok := errors.AsType[*sqlite.Error](err); ok && failed.Code()&0xff == sqlite3.SQLITE_BUSY {
		busy, err = 1, nil
	}
	_, rerr := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA busy_timeout = "+busyTimeout)
	return busy == 0 && err == nil, errors.Join(err, rerr)
}

func (sqliteEngine) unreachable(error) bool { return false }

func (sqliteEngine) noTable(err error) bool {
	return err != nil && strings.Contains(err.Error(), "no such table")
}

func (e sqliteEngine) explain(err error) error {
	failed, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		if errors.Is(err, errBegin) && errors.Is(err, context.DeadlineExceeded) { // others of ours came first, and did not get on
			return fmt.Errorf("%s: %w; another program holds the file, its disk is slow, or a long write of ours is under way", e.file, err)
		}
		return err
	}
	hint := ""
	switch failed.Code() & 0xff { // the rest tells kinds of the same apart
	case sqlite3.SQLITE_FULL:
		hint = "the disk or its quota is full: make room"
	case sqlite3.SQLITE_IOERR:
		hint = "the disk reports an error, or is full: look at it and at the kernel's log"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		hint = "the file and its folder must be writable by this user"
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		hint = "the file is damaged, or no database of ours: restore a backup, or move it away to begin with an empty one"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		hint = "another program holds the file: close it"
	default:
		return fmt.Errorf("%s: %w", e.file, err)
	}
	return fmt.Errorf("%s: %w; %s", e.file, err, hint)
}
