package queue_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/queue"
	"github.com/hotdash/chatwoot-sla/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Suite{M: m}) }

// note is a job of the tests.
type note struct {
	Text string `json:"text"`
}

func (note) Kind() string { return "note" }

// eventually waits for what must come to pass, however slow the machine is.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	enough := time.After(3 * time.Minute)
	for !holds() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-enough:
			t.Fatalf("%s: not within three minutes", what)
		}
	}
}

// rig is a queue that works on a real database.
type rig struct {
	t      *testing.T
	engine queue.Engine
	db     *sql.DB
	q      *queue.Queue
	reg    *prometheus.Registry
	log    *observer.ObservedLogs
	stop   func()

	mu   sync.Mutex
	done []string
	seen map[string]int // attempts, by text
}

// engines runs a test on both databases.
func engines(t *testing.T, test func(*testing.T, store.Options, queue.Engine)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, store.Options{DataDir: t.TempDir()}, queue.Engine{})
	})
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		test(t, store.Options{DatabaseURL: pgtest.Database(t)}, queue.Engine{Postgres: true, Schema: store.Schema})
	})
}

func openDB(t *testing.T, o store.Options, e queue.Engine) *sql.DB {
	t.Helper()
	o.Account = store.Account{Host: "support.example.com", ID: 1}
	o.Migrate = e.Migrate
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.Writer()
}

// newRig starts a queue whose jobs do what work says. More kinds of jobs may be
// added.
func newRig(t *testing.T, db *sql.DB, e queue.Engine, work func(context.Context, queue.Job[note]) error, more ...func(*queue.Handlers)) *rig {
	t.Helper()
	seen, logs := observer.New(zap.InfoLevel)
	r := &rig{t: t, engine: e, db: db, reg: prometheus.NewPedanticRegistry(), log: logs, seen: map[string]int{}}
	h := queue.NewHandlers("refused")
	queue.Handle(h, "notes", func(ctx context.Context, j queue.Job[note]) error {
		r.mu.Lock()
		r.seen[j.Args.Text]++
		r.mu.Unlock()
		err := work(ctx, j)
		if err == nil {
			r.mu.Lock()
			r.done = append(r.done, j.Args.Text)
			r.mu.Unlock()
		}
		return err
	})
	for _, add := range more {
		add(h)
	}
	q, err := queue.New(queue.Options{
		Engine: e, Stages: []queue.Stage{{Name: "notes", Workers: 8}}, Handlers: h, OpenFor: time.Second, Registerer: r.reg,
		Logger: zap.New(zapcore.NewTee(seen, zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)).Core())),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.q = q
	r.start()
	return r
}

func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { r.q.Count(ctx, r.db) })
	wg.Go(func() {
		if err := r.q.Run(ctx, r.db); err != nil {
			r.t.Error(err)
		}
	})
	r.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	r.t.Cleanup(r.stop)
}

func (r *rig) insert(jobs ...queue.Args) {
	r.t.Helper()
	tx, err := r.db.BeginTx(r.t.Context(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.q.InsertTx(r.t.Context(), tx, jobs...); err != nil {
		r.t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) worked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.done))
}

func (r *rig) attempts(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[text]
}

func (r *rig) total() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, times := range r.seen {
		n += times
	}
	return n
}

// gauge returns the value of a metric that has one series.
func (r *rig) gauge(name string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	r.t.Fatalf("there is no metric %s", name)
	return 0
}

func (r *rig) office() *queue.Office {
	r.t.Helper()
	o, err := queue.NewOffice(r.engine, r.db)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

func (r *rig) list(s queue.Selection) []queue.Letter {
	r.t.Helper()
	ls, err := r.office().List(r.t.Context(), s, 100)
	if err != nil {
		r.t.Fatal(err)
	}
	return ls
}

func TestJobsAreDoneOnceAndInTransactions(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		r := newRig(t, openDB(t, o, e), e, func(context.Context, queue.Job[note]) error { return nil })
		tx, err := r.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.q.InsertTx(t.Context(), tx, note{"never"}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		var jobs []queue.Args
		var want []string
		for i := range 50 {
			jobs = append(jobs, note{fmt.Sprintf("%02d", i)})
			want = append(want, fmt.Sprintf("%02d", i))
		}
		r.insert(jobs...)
		eventually(t, "all jobs are done", func() bool { return len(r.worked()) >= len(want) })
		if got := r.worked(); !slices.Equal(got, want) {
			t.Errorf("done: %v", got)
		}
	})
}

// The back-off is told by the gaps between attempts, of which each is at least
// its due and the whole is not much more.
func TestAJobOfItsOwnFailuresDiesAfterFive(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		var mu sync.Mutex
		var at []time.Time
		r := newRig(t, openDB(t, o, e), e, func(_ context.Context, j queue.Job[note]) error {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			if j.Attempt != len(at) || j.Last != (len(at) == 5) {
				t.Errorf("attempt %d says that it is %d, last %v", len(at), j.Attempt, j.Last)
			}
			return errors.New("the address is wrong")
		})
		r.insert(note{"x"})
		eventually(t, "the job is a dead letter", func() bool { return len(r.list(queue.Selection{Dead: true})) == 1 })
		for i, want := range []time.Duration{1, 2, 4, 8} {
			if got := at[i+1].Sub(at[i]); got < want*time.Second-50*time.Millisecond {
				t.Errorf("attempt %d came after %v", i+2, got)
			}
		}
		l := r.list(queue.Selection{Dead: true})[0]
		if l.Reason != queue.ReasonFailed || l.Failures != 5 || l.Error != "the address is wrong" || l.State != queue.DeadLetter || l.EndedAt.IsZero() {
			t.Errorf("the dead letter is %+v", l)
		}
		shown, err := r.office().Show(t.Context(), l.ID)
		if err != nil || len(shown.Failed) != 5 {
			t.Errorf("shown: %+v, %v", shown, err)
		}
		want := `
			# HELP chatwoot_sla_dead_letters_total Jobs that were given up, by stage and reason.
			# TYPE chatwoot_sla_dead_letters_total counter
			chatwoot_sla_dead_letters_total{reason="down",stage="notes"} 0
			chatwoot_sla_dead_letters_total{reason="failed",stage="notes"} 1
			chatwoot_sla_dead_letters_total{reason="other",stage="notes"} 0
			chatwoot_sla_dead_letters_total{reason="panic",stage="notes"} 0
			chatwoot_sla_dead_letters_total{reason="refused",stage="notes"} 0
		`
		if err := testutil.GatherAndCompare(r.reg, strings.NewReader(want), "chatwoot_sla_dead_letters_total"); err != nil {
			t.Error(err)
		}

		// Once what was wrong has been put right, it has all of its attempts again.
		mu.Lock()
		at = nil
		mu.Unlock()
		if n, err := r.office().Retry(t.Context(), queue.Selection{IDs: []int64{l.ID}}); n != 1 || err != nil {
			t.Fatalf("%d retried, %v", n, err)
		}
		eventually(t, "it is tried again", func() bool { return r.attempts("x") >= 7 })
	})
}

// An office tells the same as the queue, and who works, also when there is no
// queue any more.
func TestAnOfficeCountsJobsWithoutTheirQueue(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		r := newRig(t, openDB(t, o, e), e, func(_ context.Context, j queue.Job[note]) error {
			if j.Args.Text == "dies" {
				return queue.Dead(errors.New("the address is wrong"), "refused")
			}
			return nil
		})
		look := func() (queue.Depth, map[string]time.Time) {
			t.Helper()
			d, err := r.office().Depth(t.Context())
			worked, err2 := r.office().Worked(t.Context())
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			return d, worked
		}
		if d, worked := look(); len(d.Counts) > 0 || len(worked) > 0 {
			t.Errorf("before any job there are %+v, worked %v", d.Counts, worked)
		}
		began := time.Now().Add(-time.Second)
		r.insert(note{"lives"}, note{"dies"})
		eventually(t, "one is done, the other is dead", func() bool { return len(r.worked()) == 1 && len(r.list(queue.Selection{Dead: true})) == 1 })
		r.stop() // or they could be picked up
		r.insert(note{"waits"}, note{"waits, too"})
		d, worked := look()
		if d.Sum(queue.Ready) != 2 || d.Sum(queue.DeadLetter) != 1 || d.Sum(queue.Retry)+d.Sum(queue.Running) != 0 {
			t.Errorf("counted %+v", d.Counts)
		}
		if at := worked["notes"]; at.Before(began) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("worked %v, want it after %v", worked, began)
		}
	})
}

// A service that is down costs no attempts beyond those that found it out.
func TestJobsWaitForTheirService(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		var down atomic.Bool
		down.Store(true)
		r := newRig(t, openDB(t, o, e), e, func(context.Context, queue.Job[note]) error {
			if down.Load() {
				return queue.Down(errors.New("connection refused"))
			}
			return nil
		})
		var jobs []queue.Args
		for i := range 100 {
			jobs = append(jobs, note{fmt.Sprintf("%02d", i)})
		}
		r.insert(jobs...)
		eventually(t, "the circuit opens", func() bool { return r.gauge("chatwoot_sla_circuit_open") == 1 })
		eventually(t, "all wait as retries", func() bool { d, _ := r.q.Depth(); return d.Sum(queue.Retry) == 100 })
		for range 3 { // canaries, each of which finds that it is still down
			n := r.total()
			eventually(t, "another canary is sent", func() bool { return r.total() > n })
		}
		if dead := r.list(queue.Selection{Dead: true}); len(dead) > 0 {
			t.Errorf("dead letters: %+v", dead)
		}
		down.Store(false)
		eventually(t, "all are done", func() bool { return len(r.worked()) == 100 })
		eventually(t, "the circuit closes", func() bool { return r.gauge("chatwoot_sla_circuit_open") == 0 })
	})
}

func TestAServiceThatIsBackRevivesItsDeadLetters(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		var broken atomic.Bool
		broken.Store(true)
		r := newRig(t, openDB(t, o, e), e, func(_ context.Context, j queue.Job[note]) error {
			switch {
			case j.Args.Text == "wrong":
				return queue.Dead(errors.New("no"), "refused")
			case (j.Args.Text == "unlucky" || j.Args.Text == "down") && broken.Load():
				return queue.Down(errors.New("timeout"))
			}
			return nil
		})
		r.insert(note{"unlucky"}, note{"wrong"})
		for i := range 5 { // what works in between keeps the circuit closed
			eventually(t, "the next attempt", func() bool { return r.attempts("unlucky") > i })
			r.insert(note{fmt.Sprint("fine ", i)})
			eventually(t, "others work", func() bool { return r.attempts(fmt.Sprint("fine ", i)) == 1 })
		}
		eventually(t, "two dead letters", func() bool { return len(r.list(queue.Selection{Dead: true})) == 2 })
		r.insert(note{"down"})
		eventually(t, "the circuit opens", func() bool { return r.gauge("chatwoot_sla_circuit_open") == 1 })
		broken.Store(false)
		eventually(t, "the revived job is done", func() bool { return slices.Contains(r.worked(), "unlucky") })
		dead := r.list(queue.Selection{Dead: true})
		if len(dead) != 1 || dead[0].Reason != "refused" {
			t.Fatalf("dead are still %+v", dead)
		}
		if n, err := r.office().Purge(t.Context(), queue.Selection{Stage: "notes"}); n != 1 || err != nil {
			t.Errorf("%d purged, %v", n, err)
		}
		if _, err := r.office().Show(t.Context(), dead[0].ID); !errors.Is(err, queue.ErrNoJob) {
			t.Errorf("a purged job: %v", err)
		}
	})
}

func TestAJobThatIsToldToWaitCostsNoAttempt(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		r := newRig(t, openDB(t, o, e), e, func(_ context.Context, j queue.Job[note]) error {
			if j.Attempt != 1 {
				t.Errorf("attempt %d", j.Attempt)
			}
			return queue.RetryAfter(errors.New("429"), time.Second)
		})
		r.insert(note{"x"})
		eventually(t, "more than five times", func() bool { return r.attempts("x") >= 6 })
		if l := r.list(queue.Selection{})[0]; l.State == queue.DeadLetter || l.Failures != 0 {
			t.Errorf("it stands at %+v", l)
		}
	})
}

// A service that asks to be left alone is, by all that wait for it.
func TestAStageRestsWhenItsServiceAsks(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		r := newRig(t, openDB(t, o, e), e, func(context.Context, queue.Job[note]) error {
			return queue.RetryAfter(errors.New("HTTP 429"), time.Hour)
		})
		jobs := make([]queue.Args, 200)
		for i := range jobs {
			jobs[i] = note{fmt.Sprint(i)}
		}
		r.insert(jobs...)
		eventually(t, "all wait as retries", func() bool { d, _ := r.q.Depth(); return d.Sum(queue.Retry) == len(jobs) })
		if n := r.total(); n == 0 || n > 8 { // all that the workers had in hand when the first was told so
			t.Errorf("%d attempts", n)
		}
		s := r.q.Services()[0]
		if s.Stage != "notes" || s.Last.Error != "HTTP 429" || !s.DownSince.IsZero() || time.Until(s.RestsTill) < 50*time.Minute {
			t.Errorf("the service stands at %+v", s)
		}
		if got := r.gauge("chatwoot_sla_circuit_open"); got != 0 {
			t.Errorf("the circuit is at %v", got)
		}
	})
}

// One job that is to wait is no concern of the others.
func TestOneJobThatWaitsHoldsNoOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, openDB(t, store.Options{DataDir: t.TempDir()}, queue.Engine{}), queue.Engine{}, func(_ context.Context, j queue.Job[note]) error {
		if j.Args.Text == "x" {
			return queue.Later(errors.New("it may still have its effect"), time.Hour)
		}
		return nil
	})
	r.insert(note{"x"})
	eventually(t, "it waits", func() bool {
		ls := r.list(queue.Selection{})
		return len(ls) == 1 && ls[0].Error == "it may still have its effect"
	})
	r.insert(note{"another"})
	eventually(t, "another is done", func() bool { return len(r.worked()) == 1 })
}

// Whoever is called at night reads when it began and what fails.
func TestAnOutageIsToldFromItsBeginningToItsEnd(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		var says atomic.Value
		says.Store("connection refused")
		r := newRig(t, openDB(t, o, e), e, func(context.Context, queue.Job[note]) error {
			if text := says.Load().(string); text != "" {
				return queue.Down(errors.New(text))
			}
			return nil
		})
		for range 10 {
			r.insert(note{"x"})
		}
		opened := func() []observer.LoggedEntry { return r.log.FilterMessageSnippet("out of reach").All() }
		eventually(t, "it is logged", func() bool { return len(opened()) == 1 })
		began := r.q.Services()[0]
		// One that has failed already would tell the old error after the new one.
		eventually(t, "none is in hand", func() bool {
			return !slices.ContainsFunc(r.list(queue.Selection{}), func(l queue.Letter) bool { return l.State == queue.Running })
		})
		says.Store("HTTP 502")
		eventually(t, "a canary tells what is wrong now", func() bool { return r.q.Services()[0].Last.Error == "HTTP 502" })
		if now := r.q.Services()[0]; began.DownSince.IsZero() || !now.DownSince.Equal(began.DownSince) {
			t.Errorf("down since %v, and then %v", began.DownSince, now.DownSince)
		}
		eventually(t, "the canary itself has it", func() bool {
			return slices.ContainsFunc(r.list(queue.Selection{}), func(l queue.Letter) bool { return l.Error == "HTTP 502" })
		})
		says.Store("")
		closed := func() []observer.LoggedEntry { return r.log.FilterMessageSnippet("is back; the jobs of").All() }
		eventually(t, "its end is logged", func() bool { return len(closed()) == 1 })
		if n := len(opened()); n != 1 {
			t.Errorf("its beginning is logged %d times", n)
		}
		if was := opened()[0].ContextMap(); was["stage"] != "notes" || was["last_error"] != "connection refused" {
			t.Errorf("its beginning says %v", was)
		}
		if was := closed()[0].ContextMap(); was["last_error"] != "HTTP 502" || was["down_for"].(time.Duration) <= 0 {
			t.Errorf("its end says %v", was)
		}
		if s := r.q.Services()[0]; !s.DownSince.IsZero() {
			t.Errorf("it stands at %+v", s)
		}
	})
}

func TestAPanicIsAFailureOfTheJobsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, openDB(t, store.Options{DataDir: t.TempDir()}, queue.Engine{}), queue.Engine{}, func(context.Context, queue.Job[note]) error {
		panic("what a customer wrote")
	})
	r.insert(note{"x"})
	eventually(t, "an attempt failed", func() bool { ls := r.list(queue.Selection{}); return len(ls) == 1 && ls[0].Failures >= 1 })
	l, err := r.office().Show(t.Context(), r.list(queue.Selection{})[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if text := l.Failed[0].Error; strings.Contains(text, "customer") || !strings.Contains(text, "queue_test.go") {
		t.Errorf("the failure says %q", text)
	}
}

// Dead letters are kept until somebody decides, and would hide what waits.
func TestWhatWaitsIsListedWithoutDeadLetters(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		r := newRig(t, openDB(t, o, e), e, func(_ context.Context, j queue.Job[note]) error {
			if j.Args.Text == "wrong" {
				return queue.Dead(errors.New("no"), "refused")
			}
			return queue.Down(errors.New("connection refused"))
		})
		r.insert(note{"wrong"}, note{"wrong"}, note{"wrong"})
		eventually(t, "three are dead", func() bool { return len(r.list(queue.Selection{Dead: true})) == 3 })
		for range 20 {
			r.insert(note{"x"})
		}
		eventually(t, "the circuit opens", func() bool { return r.gauge("chatwoot_sla_circuit_open") == 1 })
		office, err := r.q.Office(r.db)
		if err != nil {
			t.Fatal(err)
		}
		ls, err := office.List(t.Context(), queue.Selection{Stage: "notes"}, 5)
		if err != nil || len(ls) != 5 {
			t.Fatalf("listed %+v, %v", ls, err)
		}
		for _, l := range ls {
			if l.State != queue.Retry && l.State != queue.Running { // one at a time finds out
				t.Errorf("behind an open circuit: %+v", l)
			}
		}
		for _, row := range []struct {
			selected queue.Selection
			want     int
		}{
			{queue.Selection{}, 20},
			{queue.Selection{Dead: true}, 3},
			{queue.Selection{Stage: "other"}, 0},
			{queue.Selection{Stage: "notes", IDs: []int64{ls[0].ID}}, 1},
		} {
			if n, err := office.Count(t.Context(), row.selected); n != row.want || err != nil {
				t.Errorf("%+v counts %d, %v", row.selected, n, err)
			}
		}
	})
}

// Bodies are long, and a list of hundreds would read them all.
func TestAListDoesNotReadWhatJobsHold(t *testing.T) {
	t.Parallel()
	r := newRig(t, openDB(t, store.Options{DataDir: t.TempDir()}, queue.Engine{}), queue.Engine{}, func(context.Context, queue.Job[note]) error { return nil })
	r.insert(note{"before"})
	eventually(t, "it works", func() bool { return len(r.worked()) == 1 })
	r.stop()
	r.insert(note{"x"})
	if _, err := r.db.ExecContext(t.Context(), `UPDATE river_job SET args = 'whoever reads this fails'`); err != nil {
		t.Fatal(err)
	}
	ls := r.list(queue.Selection{})
	if len(ls) != 1 || ls[0].Kind != "note" || ls[0].CreatedAt.IsZero() || ls[0].DueAt.IsZero() {
		t.Fatalf("listed %+v", ls)
	}
	if l, err := r.office().Show(t.Context(), ls[0].ID); err != nil || l.ID != ls[0].ID {
		t.Errorf("shown %+v, %v", l, err)
	}
}

func TestPausedJobsWait(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		db := openDB(t, o, e)
		r := newRig(t, db, e, func(context.Context, queue.Job[note]) error { return nil })
		r.insert(note{"before"})
		eventually(t, "it works", func() bool { return len(r.worked()) == 1 })
		r.q.Pause(true)
		r.insert(note{"meanwhile"})
		eventually(t, "it waits", func() bool { d, _ := r.q.Depth(); return d.Sum(queue.Ready)+d.Sum(queue.Retry) == 1 })
		if got := r.worked(); len(got) != 1 {
			t.Errorf("done in a pause: %v", got)
		}
		if got := r.gauge("chatwoot_sla_queue_paused"); got != 1 {
			t.Errorf("paused is %v", got)
		}
		// A process that ends in a pause leaves no pause behind.
		r.stop()
		after := newRig(t, db, e, func(context.Context, queue.Job[note]) error { return nil })
		eventually(t, "it goes on", func() bool { return len(after.worked()) == 1 })
	})
}

func TestAStopLetsJobsInHandFinish(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		began, finish := make(chan struct{}), make(chan struct{})
		r := newRig(t, openDB(t, o, e), e, func(context.Context, queue.Job[note]) error {
			close(began)
			<-finish
			return nil
		})
		r.insert(note{"x"})
		<-began
		stopped := make(chan struct{})
		go func() { r.stop(); close(stopped) }()
		close(finish)
		<-stopped
		if got := r.worked(); len(got) != 1 {
			t.Errorf("done: %v", got)
		}
		if ls := r.list(queue.Selection{}); len(ls) != 0 {
			t.Errorf("it is not noted as done: %+v", ls)
		}
	})
}

func TestReplicasShareTheWork(t *testing.T) {
	t.Parallel()
	o := store.Options{DatabaseURL: pgtest.Database(t)}
	e := queue.Engine{Postgres: true, Schema: store.Schema}
	var mu sync.Mutex
	times := map[string]int{}
	work := func(_ context.Context, j queue.Job[note]) error {
		mu.Lock()
		defer mu.Unlock()
		times[j.Args.Text]++
		return nil
	}
	a, b := newRig(t, openDB(t, o, e), e, work), newRig(t, openDB(t, o, e), e, work)
	const jobs = 300
	for i := range jobs {
		a.insert(note{fmt.Sprint(i)})
	}
	eventually(t, "all are done", func() bool { return len(a.worked())+len(b.worked()) >= jobs })
	if len(a.worked()) == 0 || len(b.worked()) == 0 {
		t.Errorf("one did %d and the other %d", len(a.worked()), len(b.worked()))
	}
	for text, n := range times {
		if n != 1 {
			t.Errorf("job %s was done %d times", text, n)
		}
	}
}

func TestAKindWithoutAStageIsRefused(t *testing.T) {
	t.Parallel()
	h := queue.NewHandlers()
	queue.Handle(h, "nowhere", func(context.Context, queue.Job[note]) error { return nil })
	_, err := queue.New(queue.Options{Handlers: h, Stages: []queue.Stage{{Name: "notes", Workers: 1}}})
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("New: %v", err)
	}
}

// about is a job that has a number.
type about struct {
	Number int64 `json:"number"`
}

func (about) Kind() string { return "about" }

func TestJobsAreKnownAndForgottenByWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		begun, end := make(chan struct{}), make(chan struct{})
		r := newRig(t, openDB(t, o, e), e, func(context.Context, queue.Job[note]) error { return nil },
			func(h *queue.Handlers) {
				queue.Handle(h, "notes", func(_ context.Context, j queue.Job[about]) error {
					switch j.Args.Number {
					case 1:
						return queue.Dead(errors.New("no"), "refused")
					case 2:
						close(begun)
						<-end
					}
					return nil
				})
			})
		r.insert(about{1}, about{2}, about{3}, note{"no number"})
		<-begun
		eventually(t, "the others have ended", func() bool {
			return len(r.worked()) == 1 && len(r.list(queue.Selection{Dead: true})) == 1 && len(r.list(queue.Selection{})) == 1
		})
		if waiting, err := queue.Waiting[about](t.Context(), r.q, r.db); err != nil || !slices.Equal(waiting, []about{{2}}) {
			t.Errorf("waiting are %+v, %v", waiting, err)
		}
		forget := func(number int64) (n int64) {
			t.Helper()
			tx, err := r.db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, err = e.ForgetTx(t.Context(), tx, "number", number); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for number, want := range map[int64]int64{1: 1, 2: 1, 3: 1, 4: 0} {
			if n := forget(number); n != want {
				t.Errorf("forgot %d jobs about %d, want %d", n, number, want)
			}
		}
		close(end)
		r.insert(note{"later"})
		eventually(t, "the work goes on", func() bool { return len(r.worked()) == 2 })
	})
}

func TestJobsThatWaitTooLongAreReassigned(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o store.Options, e queue.Engine) {
		var down atomic.Bool
		r := newRig(t, openDB(t, o, e), e, func(context.Context, queue.Job[note]) error {
			if down.Load() {
				return queue.Down(errors.New("connection refused"))
			}
			return queue.Later(errors.New("not yet"), time.Hour)
		}, func(h *queue.Handlers) {
			queue.Handle(h, "notes", func(context.Context, queue.Job[about]) error { return nil })
		})
		reassign := func(age time.Duration, want int64) {
			t.Helper()
			if n, err := r.q.Reassign(t.Context(), r.db, note{}, about{}, age); n != want || err != nil {
				t.Errorf("reassigned %d, %v; want %d", n, err, want)
			}
		}
		r.insert(note{"told to wait"})
		eventually(t, "it waits", func() bool {
			waiting := r.list(queue.Selection{})
			return len(waiting) == 1 && time.Until(waiting[0].DueAt) > time.Minute
		})
		reassign(time.Hour, 0)
		r.q.Pause(true)
		reassign(0, 0)
		r.q.Pause(false)
		reassign(0, 1)
		down.Store(true)
		r.insert(note{"down"}, note{"down"}, note{"down"})
		eventually(t, "the circuit opens", func() bool { return r.gauge("chatwoot_sla_circuit_open") == 1 })
		eventually(t, "none is left", func() bool {
			_, err := r.q.Reassign(t.Context(), r.db, note{}, about{}, 0)
			waiting, werr := queue.Waiting[note](t.Context(), r.q, r.db)
			return err == nil && werr == nil && len(waiting) == 0
		})
		eventually(t, "all are done, and the circuit closes", func() bool {
			return len(r.list(queue.Selection{})) == 0 && r.gauge("chatwoot_sla_circuit_open") == 0
		})
		r.stop()
		r.insert(note{"waits for its turn"})
		reassign(0, 0)
	})
}
