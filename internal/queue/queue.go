// Package queue runs durable jobs: what a webhook asks for is done once its
// row is in the database, however often the process or the service that it
// needs goes away meanwhile.
//
// Jobs belong to stages, one for each service that they call. A job that fails
// is tried again after 1, 2, 4 and 8 seconds; the fifth failure of its own
// makes it a dead letter, which is kept until somebody retries or purges it.
// While the service of a stage is down the stage's circuit is open: its jobs
// wait without using up their attempts, and one at a time finds out whether the
// service is back.
//
// The jobs are River's, and no other package knows that.
package queue

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"
)

const (
	// How late a job may be picked up. River's own second would double the first
	// back-off. A Postgres is asked less often: it may be far away, and every
	// replica asks for every stage.
	fetchSQLite   = 100 * time.Millisecond
	fetchPostgres = 250 * time.Millisecond

	// jobTimeout is above the longest stage's own time limit.
	jobTimeout = 20 * time.Second

	// rescueAfter is when a job of a process that is gone is taken over.
	rescueAfter = 30 * time.Second

	// riverAttempts bounds what rescues and our own attempts cost together.
	riverAttempts = 25

	completedKept = time.Hour // for whoever wonders what became of a job
	keepForever   = -1        // River's word for it

	softStop = 5 * time.Second

	logInterval = time.Minute // between lines of River's that say the same
	idleQueue   = "idle"      // no stage's
)

// Engine says which database holds the jobs.
type Engine struct {
	Postgres bool   // otherwise SQLite
	Schema   string // of the tables on Postgres
}

// schema returns the name as River wants it.
func (e Engine) schema() string {
	if e.Postgres {
		return e.Schema
	}
	return ""
}

// table returns the name of River's table of jobs in queries.
func (e Engine) table() string {
	if e.Postgres {
		return e.Schema + ".river_job"
	}
	return "river_job"
}

// sql returns a query, written for SQLite, for the engine.
func (e Engine) sql(query string) string {
	if !e.Postgres {
		return query
	}
	query = strings.ReplaceAll(query, "river_job", e.table())
	for n := 1; strings.Contains(query, "?"); n++ {
		query = strings.Replace(query, "?", fmt.Sprintf("$%d", n), 1)
	}
	return query
}

func (e Engine) driver(db *sql.DB) riverdriver.Driver[*sql.Tx] {
	if e.Postgres {
		return riverdatabasesql.New(db)
	}
	return riversqlite.New(db)
}

// Migrate makes River's tables, or brings them up to date. The caller keeps
// others from doing the same at the same time.
func (e Engine) Migrate(ctx context.Context, db *sql.DB) error {
	m, err := rivermigrate.New(e.driver(db), &rivermigrate.Config{Schema: e.schema(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("prepare the tables of jobs: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("bring the tables of jobs up to date: %w", err)
	}
	return nil
}

// ForgetTx deletes the jobs, done or not, whose arguments have a number under a
// name. A job that is in hand comes to nothing then: it cannot be completed.
func (e Engine) ForgetTx(ctx context.Context, tx *sql.Tx, name string, number int64) (int64, error) {
	value := "json_extract(args, '$." + name + "')"
	if e.Postgres {
		value = "CAST(args->>'" + name + "' AS BIGINT)"
	}
	res, err := tx.ExecContext(ctx, e.sql(`DELETE FROM river_job WHERE `+value+` = ?`), number)
	if err != nil {
		return 0, fmt.Errorf("forget jobs: %w", err)
	}
	return res.RowsAffected()
}

// Stage is a service that jobs call.
type Stage struct {
	Name    string // a value of the "stage" and "queue" labels
	Workers int    // jobs at a time
}

// Options configures a Queue.
type Options struct {
	Engine   Engine
	Stages   []Stage   // every stage that the Handlers name
	Handlers *Handlers // required

	// OpenFor is how long a stage whose service is down waits before it lets
	// one job try; 0: 10 s.
	OpenFor time.Duration

	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: metrics are kept and not exported
}

// Queue takes jobs in and works them. It is safe for concurrent use.
type Queue struct {
	engine   Engine
	handlers *Handlers
	stages   []*stage
	log      *zap.Logger
	metrics  metrics
	inserts  *river.Client[*sql.Tx] // works nothing, and so never waits for a stage that stops

	paused  atomic.Bool
	changed chan struct{} // wakes the controller of the stages
	depth   atomic.Pointer[Depth]
	db      atomic.Pointer[sql.DB] // nil unless Run has it
}

// New returns a Queue that takes jobs in at once, and works them when Run is
// given a database.
func New(o Options) (*Queue, error) {
	if o.Handlers == nil {
		return nil, errors.New("queue: handlers are required")
	}
	q := &Queue{engine: o.Engine, handlers: o.Handlers, log: o.Logger, changed: make(chan struct{}, 1)}
	if q.log == nil {
		q.log = zap.NewNop()
	}
	for _, s := range o.Stages {
		if s.Name == "" || s.Workers <= 0 {
			return nil, fmt.Errorf("queue: stage %q needs a name and workers", s.Name)
		}
		q.stages = append(q.stages, newStage(s, cmp.Or(o.OpenFor, defaultOpenFor), q.log, q.wake))
	}
	for kind, name := range o.Handlers.stageOf {
		if q.stage(name) == nil {
			return nil, fmt.Errorf("queue: jobs of kind %s belong to stage %q, which is not there", kind, name)
		}
	}
	q.metrics = newMetrics(o.Registerer, q)
	o.Handlers.bind(q)
	var err error
	q.inserts, err = river.NewClient(q.engine.driver(nil), &river.Config{
		Schema: q.engine.schema(), Logger: q.slog(), Workers: o.Handlers.workers, MaxAttempts: riverAttempts,
	})
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	return q, nil
}

func (q *Queue) slog() *slog.Logger {
	// River calls every failed attempt an event, and ours are logged where they
	// are judged. Of a database that is away it says so with every fetch.
	quiet := q.log.WithOptions(zap.IncreaseLevel(zap.WarnLevel), zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, logInterval, 1, 0)
	}))
	return slog.New(zapslog.NewHandler(quiet.Core(), zapslog.WithName(q.log.Name())))
}

func (q *Queue) stage(name string) *stage {
	i := slices.IndexFunc(q.stages, func(s *stage) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return q.stages[i]
}

// wake makes the controllers look at their stages. It does not block.
func (q *Queue) wake() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// Pause stops the work, or lets it go on. Jobs in hand finish, the others wait;
// new ones are taken in all the same.
func (q *Queue) Pause(on bool) {
	if q.paused.Swap(on) != on {
		q.log.Info(map[bool]string{true: "jobs are held back", false: "jobs go on"}[on])
		q.wake()
	}
}

// Paused reports whether the work is stopped.
func (q *Queue) Paused() bool { return q.paused.Load() }

// InsertTx takes jobs in, with whatever else the transaction does. They are
// picked up soon after its commit.
func (q *Queue) InsertTx(ctx context.Context, tx *sql.Tx, jobs ...Args) error {
	if len(jobs) == 0 {
		return nil
	}
	params := make([]river.InsertManyParams, len(jobs))
	for i, args := range jobs {
		name, ok := q.handlers.stageOf[args.Kind()]
		if !ok {
			return fmt.Errorf("take in a job: nothing handles the kind %q", args.Kind())
		}
		params[i] = river.InsertManyParams{Args: args, InsertOpts: &river.InsertOpts{Queue: name}}
	}
	if _, err := q.inserts.InsertManyFastTx(ctx, tx, params); err != nil {
		return fmt.Errorf("take in %d jobs: %w", len(jobs), err)
	}
	return nil
}

// Waiting returns what the jobs of a kind are about that have not ended.
func Waiting[T Args](ctx context.Context, q *Queue, db *sql.DB) (waiting []T, err error) {
	var none T
	args := "json(args)"
	if q.engine.Postgres {
		args = "args"
	}
	rows, err := db.QueryContext(ctx, q.engine.sql(`SELECT `+args+` FROM river_job
		WHERE kind = ? AND state NOT IN ('cancelled', 'completed', 'discarded')`), none.Kind())
	if err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var doc []byte
		if err := rows.Scan(&doc); err != nil {
			return nil, fmt.Errorf("read jobs: %w", err)
		}
		var j T
		if err := json.Unmarshal(doc, &j); err != nil {
			return nil, fmt.Errorf("read jobs: %w", err)
		}
		waiting = append(waiting, j)
	}
	return waiting, rows.Err()
}

// Reassign turns jobs that were taken in some time ago, and that wait for their
// service or after a failure, into new jobs of another kind about the same, and
// returns how many. Jobs that wait for nothing but their turn stay.
func (q *Queue) Reassign(ctx context.Context, db *sql.DB, from, to Args, age time.Duration) (int64, error) {
	s := q.stage(q.handlers.stageOf[from.Kind()])
	if s == nil || q.paused.Load() {
		return 0, nil
	}
	now, then := "datetime('now', 'subsec')", fmt.Sprintf("datetime('now', '-%d seconds', 'subsec')", int(age.Seconds()))
	if q.engine.Postgres {
		now, then = "now()", fmt.Sprintf("now() - interval '%d seconds'", int(age.Seconds()))
	}
	waits := ""
	if !s.waits(time.Now()) {
		waits = " AND scheduled_at > " + now
	}
	res, err := db.ExecContext(ctx, q.engine.sql(`UPDATE river_job
		SET kind = ?, queue = ?, state = 'available', scheduled_at = `+now+`, attempt = 0, errors = NULL
		WHERE kind = ? AND state IN ('available', 'retryable', 'scheduled') AND created_at <= `+then+waits),
		to.Kind(), q.handlers.stageOf[to.Kind()], from.Kind())
	if err != nil {
		return 0, fmt.Errorf("reassign jobs: %w", err)
	}
	return res.RowsAffected()
}

// Run works jobs until ctx ends, and then lets those in hand finish. The error
// is that of a start which failed; what the database does later is logged and
// retried.
func (q *Queue) Run(ctx context.Context, db *sql.DB) error {
	if !q.engine.Postgres {
		if err := q.takeOver(ctx, db); err != nil {
			return err
		}
	}
	fetchInterval := fetchSQLite
	if q.engine.Postgres {
		fetchInterval = fetchPostgres
	}
	client, err := river.NewClient(q.engine.driver(db), &river.Config{
		Schema: q.engine.schema(), Logger: q.slog(), Workers: q.handlers.workers,
		// A client needs a queue to start, and one that is taken away while it
		// starts keeps it from ever stopping. This one stays and is empty; the
		// stages' own come and go.
		Queues:        map[string]river.QueueConfig{idleQueue: {MaxWorkers: 1, FetchCooldown: time.Minute, FetchPollInterval: time.Hour}},
		FetchCooldown: fetchInterval, FetchPollInterval: fetchInterval, PollOnly: true,
		JobTimeout: jobTimeout, RescueStuckJobsAfter: rescueAfter, MaxAttempts: riverAttempts,
		RetryPolicy:                 backOff{},
		SoftStopTimeout:             softStop,
		CompletedJobRetentionPeriod: completedKept,
		CancelledJobRetentionPeriod: keepForever, DiscardedJobRetentionPeriod: keepForever,
	})
	if err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	if err := client.Start(ctx); err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	q.db.Store(db)
	defer q.db.Store(nil)
	q.control(ctx, client)
	<-client.Stopped()
	return nil
}

// takeOver frees what a killed process has left behind. A SQLite file belongs
// to one process, so whatever is there is nobody's.
func (q *Queue) takeOver(ctx context.Context, db *sql.DB) error {
	for _, query := range []string{
		`DELETE FROM river_leader`,
		`UPDATE river_job SET state = 'available', attempt = MAX(attempt - 1, 0) WHERE state = 'running'`,
	} {
		if _, err := db.ExecContext(ctx, query); err != nil {
			return fmt.Errorf("take over the jobs of an earlier process: %w", err)
		}
	}
	return nil
}
