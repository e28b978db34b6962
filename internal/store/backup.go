package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Backup writes a copy of the database to a file that must not exist yet. The
// daemon may go on meanwhile; the copy is of one instant, and appears whole or
// not at all. It is opened like the original, under the original's name.
func (r *Reader) Backup(ctx context.Context, file string) error {
	if _, ok := r.engine.(sqliteEngine); !ok {
		return errors.New("the database is Postgres': back it up with pg_dump --schema=" + Schema)
	}
	return r.do(ctx, opBackup, "write the backup", func() error {
		switch _, err := os.Lstat(file); {
		case err == nil:
			return fmt.Errorf("%s exists already: name a file that does not", file)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		scratch, err := os.CreateTemp(filepath.Dir(file), ".backup-*") // readable by this user alone, as the database is
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(scratch.Name()) }() // gone already when all went well
		if err := scratch.Close(); err != nil {
			return err
		}
		if _, err := r.db.ExecContext(ctx, "VACUUM INTO $1", scratch.Name()); err != nil {
			return err
		}
		if err := syncFile(scratch.Name()); err != nil {
			return err
		}
		if err := os.Rename(scratch.Name(), file); err != nil {
			return err
		}
		return syncFile(filepath.Dir(file))
	})
}

// syncFile sees to it that a file or folder outlives a power cut.
func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
