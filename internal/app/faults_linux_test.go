package app_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/store"
)

// mount makes dir a small file system of its own.
func mount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("none", dir, "tmpfs", flags, "size=3m"); err != nil {
		t.Skipf("a file system of its own: %v; that takes root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// script runs statements on a SQLite file.
func script(t *testing.T, dir string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", databaseOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// A database that cannot be opened takes nothing away but itself, and whatever
// was decided meanwhile is in it when it can.
func TestDatabaseThatCannotBeOpened(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string) (heal func())
		says  []string
	}{
		{
			"read-only folder", func(t *testing.T, dir string) func() {
				mount(t, dir, syscall.MS_RDONLY)
				return func() {
					if err := syscall.Mount("none", dir, "", syscall.MS_REMOUNT, ""); err != nil {
						t.Fatal(err)
					}
				}
			},
			[]string{"read-only file system", "DATA_DIR must name a folder that this user may write"},
		},
		{
			"folder of another daemon", func(t *testing.T, dir string) func() {
				f, err := os.Create(filepath.Join(dir, "chatwoot-sla.lock"))
				if err == nil {
					_, err = fmt.Fprintln(f, 4711)
				}
				if err == nil {
					err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
				}
				if err != nil {
					t.Fatal(err)
				}
				return func() { f.Close() }
			},
			[]string{"is in use by process 4711: stop it, or give this one a DATA_DIR of its own"},
		},
		{
			"newer schema", func(t *testing.T, dir string) func() {
				s, err := store.Open(t.Context(), store.Options{DataDir: dir, Account: store.Account{Host: "example.com", ID: 1}})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				script(t, dir, "DELETE FROM meta", "INSERT INTO schema_version (version_id, is_applied) VALUES (9999, 1)")
				return func() { script(t, dir, "DELETE FROM schema_version WHERE version_id = 9999") }
			},
			[]string{"was written by a newer chatwoot-sla", "upgrade, or restore a backup from before"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			heal := tt.spoil(t, dir)
			d := openDesk(t, store.Options{DataDir: dir})
			d.works()
			d.Await("/metrics", `chatwoot_sla_store_errors_total\{operation="open"\} [1-9]`)
			d.works()
			heal()
			d.settles()
			d.said(append(tt.says, "no database: levels and alerts go on", "the database works again")...)
		})
	}
}

func TestDiskThatFillsUp(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, 0)
	d := openDesk(t, store.Options{DataDir: dir})
	d.works()
	d.settles()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 3<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	d.fails(func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}, "ledger_write")
	d.said("writing the ledger failed; levels and pages go on without it", "full: make room", "the ledger is written again")
}
