package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// MaintenanceWindow is one that somebody opened by hand.
type MaintenanceWindow struct {
	ID         int64
	Start, End time.Time
	Reason     string
}

// OpenMaintenance keeps a window and returns its id.
func (s *Store) OpenMaintenance(ctx context.Context, w MaintenanceWindow) (id int64, err error) {
	err = s.write(ctx, opMaintenance, "open a maintenance window", func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, s.sql(`INSERT INTO main.maintenance_windows (id, start_at, end_at, reason)
			SELECT COALESCE(MAX(id), 0) + 1, CAST($1 AS BIGINT), CAST($2 AS BIGINT), CAST($3 AS TEXT) FROM main.maintenance_windows RETURNING id`),
			micros(w.Start), micros(w.End), text(w.Reason)).Scan(&id)
	})
	return id, err
}

// StopMaintenance ends a window at an instant; before it begins, it will not
// come at all. An id of 0 ends those that are under way. It returns the windows
// as they were.
func (s *Store) StopMaintenance(ctx context.Context, id int64, at time.Time) (stopped []MaintenanceWindow, err error) {
	err = s.write(ctx, opMaintenance, "stop maintenance", func(tx *sql.Tx) error {
		stopped = nil
		rows, err := tx.QueryContext(ctx, s.sql(`SELECT id, start_at, end_at, reason FROM main.maintenance_windows WHERE end_at > $1 AND end_at > start_at ORDER BY start_at, id`), micros(at))
		if err != nil {
			return err
		}
		all, err := maintenanceWindows(rows)
		if err != nil {
			return err
		}
		for _, w := range all {
			if id != w.ID && (id != 0 || w.Start.After(at)) {
				continue
			}
			end := at
			if w.Start.After(at) {
				end = w.Start
			}
			if _, err := tx.ExecContext(ctx, s.sql(`UPDATE main.maintenance_windows SET end_at = $1 WHERE id = $2`), micros(end), w.ID); err != nil {
				return err
			}
			stopped = append(stopped, w)
		}
		return nil
	})
	return stopped, err
}

// MaintenanceWindows returns those that end after an instant, in the order in
// which they begin.
func (r *Reader) MaintenanceWindows(ctx context.Context, after time.Time) (windows []MaintenanceWindow, err error) {
	err = r.do(ctx, opMaintenance, "read maintenance windows", func() error {
		rows, err := r.db.QueryContext(ctx, r.sql(`SELECT id, start_at, end_at, reason FROM main.maintenance_windows WHERE end_at > $1 AND end_at > start_at ORDER BY start_at, id`), micros(after))
		if err == nil {
			windows, err = maintenanceWindows(rows)
		}
		return err
	})
	return windows, err
}

func maintenanceWindows(rows *sql.Rows) ([]MaintenanceWindow, error) {
	defer rows.Close()
	var all []MaintenanceWindow
	for rows.Next() {
		var (
			w          MaintenanceWindow
			start, end sql.Null[int64]
		)
		if err := rows.Scan(&w.ID, &start, &end, &w.Reason); err != nil {
			return nil, err
		}
		w.Start, w.End = instant(start), instant(end)
		all = append(all, w)
	}
	return all, rows.Err()
}

// Checklist is what is known of the one after a window.
type Checklist struct {
	Baseline string    // as NoteBaseline was given it; empty: nobody saw the window begin
	DoneAt   time.Time // zero: it has not been run
	Failed   string    // items that did not pass, with a comma between them
}

// NoteBaseline keeps how things were when a window began, unless that is known.
func (s *Store) NoteBaseline(ctx context.Context, window time.Time, baseline string) error {
	return s.write(ctx, opMaintenance, "note how things are at the beginning of maintenance", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.checklists (window_at, baseline) VALUES ($1, $2) ON CONFLICT (window_at) DO NOTHING`),
			micros(window), text(baseline))
		return err
	})
}

// ClaimChecklist reports whether the caller is to run the checklist of a window
// that ended at an instant. One that was run before then, because the window was
// prolonged, is run again. Whoever claimed it before the instant abandoned and
// did not finish is taken for dead.
func (s *Store) ClaimChecklist(ctx context.Context, window, ended, now, abandoned time.Time) (mine bool, err error) {
	err = s.write(ctx, opMaintenance, "claim a checklist", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.checklists (window_at, baseline) VALUES ($1, '') ON CONFLICT (window_at) DO NOTHING`), micros(window)); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, s.sql(`UPDATE main.checklists SET claimed_at = $1
			WHERE window_at = $2 AND (done_at IS NULL OR done_at < $3) AND (claimed_at IS NULL OR claimed_at < $4)`),
			micros(now), micros(window), micros(ended), micros(abandoned))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		mine = n > 0
		return err
	})
	return mine, err
}

// FinishChecklist keeps the verdict on a window.
func (s *Store) FinishChecklist(ctx context.Context, window, now time.Time, failed string) error {
	return s.write(ctx, opMaintenance, "keep the verdict of a checklist", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.checklists (window_at, baseline, done_at, failed) VALUES ($1, '', $2, $3)
			ON CONFLICT (window_at) DO UPDATE SET done_at = EXCLUDED.done_at, failed = EXCLUDED.failed, claimed_at = NULL`), micros(window), micros(now), text(failed))
		return err
	})
}

// Checklist returns what is known of the one after a window.
func (r *Reader) Checklist(ctx context.Context, window time.Time) (c Checklist, err error) {
	err = r.do(ctx, opMaintenance, "read a checklist", func() error {
		c = Checklist{}
		var (
			done   sql.Null[int64]
			failed sql.Null[string]
		)
		err := r.db.QueryRowContext(ctx, r.sql(`SELECT baseline, done_at, failed FROM main.checklists WHERE window_at = $1`), micros(window)).Scan(&c.Baseline, &done, &failed)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		c.DoneAt, c.Failed = instant(done), failed.V
		return err
	})
	return c, err
}
