package queue

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/riverqueue/river/rivertype"
	"go.uber.org/zap"
)

// countInterval is how often the jobs are counted: a scrape never waits for
// the database.
const countInterval = 5 * time.Second

// State is how a job stands.
type State string

// The states. A job that waits for its service is a retry, whether it was tried
// or not.
const (
	Ready      State = "ready"
	Retry      State = "retry" // waits after a failure, or for its service
	Running    State = "running"
	DeadLetter State = "dead"
)

// States lists every State.
var States = []State{Ready, Retry, Running, DeadLetter}

// Count is how many jobs there are of a stage and state.
type Count struct {
	Stage string
	State State
	Jobs  int

	Oldest time.Time // when the one that waits longest, or was given up first, was last due; zero without any
}

// Depth is what there was to do at an instant.
type Depth struct {
	At     time.Time
	Counts []Count // of every stage and state

	Off map[string]int // jobs that wait and are worked by nobody, by the name of their stage
}

// Sum adds up the jobs of a state.
func (d Depth) Sum(state State) (n int) {
	for _, c := range d.Counts {
		if c.State == state {
			n += c.Jobs
		}
	}
	return n
}

// Depth returns what there is to do, as of the last few seconds; false as long
// as nothing was counted.
func (q *Queue) Depth() (Depth, bool) {
	d := q.depth.Load()
	if d == nil {
		return Depth{}, false
	}
	return *d, true
}

// Count counts jobs until ctx ends, whether they are worked or not. On SQLite
// db had better be for reading alone: counting many takes a while, and nothing
// is written meanwhile through the same connection.
func (q *Queue) Count(ctx context.Context, db *sql.DB) {
	tick := time.NewTicker(countInterval)
	defer tick.Stop()
	failing, told := false, map[string]bool{}
	for {
		d, err := q.countOnce(ctx, db)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			q.depth.Store(&d)
			failing = false
			for name, n := range d.Off {
				if !told[name] {
					q.log.Warn("jobs wait for a stage that is off; chatwoot-sla queue purge --waiting --stage forgets them",
						zap.String("stage", name), zap.Int("jobs", n))
					told[name] = true
				}
			}
		case !failing:
			q.log.Warn("jobs cannot be counted; the last count stands", zap.Error(err))
			failing = true
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (q *Queue) countOnce(ctx context.Context, db *sql.DB) (Depth, error) {
	d := Depth{At: time.Now(), Off: map[string]int{}}
	place := map[string]map[State]int{}
	for _, s := range q.stages {
		place[s.Name] = map[State]int{}
		for _, state := range States {
			place[s.Name][state] = len(d.Counts)
			d.Counts = append(d.Counts, Count{Stage: s.Name, State: state})
		}
	}
	err := tally(ctx, db, q.engine, func(name string, state rivertype.JobState, later bool, n int, oldest time.Time) {
		s := q.stage(name)
		if s == nil {
			if stateOf(state, later, false) != DeadLetter {
				d.Off[name] += n
			}
			return
		}
		d.Counts[place[name][stateOf(state, later, q.waits(s))]].add(n, oldest)
	})
	return d, err
}

func (c *Count) add(n int, oldest time.Time) {
	c.Jobs += n
	if c.Oldest.IsZero() || oldest.Before(c.Oldest) {
		c.Oldest = oldest
	}
}

// tally counts jobs by their stage, River's state, and whether they are due
// later. It asks an index alone, and nothing of what is done, so that a backlog
// costs little and an hour of work nothing.
func tally(ctx context.Context, db *sql.DB, e Engine, each func(stage string, state rivertype.JobState, later bool, n int, oldest time.Time)) error {
	now, oldest := "datetime('now', 'subsec')", "CAST(unixepoch(MIN(scheduled_at), 'subsec') * 1000 AS INTEGER)"
	if e.Postgres {
		now, oldest = "now()", "CAST(EXTRACT(EPOCH FROM MIN(scheduled_at)) * 1000 AS BIGINT)"
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf(`SELECT queue, state, scheduled_at > %s, COUNT(*), %s
		FROM %s WHERE state IN ('available', 'cancelled', 'discarded', 'pending', 'retryable', 'running', 'scheduled')
		GROUP BY 1, 2, 3`, now, oldest, e.table()))
	if err != nil {
		return fmt.Errorf("count jobs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			stage, state string
			later        bool
			n            int
			ms           int64
		)
		if err := rows.Scan(&stage, &state, &later, &n, &ms); err != nil {
			return fmt.Errorf("count jobs: %w", err)
		}
		each(stage, rivertype.JobState(state), later, n, time.UnixMilli(ms))
	}
	return rows.Err()
}

// waits reports whether the jobs of a stage wait for its service. While jobs
// are held back, that is what they wait for.
func (q *Queue) waits(s *stage) bool { return !q.paused.Load() && s.waits(time.Now()) }

// stateOf tells how a job stands in our words. Later is whether it is due in
// the future, waits whether its stage waits for its service.
func stateOf(state rivertype.JobState, later, waits bool) State {
	switch state {
	case rivertype.JobStateRunning:
		return Running
	case rivertype.JobStateCancelled, rivertype.JobStateDiscarded:
		return DeadLetter
	case rivertype.JobStateAvailable:
		if !later && !waits {
			return Ready
		}
	case rivertype.JobStateCompleted, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateScheduled:
	}
	return Retry
}
