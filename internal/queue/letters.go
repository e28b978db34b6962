package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	PutOff    Failure   `json:"put_off,omitzero"`  // why it last waited at no cost; Show only
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
	waits  func(stage string) bool // for its service; beside a daemon nobody knows
}

// NewOffice returns an Office for a database. List, Count and Show only read.
func NewOffice(e Engine, db *sql.DB) (*Office, error) {
	client, err := river.NewClient(e.driver(db), &river.Config{Schema: e.schema(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("look at jobs: %w", err)
	}
	return &Office{engine: e, db: db, client: client, waits: func(string) bool { return false }}, nil
}

// Office returns an Office that knows which stages wait for their services.
func (q *Queue) Office(db *sql.DB) (*Office, error) {
	o, err := NewOffice(q.engine, db)
	if err != nil {
		return nil, err
	}
	o.waits = func(name string) bool {
		s := q.stage(name)
		return s != nil && q.waits(s)
	}
	return o, nil
}

// Selection says which jobs are meant.
type Selection struct {
	Stage string  // empty: any
	Dead  bool    // dead letters; otherwise those that wait or run
	IDs   []int64 // only these; empty: any
}

// mostListed bounds what List returns.
const mostListed = 1000

// River's states by what they are to us.
const (
	deadStates    = `'cancelled', 'discarded'`
	waitingStates = `'available', 'pending', 'retryable', 'scheduled'`
	openStates    = waitingStates + `, 'running'` // not done and not given up
)

// where returns the condition for the selected jobs among those of some states.
func (s Selection) where(states string) (condition string, args []any) {
	condition = `state IN (` + states + `)`
	if s.Stage != "" {
		condition += ` AND queue = ?`
		args = append(args, s.Stage)
	}
	if len(s.IDs) > 0 {
		condition += ` AND id IN (?` + strings.Repeat(`,?`, len(s.IDs)-1) + `)`
		for _, id := range s.IDs {
			args = append(args, id)
		}
	}
	return condition, args
}

// listed returns the condition for what List is to show.
func (s Selection) listed() (condition string, args []any) {
	if s.Dead {
		return s.where(deadStates)
	}
	return s.where(openStates)
}

// List returns the selected jobs, oldest first, 1,000 at most.
func (o *Office) List(ctx context.Context, s Selection, most int) ([]Letter, error) {
	condition, args := s.listed()
	// The ids come from an index. With +id it is not the order that chooses it:
	// going through the table would read all that is done, too.
	letters, err := o.read(ctx, fmt.Sprintf(`id IN (SELECT id FROM river_job WHERE %s ORDER BY +id LIMIT %d)`,
		condition, min(max(most, 1), mostListed)), args...)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	for i := range letters {
		letters[i].Failed, letters[i].PutOff = nil, Failure{}
	}
	return letters, nil
}

// Depth counts the jobs of the stages that have any. Who works them, and which
// services are out of reach, the database does not know: what waits for a
// service may count as ready.
func (o *Office) Depth(ctx context.Context) (Depth, error) {
	d := Depth{At: time.Now()}
	err := tally(ctx, o.db, o.engine, func(stage string, state rivertype.JobState, later bool, n int, oldest time.Time) {
		c := Count{Stage: stage, State: stateOf(state, later, false)}
		i := slices.IndexFunc(d.Counts, func(of Count) bool { return of.Stage == c.Stage && of.State == c.State })
		if i < 0 {
			i, d.Counts = len(d.Counts), append(d.Counts, c)
		}
		d.Counts[i].add(n, oldest)
	})
	return d, err
}

// Worked returns when each stage last began a job that is done by now or still
// in hand. A job takes seconds, so a stage that is worked begins one all the
// time while there are any. Those of more than an hour ago may be forgotten.
func (o *Office) Worked(ctx context.Context) (map[string]time.Time, error) {
	last := "CAST(unixepoch(MAX(attempted_at), 'subsec') * 1000 AS INTEGER)"
	if o.engine.Postgres {
		last = "CAST(EXTRACT(EPOCH FROM MAX(attempted_at)) * 1000 AS BIGINT)"
	}
	rows, err := o.db.QueryContext(ctx, o.engine.sql(`SELECT queue, `+last+` FROM river_job WHERE state IN ('running', 'completed') AND attempted_at IS NOT NULL GROUP BY queue`))
	if err != nil {
		return nil, fmt.Errorf("look who works: %w", err)
	}
	defer rows.Close()
	worked := map[string]time.Time{}
	for rows.Next() {
		var (
			stage string
			ms    int64
		)
		if err := rows.Scan(&stage, &ms); err != nil {
			return nil, fmt.Errorf("look who works: %w", err)
		}
		worked[stage] = time.UnixMilli(ms)
	}
	return worked, rows.Err()
}

// Count returns how many jobs are selected.
func (o *Office) Count(ctx context.Context, s Selection) (n int, err error) {
	condition, args := s.listed()
	if err := o.db.QueryRowContext(ctx, o.engine.sql(`SELECT COUNT(*) FROM river_job WHERE `+condition), args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count jobs: %w", err)
	}
	return n, nil
}

// ErrNoJob is the error of Show for a job that is not there.
var ErrNoJob = errors.New("there is no such job; it may be done, which is forgotten after an hour")

// Show returns one job with all that went wrong. Jobs that are done are shown
// as long as they are there.
func (o *Office) Show(ctx context.Context, id int64) (Letter, error) {
	letters, err := o.read(ctx, `id = ?`, id)
	if err != nil {
		return Letter{}, fmt.Errorf("read job %d: %w", id, err)
	}
	if len(letters) == 0 {
		return Letter{}, fmt.Errorf("job %d: %w", id, ErrNoJob)
	}
	return letters[0], nil
}

// read returns the jobs of a condition, oldest first. What they hold is not
// read: it can be long.
func (o *Office) read(ctx context.Context, condition string, args ...any) ([]Letter, error) {
	ms, lists := "CAST(unixepoch(%s, 'subsec') * 1000 AS INTEGER)", "json(errors), json(metadata)"
	if o.engine.Postgres {
		ms, lists = "CAST(EXTRACT(EPOCH FROM %s) * 1000 AS BIGINT)", "to_json(errors), metadata"
	}
	rows, err := o.db.QueryContext(ctx, o.engine.sql(`SELECT id, kind, queue, state, attempt, `+fmt.Sprintf(ms, "created_at")+`, `+
		fmt.Sprintf(ms, "scheduled_at")+`, `+fmt.Sprintf(ms, "finalized_at")+`, `+lists+
		` FROM river_job WHERE `+condition+` ORDER BY id`), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	letters := []Letter{}
	for rows.Next() {
		var (
			row                  rivertype.JobRow
			created, due         int64
			ended                sql.NullInt64
			failedJSON, metaJSON []byte
		)
		if err := rows.Scan(&row.ID, &row.Kind, &row.Queue, &row.State, &row.Attempt, &created, &due, &ended, &failedJSON, &metaJSON); err != nil {
			return nil, err
		}
		row.CreatedAt, row.ScheduledAt, row.Metadata = time.UnixMilli(created), time.UnixMilli(due), metaJSON
		if ended.Valid {
			at := time.UnixMilli(ended.Int64)
			row.FinalizedAt = &at
		}
		if len(failedJSON) > 0 {
			if err := json.Unmarshal(failedJSON, &row.Errors); err != nil {
				return nil, fmt.Errorf("failures of job %d: %w", row.ID, err)
			}
		}
		letters = append(letters, letter(&row, o.waits(row.Queue)))
	}
	return letters, rows.Err()
}

// Done is the State of jobs that Show still finds after their end.
const Done State = "done"

func letter(row *rivertype.JobRow, waits bool) Letter {
	l := Letter{
		ID: row.ID, Kind: row.Kind, Stage: row.Queue, CreatedAt: row.CreatedAt.UTC(),
		State: stateOf(row.State, row.ScheduledAt.After(time.Now()) || row.Attempt > 0, waits), Failures: ownFailures(row),
	}
	var meta struct { // as metaReason and metaWait name them
		Reason string  `json:"reason"`
		Wait   Failure `json:"wait"`
	}
	_ = json.Unmarshal(row.Metadata, &meta) // what is not as we write it says nothing
	switch {
	case row.State == rivertype.JobStateCompleted:
		l.State = Done
	case l.State == DeadLetter:
		l.Reason = meta.Reason
	default:
		l.DueAt = row.ScheduledAt.UTC()
		l.PutOff = meta.Wait
	}
	if row.FinalizedAt != nil {
		l.EndedAt = row.FinalizedAt.UTC()
	}
	last := l.PutOff
	for _, e := range row.Errors {
		f := Failure{At: e.At.UTC(), Error: plain(e.Error)}
		l.Failed = append(l.Failed, f)
		if !f.At.Before(last.At) {
			last = f
		}
	}
	l.Error, _, _ = strings.Cut(last.Error, "\n")
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
	n, err := o.each(ctx, s, deadStates, reason, func(tx *sql.Tx, id int64) error {
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
	return o.purge(ctx, s, deadStates)
}

// PurgeWaiting is Purge for jobs that wait, whatever for. Those in hand stay.
func (o *Office) PurgeWaiting(ctx context.Context, s Selection) (int, error) {
	return o.purge(ctx, s, waitingStates)
}

func (o *Office) purge(ctx context.Context, s Selection, states string) (int, error) {
	n, err := o.each(ctx, s, states, "", func(tx *sql.Tx, id int64) error {
		_, err := o.client.JobDeleteTx(ctx, tx, id)
		return err
	})
	if err != nil {
		return n, fmt.Errorf("purge jobs: %w", err)
	}
	return n, nil
}

// lettersAtOnce is how many jobs one transaction changes. On SQLite
// nothing else is written meanwhile.
const lettersAtOnce = 500

// each calls f with the selected jobs of some states, and returns for how many.
// An empty reason is any.
func (o *Office) each(ctx context.Context, s Selection, states, reason string, f func(*sql.Tx, int64) error) (n int, err error) {
	after := int64(0)
	for {
		ids, err := o.ids(ctx, s, states, reason, after)
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
			case errors.Is(err, rivertype.ErrNotFound), errors.Is(err, rivertype.ErrJobRunning): // somebody else was faster
			default:
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

// ids returns the next of the selected jobs behind one.
func (o *Office) ids(ctx context.Context, s Selection, states, reason string, after int64) ([]int64, error) {
	condition, args := s.where(states)
	query := `SELECT id FROM river_job WHERE ` + condition + ` AND id > ?`
	args = append(args, after)
	if reason != "" {
		if o.engine.Postgres {
			query += ` AND metadata->>'` + metaReason + `' = ?`
		} else {
			query += ` AND json_extract(metadata, '$.` + metaReason + `') = ?`
		}
		args = append(args, reason)
	}
	rows, err := o.db.QueryContext(ctx, o.engine.sql(query+fmt.Sprintf(` ORDER BY +id LIMIT %d`, lettersAtOnce)), args...)
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
