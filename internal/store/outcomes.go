package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
)

// rowsAtOnce is how many rows one statement carries. A database far away is
// asked once for all of them, and both engines allow many more parameters.
const rowsAtOnce = 500

const entryColumns = `conversation, round, inbox, team, assignee, start_at, deadline_at,
	first_response_at, ended_at, outcome, decided_at, observed_at`

const (
	insertEntries = `INSERT INTO main.first_responses AS f (` + entryColumns + `) VALUES `

	putTail = ` ON CONFLICT (conversation, round) DO UPDATE SET
		inbox = EXCLUDED.inbox, team = EXCLUDED.team, assignee = EXCLUDED.assignee,
		start_at = EXCLUDED.start_at, deadline_at = EXCLUDED.deadline_at,
		first_response_at = EXCLUDED.first_response_at, ended_at = EXCLUDED.ended_at,
		outcome = EXCLUDED.outcome, decided_at = EXCLUDED.decided_at, observed_at = EXCLUDED.observed_at
		WHERE f.outcome IS NULL AND (EXCLUDED.outcome IS NOT NULL OR EXCLUDED.observed_at >= f.observed_at)
		RETURNING conversation, round`

	fillTail = ` ON CONFLICT (conversation, round) DO UPDATE SET
		first_response_at = COALESCE(f.first_response_at, EXCLUDED.first_response_at),
		ended_at = COALESCE(f.ended_at, EXCLUDED.ended_at)
		WHERE f.outcome IS NOT NULL
		AND ((f.first_response_at IS NULL AND EXCLUDED.first_response_at IS NOT NULL)
			OR (f.ended_at IS NULL AND EXCLUDED.ended_at IS NOT NULL))
		RETURNING conversation, round`

	removeEntry = `DELETE FROM main.first_responses
		WHERE conversation = $1 AND round = $2 AND outcome IS NULL AND observed_at <= $3`
)

// Write implements ledger.Store.
func (s *Store) Write(ctx context.Context, b ledger.Batch) ([]ledger.Key, error) {
	var written []ledger.Key
	err := s.write(ctx, opLedgerWrite, "write outcomes", func(tx *sql.Tx) error {
		written = nil
		for _, part := range []struct {
			entries []ledger.Entry
			tail    string
		}{{b.Put, putTail}, {b.Fill, fillTail}} {
			for entries := range slices.Chunk(part.entries, rowsAtOnce) {
				keys, err := s.upsert(ctx, tx, entries, part.tail)
				if err != nil {
					return err
				}
				written = append(written, keys...)
			}
		}
		for _, e := range b.Remove {
			if _, err := tx.ExecContext(ctx, s.sql(removeEntry), e.Conversation, e.Round, micros(e.ObservedAt)); err != nil {
				return err
			}
		}
		if b.SyncedTo.IsZero() {
			return nil
		}
		return s.advance(ctx, tx, metaSyncedTo, b.SyncedTo)
	})
	if err != nil {
		return nil, err
	}
	return written, nil
}

func (s *Store) upsert(ctx context.Context, tx *sql.Tx, entries []ledger.Entry, tail string) (written []ledger.Key, err error) {
	const columns = 12
	args := make([]any, 0, columns*len(entries))
	for _, e := range entries {
		args = append(args, e.Conversation, e.Round, e.Inbox, text(e.Team), text(e.Assignee),
			micros(e.Start), micros(e.Deadline), micros(e.FirstResponseAt), micros(e.EndedAt),
			nullable(string(e.Outcome)), micros(e.DecidedAt), micros(e.ObservedAt))
	}
	rows, err := tx.QueryContext(ctx, s.sql(insertEntries+placeholders(len(entries), columns)+tail), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var k ledger.Key
		if err := rows.Scan(&k.Conversation, &k.Round); err != nil {
			return nil, err
		}
		written = append(written, k)
	}
	return written, rows.Err()
}

// Newest implements ledger.Store.
func (r *Reader) Newest(ctx context.Context, conversations []int64) (map[int64]ledger.Entry, error) {
	newest := make(map[int64]ledger.Entry, len(conversations))
	err := r.do(ctx, opLedgerRead, "read outcomes", func() error {
		for ids := range slices.Chunk(conversations, rowsAtOnce) {
			args := make([]any, len(ids))
			for i, id := range ids {
				args[i] = id
			}
			query := `SELECT ` + entryColumns + ` FROM main.first_responses WHERE conversation IN ` + placeholders(1, len(ids))
			err := r.entries(ctx, func(e ledger.Entry) error {
				if e.Round > newest[e.Conversation].Round {
					newest[e.Conversation] = e
				}
				return nil
			}, query, args...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newest, nil
}

// Running returns the clocks that run.
func (r *Reader) Running(ctx context.Context) ([]ledger.Entry, error) {
	var running []ledger.Entry
	err := r.do(ctx, opLedgerRead, "read the running clocks", func() error {
		return r.entries(ctx, func(e ledger.Entry) error {
			running = append(running, e)
			return nil
		}, `SELECT `+entryColumns+` FROM main.first_responses WHERE outcome IS NULL ORDER BY conversation`)
	})
	if err != nil {
		return nil, err
	}
	return running, nil
}

// Undecided counts the clocks without an outcome whose deadline lies in
// [from, to): those whose deadline is still ahead at an instant, and those whose
// deadline has passed.
func (r *Reader) Undecided(ctx context.Context, from, to, at time.Time) (running, passed int, err error) {
	err = r.do(ctx, opLedgerRead, "count the clocks without an outcome", func() error {
		return r.db.QueryRowContext(ctx, r.sql(`SELECT COALESCE(SUM(CASE WHEN deadline_at >= $1 THEN 1 ELSE 0 END), 0),
			COALESCE(SUM(CASE WHEN deadline_at < $2 THEN 1 ELSE 0 END), 0)
			FROM main.first_responses WHERE outcome IS NULL AND deadline_at >= $3 AND deadline_at < $4`),
			micros(at), micros(at), micros(from), micros(to)).Scan(&running, &passed)
	})
	return running, passed, err
}

// Decided calls each with the clocks that were decided in [from, to), in the
// order in which they were. It stops at the first error that each returns, and
// holds one row at a time.
func (r *Reader) Decided(ctx context.Context, from, to time.Time, each func(ledger.Entry) error) error {
	return r.do(ctx, opLedgerRead, "read the decided clocks", func() error {
		return r.entries(ctx, each, `SELECT `+entryColumns+` FROM main.first_responses
			WHERE decided_at >= $1 AND decided_at < $2 ORDER BY decided_at, conversation, round`, micros(from), micros(to))
	})
}

func (r *Reader) entries(ctx context.Context, each func(ledger.Entry) error, query string, args ...any) error {
	rows, err := r.db.QueryContext(ctx, r.sql(query), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			e                            ledger.Entry
			start, deadline, answer, end sql.Null[int64]
			decided, observed            sql.Null[int64]
			outcome                      sql.Null[string]
		)
		if err := rows.Scan(&e.Conversation, &e.Round, &e.Inbox, &e.Team, &e.Assignee, &start, &deadline,
			&answer, &end, &outcome, &decided, &observed); err != nil {
			return err
		}
		e.Start, e.Deadline, e.FirstResponseAt, e.EndedAt = instant(start), instant(deadline), instant(answer), instant(end)
		e.Outcome, e.DecidedAt, e.ObservedAt = ledger.Outcome(outcome.V), instant(decided), instant(observed)
		if err := each(e); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Tallies implements ledger.Store.
func (r *Reader) Tallies(ctx context.Context, since []time.Time) ([]map[int64]ledger.Tally, error) {
	tallies := make([]map[int64]ledger.Tally, len(since))
	if len(since) == 0 {
		return tallies, nil
	}
	for i := range tallies {
		tallies[i] = map[int64]ledger.Tally{}
	}
	var query strings.Builder
	args := make([]any, len(since), len(since)+1)
	query.WriteString("SELECT inbox, outcome")
	for i, t := range since {
		fmt.Fprintf(&query, ", SUM(CASE WHEN decided_at > $%d THEN 1 ELSE 0 END)", i+1)
		args[i] = micros(t)
	}
	fmt.Fprintf(&query, " FROM main.first_responses WHERE decided_at > $%d GROUP BY inbox, outcome", len(since)+1)
	args = append(args, micros(slices.MinFunc(since, time.Time.Compare)))

	err := r.do(ctx, opLedgerRead, "count outcomes", func() error {
		rows, err := r.db.QueryContext(ctx, r.sql(query.String()), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		var (
			inbox   int64
			outcome ledger.Outcome
			counts  = make([]int, len(since))
			into    = []any{&inbox, &outcome}
		)
		for i := range counts {
			into = append(into, &counts[i])
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				return err
			}
			for i, n := range counts {
				if n > 0 {
					t := tallies[i][inbox]
					t.Count(outcome, n)
					tallies[i][inbox] = t
				}
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return tallies, nil
}
