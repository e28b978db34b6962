package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"time"
)

// Probe is one health probe that was made.
type Probe struct {
	StartedAt   time.Time
	Name        string
	Success     bool
	Duration    time.Duration
	Reason      string // why it failed; empty on success
	Maintenance bool   // inside a window, so that it does not count
}

// ProbeCounts counts probes.
type ProbeCounts struct {
	Success     int
	Failure     int
	Maintenance int // of either result, and in neither of the others
}

// Plus returns the sum of both.
func (c ProbeCounts) Plus(d ProbeCounts) ProbeCounts {
	return ProbeCounts{c.Success + d.Success, c.Failure + d.Failure, c.Maintenance + d.Maintenance}
}

// SuccessRatio returns success ÷ (success + failure), and NaN over nothing.
func (c ProbeCounts) SuccessRatio() float64 {
	if c.Success+c.Failure == 0 {
		return math.NaN()
	}
	return float64(c.Success) / float64(c.Success+c.Failure)
}

// RecordProbes adds to the history. Of two probes of one name that started in
// the same microsecond, one is kept, so that a batch may be recorded again.
func (s *Store) RecordProbes(ctx context.Context, probes []Probe) error {
	return s.write(ctx, opProbeWrite, "record health probes", func(tx *sql.Tx) error {
		const columns = 6
		for part := range slices.Chunk(probes, rowsAtOnce) {
			args := make([]any, 0, columns*len(part))
			for _, p := range part {
				args = append(args, micros(p.StartedAt), text(p.Name), p.Success, p.Duration.Microseconds(), text(p.Reason), p.Maintenance)
			}
			if _, err := tx.ExecContext(ctx, s.sql(`INSERT INTO main.probes (started_at, probe, success, duration, reason, maintenance)
				VALUES `+placeholders(len(part), columns)+` ON CONFLICT (started_at, probe) DO NOTHING`), args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// ProbeCounts counts the probes of each name between every instant and the
// next: len(instants)-1 maps. The instants must ascend. Given the bounds of
// windows that end now, the sum of the last n maps is the nth window; given
// midnights, each map is a day.
func (r *Reader) ProbeCounts(ctx context.Context, instants []time.Time) ([]map[string]ProbeCounts, error) {
	if len(instants) < 2 || !slices.IsSortedFunc(instants, time.Time.Compare) {
		return nil, errors.New("count health probes: two instants or more are required, in ascending order")
	}
	var counts []map[string]ProbeCounts
	err := r.do(ctx, opProbeRead, "count health probes", func() error {
		counts = counts[:0]
		for i, from := range instants[:len(instants)-1] {
			part, err := r.probeCounts(ctx, from, instants[i+1])
			if err != nil {
				return err
			}
			counts = append(counts, part)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

func (r *Reader) probeCounts(ctx context.Context, from, to time.Time) (map[string]ProbeCounts, error) {
	rows, err := r.db.QueryContext(ctx, r.sql(`SELECT probe, success, maintenance, COUNT(*) FROM main.probes
		WHERE started_at >= $1 AND started_at < $2 GROUP BY probe, success, maintenance`), micros(from), micros(to))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]ProbeCounts{}
	for rows.Next() {
		var (
			name                 string
			success, maintenance bool
			n                    int
		)
		if err := rows.Scan(&name, &success, &maintenance, &n); err != nil {
			return nil, err
		}
		c := counts[name]
		switch {
		case maintenance:
			c.Maintenance += n
		case success:
			c.Success += n
		default:
			c.Failure += n
		}
		counts[name] = c
	}
	return counts, rows.Err()
}

// PruneProbes forgets the probes that started before an instant, and returns
// how many they were.
func (s *Store) PruneProbes(ctx context.Context, before time.Time) (n int64, err error) {
	err = s.write(ctx, opProbeWrite, "prune health probes", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, s.sql(`DELETE FROM main.probes WHERE started_at < $1`), micros(before))
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}
