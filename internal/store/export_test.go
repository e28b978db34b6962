package store

import (
	"context"
	"fmt"
)

// LimitPages makes SQLite find the disk full beyond a number of pages.
func (s *Store) LimitPages(ctx context.Context, n int) error {
	_, err := s.writer.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", n))
	return err
}

// DoNotWait makes SQLite give up at once when another program has the file.
func (s *Store) DoNotWait(ctx context.Context) error {
	_, err := s.writer.ExecContext(ctx, "PRAGMA busy_timeout = 0")
	return err
}

// Pragma returns a setting of the connection that writes.
func (s *Store) Pragma(ctx context.Context, name string) (value string, err error) {
	err = s.writer.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value)
	return value, err
}

// WriterConnections returns how many may write at once.
func (s *Store) WriterConnections() int { return s.writer.Stats().MaxOpenConnections }

// Ask runs a query that returns a number, as the store runs its own.
func (r *Reader) Ask(ctx context.Context, query string) (n int, err error) {
	err = r.db.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}
