package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/calendar"
	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/ledger/ledgertest"
	"github.com/hotdash/chatwoot-sla/internal/monitor"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// chronicle is a ledger in memory that keeps the first outcome of every
// conversation, and fails the test when another one follows.
type chronicle struct {
	t    *testing.T
	past monitor.Past

	mu       sync.Mutex
	running  map[int64]ledger.Observation
	outcomes map[int64]ledgertest.Verdict
	handoffs map[int64]monitor.Handoff
	synced   time.Time
	err      error // of Past
}

func newChronicle(t *testing.T) *chronicle {
	return &chronicle{
		t: t, running: map[int64]ledger.Observation{}, outcomes: map[int64]ledgertest.Verdict{}, handoffs: map[int64]monitor.Handoff{},
		past: monitor.Past{Since: start.Add(-24 * time.Hour)},
	}
}

func (c *chronicle) Past(context.Context) (monitor.Past, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.past, c.err
}

func (c *chronicle) Observe(batch []ledger.Observation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range batch {
		switch d := ledger.Decide(o); {
		case d.Outcome != "":
			if old, ok := c.outcomes[o.Conversation]; ok && old.Outcome != d.Outcome && old.Outcome != ledger.Breached {
				c.t.Errorf("conversation %d was %s and is now %s: %+v", o.Conversation, old.Outcome, d.Outcome, o)
			} else if !ok {
				c.outcomes[o.Conversation] = ledgertest.Verdict{Outcome: d.Outcome, At: d.At}
			}
			delete(c.running, o.Conversation)
		case d.Reason == ledger.Running:
			c.running[o.Conversation] = o
		case d.Reason == ledger.NoClock:
			delete(c.running, o.Conversation)
		}
	}
}

func (c *chronicle) Synced(upTo time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.synced = upTo
}

func (c *chronicle) SaveHandoffs(hs []monitor.Handoff) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range hs {
		c.handoffs[h.Conversation] = h
	}
}

// next returns what a process that starts now is told.
func (c *chronicle) next() *chronicle {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := newChronicle(c.t)
	n.outcomes = c.outcomes
	n.past.SyncedTo = c.synced
	for id, o := range c.running {
		n.past.Running = append(n.past.Running, ledger.Entry{
			Conversation: id, Round: 1, Inbox: o.Inbox, Start: o.Clock.Start, Deadline: o.Clock.Deadline, ObservedAt: o.ObservedAt,
		})
	}
	for _, h := range c.handoffs {
		n.past.Handoffs = append(n.past.Handoffs, h)
	}
	return n
}

func TestEveryOutcomeIsObserved(t *testing.T) {
	const opened = 90 * time.Second
	minutes := func(m float64) time.Duration { return opened + time.Duration(m*float64(time.Minute)) }
	type act struct {
		after time.Duration // since the rig's start
		do    func(s *chatwootsim.Server, at time.Time, id int64)
	}
	replies := func(s *chatwootsim.Server, at time.Time, id int64) { s.AgentReplies(at, id) }
	twice := func(s *chatwootsim.Server, at time.Time, id int64) { s.TwoRepliesAtOnce(at, id) }
	status := func(name string) func(*chatwootsim.Server, time.Time, int64) {
		return func(s *chatwootsim.Server, at time.Time, id int64) { s.SetStatus(at, id, name) }
	}
	deletes := func(s *chatwootsim.Server, at time.Time, id int64) { s.Delete(at, id) }
	notes := func(s *chatwootsim.Server, at time.Time, id int64) { s.AgentNotes(at, id) }

	tests := []struct {
		name string
		acts []act
		want ledger.Outcome
		at   float64 // minutes after it was opened; the decision
	}{
		{"answered in time", []act{{minutes(12), replies}}, ledger.Met, 12},
		{"answered at the last moment", []act{{minutes(30) - time.Second, replies}}, ledger.Met, 30 - 1.0/60},
		{"answered just too late", []act{{minutes(30) + time.Second, replies}}, ledger.Breached, 30},
		{"answered long after", []act{{minutes(45), replies}}, ledger.Breached, 30},
		{"never answered", nil, ledger.Breached, 30},
		{"two answers at once", []act{{minutes(9), twice}}, ledger.Met, 9},
		{"answered and resolved between two polls", []act{{minutes(5), replies}, {minutes(5) + time.Second, status("resolved")}}, ledger.Met, 5},
		{"two answers at once, and resolved", []act{{minutes(5), twice}, {minutes(5) + time.Second, status("resolved")}}, ledger.Met, 5},
		{"opened and resolved between two polls", []act{{opened + time.Second, status("resolved")}}, ledger.Excluded, 1.0 / 60},
		{"resolved in time, unanswered", []act{{minutes(20), status("resolved")}}, ledger.Excluded, 20},
		{"resolved just in time", []act{{minutes(30) - time.Second, status("resolved")}}, ledger.Excluded, 30 - 1.0/60},
		{"resolved too late", []act{{minutes(31), status("resolved")}}, ledger.Breached, 30},
		{"snoozed and never answered", []act{{minutes(20), status("snoozed")}}, ledger.Breached, 30},
		{"snoozed and answered in time", []act{{minutes(10), status("snoozed")}, {minutes(15), replies}}, ledger.Met, 15},
		{"snoozed, back, and answered", []act{{minutes(10), status("snoozed")}, {minutes(15), status("open")}, {minutes(29), replies}}, ledger.Met, 29},
		{"given to a bot and never answered", []act{{minutes(10), status("pending")}}, ledger.Breached, 30},
		{"only a note", []act{{minutes(10), notes}}, ledger.Breached, 30},
		{"deleted in time", []act{{minutes(10), deletes}}, ledger.Excluded, -1},
		{"deleted just in time", []act{{minutes(30) - time.Second, deletes}}, ledger.Excluded, -1},
		{"deleted too late", []act{{minutes(31), deletes}}, ledger.Breached, 30},
		{"snoozed and deleted", []act{{minutes(10), status("snoozed")}, {minutes(15), deletes}}, ledger.Excluded, -1},
	}
	for _, version := range []chatwootsim.Version{chatwootsim.V42, chatwootsim.V415} {
		t.Run(string(version), func(t *testing.T) {
			kept := newChronicle(t)
			ids := make([]int64, len(tests))
			clock := newClock(0)
			var sim *chatwootsim.Server
			r := newRig(t, rigOptions{
				clock: clock, sim: chatwootsim.Options{Version: version}, ledger: kept,
				prepare: func(s *chatwootsim.Server) { sim = s },
				around: func(h http.Handler) http.Handler {
					scene := chatwootsim.NewScene(h, clock.ServerNow)
					for i, tt := range tests {
						scene.At(start.Add(opened), func(at time.Time) { ids[i] = sim.CustomerOpens(at, sim.Inboxes()[0], "Hello?") })
						for _, a := range tt.acts {
							scene.At(start.Add(a.after), func(at time.Time) { a.do(sim, at, ids[i]) })
						}
					}
					return scene
				},
			})
			for r.Now().Before(start.Add(4 * time.Hour)) {
				r.next()
			}
			kept.mu.Lock()
			defer kept.mu.Unlock()
			for i, tt := range tests {
				got := kept.outcomes[ids[i]]
				want := start.Add(minutes(tt.at))
				if got.Outcome != tt.want || tt.at >= 0 && got.At.Sub(want).Abs() > 1100*time.Millisecond {
					t.Errorf("%s: %s at %v, want %s at %v", tt.name, got.Outcome, got.At, tt.want, want)
				}
			}
			if len(kept.running) > 0 {
				t.Errorf("still running: %+v", kept.running)
			}
		})
	}
}

// judged returns what the rules say of what really happened, but for the last
// minute: what has only just happened comes with the next poll.
func judged(sim *chatwootsim.Server, now time.Time, watched func(time.Time) bool) ledgertest.Verdicts {
	return ledgertest.Judge(sim.Truth(), halfHour.Target, now.Add(-time.Minute), watched)
}

func (c *chronicle) compare(want ledgertest.Verdicts, since time.Time) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range want.Differences(c.outcomes, since) {
		c.t.Error(line)
	}
	if n := want.Len(since); n < 20 {
		c.t.Errorf("%d outcomes prove little", n)
	}
}

// For hours of traffic, with the process ended and begun again in between, the
// outcomes are those that the rules give to what really happened.
func TestOutcomesFollowTrafficAcrossRestarts(t *testing.T) {
	for _, version := range []chatwootsim.Version{chatwootsim.V42, chatwootsim.V415} {
		t.Run(string(version), func(t *testing.T) {
			clock := newClock(0)
			kept := newChronicle(t)
			type span struct{ from, to time.Time }
			var spans []span
			watched := func(t time.Time) bool {
				return slices.ContainsFunc(spans, func(s span) bool { return t.After(s.from) && t.Before(s.to) })
			}
			var sim *chatwootsim.Server
			for process := range 4 {
				t.Run("", func(t *testing.T) {
					kept.t = t
					o := rigOptions{clock: clock, ledger: kept, chatwoot: sim, sim: chatwootsim.Options{Version: version, Seed: 11}}
					if process == 0 {
						o.prepare = func(s *chatwootsim.Server) { s.Start(chatwootsim.Traffic{ArrivalsPerHour: 60, SlowShare: 0.1}) }
					}
					r := newRig(t, o)
					sim = r.sim
					began := clock.Now()
					r.settled()
					for until := clock.Now().Add(70 * time.Minute); clock.Now().Before(until); {
						r.next()
					}
					spans = append(spans, span{began, clock.Now()})
					kept.compare(judged(sim, clock.ServerNow(), watched), start.Add(-2*time.Hour))
				})
				clock.pass(40 * time.Minute) // nobody watches
				kept = kept.next()
			}
			sim.Close()
		})
	}
}

// A ledger that cannot be read at the start takes nothing away, and catches up
// when it can.
func TestLedgerThatComesLate(t *testing.T) {
	kept := newChronicle(t)
	kept.err = errors.New("the database is down")
	r := newRig(t, rigOptions{ledger: kept, sim: chatwootsim.Options{Seed: 3}, prepare: func(s *chatwootsim.Server) {
		s.Start(chatwootsim.Traffic{ArrivalsPerHour: 60})
	}})
	defer r.sim.Close()
	began := r.Now()
	r.settled()
	for r.Now().Before(began.Add(time.Hour)) {
		r.next()
	}
	r.compare(r.settled())
	kept.mu.Lock()
	if len(kept.outcomes) > 0 {
		t.Errorf("%d outcomes before the ledger could be read", len(kept.outcomes))
	}
	kept.err = nil
	kept.mu.Unlock()
	for r.Now().Before(began.Add(2 * time.Hour)) {
		r.next()
	}
	kept.compare(judged(r.sim, r.ServerNow(), func(t time.Time) bool { return t.After(began) && t.Before(r.Now()) }), began.Add(-2*time.Hour))
}

// What an earlier process knew of bots counts also when it can be read only
// after the conversations were.
func TestHandoffsThatAreRememberedLate(t *testing.T) {
	clock, first := newClock(0), newChronicle(t)
	const botsInbox = 3
	var sim *chatwootsim.Server
	var away, before, back int64
	t.Run("a process that sees them pending", func(t *testing.T) {
		first.t = t
		r := newRig(t, rigOptions{clock: clock, ledger: first, prepare: func(s *chatwootsim.Server) {
			inbox := s.Inboxes()[botsInbox]
			away = s.CustomerOpens(start.Add(-20*time.Minute), inbox, "Hello?")
			before = s.CustomerOpens(start.Add(-20*time.Minute), inbox, "Hello?")
			back = s.CustomerOpens(start.Add(-20*time.Minute), inbox, "Hello?")
		}})
		sim = r.sim
		r.settled()
		for _, id := range []int64{before, back} {
			sim.SetStatus(clock.ServerNow(), id, "open")
		}
		r.next()
		sim.SetStatus(clock.ServerNow(), back, "pending")
		r.next()
	})
	clock.pass(2 * time.Minute)
	handedAt := clock.ServerNow()
	sim.SetStatus(handedAt, away, "open")
	sim.SetStatus(handedAt, back, "open")
	clock.pass(2 * time.Minute)

	second := first.next()
	second.err = errors.New("the database is down")
	r := newRig(t, rigOptions{clock: clock, ledger: second, chatwoot: sim})
	defer sim.Close()
	r.settled()
	second.mu.Lock()
	second.err = nil
	second.mu.Unlock()
	for until := clock.Now().Add(40 * time.Minute); clock.Now().Before(until); {
		r.next()
	}
	second.mu.Lock()
	defer second.mu.Unlock()
	for id, want := range map[int64]time.Time{
		away:   handedAt.Add(halfHour.Target),
		before: first.handoffs[before].HandedAt.Add(halfHour.Target),
		back:   first.handoffs[back].HandedAt.Add(halfHour.Target),
	} {
		if got := second.outcomes[id]; got.Outcome != ledger.Breached || got.At.Sub(want).Abs() > 1100*time.Millisecond {
			t.Errorf("conversation %d: %s at %v, want breached at %v", id, got.Outcome, got.At, want)
		}
	}
}

// Whoever asks for the outcome of a conversation that left must be answered
// sooner or later, whatever Chatwoot's faults.
func TestOutcomesOutliveFaults(t *testing.T) {
	kept := newChronicle(t)
	r := newRig(t, rigOptions{ledger: kept, sim: chatwootsim.Options{Seed: 5}, prepare: func(s *chatwootsim.Server) {
		s.Start(chatwootsim.Traffic{ArrivalsPerHour: 60, SlowShare: 0.1})
	}})
	defer r.sim.Close()
	began := r.Now()
	r.settled()
	for _, f := range []chatwootsim.Fault{
		{Kind: chatwootsim.FaultStatus, Status: 503}, {Kind: chatwootsim.FaultUnauthorized}, {Kind: chatwootsim.FaultHTML},
	} {
		end := r.sim.Inject(f)
		for until := r.Now().Add(15 * time.Minute); r.Now().Before(until); {
			r.next()
		}
		end()
		for until := r.Now().Add(15 * time.Minute); r.Now().Before(until); {
			r.next()
		}
	}
	kept.compare(judged(r.sim, r.ServerNow(), func(time.Time) bool { return false }), began.Add(-2*time.Hour))
}

// Where each inbox has hours of its own, a deadline that was worked out before
// they are known could be a false breach for ever.
func TestNothingIsDecidedBeforeTheHoursAreKnown(t *testing.T) {
	var week [7][]calendar.Span
	week[start.Weekday()] = []calendar.Span{{From: 12 * 60, To: 18 * 60}}
	afternoon, err := calendar.Weekly(week, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	due := time.Date(2026, 3, 2, 12, 30, 0, 0, time.UTC)
	var waits, closed int64
	var end func()
	kept := newChronicle(t)
	r := newRig(t, rigOptions{
		ledger: kept,
		promises: func(inboxes []chatwoot.Inbox) sla.Promises {
			p := sla.Promises{Default: halfHour, ByInbox: map[int64]sla.Policy{}}
			p.Default.Unknown = true
			for _, in := range inboxes {
				own := halfHour
				own.Calendar = afternoon
				p.ByInbox[in.ID] = own
			}
			return p
		},
		prepare: func(s *chatwootsim.Server) {
			waits = s.CustomerOpens(start.Add(-2*time.Hour), s.Inboxes()[0], "Hello?")
			closed = s.CustomerOpens(start.Add(-2*time.Hour), s.Inboxes()[0], "Hello?")
			s.SetStatus(start.Add(-time.Hour), closed, "resolved")
			end = s.Inject(chatwootsim.Fault{Path: "/inboxes", Kind: chatwootsim.FaultStatus})
		},
	})
	defer r.sim.Close()
	for r.Now().Before(start.Add(5 * time.Minute)) {
		p := r.next()
		if p.Board == nil {
			continue
		}
		if k := clocks(p)[waits]; k.State != sla.Unknown {
			t.Fatalf("the clock is %+v while the hours are unknown", k)
		}
		if p.Undecided != 1 {
			t.Fatalf("%d outcomes are undecided, want that of the conversation that is closed", p.Undecided)
		}
	}
	kept.mu.Lock()
	if len(kept.outcomes) > 0 {
		t.Errorf("the ledger has %v while the hours are unknown", kept.outcomes)
	}
	kept.mu.Unlock()

	end()
	r.until("the hours are known", func(p *monitor.Picture) bool { return clocks(p)[waits].Deadline.Equal(due) })
	late := r.sim.CustomerOpens(r.ServerNow(), r.sim.AddInbox("New", "Channel::Api", false), "Hello?")
	p := r.until("the new inbox is seen", func(p *monitor.Picture) bool { _, seen := clocks(p)[late]; return seen })
	if k := clocks(p)[late]; !k.Deadline.Equal(due) && k.State != sla.Unknown {
		t.Errorf("the clock in an inbox that is not known yet is %+v", k)
	}
	r.until("its hours are known", func(p *monitor.Picture) bool { return clocks(p)[late].Deadline.Equal(due) })
	r.next() // what is seen goes to the ledger after it is shown
	kept.mu.Lock()
	defer kept.mu.Unlock()
	for _, id := range []int64{waits, late} {
		if o := kept.running[id]; !o.Clock.Deadline.Equal(due) {
			t.Errorf("conversation %d: the ledger has %+v", id, o)
		}
	}
	if got := kept.outcomes[closed]; got.Outcome != ledger.Excluded || len(kept.outcomes) > 1 {
		t.Errorf("the outcomes are %v, want conversation %d excluded", kept.outcomes, closed)
	}
}

// A conversation whose messages cannot be read must not keep all the others
// from being known: it is one that a restart asks for by itself.
func TestUnreadableMessagesHoldUpNothingElse(t *testing.T) {
	clock, first := newClock(0), newChronicle(t)
	var sim *chatwootsim.Server
	var lost, met int64
	var end func()
	t.Run("a process that cannot read them", func(t *testing.T) {
		first.t = t
		r := newRig(t, rigOptions{
			clock: clock, ledger: first, prepare: func(s *chatwootsim.Server) { sim = s },
			around: func(h http.Handler) http.Handler {
				scene := chatwootsim.NewScene(h, clock.ServerNow)
				scene.At(start.Add(5*time.Minute), func(at time.Time) {
					lost = sim.CustomerOpens(at.Add(-time.Second), sim.Inboxes()[0], "Hello?")
					sim.SetStatus(at, lost, "resolved")
					end = sim.Inject(chatwootsim.Fault{Path: fmt.Sprintf("/conversations/%d/messages", lost), Kind: chatwootsim.FaultStatus})
				})
				scene.At(start.Add(50*time.Minute), func(at time.Time) {
					met = sim.CustomerOpens(at.Add(-time.Minute), sim.Inboxes()[0], "Hello?")
					sim.AgentReplies(at, met)
				})
				return scene
			},
		})
		for r.Now().Before(start.Add(time.Hour)) {
			p := r.next()
			first.mu.Lock()
			synced := first.synced
			first.mu.Unlock()
			if p.SyncedAt.After(start) && r.Now().Sub(synced) > 4*time.Minute {
				t.Fatalf("at %v the ledger is synced to %v", r.Now(), synced)
			}
			if asked := r.Now().After(start.Add(7 * time.Minute)); asked && p.Undecided != 1 {
				t.Fatalf("at %v %d outcomes are undecided, want one", r.Now(), p.Undecided)
			}
		}
	})
	if first.outcomes[met].Outcome != ledger.Met || first.outcomes[lost].Outcome != "" {
		t.Fatalf("the outcomes are %v", first.outcomes)
	}
	end()
	second := first.next()
	r := newRig(t, rigOptions{clock: clock, ledger: second, chatwoot: sim})
	defer sim.Close()
	for until := clock.Now().Add(10 * time.Minute); clock.Now().Before(until); {
		r.next()
	}
	second.mu.Lock()
	defer second.mu.Unlock()
	if got := second.outcomes[lost]; got.Outcome != ledger.Excluded || len(second.running) > 0 {
		t.Errorf("the outcome is %+v, and %v run", got, second.running)
	}
}
