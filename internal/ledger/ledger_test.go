package ledger_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/sla"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/store/storetest"
)

func TestMain(m *testing.M) {
	status := pgtest.Main(m)
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// watched is a real store that counts what is asked of it, and fails on request.
type watched struct {
	*store.Store

	mu     sync.Mutex
	reads  int
	writes int
	rows   int
	fail   error
	lost   error // of counting alone
}

func (w *watched) Newest(ctx context.Context, ids []int64) (map[int64]ledger.Entry, error) {
	w.mu.Lock()
	w.reads++
	fail := w.fail
	w.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	return w.Store.Newest(ctx, ids)
}

func (w *watched) Write(ctx context.Context, b ledger.Batch) ([]ledger.Key, error) {
	w.mu.Lock()
	w.writes++
	w.rows += len(b.Put) + len(b.Fill) + len(b.Remove)
	w.mu.Unlock()
	return w.Store.Write(ctx, b)
}

func (w *watched) Tallies(ctx context.Context, since []time.Time) ([]map[int64]ledger.Tally, error) {
	w.mu.Lock()
	fail := cmp.Or(w.fail, w.lost)
	w.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	return w.Store.Tallies(ctx, since)
}

func (w *watched) failWith(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

// rig is a ledger over a real database.
type rig struct {
	*ledger.Ledger
	t     *testing.T
	store *watched
	now   time.Time
	reg   *prometheus.Registry
	logs  *observer.ObservedLogs
}

func newRig(t *testing.T, o store.Options) *rig {
	t.Helper()
	o.Account = storetest.Account
	r := &rig{t: t, store: &watched{Store: storetest.Open(t, o)}, now: noon}
	r.restart()
	return r
}

// restart forgets all but the database.
func (r *rig) restart() {
	r.t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	r.reg, r.logs = prometheus.NewPedanticRegistry(), logs
	l, err := ledger.New(ledger.Options{
		Store: r.store, Registerer: r.reg, Logger: zap.New(core),
		Now:     func() time.Time { return r.now },
		Inboxes: func() []int64 { return []int64{5, 6, 7} },
		InboxLabel: func(inbox int64) string {
			if inbox > 6 {
				return "other"
			}
			return fmt.Sprint(inbox)
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.Ledger = l
}

func (r *rig) record(batch ...ledger.Observation) {
	r.t.Helper()
	if err := r.Record(r.t.Context(), batch); err != nil {
		r.t.Fatal(err)
	}
}

// rounds returns all rows of a conversation.
func (r *rig) rounds(conversation int64) []ledger.Entry {
	r.t.Helper()
	var rounds []ledger.Entry
	err := r.store.Decided(r.t.Context(), time.Unix(0, 0), noon.AddDate(1, 0, 0), func(e ledger.Entry) error {
		if e.Conversation == conversation {
			rounds = append(rounds, e)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	running, err := r.store.Running(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range running {
		if e.Conversation == conversation {
			rounds = append(rounds, e)
		}
	}
	return rounds
}

// told says what the rows of a conversation hold, in minutes after noon.
func (r *rig) told(conversation int64) string {
	r.t.Helper()
	minutes := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return fmt.Sprint(t.Sub(noon).Minutes())
	}
	var lines []string
	for _, e := range r.rounds(conversation) {
		outcome := string(e.Outcome)
		if outcome == "" {
			outcome = "running"
		}
		lines = append(lines, fmt.Sprintf("%d %s@%s start %s answer %s end %s", e.Round, outcome,
			minutes(e.DecidedAt), minutes(e.Start), minutes(e.FirstResponseAt), minutes(e.EndedAt)))
	}
	return strings.Join(lines, "; ")
}

func sqlite(t *testing.T) store.Options { return store.Options{DataDir: t.TempDir()} }

func minute(n float64) time.Time { return noon.Add(time.Duration(n * float64(time.Minute))) }

// from moves a clock's start, as when the customer came back.
func from(start time.Time, o ledger.Observation) ledger.Observation {
	o.Clock.Start, o.Clock.Deadline = start, start.Add(30*time.Minute)
	return o
}

// Each story is told live, with a restart after each observation, and with an
// outage in which nothing can be written, at once or after the first
// observation. The rows must be the same, and seeing the last once more must
// change nothing.
func TestStories(t *testing.T) {
	idle := with(waiting(1, minute(2)), func(o *ledger.Observation) { o.Clock = sla.Clock{State: sla.Idle} })
	reread := func(o ledger.Observation) ledger.Observation { o.ObservedAt = minute(100); return o } // of long ago, by the messages
	undecided := func(o ledger.Observation) ledger.Observation { o.Clock.Unsettled = true; return o }
	for _, tt := range []struct {
		name string
		seen []ledger.Observation
		want string
	}{
		{"answered in time", []ledger.Observation{waiting(1, minute(1)), answered(1, minute(10))}, "1 met@10 start 0 answer 10 end -"},
		{"answered in time and resolved", []ledger.Observation{
			answered(1, minute(10)), with(answered(1, minute(10)), func(o *ledger.Observation) { o.Status, o.EndedAt = ledger.Resolved, minute(60) }),
		}, "1 met@10 start 0 answer 10 end -"},
		{"breached, answered late, answered again", []ledger.Observation{
			waiting(1, minute(1)), waiting(1, minute(31)), answered(1, minute(45)), answered(1, minute(50)),
		}, "1 breached@30 start 0 answer 45 end -"},
		{"only ever seen answered late", []ledger.Observation{answered(1, minute(45))}, "1 breached@30 start 0 answer 45 end -"},
		{"breached and resolved", []ledger.Observation{waiting(1, minute(31)), ended(1, minute(40)), ended(1, minute(50))}, "1 breached@30 start 0 answer - end 40"},
		{"breached, though a later reading finds an answer in time", []ledger.Observation{
			waiting(1, minute(31)), answered(1, minute(20)),
		}, "1 breached@30 start 0 answer 20 end -"},
		{"resolved in time", []ledger.Observation{waiting(1, minute(1)), ended(1, minute(5))}, "1 excluded@5 start 0 answer - end 5"},
		{"resolved in time, reopened by an agent, answered late", []ledger.Observation{
			ended(1, minute(5)), waiting(1, minute(10)), waiting(1, minute(31)), answered(1, minute(45)),
		}, "1 excluded@5 start 0 answer - end 5"},
		{"the start moves while the clock runs", []ledger.Observation{
			waiting(1, minute(1)), from(minute(4), waiting(1, minute(5))), from(minute(4), answered(1, minute(33))),
		}, "1 met@33 start 4 answer 33 end -"},
		{"the start moves after the outcome", []ledger.Observation{
			answered(1, minute(10)), from(minute(4), answered(1, minute(10))),
		}, "1 met@10 start 0 answer 10 end -"},
		{"the customer never wrote, as the messages show", []ledger.Observation{waiting(1, minute(1)), idle}, ""},
		{"the customer's messages are deleted after the end", []ledger.Observation{
			ended(1, minute(5)), idle,
		}, "1 excluded@5 start 0 answer - end 5"},
		{"the customer never wrote", []ledger.Observation{idle}, ""},
		{"nobody could tell what happened after the first look", []ledger.Observation{
			waiting(1, minute(1)), undecided(waiting(1, minute(40))), undecided(ended(1, minute(41))),
		}, "1 running@- start 0 answer - end -"},
		{"back after an end in time", []ledger.Observation{
			waiting(1, minute(1)), ended(1, minute(5)), from(minute(60), waiting(1, minute(61))),
		}, "1 excluded@5 start 0 answer - end 5; 2 running@- start 60 answer - end -"},
		{"back after a breach that ended unanswered, and answered", []ledger.Observation{
			waiting(1, minute(31)), ended(1, minute(40)), from(minute(60), waiting(1, minute(61))), from(minute(60), answered(1, minute(70))),
		}, "1 breached@30 start 0 answer - end 40; 2 met@70 start 60 answer 70 end -"},
		{"back and answered, which the clock counts from the first start", []ledger.Observation{
			ended(1, minute(5)), from(minute(60), waiting(1, minute(61))), answered(1, minute(70)),
		}, "1 excluded@5 start 0 answer - end 5; 2 met@70 start 60 answer 70 end -"},
		{"back and waiting, which the clock counts from the first start, beyond its deadline", []ledger.Observation{
			ended(1, minute(5)), from(minute(60), waiting(1, minute(61))), waiting(1, minute(62)), waiting(1, minute(91)),
		}, "1 excluded@5 start 0 answer - end 5; 2 breached@90 start 60 answer - end -"},
		{"back, and then an answer from before turns up", []ledger.Observation{
			ended(1, minute(5)), from(minute(60), waiting(1, minute(61))), with(answered(1, minute(4)), func(o *ledger.Observation) { o.ObservedAt = minute(62) }),
		}, "1 excluded@5 start 0 answer - end 5"},
		{"back a third time", []ledger.Observation{
			ended(1, minute(5)), with(from(minute(60), ended(1, minute(65))), func(*ledger.Observation) {}), from(minute(100), waiting(1, minute(131))),
		}, "1 excluded@5 start 0 answer - end 5; 2 excluded@65 start 60 answer - end 65; 3 breached@130 start 100 answer - end -"},
		{"back after an answer: the first response is done", []ledger.Observation{
			answered(1, minute(10)), from(minute(60), waiting(1, minute(95))),
		}, "1 met@10 start 0 answer 10 end -"},
		{"answered after a breach that ended, perhaps to a customer who came back", []ledger.Observation{
			waiting(1, minute(31)), ended(1, minute(40)), answered(1, minute(50)),
		}, "1 breached@30 start 0 answer - end 40"},
		{"ended and back before anybody looked, as the messages tell", []ledger.Observation{
			reread(ended(1, minute(5))), from(minute(60), answered(1, minute(61))),
		}, "1 excluded@5 start 0 answer - end 5; 2 met@61 start 60 answer 61 end -"},
		{"ended after a breach and back before anybody looked", []ledger.Observation{
			reread(ended(1, minute(40))), from(minute(60), waiting(1, minute(61))),
		}, "1 breached@30 start 0 answer - end 40; 2 running@- start 60 answer - end -"},
		{"back and waiting, and the messages tell of the first end again", []ledger.Observation{
			ended(1, minute(5)), from(minute(60), waiting(1, minute(61))), reread(ended(1, minute(5))), from(minute(60), waiting(1, minute(101))),
		}, "1 excluded@5 start 0 answer - end 5; 2 breached@90 start 60 answer - end -"},
		{"back and in breach, and the messages tell of the first end again", []ledger.Observation{
			ended(1, minute(5)), from(minute(60), waiting(1, minute(91))), reread(ended(1, minute(5))),
		}, "1 excluded@5 start 0 answer - end 5; 2 breached@90 start 60 answer - end -"},
		{"first seen when back and in breach, and then the messages tell of an end before", []ledger.Observation{
			from(minute(60), waiting(1, minute(91))), reread(ended(1, minute(5))),
		}, "1 breached@90 start 60 answer - end -"},
		{"back after a breach that never ended: the same wait", []ledger.Observation{
			waiting(1, minute(31)), from(minute(60), waiting(1, minute(95))),
		}, "1 breached@30 start 0 answer - end -"},
		{"deleted in time", []ledger.Observation{
			waiting(1, minute(1)), with(waiting(1, minute(1)), func(o *ledger.Observation) { o.Status, o.EndedAt = ledger.Gone, minute(2) }),
		}, "1 excluded@2 start 0 answer - end 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, sqlite(t))
			told := func(how string) {
				t.Helper()
				if got := r.told(1); got != tt.want {
					t.Errorf("%s:\ngot  %s\nwant %s", how, got, tt.want)
				}
			}
			for _, o := range tt.seen {
				r.record(o)
			}
			told("live")
			r.restart()
			r.record(tt.seen[len(tt.seen)-1])
			told("seen again after a restart")

			r = newRig(t, sqlite(t))
			for _, o := range tt.seen {
				r.record(o)
				r.restart()
			}
			told("with restarts")

			for before := range 2 {
				r = newRig(t, sqlite(t))
				r.record(tt.seen[:before]...)
				r.store.failWith(errors.New("no store"))
				for _, o := range tt.seen[before:] {
					r.Observe([]ledger.Observation{o})
					if err := r.Flush(t.Context()); err == nil && r.Unwritten() > 0 {
						t.Fatal("nothing was written, and there is no error")
					}
				}
				r.store.failWith(nil)
				r.record()
				told(fmt.Sprintf("after an outage from observation %d on", before+1))
				if n := r.Unwritten(); n != 0 {
					t.Errorf("%d conversations are still to be written", n)
				}
			}
		})
	}
}

func TestRunningRowFollowsTheConversationUntilItsOutcome(t *testing.T) {
	r := newRig(t, sqlite(t))
	moved := with(waiting(1, minute(2)), func(o *ledger.Observation) { o.Inbox, o.Team, o.Assignee = 6, "sales", "Ben" })
	r.record(waiting(1, minute(1)))
	r.record(moved)
	late := with(waiting(1, minute(31)), func(o *ledger.Observation) { o.Inbox, o.Team, o.Assignee = 7, "support", "Cleo" })
	r.record(late)
	r.record(moved)
	got := r.rounds(1)
	if len(got) != 1 || got[0].Inbox != 7 || got[0].Team != "support" || got[0].Assignee != "Cleo" {
		t.Errorf("got %+v", got)
	}
}

func TestWhatDoesNotChangeCostsNothing(t *testing.T) {
	r := newRig(t, sqlite(t))
	poll := func(at time.Time) []ledger.Observation {
		idle := waiting(3, at)
		idle.Clock = sla.Clock{State: sla.Idle}
		met := with(answered(2, minute(1)), func(o *ledger.Observation) { o.ObservedAt, o.Assignee = at, fmt.Sprint(at) })
		unknown := with(waiting(4, at), func(o *ledger.Observation) { o.Clock.Unsettled = true })
		return []ledger.Observation{waiting(1, at), met, idle, unknown, from(minute(20), waiting(5, at))}
	}
	r.Synced(minute(2))
	r.record(poll(minute(2))...)
	reads, writes, rows := r.store.reads, r.store.writes, r.store.rows
	for n := range 10 {
		r.record(poll(minute(3 + float64(n)))...)
	}
	if r.store.reads != reads || r.store.writes != writes {
		t.Errorf("ten polls without news cost %d reads and %d writes", r.store.reads-reads, r.store.writes-writes)
	}
	r.record(poll(minute(31))...)
	if r.store.rows != rows+1 {
		t.Errorf("a deadline that passed wrote %d rows, want 1", r.store.rows-rows)
	}

	// After a restart everything is looked up once, and nothing is written.
	rows = r.store.rows
	r.restart()
	r.record(poll(minute(32))...)
	if r.store.rows != rows {
		t.Errorf("a restart wrote %d rows", r.store.rows-rows)
	}
}

// Whatever a conversation's story, nothing of it is remembered after its end.
func TestNothingIsRememberedOfWhatIsOver(t *testing.T) {
	r := newRig(t, sqlite(t))
	idle := with(waiting(1, minute(1)), func(o *ledger.Observation) { o.Clock = sla.Clock{State: sla.Idle} })
	for _, open := range []ledger.Observation{waiting(1, minute(1)), waiting(1, minute(31)), answered(1, minute(10)), answered(1, minute(45)), idle} {
		r.restart()
		r.record(open)
		if r.Known() != 1 {
			t.Fatalf("%s: an open conversation is not remembered", open.Clock.State)
		}
		for _, status := range []ledger.Status{ledger.Resolved, ledger.Gone} {
			r.record(with(open, func(o *ledger.Observation) { o.Status, o.EndedAt = status, minute(50) }))
		}
		if n := r.Known(); n > 0 {
			t.Errorf("%s: %d conversations are remembered that are over", open.Clock.State, n)
		}
	}
}

func TestSyncedInstantIsKeptWithWhatWasSeenBeforeIt(t *testing.T) {
	r := newRig(t, sqlite(t))
	synced := func() time.Time {
		at, err := r.store.SyncedTo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	r.store.failWith(errors.New("no store"))
	r.Observe([]ledger.Observation{answered(1, minute(1))})
	r.Synced(minute(2))
	if err := r.Flush(t.Context()); err == nil {
		t.Fatal("the store took something")
	}
	if at := synced(); !at.IsZero() {
		t.Fatalf("synced to %v, and nothing is written", at)
	}
	r.store.failWith(nil)
	r.record()
	if at := synced(); !at.Equal(minute(2)) || r.told(1) == "" {
		t.Errorf("synced to %v, row %q", at, r.told(1))
	}
	r.Synced(minute(1))
	r.record()
	if at := synced(); !at.Equal(minute(2)) {
		t.Errorf("synced back to %v", at)
	}
}

// Replicas see the same at slightly different times, and write it together.
func TestReplicasAgree(t *testing.T) {
	url := pgtest.Database(t)
	const replicas, conversations = 4, 40
	rigs := make([]*rig, replicas)
	for i := range rigs {
		rigs[i] = newRig(t, store.Options{DatabaseURL: url})
	}
	var wg sync.WaitGroup
	for i, r := range rigs {
		wg.Go(func() {
			for step := range 4 {
				var batch []ledger.Observation
				for c := int64(1); c <= conversations; c++ {
					lag := time.Duration(i) * time.Second
					o := waiting(c, minute(1).Add(lag))
					switch {
					case step == 1:
						o = waiting(c, minute(31).Add(lag))
					case step == 2 && c%2 == 0:
						o = answered(c, minute(40))
					case step == 2:
						o = ended(c, minute(41))
					case step == 3 && c%2 == 0:
						o = answered(c, minute(40))
					case step == 3:
						o = from(minute(60), waiting(c, minute(61).Add(lag)))
					}
					batch = append(batch, o)
				}
				if err := r.Record(t.Context(), batch); err != nil {
					t.Error(err)
				}
			}
			for range 3 { // what another replica was faster with is looked at again
				if err := r.Flush(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for c := int64(1); c <= conversations; c++ {
		want := "1 breached@30 start 0 answer 40 end -"
		if c%2 == 1 {
			want = "1 breached@30 start 0 answer - end 41; 2 running@- start 60 answer - end -"
		}
		if got := rigs[0].told(c); got != want {
			t.Fatalf("conversation %d:\ngot  %s\nwant %s", c, got, want)
		}
	}
	var breached float64
	for _, r := range rigs {
		if n := r.Unwritten(); n > 0 {
			t.Errorf("%d conversations are unwritten", n)
		}
		breached += value(t, r.reg, "chatwoot_sla_first_responses_total", "5", "breached")
	}
	if breached != conversations {
		t.Errorf("the replicas counted %v breaches of %d", breached, conversations)
	}
}

// A replica that lags behind does not turn a row back, and does not keep
// trying.
func TestReplicaThatLagsBehind(t *testing.T) {
	by := func(agent string, o ledger.Observation) ledger.Observation { o.Assignee = agent; return o }
	for name, tt := range map[string]struct {
		ahead  []ledger.Observation
		behind ledger.Observation
		want   string
	}{
		"while the clock runs": {
			[]ledger.Observation{waiting(1, minute(1)), by("Ben", waiting(1, minute(5)))},
			waiting(1, minute(3)), "1 running@- start 0 answer - end -",
		},
		"in the round before": {
			[]ledger.Observation{waiting(1, minute(31)), ended(1, minute(40)), by("Ben", from(minute(60), waiting(1, minute(61))))},
			ended(1, minute(40)), "1 breached@30 start 0 answer - end 40; 2 running@- start 60 answer - end -",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, sqlite(t))
			for _, o := range tt.ahead {
				r.record(o)
			}
			rows := r.store.rows
			r.restart()
			r.record(tt.behind)
			if got := r.told(1); got != tt.want || r.rounds(1)[len(r.rounds(1))-1].Assignee != "Ben" {
				t.Errorf("got %s with %s, want %s with Ben", got, r.rounds(1)[0].Assignee, tt.want)
			}
			if r.store.rows != rows || r.Unwritten() != 0 {
				t.Errorf("it wrote %d rows and keeps %d", r.store.rows-rows, r.Unwritten())
			}
		})
	}
}

// overtaken is a store to which another replica writes between our read and
// our write.
type overtaken struct {
	*watched
	other func()
}

func (o *overtaken) Newest(ctx context.Context, ids []int64) (map[int64]ledger.Entry, error) {
	found, err := o.watched.Newest(ctx, ids)
	o.other()
	return found, err
}

func TestReplicaThatWasFasterDoesNotCostTheLateAnswer(t *testing.T) {
	r := newRig(t, sqlite(t))
	faster := sync.OnceFunc(func() { r.record(waiting(1, minute(31))) })
	l, err := ledger.New(ledger.Options{Store: &overtaken{r.store, faster}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), []ledger.Observation{answered(1, minute(45))}); err != nil {
		t.Fatal(err)
	}
	if n := l.Unwritten(); n != 1 {
		t.Errorf("%d conversations are to be looked at again, want 1", n)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := r.told(1), "1 breached@30 start 0 answer 45 end -"; got != want || l.Unwritten() != 0 {
		t.Errorf("got %s, want %s; %d unwritten", got, want, l.Unwritten())
	}
}

func TestLongOutageTakesNoMoreMemoryThanThereAreConversations(t *testing.T) {
	r := newRig(t, sqlite(t))
	r.store.failWith(errors.New("no store"))
	for n := range 100 {
		at := minute(31 + float64(n))
		r.Observe([]ledger.Observation{waiting(1, at), answered(2, minute(1)), ended(3, minute(1)), from(minute(31), waiting(4, minute(32)))})
		if err := r.Flush(t.Context()); err == nil {
			t.Fatal("the store took something")
		}
	}
	if n := r.Facts(); n != 4 {
		t.Errorf("%d observations are kept of 4 conversations", n)
	}
}

// value returns a sample by its label values, in the order of their names.
func value(t *testing.T, g prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			match := f.GetName() == name && len(m.GetLabel()) == len(labels)
			for i, l := range labels {
				match = match && m.GetLabel()[i].GetValue() == l
			}
			if match {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return math.NaN()
}

// A person may answer while a bot still has the conversation, whose clock then
// starts only with the hand-off.
func TestAnswerBeforeTheClockTakesNoTime(t *testing.T) {
	r := newRig(t, sqlite(t))
	r.record(from(minute(15), answered(1, minute(5))))
	rounds := r.rounds(1)
	if len(rounds) != 1 || rounds[0].Outcome != ledger.Met {
		t.Fatalf("the rows are %+v", rounds)
	}
	if took, ok := rounds[0].Answer(); took != 0 || !ok {
		t.Errorf("Answer() = %v, %v; want no time", took, ok)
	}
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "chatwoot_sla_first_response_duration_seconds" {
			if h := f.GetMetric()[0].GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != 0 {
				t.Errorf("%d durations were observed, %v s in all; want one of no time", h.GetSampleCount(), h.GetSampleSum())
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	r := newRig(t, sqlite(t))
	expect := func(want string, names ...string) {
		t.Helper()
		if err := testutil.GatherAndCompare(r.reg, strings.NewReader(want), names...); err != nil {
			t.Error(err)
		}
	}
	const counters = "chatwoot_sla_first_responses_total"
	expect(`
# HELP chatwoot_sla_first_responses_total First-response clocks that this process saw decided, by outcome: met, breached, excluded. What was read from before it started is not in it.
# TYPE chatwoot_sla_first_responses_total counter
chatwoot_sla_first_responses_total{inbox="5",outcome="breached"} 0
chatwoot_sla_first_responses_total{inbox="5",outcome="excluded"} 0
chatwoot_sla_first_responses_total{inbox="5",outcome="met"} 0
chatwoot_sla_first_responses_total{inbox="6",outcome="breached"} 0
chatwoot_sla_first_responses_total{inbox="6",outcome="excluded"} 0
chatwoot_sla_first_responses_total{inbox="6",outcome="met"} 0
chatwoot_sla_first_responses_total{inbox="other",outcome="breached"} 0
chatwoot_sla_first_responses_total{inbox="other",outcome="excluded"} 0
chatwoot_sla_first_responses_total{inbox="other",outcome="met"} 0
`, counters)
	// Nothing was counted yet, which is not the same as zero.
	expect("", "chatwoot_sla_breach_ratio", "chatwoot_sla_first_response_outcomes", "chatwoot_sla_inbox_breach_ratio")

	inbox := func(id int64, o ledger.Observation) ledger.Observation { o.Inbox = id; return o }
	backfill := func(o ledger.Observation) ledger.Observation { o.Backfill = true; return o }
	r.record(answered(1, minute(10)), answered(2, minute(10)), answered(3, minute(20)), answered(4, minute(90)), // three met, one late
		inbox(7, waiting(5, minute(31))), inbox(8, ended(6, minute(5))),
		backfill(answered(7, minute(12))), backfill(answered(8, minute(100))))
	r.record(answered(1, minute(10)), inbox(7, answered(5, minute(50)))) // seen before; a late answer
	r.now = minute(89)
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(`
# HELP chatwoot_sla_first_responses_total First-response clocks that this process saw decided, by outcome: met, breached, excluded. What was read from before it started is not in it.
# TYPE chatwoot_sla_first_responses_total counter
chatwoot_sla_first_responses_total{inbox="5",outcome="breached"} 1
chatwoot_sla_first_responses_total{inbox="5",outcome="excluded"} 0
chatwoot_sla_first_responses_total{inbox="5",outcome="met"} 3
chatwoot_sla_first_responses_total{inbox="6",outcome="breached"} 0
chatwoot_sla_first_responses_total{inbox="6",outcome="excluded"} 0
chatwoot_sla_first_responses_total{inbox="6",outcome="met"} 0
chatwoot_sla_first_responses_total{inbox="other",outcome="breached"} 1
chatwoot_sla_first_responses_total{inbox="other",outcome="excluded"} 1
chatwoot_sla_first_responses_total{inbox="other",outcome="met"} 0
`, counters)
	expect(`
# HELP chatwoot_sla_breach_ratio breached ÷ (met + breached) over the first-response clocks decided in the window; NaN over none. The target is below 0.05.
# TYPE chatwoot_sla_breach_ratio gauge
chatwoot_sla_breach_ratio{window="1h"} 1
chatwoot_sla_breach_ratio{window="24h"} 0.42857142857142855
chatwoot_sla_breach_ratio{window="30d"} 0.42857142857142855
chatwoot_sla_breach_ratio{window="7d"} 0.42857142857142855
# HELP chatwoot_sla_first_response_outcomes First-response clocks decided in the window, by outcome: met, breached, excluded. Absent until counted once.
# TYPE chatwoot_sla_first_response_outcomes gauge
chatwoot_sla_first_response_outcomes{outcome="breached",window="1h"} 3
chatwoot_sla_first_response_outcomes{outcome="breached",window="24h"} 3
chatwoot_sla_first_response_outcomes{outcome="breached",window="30d"} 3
chatwoot_sla_first_response_outcomes{outcome="breached",window="7d"} 3
chatwoot_sla_first_response_outcomes{outcome="excluded",window="1h"} 0
chatwoot_sla_first_response_outcomes{outcome="excluded",window="24h"} 1
chatwoot_sla_first_response_outcomes{outcome="excluded",window="30d"} 1
chatwoot_sla_first_response_outcomes{outcome="excluded",window="7d"} 1
chatwoot_sla_first_response_outcomes{outcome="met",window="1h"} 0
chatwoot_sla_first_response_outcomes{outcome="met",window="24h"} 4
chatwoot_sla_first_response_outcomes{outcome="met",window="30d"} 4
chatwoot_sla_first_response_outcomes{outcome="met",window="7d"} 4
# HELP chatwoot_sla_inbox_breach_ratio breach_ratio of each inbox.
# TYPE chatwoot_sla_inbox_breach_ratio gauge
chatwoot_sla_inbox_breach_ratio{inbox="5",window="1h"} 1
chatwoot_sla_inbox_breach_ratio{inbox="5",window="24h"} 0.3333333333333333
chatwoot_sla_inbox_breach_ratio{inbox="5",window="30d"} 0.3333333333333333
chatwoot_sla_inbox_breach_ratio{inbox="5",window="7d"} 0.3333333333333333
chatwoot_sla_inbox_breach_ratio{inbox="6",window="1h"} NaN
chatwoot_sla_inbox_breach_ratio{inbox="6",window="24h"} NaN
chatwoot_sla_inbox_breach_ratio{inbox="6",window="30d"} NaN
chatwoot_sla_inbox_breach_ratio{inbox="6",window="7d"} NaN
chatwoot_sla_inbox_breach_ratio{inbox="other",window="1h"} 1
chatwoot_sla_inbox_breach_ratio{inbox="other",window="24h"} 1
chatwoot_sla_inbox_breach_ratio{inbox="other",window="30d"} 1
chatwoot_sla_inbox_breach_ratio{inbox="other",window="7d"} 1
`, "chatwoot_sla_breach_ratio", "chatwoot_sla_first_response_outcomes", "chatwoot_sla_inbox_breach_ratio")
	if n := value(t, r.reg, "chatwoot_sla_first_response_duration_seconds"); n != 5 {
		t.Errorf("%v durations were observed, want 5: four live answers and a late one", n)
	}
	if at := value(t, r.reg, "chatwoot_sla_first_response_outcomes_timestamp_seconds"); at != float64(r.now.Unix()) {
		t.Errorf("counted at %v", at)
	}
	if n := value(t, r.reg, "chatwoot_sla_ledger_unwritten_conversations"); n != 0 {
		t.Errorf("%v conversations are unwritten", n)
	}
	if problems, err := testutil.GatherAndLint(r.reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// A ledger whose database goes away keeps what it sees, does not hold anybody
// up, and writes it all when the database is back.
func TestDatabaseThatGoesAwayAndComesBack(t *testing.T) {
	server := pgtest.New(t)
	r := newRig(t, store.Options{DatabaseURL: server.URL("postgres")})
	r.record(waiting(1, minute(1)), waiting(2, minute(1)))
	server.Stop(t)
	for n := range 3 {
		at := minute(5 + float64(n))
		if err := r.Record(t.Context(), []ledger.Observation{waiting(1, at), answered(2, minute(4)), waiting(3, at)}); err == nil {
			t.Fatal("a database that is stopped took a batch")
		}
	}
	if n := r.Unwritten(); n != 2 {
		t.Errorf("%d conversations are unwritten, want the one that was answered and the new one", n)
	}
	server.Start(t)
	r.record(answered(3, minute(9)))
	for c, want := range map[int64]string{
		1: "1 running@- start 0 answer - end -",
		2: "1 met@4 start 0 answer 4 end -",
		3: "1 met@9 start 0 answer 9 end -",
	} {
		if got := r.told(c); got != want {
			t.Errorf("conversation %d: got %s, want %s", c, got, want)
		}
	}
	if n := value(t, r.reg, "chatwoot_sla_first_responses_total", "5", "met"); n != 2 {
		t.Errorf("%v answers in time were counted", n)
	}
}

// slow is a store whose next read waits for the test.
type slow struct {
	*watched
	asked, answer chan struct{}
}

func (s *slow) Newest(ctx context.Context, ids []int64) (map[int64]ledger.Entry, error) {
	s.asked <- struct{}{}
	<-s.answer
	return s.watched.Newest(ctx, ids)
}

// While the store takes its time nobody waits for it, and what is seen
// meanwhile is neither lost nor written twice.
func TestSlowStoreHoldsUpNobody(t *testing.T) {
	for _, outage := range []error{nil, errors.New("no store")} {
		t.Run(fmt.Sprint("ending with ", outage), func(t *testing.T) {
			r := newRig(t, sqlite(t))
			r.store.failWith(outage)
			s := &slow{r.store, make(chan struct{}), make(chan struct{})}
			reg := prometheus.NewPedanticRegistry()
			l, err := ledger.New(ledger.Options{Store: s, Registerer: reg})
			if err != nil {
				t.Fatal(err)
			}
			flush := func() {
				t.Helper()
				done := make(chan error, 1)
				go func() { done <- l.Flush(t.Context()) }()
				<-s.asked
				// 1 is seen again, 2 has changed, 3 is new.
				l.Observe([]ledger.Observation{waiting(1, minute(2)), answered(2, minute(2)), waiting(3, minute(2))})
				if n := value(t, reg, "chatwoot_sla_ledger_unwritten_conversations"); n != 3 {
					t.Errorf("%v conversations are unwritten", n)
				}
				s.answer <- struct{}{}
				if err := <-done; !errors.Is(err, outage) {
					t.Fatal(err)
				}
			}
			l.Observe([]ledger.Observation{waiting(1, minute(1)), ended(2, minute(1))})
			flush()
			left := 2
			if outage != nil {
				left = 3
			}
			if n := l.Unwritten(); n != left {
				t.Errorf("%d conversations are unwritten, want %d", n, left)
			}
			r.store.failWith(nil)
			go func() { <-s.asked; s.answer <- struct{}{} }()
			if err := l.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			for c, want := range map[int64]string{
				1: "1 running@- start 0 answer - end -",
				2: "1 excluded@1 start 0 answer - end 1",
				3: "1 running@- start 0 answer - end -",
			} {
				if got := r.told(c); got != want {
					t.Errorf("conversation %d: got %s, want %s", c, got, want)
				}
			}
			if n := l.Unwritten(); n != 0 {
				t.Errorf("%d conversations are unwritten", n)
			}
		})
	}
}

// napping runs a ledger whose sleep the test ends.
type napping struct {
	*ledger.Ledger
	naps chan time.Duration // how long it wants to sleep, each time it does
	wake chan time.Time
	stop func()

	mu  sync.Mutex
	now time.Time
}

func run(t *testing.T, r *rig, seen ...ledger.Observation) *napping {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	n := &napping{naps: make(chan time.Duration), wake: make(chan time.Time, 1), now: noon}
	core, logs := observer.New(zapcore.InfoLevel)
	r.logs = logs
	l, err := ledger.New(ledger.Options{
		Store: r.store, Logger: zap.New(core),
		Now: func() time.Time { n.mu.Lock(); defer n.mu.Unlock(); return n.now },
		After: func(d time.Duration) <-chan time.Time {
			select {
			case n.naps <- d:
			case <-ctx.Done():
			}
			return n.wake
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Ledger = l
	l.Observe(seen)
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// pass lets time go by and ends the sleep.
func (n *napping) pass(d time.Duration) {
	n.mu.Lock()
	n.now = n.now.Add(d)
	n.mu.Unlock()
	select {
	case n.wake <- noon:
	default:
	}
}

// until waits for a sleep of the given length, ends those before it, and fails
// the test when the ledger does not come to one.
func (n *napping) until(t *testing.T, want time.Duration) {
	t.Helper()
	for d := range n.naps {
		if d == want {
			return
		}
		if d < 0 || d > time.Minute {
			t.Fatalf("it wants to sleep for %v", d)
		}
		n.pass(d)
	}
}

func TestRunWritesAndCountsByItself(t *testing.T) {
	r := newRig(t, sqlite(t))
	n := run(t, r)
	n.until(t, time.Minute)
	if n.Summary() == nil {
		t.Fatal("the windows are not counted at the start")
	}
	n.Observe([]ledger.Observation{answered(1, noon)})
	n.until(t, 5*time.Second) // decisions pull the next count forward
	if r.told(1) == "" || n.Summary().Total(0).Met != 0 {
		t.Errorf("row %q, counted %+v", r.told(1), n.Summary())
	}
	n.pass(5 * time.Second)
	n.until(t, time.Minute)
	if n.Summary().Total(0).Met != 1 {
		t.Errorf("counted %+v", n.Summary())
	}
}

func TestRunTriesAgainAndSaysOnceThatTheStoreFails(t *testing.T) {
	r := newRig(t, sqlite(t))
	r.store.failWith(errors.New("no store"))
	n := run(t, r, answered(1, minute(1)))
	for range 3 {
		n.until(t, 10*time.Second)
		n.pass(10 * time.Second)
	}
	if n.Unwritten() != 1 {
		t.Errorf("%d conversations are unwritten", n.Unwritten())
	}
	r.store.failWith(nil)
	n.pass(10 * time.Second)
	n.until(t, time.Minute)
	n.stop()
	if n.Unwritten() != 0 || r.told(1) == "" {
		t.Errorf("%d conversations are unwritten", n.Unwritten())
	}
	warned := r.logs.FilterLevelExact(zapcore.WarnLevel).Len()
	good := r.logs.FilterMessage("the ledger is written again").Len()
	if warned != 1 || good != 1 {
		t.Errorf("%d warnings, %d all-clears", warned, good)
	}
}

func TestRunTellsEachOutageOfWritingWhateverBecomesOfCounting(t *testing.T) {
	r := newRig(t, sqlite(t))
	r.store.lost = errors.New("no count")
	n := run(t, r)
	n.until(t, 10*time.Second)
	for i := range 2 {
		r.store.failWith(errors.New("no store"))
		n.Observe([]ledger.Observation{answered(int64(i+1), minute(1))})
		for range 2 {
			n.until(t, 10*time.Second)
			n.pass(10 * time.Second)
		}
		n.until(t, 10*time.Second)
		r.store.failWith(nil)
		n.pass(10 * time.Second)
		n.until(t, 10*time.Second) // counting fails still
	}
	n.stop()
	var told []string
	for _, e := range r.logs.All() {
		told = append(told, e.Message)
	}
	outage := []string{"writing the ledger failed; levels and pages go on without it", "the ledger is written again"}
	want := slices.Concat([]string{"computing the breach ratio failed; levels and pages go on without it"}, outage, outage)
	if !slices.Equal(told, want) {
		t.Errorf("it said %q", told)
	}
}

func TestRunWritesWhatIsLeftWhenItStops(t *testing.T) {
	r := newRig(t, sqlite(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Observe([]ledger.Observation{answered(1, minute(1))})
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
	if got := r.told(1); got == "" {
		t.Error("the last outcome was not written")
	}
}
