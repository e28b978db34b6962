package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/zap"
)

// Letter is a job as operators see it.
type Letter struct {
	ID        int64     `json:"id"`
	Kind      string    `json:"kind"`
	Stage     string    `json:"stage"`
	State     State     `json:"state"`
	CreatedAt time.Time `json:"created_at"`
	DueAt     time.Time `json:"due_at,omitzero"`   // of one that waits
	EndedAt   time.Time `json:"ended_at,omitzero"` // of a dead one
	Failures  int       `json:"failures"`          // of its own
	Reason    string    `json:"reason,omitempty"`  // of a dead one
	Error     string    `json:"error,omitempty"`   // the last one, on one line
	Failed    []Failure `json:"failed,omitempty"`  // all of them, oldest first; Show only
}

// Failure is one attempt that failed.
type Failure struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"`
}

// Office lets operators at the jobs of a database, also while a daemon works
// them. What a job holds is not shown: it may be what a customer wrote.
type Office struct {
	engine Engine
	db     *sql.DB
	client *river.Client[*sql.Tx]
}

// NewOffice returns an Office for a database. List and Show only read.
func NewOffice(e Engine, db *sql.DB) (*Office, error) {
	client, err := river.NewClient(e.driver(db), &river.Config{Schema: e.schema(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("look at jobs: %w", err)
	}
	return &Office{engine: e, db: db, client: client}, nil
}

// Selection says which jobs are meant.
type Selection struct {
	Stage string  // empty: any
	Dead  bool    // dead letters only; otherwise all that are not done
	IDs   []int64 // only these; empty: any
}

// mostListed bounds what List returns: each job is read whole.
const mostListed = 1000

func (s Selection) params(most int) *river.JobListParams {
	states := []rivertype.JobState{rivertype.JobStateCancelled, rivertype.JobStateDiscarded}
	if !s.Dead {
		states = append(states, rivertype.JobStateRunning, rivertype.JobStateAvailable, rivertype.JobStateRetryable, rivertype.JobStateScheduled)
	}
	p := river.NewJobListParams().First(min(max(most, 1), mostListed)).States(states...)
	if s.Stage != "" {
		p = p.Queues(s.Stage)
	}
	if len(s.IDs) > 0 {
		p = p.IDs(s.IDs...)
	}
	return p
}

// List returns the selected jobs, oldest first, 1,000 at most.
func (o *Office) List(ctx context.Context, s Selection, most int) ([]Letter, error) {
	found, err := o.client.JobList(ctx, s.params(most))
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	letters := make([]Letter, 0, len(found.Jobs))
	for _, row := range found.Jobs {
		letters = append(letters, letter(row))
	}
	return letters, nil
}

// ErrNoJob is the error of Show for a job that is not there.
var ErrNoJob = errors.New("there is no such job; it may be done, which is forgotten after an hour")

// Show returns one job with all that went wrong. Jobs that are done are shown
// as long as they are there.
func (o *Office) Show(ctx context.Context, id int64) (Letter, error) {
	row, err := o.client.JobGet(ctx, id)
	if errors.Is(err, rivertype.ErrNotFound) {
		return Letter{}, fmt.Errorf("job %d: %w", id, ErrNoJob)
	}
	if err != nil {
		return Letter{}, fmt.Errorf("read job %d: %w", id, err)
	}
	l := letter(row)
	for _, e := range row.Errors {
		l.Failed = append(l.Failed, Failure{At: e.At.UTC(), Error: plain(e.Error)})
	}
	return l, nil
}

// Done is the State of jobs that Show still finds after their end.
const Done State = "done"

func letter(row *rivertype.JobRow) Letter {
	l := Letter{
		ID: row.ID, Kind: row.Kind, Stage: row.Queue, CreatedAt: row.CreatedAt.UTC(),
		State: stateOf(row.State, row.ScheduledAt.After(time.Now()) || row.Attempt > 0, false), Failures: ownFailures(row),
	}
	switch {
	case row.State == rivertype.JobStateCompleted:
		l.State = Done
	case l.State == DeadLetter:
		var meta map[string]any
		if json.Unmarshal(row.Metadata, &meta) == nil {
			l.Reason, _ = meta[metaReason].(string)
		}
	default:
		l.DueAt = row.ScheduledAt.UTC()
	}
	if row.FinalizedAt != nil {
		l.EndedAt = row.FinalizedAt.UTC()
	}
	if n := len(row.Errors); n > 0 {
		l.Error, _, _ = strings.Cut(plain(row.Errors[n-1].Error), "\n")
	}
	return l
}

// plain takes off what River puts before the error of a job that was ended.
func plain(s string) string { return strings.TrimPrefix(s, "JobCancelError: ") }

// Retry gives the selected dead letters all of their attempts again, and
// returns how many they were.
func (o *Office) Retry(ctx context.Context, s Selection) (int, error) {
	return o.retry(ctx, s, "")
}

func (o *Office) retry(ctx context.Context, s Selection, reason string) (int, error) {
	n, err := o.each(ctx, s, reason, func(tx *sql.Tx, id int64) error {
		if _, err := o.client.JobRetryTx(ctx, tx, id); err != nil {
			return err
		}
		// Failures are counted, so those of before are taken off.
		_, err := tx.ExecContext(ctx, o.engine.sql(`UPDATE river_job SET attempt = 0, errors = NULL WHERE id = ?`), id)
		return err
	})
	if err != nil {
		return n, fmt.Errorf("retry dead letters: %w", err)
	}
	return n, nil
}

// Purge forgets the selected dead letters for good, and returns how many they
// were.
func (o *Office) Purge(ctx context.Context, s Selection) (int, error) {
	n, err := o.each(ctx, s, "", func(tx *sql.Tx, id int64) error {
		_, err := o.client.JobDeleteTx(ctx, tx, id)
		return err
	})
	if err != nil {
		return n, fmt.Errorf("purge dead letters: %w", err)
	}
	return n, nil
}

// lettersAtOnce is how many dead letters one transaction changes. On SQLite
// nothing else is written meanwhile.
const lettersAtOnce = 500

// each calls f with the selected dead letters, and returns for how many. An
// empty reason is any.
func (o *Office) each(ctx context.Context, s Selection, reason string, f func(*sql.Tx, int64) error) (n int, err error) {
	after := int64(0)
	for {
		ids, err := o.dead(ctx, s, reason, after)
		if err != nil || len(ids) == 0 {
			return n, err
		}
		tx, err := o.db.BeginTx(ctx, nil)
		if err != nil {
			return n, err
		}
		changed := 0
		for _, id := range ids {
			switch err := f(tx, id); {
			case err == nil:
				changed++
			case !errors.Is(err, rivertype.ErrNotFound): // otherwise somebody else was faster
				return n, errors.Join(err, tx.Rollback())
			}
		}
		if err := tx.Commit(); err != nil {
			return n, err
		}
		n += changed
		after = ids[len(ids)-1]
	}
}

// dead returns the ids of the next dead letters behind one. What they hold is
// not read: it can be long.
func (o *Office) dead(ctx context.Context, s Selection, reason string, after int64) ([]int64, error) {
	reasonOf := "json_extract(metadata, '$." + metaReason + "')"
	if o.engine.Postgres {
		reasonOf = "metadata->>'" + metaReason + "'"
	}
	query := `SELECT id FROM river_job WHERE state IN ('cancelled', 'discarded') AND id > ?`
	args := []any{after}
	if s.Stage != "" {
		query += ` AND queue = ?`
		args = append(args, s.Stage)
	}
	if reason != "" {
		query += ` AND ` + reasonOf + ` = ?`
		args = append(args, reason)
	}
	if len(s.IDs) > 0 {
		query += ` AND id IN (?` + strings.Repeat(`,?`, len(s.IDs)-1) + `)`
		for _, id := range s.IDs {
			args = append(args, id)
		}
	}
	rows, err := o.db.QueryContext(ctx, o.engine.sql(query+fmt.Sprintf(` ORDER BY id LIMIT %d`, lettersAtOnce)), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// revive retries the dead letters of a stage that its service is to blame for.
func (q *Queue) revive(ctx context.Context, s *stage) error {
	db := q.db.Load()
	if db == nil {
		return nil
	}
	o, err := NewOffice(q.engine, db)
	if err != nil {
		return err
	}
	n, err := o.retry(ctx, Selection{Stage: s.Name}, ReasonDown)
	if n > 0 {
		q.log.Info("the service is back; jobs that were given up for it go on", zap.String("stage", s.Name), zap.Int("jobs", n))
	}
	return err
}
