package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/zap"
)

// maxFailures is how many of its own failures make a job a dead letter.
const maxFailures = 5

// Args says what a job is about. It is kept as JSON.
type Args interface {
	// Kind names the sort of job in the database, for ever.
	Kind() string
}

// Job is a job in hand. It may be in hand again later: a process can be killed
// after the work and before the note that it is done.
type Job[T Args] struct {
	ID        int64
	Args      T
	Attempt   int // 1 to 5; failures of its own so far, and 1
	Last      bool
	CreatedAt time.Time

	river *river.Job[T]
}

// Handlers says what is done for each kind of job.
type Handlers struct {
	workers *river.Workers
	stageOf map[string]string // by kind
	reasons []string          // of dead letters, beside our own
	queue   *Queue            // that works the jobs
}

// NewHandlers returns Handlers of nothing. Reasons are the words that they use
// with Dead: they are a label of a metric, so they are known from the start.
func NewHandlers(reasons ...string) *Handlers {
	return &Handlers{workers: river.NewWorkers(), stageOf: map[string]string{}, reasons: reasons}
}

func (h *Handlers) bind(q *Queue) { h.queue = q }

// Handle has jobs of the kind of T worked in a stage. The error of work says
// what becomes of the job: Down, RetryAfter, Later and Dead are special, any
// other is a failure of its own. Errors are kept and shown to operators, so they
// must not quote what customers write.
func Handle[T Args](h *Handlers, stage string, work func(context.Context, Job[T]) error) {
	var none T
	h.stageOf[none.Kind()] = stage
	river.AddWorker(h.workers, river.WorkFunc(func(ctx context.Context, r *river.Job[T]) error {
		failed := ownFailures(r.JobRow)
		j := Job[T]{
			ID: r.ID, Args: r.Args, Attempt: failed + 1, Last: failed+1 >= maxFailures,
			CreatedAt: r.CreatedAt, river: r,
		}
		return h.queue.attempt(ctx, r.JobRow, func(ctx context.Context) error { return work(ctx, j) })
	}))
}

// CompleteTx notes in the caller's transaction that a job is done, so that what
// it did and the note are one.
func CompleteTx[T Args](ctx context.Context, tx *sql.Tx, j Job[T]) error {
	if _, err := river.JobCompleteTx[riverdriver.Driver[*sql.Tx]](ctx, tx, j.river); err != nil {
		return fmt.Errorf("complete job %d: %w", j.ID, err)
	}
	return nil
}

// verdict is an error that says what becomes of the job.
type verdict struct {
	error
	down   bool
	wait   time.Duration
	rest   bool // all of the stage wait
	reason string
}

func (v *verdict) Unwrap() error { return v.error }

// Down says that the service of the stage cannot be used. Once it is known to
// be so, jobs wait for it without using up their attempts.
func Down(err error) error { return &verdict{error: err, down: true} }

// RetryAfter says that the service asks to be left alone for a while, which the
// whole stage does. It costs no attempt.
func RetryAfter(err error, d time.Duration) error {
	return &verdict{error: err, wait: max(d, time.Second), rest: true}
}

// Later says that this job is to be tried again in a while. It costs no
// attempt.
func Later(err error, d time.Duration) error {
	return &verdict{error: err, wait: max(d, time.Second)}
}

// Dead says that there is no use in trying again. The reason is a word of a
// closed set.
func Dead(err error, reason string) error { return &verdict{error: err, reason: reason} }

// aboutService reports whether an error is the service's, whoever asks.
func (v *verdict) aboutService() bool { return v.down || v.rest }

func isDown(err error) bool {
	v, ok := errors.AsType[*verdict](err)
	return ok && v.down
}

// The reasons of dead letters that no Dead names.
const (
	ReasonFailed = "failed" // five failures of its own
	ReasonDown   = "down"   // the last of them was the service's
	ReasonPanic  = "panic"
)

// What we keep among River's metadata.
const (
	metaReason = "reason" // of a dead letter
	metaWait   = "wait"   // the Failure for which a job last waited, at no cost
)

// attempt makes one attempt at a job, and tells River what becomes of it.
func (q *Queue) attempt(ctx context.Context, row *rivertype.JobRow, work func(context.Context) error) error {
	s := q.stage(row.Queue)
	if s == nil { // River hands out only what was asked for
		return fmt.Errorf("the queue %q is nobody's", row.Queue)
	}
	if q.paused.Load() || s.rests(time.Now()) {
		return river.JobSnooze(hold)
	}
	done, err := s.circuit.Allow()
	if err != nil {
		return river.JobSnooze(hold)
	}
	began := time.Now()
	err = guarded(ctx, work)
	if err != nil && ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		done(context.Canceled)
		return err // River knows that it stops, and counts nothing
	}
	v, _ := errors.AsType[*verdict](err)
	var failure Failure
	if err != nil {
		failure = Failure{At: time.Now().UTC(), Error: err.Error()}
	}
	if v != nil && v.aboutService() {
		s.learn(failure, v.wait)
	}
	done(err)
	q.metrics.duration.WithLabelValues(s.Name).Observe(time.Since(began).Seconds())

	fields := []zap.Field{zap.String("stage", s.Name), zap.Int64("job", row.ID), zap.String("kind", row.Kind)}
	failures := ownFailures(row) + 1
	switch {
	case err == nil:
		q.metrics.attempts.WithLabelValues(s.Name, resultDone).Inc()
		q.metrics.processing.Observe(time.Since(row.CreatedAt).Seconds())
		return nil
	case v != nil && v.wait > 0:
		q.metrics.attempts.WithLabelValues(s.Name, resultWait).Inc()
		q.log.Debug("a job was told to wait", append(fields, zap.Duration("wait", v.wait), zap.Error(err))...)
		if v.rest {
			q.wake()
		}
		return putOff(ctx, failure, v.wait)
	case v != nil && v.down && s.open():
		q.metrics.attempts.WithLabelValues(s.Name, resultDown).Inc()
		q.log.Debug("a job waits for its service", append(fields, zap.Error(err))...)
		return putOff(ctx, failure, hold)
	}

	reason := ""
	_, panicked := errors.AsType[*panicError](err)
	switch {
	case v != nil && v.reason != "":
		reason = v.reason
	case failures < maxFailures:
	case panicked:
		reason = ReasonPanic
	case v != nil && v.down:
		reason = ReasonDown
	default:
		reason = ReasonFailed
	}
	if reason == "" {
		q.metrics.attempts.WithLabelValues(s.Name, resultFailed).Inc()
		q.log.Info("a job failed and is tried again", append(fields, zap.Int("attempt", failures), zap.Error(err))...)
		return err
	}
	q.metrics.attempts.WithLabelValues(s.Name, resultDead).Inc()
	q.metrics.dead.WithLabelValues(s.Name, q.metrics.deadReason(reason)).Inc()
	q.log.Error("a job is given up; chatwoot-sla queue show tells more, queue retry tries again",
		append(fields, zap.String("reason", reason), zap.Int("attempts", failures), zap.Error(err))...)
	if merr := river.MetadataSet(ctx, metaReason, reason); merr != nil {
		return errors.Join(err, merr)
	}
	return river.JobCancel(err)
}

// putOff has River hand the job out again in a while, at no cost, and keeps why.
func putOff(ctx context.Context, why Failure, d time.Duration) error {
	if err := river.MetadataSet(ctx, metaWait, why); err != nil {
		return err
	}
	return river.JobSnooze(d)
}

// panicError is a panic of a handler.
type panicError struct{ text string }

func (p *panicError) Error() string { return p.text }

// guarded turns a panic into an error. The stack is for the log and for queue
// show; the value may hold anything, so it is only named by its type.
func guarded(ctx context.Context, work func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{fmt.Sprintf("panic of type %T\n%s", r, debug.Stack())}
		}
	}()
	return work(ctx)
}

// rescued is how River words the error of an attempt whose process was killed.
const rescued = "Stuck job rescued by JobRescuer"

// ownFailures counts the failures of a job that are its own.
func ownFailures(row *rivertype.JobRow) (n int) {
	for _, e := range row.Errors {
		if e.Error != rescued {
			n++
		}
	}
	return n
}

// backOff implements river.ClientRetryPolicy: 1, 2, 4 and 8 seconds.
type backOff struct{}

func (backOff) NextRetry(row *rivertype.JobRow) time.Time {
	failed := min(max(ownFailures(row), 0), maxFailures)
	return time.Now().Add(time.Second << failed)
}
