package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/sla"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/store/storetest"
)

func sqlite(t *testing.T) store.Options { return engines["SQLite"](t) }

func databaseOf(o store.Options) string { return filepath.Join(o.DataDir, "chatwoot-sla.db") }

func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(fmt.Sprint(err), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

func put(id int64) ledger.Batch { return ledger.Batch{Put: []ledger.Entry{storetest.Waiting(id)}} }

func TestSQLiteFilesAreForTheirOwnerAlone(t *testing.T) {
	o := sqlite(t)
	o.DataDir = filepath.Join(o.DataDir, "not", "there yet? 100%#1")
	s := storetest.Open(t, o)
	if _, err := s.Write(t.Context(), put(1)); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(o.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]fs.FileMode{"": 0o700}
	for _, f := range files {
		names[f.Name()] = 0o600
	}
	for _, name := range []string{"chatwoot-sla.db", "chatwoot-sla.db-wal", "chatwoot-sla.lock"} {
		if names[name] == 0 {
			t.Errorf("there is no %s among %v", name, files)
		}
	}
	for name, want := range names {
		info, err := os.Stat(filepath.Join(o.DataDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o, want %o", name, got, want)
		}
	}
}

func TestSQLiteOpensAFolderNamedRelatively(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"data", "./da ta?", ".", "a:b"} {
		o := store.Options{DataDir: dir, Account: storetest.Account}
		storetest.Open(t, o)
		if _, err := os.Stat(databaseOf(o)); err != nil {
			t.Error(err)
		}
		r, err := store.OpenReader(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
}

// A commit must be on disk before it is acknowledged, and one writer at a time
// is all that SQLite has.
func TestSQLiteSettings(t *testing.T) {
	s := storetest.Open(t, sqlite(t))
	for name, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "secure_delete": "1", "busy_timeout": "5000"} {
		if got, err := s.Pragma(t.Context(), name); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
	if n := s.WriterConnections(); n != 1 {
		t.Errorf("%d connections may write", n)
	}
}

func TestSecondDaemonOnOneFolderIsToldWhoHasIt(t *testing.T) {
	o := sqlite(t)
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewPedanticRegistry()
	second := o
	second.Registerer = reg
	_, err = store.Open(t.Context(), second)
	wantWords(t, err, o.DataDir, fmt.Sprintf("process %d", os.Getpid()), "DATA_DIR", "Postgres")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// It may try again, and counts on.
	storetest.Open(t, second)
	if n := storetest.Errors(t, reg, "open"); n != 1 {
		t.Errorf("%v errors are counted", n)
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	o := sqlite(t)
	file := filepath.Join(o.DataDir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.DataDir = file
	_, err := store.Open(t.Context(), o)
	wantWords(t, err, file, "DATA_DIR must name a folder")
}

func TestFolderWithoutPermission(t *testing.T) {
	o := sqlite(t)
	if err := os.Chmod(o.DataDir, 0o500); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		_, err := store.Open(t.Context(), o)
		wantWords(t, err, o.DataDir, "permission denied", "DATA_DIR must name a folder that this user may write")
	})
}

func TestFileThatIsNoDatabase(t *testing.T) {
	for name, content := range map[string]string{
		"text":                 strings.Repeat("not a database\n", 1000),
		"a database cut short": "SQLite format 3\x00\x10\x00\x02\x02",
		"a damaged table":      "",
	} {
		t.Run(name, func(t *testing.T) {
			o := sqlite(t)
			if content == "" {
				content = damaged(t, o)
			}
			if err := os.WriteFile(databaseOf(o), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := store.Open(t.Context(), o)
			wantWords(t, err, databaseOf(o), "restore a backup")
			_, err = store.OpenReader(t.Context(), o)
			wantWords(t, err, databaseOf(o), "restore a backup")
		})
	}
}

// damaged returns a database whose pages beyond the first are nonsense.
func damaged(t *testing.T, o store.Options) string {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(databaseOf(o))
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	return string(content[:page]) + strings.Repeat("x", len(content)-page)
}

func TestFullDisk(t *testing.T) {
	s := storetest.Open(t, sqlite(t))
	if err := s.LimitPages(t.Context(), 1); err != nil { // as many as there are
		t.Fatal(err)
	}
	var err error
	var last int64
	for ; err == nil && last < 10_000; last++ {
		_, err = s.Write(t.Context(), put(last))
	}
	wantWords(t, err, "disk", "full", "make room")
	if err := s.LimitPages(t.Context(), 1_000_000); err != nil {
		t.Fatal(err)
	}
	if written, err := s.Write(t.Context(), put(last)); err != nil || len(written) != 1 {
		t.Errorf("after room was made: %v, %v", written, err)
	}
}

func TestFileLockedByAnotherProgram(t *testing.T) {
	o := sqlite(t)
	s := storetest.Open(t, o)
	if err := s.DoNotWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", databaseOf(o)+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Write(t.Context(), put(1))
	wantWords(t, err, "another program holds the file")
	if _, err := s.Running(t.Context()); err != nil {
		t.Errorf("reading beside a writer: %v", err)
	}
	first, err := s.Writer().Conn(t.Context()) // as those have it who wait for the file
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = s.Write(short, put(1))
	wantWords(t, err, "deadline exceeded", "another program holds the file")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(t.Context(), put(1)); err != nil {
		t.Error(err)
	}
}

func TestBackup(t *testing.T) {
	o := sqlite(t)
	s := storetest.Open(t, o)
	if _, err := s.Write(t.Context(), put(1)); err != nil {
		t.Fatal(err)
	}
	to := store.Options{DataDir: t.TempDir(), Account: storetest.Account}
	if err := s.Backup(t.Context(), databaseOf(to)); err != nil {
		t.Fatal(err)
	}
	wantWords(t, s.Backup(t.Context(), databaseOf(to)), databaseOf(to), "exists already")
	wantWords(t, s.Backup(t.Context(), filepath.Join(to.DataDir, "nowhere", "file")), "no such file or directory")
	info, err := os.Stat(databaseOf(to))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup's mode is %v, %v", info.Mode(), err)
	}
	if files, err := os.ReadDir(to.DataDir); err != nil || len(files) != 1 {
		t.Errorf("the backup left %v, %v", files, err)
	}

	// As from the command line, while the daemon runs.
	r, err := store.OpenReader(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Backup(t.Context(), filepath.Join(to.DataDir, "second")); err != nil {
		t.Error(err)
	}

	restored := storetest.Open(t, to)
	running, err := restored.Running(t.Context())
	if err != nil || len(running) != 1 || running[0] != storetest.Waiting(1) {
		t.Errorf("restored: %+v, %v", running, err)
	}
}

// A report may be made while no daemon runs, from a file that it left by
// stopping or by being killed, and from a backup.
func TestReaderOfAFileThatNobodyHasOpen(t *testing.T) {
	o := sqlite(t)
	writeAndKill(t, o, 0, 1)
	r, err := store.OpenReader(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	err = r.Decided(t.Context(), time.Unix(0, 0), storetest.Noon.AddDate(1, 0, 0), func(ledger.Entry) error { n++; return nil })
	if err != nil || n < batchSize {
		t.Errorf("%d outcomes, %v", n, err)
	}

	stopped := sqlite(t)
	s, err := store.Open(t.Context(), stopped)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := store.OpenReader(t.Context(), stopped)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// The ledger keeps what a full disk refuses, and writes it when there is room.
func TestLedgerOutlivesAFullDisk(t *testing.T) {
	s := storetest.Open(t, sqlite(t))
	l, err := ledger.New(ledger.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.LimitPages(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	const conversations = 2000 // more than fit into what is there
	observed := func(id int64) ledger.Observation {
		return ledger.Observation{
			Conversation: id, Inbox: 5, Status: ledger.Open, ObservedAt: storetest.Noon,
			Clock: sla.Clock{
				State: sla.Answered, Start: storetest.Noon, Deadline: storetest.Noon.Add(time.Minute), AnsweredAt: storetest.Noon,
			},
		}
	}
	for id := int64(1); id <= conversations; id++ {
		l.Observe([]ledger.Observation{observed(id)})
	}
	wantWords(t, l.Flush(t.Context()), "disk", "make room")
	if n := l.Unwritten(); n != conversations {
		t.Errorf("%d conversations are kept, want all %d", n, conversations)
	}
	if err := s.LimitPages(t.Context(), 1_000_000); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), []ledger.Observation{observed(conversations + 1)}); err != nil {
		t.Fatal(err)
	}
	n := 0
	err = s.Decided(t.Context(), storetest.Noon, storetest.Noon.Add(time.Second), func(ledger.Entry) error { n++; return nil })
	if err != nil || n != conversations+1 {
		t.Errorf("%d outcomes are written, %v, want %d", n, err, conversations+1)
	}
}

// What a customer wrote is not in the files any more, though they stay open.
func TestSQLiteForgetsWhatIsPurgedOrPruned(t *testing.T) {
	o := store.Options{DataDir: t.TempDir(), Account: storetest.Account}
	s := storetest.Open(t, o)
	put := func() {
		t.Helper()
		for i := range int64(50) {
			it := storetest.Queued(i%5+1, i+1)
			it.State, it.Question = pipeline.Rejected, strings.Repeat("somebody else ", 30)
			if it.Conversation == 3 {
				it.Question = strings.Repeat("Hortensia ", 40)
			}
			if _, err := s.PutApproval(t.Context(), it, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	copies := func() (n int) {
		t.Helper()
		for _, name := range []string{databaseOf(o), databaseOf(o) + "-wal"} {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			n += bytes.Count(text, []byte("Hortensia"))
		}
		return n
	}
	put()
	if copies() == 0 {
		t.Fatal("the test does not find what is there")
	}
	if n, err := s.PurgeApprovals(t.Context(), 3, nil); err != nil || n != 10 || copies() != 0 {
		t.Errorf("purged %d items, %v; %d copies are left", n, err, copies())
	}
	put()
	if n, err := s.PruneApprovals(t.Context(), storetest.Noon.Add(time.Hour), nil); err != nil || n != 50 || copies() != 0 {
		t.Errorf("pruned %d items, %v; %d copies are left", n, err, copies())
	}
	if got, err := s.Pragma(t.Context(), "busy_timeout"); err != nil || got != "5000" {
		t.Errorf("afterwards busy_timeout is %s, %v", got, err)
	}
}

// A purge says so when it could not delete every copy.
func TestSQLitePurgeBesideALongReader(t *testing.T) {
	t.Parallel() // it waits
	o := store.Options{DataDir: t.TempDir(), Account: storetest.Account}
	s := storetest.Open(t, o)
	if _, err := s.PutApproval(t.Context(), storetest.Queued(3, 1), nil); err != nil {
		t.Fatal(err)
	}
	tx, err := s.Database().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM approval_queue").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n, err := s.PurgeApprovals(t.Context(), 3, nil); n != 1 || err == nil || !strings.Contains(err.Error(), "do the same again") {
		t.Errorf("purged %d items, %v", n, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.PurgeApprovals(t.Context(), 3, nil); n != 0 || err != nil {
		t.Errorf("again: purged %d items, %v", n, err)
	}
}
