package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/incident"
)

// ErrChanged says that somebody else has changed, begun or ended an incident
// since it was read.
var ErrChanged = errors.New("another process has changed the incident meanwhile")

// SaveIncident keeps an incident and the last of its timeline, from the given
// entry on, and returns it with its id and version. What was changed by others
// since it was read is not overwritten: the error is then ErrChanged, and a new
// one is refused in the same way while another is under way.
func (s *Store) SaveIncident(ctx context.Context, i incident.Incident, from int) (incident.Incident, error) {
	changed := false
	err := s.write(ctx, opIncidentWrite, "save an incident", func(tx *sql.Tx) error {
		var (
			n   int64
			err error
		)
		changed = false
		args := []any{micros(i.Started), micros(i.Ended), int64(i.Level), int64(i.ExitCode), text(strings.Join(i.Affected, ",")), micros(i.FailingSince), i.Overran}
		if i.ID == 0 {
			err = tx.QueryRowContext(ctx, s.sql(`INSERT INTO main.incidents (id, version, started_at, ended_at, level, exit_code, affected, failing_at, overran)
				SELECT COALESCE(MAX(id), 0) + 1, 1, CAST($1 AS BIGINT), CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS TEXT), CAST($6 AS BIGINT), CAST($7 AS BOOLEAN)
				FROM main.incidents WHERE TRUE ON CONFLICT DO NOTHING RETURNING id`), args...).Scan(&n)
			i.ID, i.Version = n, 1
		} else {
			err = tx.QueryRowContext(ctx, s.sql(`UPDATE main.incidents SET started_at = $1, ended_at = $2, level = $3, exit_code = $4, affected = $5, failing_at = $6, overran = $7,
				version = version + 1 WHERE id = $8 AND version = $9 AND ended_at IS NULL RETURNING version`), append(args, i.ID, i.Version)...).Scan(&i.Version)
		}
		if errors.Is(err, sql.ErrNoRows) {
			changed = true
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range i.Timeline[from:] {
			if err := s.addEntry(ctx, tx, i.ID, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && changed {
		err = ErrChanged
	}
	return i, err
}

// AddNote adds to the timeline of an incident what somebody knows of it. An id
// of 0 is the newest one. It returns the incident's id, and 0 if there is none.
func (s *Store) AddNote(ctx context.Context, id int64, notes []incident.Entry) (found int64, err error) {
	err = s.write(ctx, opIncidentWrite, "add to an incident", func(tx *sql.Tx) error {
		found = 0
		query := `SELECT COALESCE(MAX(id), 0) FROM main.incidents WHERE CAST($1 AS BIGINT) = 0 OR id = $2`
		if err := tx.QueryRowContext(ctx, s.sql(query), id, id).Scan(&found); err != nil || found == 0 {
			return err
		}
		for _, e := range notes {
			if err := s.addEntry(ctx, tx, found, e); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

// addEntry takes the next number. Two that take the same one at a time are
// refused by the key, and the second one's transaction with it.
func (s *Store) addEntry(ctx context.Context, tx *sql.Tx, id int64, e incident.Entry) error {
	_, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.incident_entries (incident, number, at, kind, text)
		SELECT CAST($1 AS BIGINT), COALESCE(MAX(number), 0) + 1, CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS TEXT)
		FROM main.incident_entries WHERE incident = $5`), id, micros(e.At), text(string(e.Kind)), text(e.Text), id)
	return err
}

// OpenIncident returns the incident that is under way; the zero Incident: none.
func (r *Reader) OpenIncident(ctx context.Context) (incident.Incident, error) {
	all, err := r.incidents(ctx, `WHERE ended_at IS NULL`)
	return firstOf(all), err
}

// Incident returns the one with an id, or for 0 the newest; the zero Incident:
// there is none.
func (r *Reader) Incident(ctx context.Context, id int64) (incident.Incident, error) {
	if id == 0 {
		all, err := r.incidents(ctx, `ORDER BY id DESC LIMIT 1`)
		return firstOf(all), err
	}
	all, err := r.incidents(ctx, `WHERE id = $1`, id)
	return firstOf(all), err
}

// Incidents returns the newest, the last one first.
func (r *Reader) Incidents(ctx context.Context, limit int) ([]incident.Incident, error) {
	return r.incidents(ctx, `ORDER BY id DESC LIMIT $1`, limit)
}

func firstOf(all []incident.Incident) incident.Incident {
	if len(all) == 0 {
		return incident.Incident{}
	}
	return all[0]
}

func (r *Reader) incidents(ctx context.Context, which string, args ...any) (all []incident.Incident, err error) {
	err = r.do(ctx, opIncidentRead, "read incidents", func() error {
		all = nil
		rows, err := r.db.QueryContext(ctx, r.sql(`SELECT id, version, started_at, ended_at, level, exit_code, affected, failing_at, overran FROM main.incidents `+which), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				i                       incident.Incident
				started, ended, failing sql.Null[int64]
				affected                string
			)
			if err := rows.Scan(&i.ID, &i.Version, &started, &ended, &i.Level, &i.ExitCode, &affected, &failing, &i.Overran); err != nil {
				return err
			}
			i.Started, i.Ended, i.FailingSince = instant(started), instant(ended), instant(failing)
			if affected != "" {
				i.Affected = strings.Split(affected, ",")
			}
			all = append(all, i)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for k := range all {
			if all[k].Timeline, err = r.timeline(ctx, all[k].ID); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

func (r *Reader) timeline(ctx context.Context, id int64) ([]incident.Entry, error) {
	rows, err := r.db.QueryContext(ctx, r.sql(`SELECT at, kind, text FROM main.incident_entries WHERE incident = $1 ORDER BY at, number`), id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []incident.Entry
	for rows.Next() {
		var (
			e  incident.Entry
			at sql.Null[int64]
		)
		if err := rows.Scan(&at, &e.Kind, &e.Text); err != nil {
			return nil, err
		}
		e.At = instant(at)
		all = append(all, e)
	}
	return all, rows.Err()
}

// LastSuccesses returns when each health probe last succeeded, in whichever
// process, after an instant.
func (r *Reader) LastSuccesses(ctx context.Context, after time.Time) (last map[string]time.Time, err error) {
	err = r.do(ctx, opProbeRead, "read the last good health probes", func() error {
		last = map[string]time.Time{}
		rows, err := r.db.QueryContext(ctx, r.sql(`SELECT probe, MAX(started_at) FROM main.probes WHERE started_at > $1 AND success GROUP BY probe`), micros(after))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				name string
				at   sql.Null[int64]
			)
			if err := rows.Scan(&name, &at); err != nil {
				return err
			}
			last[name] = instant(at)
		}
		return rows.Err()
	})
	return last, err
}
