package monitor_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/monitor"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

// truth works out the clock of a conversation from what really happened. It
// follows the promise alone and knows nothing of Chatwoot's fields.
func truth(t chatwootsim.Truth) sla.Clock {
	if t.CustomerAt.IsZero() {
		return sla.Clock{State: sla.Idle}
	}
	begin := t.CreatedAt
	if t.CustomerAt.Sub(t.CreatedAt) > 10*time.Second {
		begin = t.CustomerAt
	}
	if t.HandoffAt.After(begin) {
		begin = t.HandoffAt
	}
	k := sla.Clock{State: sla.Waiting, Start: begin, Deadline: halfHour.Deadline(begin)}
	if !t.ReplyAt.IsZero() {
		k.State, k.AnsweredAt = sla.Answered, t.ReplyAt
	}
	return k
}

// same reports whether two clocks tell a user the same. Chatwoot truncates
// instants to seconds, and a late answer counts only for being late.
func same(got, want sla.Clock) bool {
	near := func(a, b time.Time, within time.Duration) bool { return a.Sub(b).Abs() <= within }
	if got.State != want.State {
		return false
	}
	switch got.State {
	case sla.Waiting:
		return near(got.Deadline, want.Deadline, time.Second)
	case sla.Answered:
		return got.AnsweredAt.After(got.Deadline) == want.AnsweredAt.After(want.Deadline) && near(got.AnsweredAt, want.AnsweredAt, time.Second)
	}
	return true
}

// compare holds a picture against what really happened.
func (r *rig) compare(p *monitor.Picture) {
	r.t.Helper()
	for _, d := range r.differences(p) {
		r.t.Error(d)
	}
}

func (r *rig) differences(p *monitor.Picture) (found []string) {
	got := clocks(p)
	for _, tr := range r.sim.Truth() {
		if !tr.DeletedAt.IsZero() || tr.Status != "open" {
			if _, ok := got[tr.ID]; ok {
				found = append(found, fmt.Sprintf("conversation %d is %s (deleted: %v), the picture has it open", tr.ID, tr.Status, !tr.DeletedAt.IsZero()))
			}
			continue
		}
		k, ok := got[tr.ID]
		if !ok {
			found = append(found, fmt.Sprintf("open conversation %d is missing from the picture", tr.ID))
			continue
		}
		// A hand-off from before we looked leaves no trace that Chatwoot would
		// show, unless it moved waiting_since.
		unseen := tr.BornPending && !tr.HandoffAt.IsZero() && tr.HandoffAt.Before(start.Add(r.ahead))
		if want := truth(tr); !unseen && !same(k, want) {
			found = append(found, fmt.Sprintf("conversation %d:\n got %+v\nwant %+v\nfrom %+v", tr.ID, k, want, tr))
		}
	}
	return found
}

// Each situation is played on an old and a new server. The picture must say
// what happened, whatever the server's fields say.
func TestEverySituationIsToldRight(t *testing.T) {
	at := func(minutes float64) time.Time { return start.Add(time.Duration(minutes * float64(time.Minute))) }
	type S = chatwootsim.Server
	situations := map[string]func(s *S, inbox, botInbox int64) int64{
		"customer waits": func(s *S, in, _ int64) int64 {
			return s.CustomerOpens(at(-20), in, "Hello?")
		},
		"customer wrote twice": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-40), in, "Hello?")
			s.CustomerWrites(at(-31), c, "Anybody there?")
			return c
		},
		"customer greeted by a template": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-20), in, "Hello?")
			s.Greets(at(-20).Add(time.Second), c)
			s.AgentLooks(at(-10), c)
			return c
		},
		"read, noted, not answered": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-35), in, "Hello?")
			s.AgentLooks(at(-30), c)
			s.AgentNotes(at(-29), c)
			return c
		},
		"answered in time": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-60), in, "Hello?")
			s.AgentReplies(at(-45), c)
			return c
		},
		"answered late": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-60), in, "Hello?")
			s.AgentReplies(at(-20), c)
			return c
		},
		"answered late, then the customer wrote again": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-60), in, "Hello?")
			s.AgentReplies(at(-20), c)
			s.CustomerWrites(at(-10), c, "Thanks, but…")
			return c
		},
		"two replies at once": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-60), in, "Hello?")
			s.TwoRepliesAtOnce(at(-50), c)
			return c
		},
		"two replies at once, then the customer wrote again": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-60), in, "Hello?")
			s.TwoRepliesAtOnce(at(-25), c)
			s.CustomerWrites(at(-10), c, "Thanks, but…")
			return c
		},
		"campaign that nobody answered": func(s *S, in, _ int64) int64 {
			return s.CampaignOpens(at(-300), in)
		},
		"campaign, then the customer wrote": func(s *S, in, _ int64) int64 {
			c := s.CampaignOpens(at(-300), in)
			s.CustomerWrites(at(-20), c, "Tell me more")
			return c
		},
		"campaign, then the customer was answered late": func(s *S, in, _ int64) int64 {
			c := s.CampaignOpens(at(-300), in)
			s.CustomerWrites(at(-50), c, "Tell me more")
			s.AgentReplies(at(-10), c)
			return c
		},
		"agent wrote first": func(s *S, in, _ int64) int64 {
			return s.AgentOpens(at(-300), in)
		},
		"agent wrote first, the customer waits": func(s *S, in, _ int64) int64 {
			c := s.AgentOpens(at(-300), in)
			s.CustomerWrites(at(-31), c, "I have a question about that")
			return c
		},
		"agent wrote first, the customer was answered": func(s *S, in, _ int64) int64 {
			c := s.AgentOpens(at(-300), in)
			s.CustomerWrites(at(-31), c, "I have a question about that")
			s.AgentReplies(at(-20), c)
			return c
		},
		"opened through the API, empty": func(s *S, in, _ int64) int64 {
			return s.OpenEmpty(at(-90), in)
		},
		"opened through the API, then the customer wrote": func(s *S, in, _ int64) int64 {
			c := s.OpenEmpty(at(-90), in)
			s.CustomerWrites(at(-16), c, "Hello?")
			return c
		},
		"a bot answered in the open": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-40), in, "Hello?")
			s.BotReplies(at(-39), c)
			return c
		},
		"an automation answered": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-40), in, "Hello?")
			s.AutomationReplies(at(-39), c)
			return c
		},
		"snoozed and back": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-40), in, "Hello?")
			s.SetStatus(at(-35), c, "snoozed")
			s.SetStatus(at(-5), c, "open")
			return c
		},
		"answered, resolved, reopened by the customer": func(s *S, in, _ int64) int64 {
			c := s.CustomerOpens(at(-300), in, "Hello?")
			s.AgentReplies(at(-290), c)
			s.SetStatus(at(-280), c, "resolved")
			s.CustomerWrites(at(-50), c, "It broke again")
			return c
		},
		"taken from the bot at once, answered": func(s *S, _, bot int64) int64 {
			c := s.CustomerOpens(at(-50), bot, "Hello?")
			s.HandOff(at(-49), c)
			s.AgentReplies(at(-30), c)
			return c
		},
		"an agent's token through many messages": func(s *S, in, _ int64) int64 {
			c := s.CampaignOpens(at(-300), in)
			for i := range 150 {
				s.CustomerWrites(at(-200+float64(i)), c, "and another thing")
			}
			s.AgentReplies(at(-20), c)
			return c
		},
	}
	for _, version := range []chatwootsim.Version{chatwootsim.V42, chatwootsim.V415} {
		t.Run(string(version), func(t *testing.T) {
			names := map[int64]string{}
			r := newRig(t, rigOptions{sim: chatwootsim.Options{Version: version}, prepare: func(s *chatwootsim.Server) {
				in, bot := s.AddInbox("Shop", "Channel::Email", false), s.AddInbox("Bot", "Channel::WebWidget", true)
				for name, play := range situations {
					names[play(s, in, bot)] = name
				}
			}})
			got := clocks(r.settled())
			for _, tr := range r.sim.Truth() {
				if want := truth(tr); !same(got[tr.ID], want) {
					t.Errorf("%s:\n got %+v\nwant %+v", names[tr.ID], got[tr.ID], want)
				}
			}
			if len(got) != len(situations) {
				t.Errorf("%d open conversations, want %d", len(got), len(situations))
			}
		})
	}
}

// A clock that starts with a bot's hand-off can be told when the hand-off is
// seen, on every server.
func TestHandOffIsSeen(t *testing.T) {
	for _, version := range []chatwootsim.Version{chatwootsim.V42, chatwootsim.V415} {
		for _, answers := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bot answers %v", version, answers), func(t *testing.T) {
				var before, during int64
				var bot int64
				r := newRig(t, rigOptions{sim: chatwootsim.Options{Version: version}, prepare: func(s *chatwootsim.Server) {
					bot = s.AddInbox("Bot", "Channel::WebWidget", true)
					before = s.CustomerOpens(start.Add(-2*time.Hour), bot, "Hello?")
					if answers {
						s.BotReplies(start.Add(-2*time.Hour+time.Second), before)
					}
				}})
				r.next()
				during = r.sim.CustomerOpens(r.ServerNow(), bot, "Hello?")
				if answers {
					r.sim.BotReplies(r.ServerNow(), during)
				}
				r.next()
				r.next()
				for _, c := range []int64{before, during} {
					r.sim.HandOff(r.ServerNow(), c)
				}
				r.next()
				r.compare(r.settled())
			})
		}
	}
}

// For three simulated hours the picture must equal what really happened, at
// every poll, on both servers.
func TestPictureFollowsTraffic(t *testing.T) {
	for _, version := range []chatwootsim.Version{chatwootsim.V42, chatwootsim.V415} {
		t.Run(string(version), func(t *testing.T) {
			r := newRig(t, rigOptions{
				sim:     chatwootsim.Options{Version: version, Seed: 7},
				prepare: func(s *chatwootsim.Server) { s.Start(chatwootsim.Traffic{}) },
			})
			r.settled()
			for until := r.Now().Add(3 * time.Hour); r.Now().Before(until); {
				if p := r.next(); p.Problem != "" {
					t.Fatal(p.Problem)
				}
			}
			p := r.settled()
			r.compare(p)
			if p.Board.Len() < 10 {
				t.Errorf("only %d open conversations: the traffic proves nothing", p.Board.Len())
			}
			if got := r.sim.Requests(); got["GET /api/v1/accounts/{a}/conversations"] == 0 {
				t.Errorf("requests are counted under other names: %v", got)
			}
		})
	}
}

// changing runs a function before the answer to each list page, and lets
// three seconds pass.
type changing struct {
	http.Handler
	clock *clock
	mu    sync.Mutex
	page  func(n int, at time.Time)
	n     int
}

func (c *changing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/conversations") && strings.Contains(r.URL.RawQuery, "created_at_asc") {
		c.mu.Lock()
		c.n++
		c.clock.pass(3 * time.Second)
		c.page(c.n, c.clock.ServerNow())
		c.mu.Unlock()
	}
	c.Handler.ServeHTTP(w, r)
}

// While the pages are read, conversations leave, come back and are born, so
// that the others move between pages. None of them may be lost.
func TestFullSyncLosesNothingWhileItemsMove(t *testing.T) {
	for name, move := range map[string]func(s *chatwootsim.Server, n int, at time.Time){
		"the oldest are resolved": func(s *chatwootsim.Server, n int, at time.Time) {
			for i := range 3 {
				s.SetStatus(at, int64(n*3+i), "resolved")
			}
		},
		"old ones are reopened": func(s *chatwootsim.Server, n int, at time.Time) {
			for i := range 3 {
				s.SetStatus(at, int64(200+n*3+i), "open")
			}
		},
		"both, and new ones": func(s *chatwootsim.Server, n int, at time.Time) {
			s.SetStatus(at, int64(n), "resolved")
			s.SetStatus(at, int64(200+n), "open")
			s.CustomerOpens(at, s.Inboxes()[0], "Hello?")
		},
		"everything on the first pages is resolved at once": func(s *chatwootsim.Server, n int, at time.Time) {
			if n == 6 {
				for i := range 80 {
					s.SetStatus(at, int64(i+1), "resolved")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			hook := &changing{clock: newClock(0)}
			r := newRig(t, rigOptions{
				clock: hook.clock,
				prepare: func(s *chatwootsim.Server) {
					for i := range 500 {
						s.CustomerOpens(start.Add(-time.Hour+time.Duration(i)*time.Second), s.Inboxes()[0], "Hello?")
					}
					for i := range 60 {
						s.SetStatus(start.Add(-time.Minute), int64(200+i), "resolved")
					}
					hook.page = func(n int, at time.Time) {
						if n <= 18 {
							move(s, n, at)
						}
					}
				},
				around: func(h http.Handler) http.Handler { hook.Handler = h; return hook },
			})
			p := r.until("a picture", func(p *monitor.Picture) bool { return p.Board != nil })
			if p.Incomplete != 0 || p.Problem != "" {
				t.Errorf("incomplete by %d, problem %q", p.Incomplete, p.Problem)
			}
			r.compare(r.settled())
			if hook.n < 18 {
				t.Errorf("only %d pages were read", hook.n)
			}
		})
	}
}

func TestPollsCostTwoRequests(t *testing.T) {
	r := newRig(t, rigOptions{prepare: func(s *chatwootsim.Server) { s.Fill(300, start) }})
	r.settled()
	const list = "GET /api/v1/accounts/{a}/conversations"
	began := r.Now()
	before, polls := r.sim.Requests()[list], 0
	for r.Now().Sub(began) < 20*time.Minute {
		r.sim.CustomerOpens(r.ServerNow(), r.sim.Inboxes()[0], "Hello?")
		r.next()
		polls++
	}
	if spent := r.sim.Requests()[list] - before; spent > 2*polls {
		t.Errorf("%d list requests for %d polls, want at most two each", spent, polls)
	}
	if count := testutil.ToFloat64(pollCounter(r, "delta", "success")); count < 40 {
		t.Errorf("%v delta polls in 20 minutes, want 40", count)
	}
}

// One after another, each within a few polls, and not with the next full
// reading that is due anyway.
func TestDeletedConversationsGo(t *testing.T) {
	var doomed [3]int64
	r := newRig(t, rigOptions{prepare: func(s *chatwootsim.Server) {
		s.Fill(60, start)
		for i := range doomed {
			doomed[i] = s.CustomerOpens(start, s.Inboxes()[0], "Hello?")
		}
	}})
	for _, gone := range doomed {
		if _, ok := clocks(r.settled())[gone]; !ok {
			t.Fatal("the conversation is not known to begin with")
		}
		began := r.Now()
		r.sim.Delete(r.ServerNow(), gone)
		r.until("the difference shows", func(p *monitor.Picture) bool { return p.Incomplete == 1 })
		p := r.until("the deleted conversation is gone", func(p *monitor.Picture) bool {
			_, ok := clocks(p)[gone]
			return !ok
		})
		r.compare(p)
		r.until("the difference is gone", func(p *monitor.Picture) bool { return p.Incomplete == 0 })
		if took := r.Now().Sub(began); took > 5*time.Minute {
			t.Errorf("that took %v, want a few polls", took)
		}
	}
}

func TestServerThatIgnoresUpdatedWithin(t *testing.T) {
	r := newRig(t, rigOptions{
		sim:     chatwootsim.Options{IgnoreUpdatedWithin: true, Seed: 3},
		prepare: func(s *chatwootsim.Server) { s.Start(chatwootsim.Traffic{}) },
	})
	r.settled()
	for until := r.Now().Add(30 * time.Minute); r.Now().Before(until); {
		if p := r.next(); p.Problem != "" {
			t.Fatal(p.Problem)
		}
	}
	// What has left the open set is looked up one by one here, a moment after
	// the reading that lacked it.
	r.until("the picture is right", func(p *monitor.Picture) bool { return len(r.differences(p)) == 0 })
	if deltas := testutil.ToFloat64(pollCounter(r, "delta", "success")); deltas > 1 {
		t.Errorf("%v deltas were taken for good", deltas)
	}
}

// Whatever goes wrong, the last picture stays, says so, and the next good
// answer makes it whole again.
func TestFaultsKeepTheLastPicture(t *testing.T) {
	faults := map[string]chatwootsim.Fault{
		"HTML instead of JSON": {Kind: chatwootsim.FaultHTML},
		"body cut":             {Kind: chatwootsim.FaultCutBody},
		"JSON truncated":       {Kind: chatwootsim.FaultTruncatedJSON},
		"wrong type":           {Kind: chatwootsim.FaultWrongType},
		"wrong content type":   {Kind: chatwootsim.FaultWrongContentType},
		"500":                  {Kind: chatwootsim.FaultStatus, Status: 500},
		"503":                  {Kind: chatwootsim.FaultStatus, Status: 503},
		"401":                  {Kind: chatwootsim.FaultUnauthorized},
		"connection dropped":   {Kind: chatwootsim.FaultDropConn},
		"hang":                 {Kind: chatwootsim.FaultHang},
		"endless answer":       {Kind: chatwootsim.FaultHuge},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{timeout: 2 * time.Second, prepare: func(s *chatwootsim.Server) { s.Fill(60, start) }})
			good := r.settled()
			fault.Path = "/conversations"
			clearFault := r.sim.Inject(fault)
			waiting := r.sim.CustomerOpens(r.ServerNow(), r.sim.Inboxes()[0], "Hello?")
			for range 3 {
				p := r.next()
				if p.Problem == "" {
					t.Fatal("the failure does not show")
				}
				if !strings.Contains(p.Problem, "/conversations") || !strings.Contains(p.Problem, ";") {
					t.Errorf("%q names no endpoint or nothing to do", p.Problem)
				}
				if p.Board == nil || p.Board.Len() != good.Board.Len() || p.SyncedAt.After(good.SyncedAt.Add(time.Minute)) {
					t.Fatalf("the last picture was not kept")
				}
			}
			clearFault()
			p := r.until("recovery", func(p *monitor.Picture) bool { return p.Problem == "" })
			if _, ok := clocks(p)[waiting]; !ok {
				t.Error("what happened meanwhile is missing after the recovery")
			}
			r.compare(r.settled())
		})
	}
}

func TestFirstReadingThatFailsShowsNothing(t *testing.T) {
	var clearFault func()
	r := newRig(t, rigOptions{prepare: func(s *chatwootsim.Server) {
		s.Fill(60, start)
		clearFault = s.Inject(chatwootsim.Fault{Path: "/conversations", Kind: chatwootsim.FaultStatus, Status: 502})
	}})
	for range 2 {
		if p := r.next(); p.Board != nil || p.Problem == "" {
			t.Fatalf("board %v, problem %q; want none and a reason", p.Board, p.Problem)
		}
	}
	clearFault()
	r.until("the first picture", func(p *monitor.Picture) bool { return p.Board != nil })
	r.compare(r.settled())
}

func TestLongGapIsNeverAskedForAtOnce(t *testing.T) {
	log := &queries{}
	r := newRig(t, rigOptions{
		around:  func(h http.Handler) http.Handler { log.Handler = h; return log },
		prepare: func(s *chatwootsim.Server) { s.Fill(60, start) },
	})
	r.settled()
	clearFault := r.sim.Inject(chatwootsim.Fault{Path: "/conversations", Kind: chatwootsim.FaultDropConn})
	for began := r.Now(); r.Now().Sub(began) < 25*time.Minute; {
		r.next()
	}
	resolved := r.sim.CustomerOpens(r.ServerNow().Add(-15*time.Minute), r.sim.Inboxes()[0], "Hello?")
	r.sim.SetStatus(r.ServerNow().Add(-14*time.Minute), resolved, "resolved")
	log.reset()
	clearFault()
	r.until("recovery", func(p *monitor.Picture) bool { return p.Problem == "" })
	r.compare(r.settled())
	if caughtUp := log.count("status=all", "sort_by=last_activity_at_desc"); caughtUp == 0 {
		t.Error("the gap was not read back page by page")
	}
	for _, q := range log.all() {
		if within := q.Get("updated_within"); len(within) > 3 || within > "700" {
			t.Errorf("updated_within=%s was asked for", within)
		}
	}
}

// A poll for changes that Chatwoot gave up on must not be asked again: the
// answer would only have grown.
func TestDeltaThatFailsForItsSizeIsReadPageByPage(t *testing.T) {
	log := &queries{}
	r := newRig(t, rigOptions{
		around:  func(h http.Handler) http.Handler { log.Handler = h; return log },
		prepare: func(s *chatwootsim.Server) { s.Fill(60, start) },
	})
	r.settled()
	log.reset()
	r.sim.Inject(chatwootsim.Fault{Query: "updated_within", Kind: chatwootsim.FaultStatus, Status: 500, Times: 1})
	r.until("the failure", func(p *monitor.Picture) bool { return p.Problem != "" })
	r.until("recovery", func(p *monitor.Picture) bool { return p.Problem == "" })
	if log.count("status=all", "sort_by=last_activity_at_desc") == 0 || log.count("created_at_asc") == 0 {
		t.Errorf("the gap was not read page by page: %v", log.all())
	}
	r.compare(r.settled())
}

func TestDeadlinesPullPollsForward(t *testing.T) {
	log := &queries{}
	var conv int64
	r := newRig(t, rigOptions{
		interval: 5 * time.Minute,
		around:   func(h http.Handler) http.Handler { log.Handler = h; return log },
		prepare: func(s *chatwootsim.Server) {
			conv = s.CustomerOpens(start.Add(-29*time.Minute), s.Inboxes()[0], "Hello?")
		},
	})
	r.settled()
	log.keepTimes(r.Now)
	deadline := clocks(r.mon.Picture())[conv].Deadline
	r.until("the deadline has passed", func(p *monitor.Picture) bool { return p.SyncedAt.After(deadline) })
	var before, after bool
	for _, at := range log.times("updated_within") {
		before = before || at.Before(deadline) && deadline.Sub(at) <= 5*time.Second
		after = after || at.After(deadline) && at.Sub(deadline) <= 5*time.Second
	}
	if !before || !after {
		t.Errorf("polls at %v; want one just before and one just after %v", log.times("updated_within"), deadline)
	}
}

// A request for changes may have to wait for the budget, for longer than polls
// overlap. What was saved before it was sent is not lost.
func TestChangesThatAreAskedForLate(t *testing.T) {
	c := newClock(0)
	var (
		sim    *chatwootsim.Server
		ids    []int64
		polls  atomic.Int64
		asking atomic.Bool
	)
	r := newRig(t, rigOptions{
		clock: c, interval: 5 * time.Second,
		prepare: func(s *chatwootsim.Server) {
			sim = s
			for i := range 40 {
				ids = append(ids, s.CustomerOpens(start.Add(time.Duration(i-50)*time.Second), s.Inboxes()[0], "Hello?"))
			}
		},
		around: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Has("updated_within") && asking.Load() && polls.Add(1) == 1 {
					c.pass(time.Minute)
				}
				h.ServeHTTP(w, r)
			})
		},
	})
	r.settled()
	<-r.rests
	sim.AgentReplies(c.ServerNow(), ids[0])
	c.pass(time.Second)
	for _, id := range ids[1:] { // and is not on the first page any more
		sim.CustomerWrites(c.ServerNow(), id, "Hello?")
	}
	asking.Store(true)
	r.rests <- struct{}{}
	if got := clocks(r.until("the late poll", func(*monitor.Picture) bool { return polls.Load() > 0 }))[ids[0]]; got.State != sla.Answered {
		t.Errorf("the clock is %+v after %d requests, want answered", got, polls.Load())
	}
}

func TestHintsPullThePollForward(t *testing.T) {
	r := newRig(t, rigOptions{interval: 5 * time.Minute, prepare: func(s *chatwootsim.Server) { s.Fill(5, start.Add(-3*time.Hour)) }})
	r.settled()
	last := r.next().SyncedAt
	<-r.rests // from here on only the hints wake it
	r.mon.Hint()
	r.mon.Hint()
	if took := r.next().SyncedAt.Sub(last); took != 2*time.Second {
		t.Errorf("hinted poll came after %v", took)
	}
}

func TestAgentsTokenIsToldApart(t *testing.T) {
	sim := chatwootsim.Options{}
	var token string
	probe := chatwootsim.New(sim)
	token = probe.AgentToken(probe.Inboxes()[0])
	probe.Close()
	r := newRig(t, rigOptions{token: token, prepare: func(s *chatwootsim.Server) {
		if again := s.AgentToken(s.Inboxes()[0]); again != token {
			t.Fatalf("the simulator's tokens are not reproducible: %s, %s", token, again)
		}
		s.Fill(20, start)
	}})
	p := r.settled()
	if p.Account == nil || p.Account.Administrator() {
		t.Errorf("account is %+v, want an agent's", p.Account)
	}
	if p.Board.Len() == 0 || p.Board.Len() == 20 {
		t.Errorf("%d conversations seen, want those of one inbox", p.Board.Len())
	}
}

func TestDeadlinesAreJudgedOnChatwootsClock(t *testing.T) {
	for _, ahead := range []time.Duration{3 * time.Hour, -3 * time.Hour} {
		r := newRig(t, rigOptions{ahead: ahead, prepare: func(s *chatwootsim.Server) {
			s.CustomerOpens(start.Add(ahead-29*time.Minute), s.Inboxes()[0], "Hello?")
		}})
		p := r.settled()
		now := r.mon.ServerNow()
		if off := now.Sub(r.ServerNow()).Abs(); off > 2*time.Second {
			t.Errorf("Chatwoot's clock is taken to be %v off", off)
		}
		if got := p.Board.Tally(now)[0].Waiting; got[sla.Urgent] != 1 {
			t.Errorf("%v ahead: %v, want one urgent", ahead, got)
		}
	}
}

// What an inbox is open is Chatwoot's to say, and may change while we run.
func TestPromisesFollowTheInboxes(t *testing.T) {
	var target atomic.Int64 // of inboxes with hours of their own, in minutes
	target.Store(60)
	r := newRig(t, rigOptions{
		prepare: func(s *chatwootsim.Server) {
			for _, inbox := range s.Inboxes() {
				s.CustomerOpens(start.Add(-time.Minute), inbox, "Hello?")
			}
		},
		promises: func(inboxes []chatwoot.Inbox) sla.Promises {
			p := sla.Promises{Default: halfHour, ByInbox: map[int64]sla.Policy{}}
			for _, in := range inboxes {
				if in.Hours != nil {
					own := halfHour
					own.Target = time.Duration(target.Load()) * time.Minute
					p.ByInbox[in.ID] = own
				}
			}
			return p
		},
	})
	// holds reports whether every deadline is the one that was promised, with
	// that target where the inbox has hours.
	holds := func(p *monitor.Picture, want time.Duration) bool {
		if len(p.Inboxes) < 3 || p.Board.Len() < 3 {
			t.Fatalf("the picture has %d inboxes and %d conversations, want three of each", len(p.Inboxes), p.Board.Len())
		}
		hours := map[int64]bool{}
		for _, in := range p.Inboxes {
			hours[in.ID] = in.Hours != nil
		}
		for _, l := range p.Board.List(start, func(sla.Listed) bool { return true }) {
			target := halfHour.Target
			if hours[l.Inbox] {
				target = want
			}
			if l.Clock.Deadline.Sub(l.Clock.Start) != target || p.Promises.For(l.Inbox).Target != target {
				return false
			}
		}
		return true
	}
	if p := r.settled(); !holds(p, time.Hour) {
		t.Errorf("the first board is not made with the promises of its inboxes: %+v", clocks(p))
	}
	target.Store(90)
	if p := r.next(); !holds(p, time.Hour) {
		t.Error("the promises change between two readings of the inboxes")
	}
	r.until("the new promises hold", func(p *monitor.Picture) bool { return holds(p, 90*time.Minute) })
}

func TestEmptyAccount(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.settled()
	if p.Board.Len() != 0 || p.Problem != "" || p.Incomplete != 0 {
		t.Errorf("picture of an empty account: %+v", p)
	}
	conv := r.sim.CustomerOpens(r.ServerNow(), r.sim.Inboxes()[0], "Hello?")
	r.until("the first conversation", func(p *monitor.Picture) bool { _, ok := clocks(p)[conv]; return ok })
}

func TestMetricsOfTheMonitor(t *testing.T) {
	r := newRig(t, rigOptions{prepare: func(s *chatwootsim.Server) { s.Fill(10, start) }})
	r.settled()
	if problems, err := testutil.GatherAndLint(r.registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	for name, want := range map[string]int{
		"chatwoot_sla_polls_total": 6, "chatwoot_sla_poll_last_success_timestamp_seconds": 1, "chatwoot_sla_poll_incomplete": 1,
		"chatwoot_sla_poll_clock_skew_seconds": 1, "chatwoot_sla_token_role_sufficient": 1,
	} {
		if n, err := testutil.GatherAndCount(r.registry, name); err != nil || n != want {
			t.Errorf("%d series of %s (%v), want %d", n, name, err, want)
		}
	}
}

func TestRunStopsAtOnce(t *testing.T) {
	for i := range 20 {
		r := newRig(t, rigOptions{prepare: func(s *chatwootsim.Server) { s.Fill(200, start) }})
		ctx, cancel := context.WithCancel(context.Background())
		other, err := monitor.New(monitor.Options{Client: r.client, Promises: halfAnHour})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- other.Run(ctx) }()
		if i%2 == 0 {
			r.next() // somewhere in the middle of its first reading
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}
