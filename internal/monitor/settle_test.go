package monitor_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/monitor"
)

func unanswered(p *monitor.Picture) map[int64]monitor.Unanswered {
	m := map[int64]monitor.Unanswered{}
	for _, u := range p.Unanswered {
		m[u.Conversation] = u
	}
	return m
}

func TestWhoWaitsForAnAnswer(t *testing.T) {
	ago := func(d time.Duration) time.Time { return start.Add(-d) }
	var waits, noted, answered, old, back int64
	var last, note int64
	r := newRig(t, rigOptions{prepare: func(sim *chatwootsim.Server) {
		in := sim.Inboxes()[0]
		waits = sim.CustomerOpens(ago(20*time.Minute), in, "")
		last = sim.CustomerWrites(ago(10*time.Minute), waits, "")
		noted = sim.CustomerOpens(ago(20*time.Minute), in, "")
		note = sim.AgentNotes(ago(5*time.Minute), noted)
		answered = sim.CustomerOpens(ago(20*time.Minute), in, "")
		sim.AgentReplies(ago(5*time.Minute), answered)
		old = sim.CustomerOpens(ago(2*time.Hour), in, "")
		back = sim.CustomerOpens(ago(3*time.Hour), in, "")
		sim.AgentReplies(ago(2*time.Hour), back)
		sim.CustomerWrites(ago(3*time.Minute), back, "")
	}})
	got := unanswered(r.settled())
	for _, tt := range []struct {
		name string
		id   int64
		want bool
	}{
		{"two messages", waits, true},
		{"a note hides the message", noted, true},
		{"answered", answered, false},
		{"for two hours", old, false},
		{"came back", back, true},
	} {
		if _, ok := got[tt.id]; ok != tt.want {
			t.Errorf("%s: waits %v", tt.name, ok)
		}
	}
	if u := got[waits]; u.Newest != last || !u.At.Equal(ago(10*time.Minute)) {
		t.Errorf("the newest message is %+v, want %d", u, last)
	}
	if u := got[noted]; u.Newest != note || !u.At.Equal(ago(5*time.Minute)) {
		t.Errorf("behind the customer's message is %+v, want the note %d", u, note)
	}

	r.sim.AgentReplies(r.ServerNow(), waits)
	r.until("the answer is seen", func(p *monitor.Picture) bool { _, ok := unanswered(p)[waits]; return !ok })
}

func TestSettleReadsAConversationNow(t *testing.T) {
	var conv, gone int64
	r := newRig(t, rigOptions{prepare: func(sim *chatwootsim.Server) {
		conv = sim.CustomerOpens(start.Add(-time.Minute), sim.Inboxes()[0], "")
		gone = sim.CustomerOpens(start.Add(-time.Minute), sim.Inboxes()[0], "")
	}, interval: time.Hour})
	p := r.settled()
	polled := p.SyncedAt
	r.sim.SetStatus(r.ServerNow(), conv, "resolved")
	r.sim.Delete(r.ServerNow(), gone)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.settle(ctx, conv); err != nil {
		t.Fatal(err)
	}
	if err := r.settle(ctx, gone); err != nil {
		t.Fatalf("a conversation that is gone: %v", err)
	}
	p = r.until("both have left", func(p *monitor.Picture) bool { return len(clocks(p)) == 0 })
	if !p.SyncedAt.Equal(polled) {
		t.Error("it was a poll that saw them leave")
	}

	r.sim.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultStatus, Status: 503})
	if err := r.mon.Settle(ctx, conv); !chatwoot.Is(err, chatwoot.ServerError) {
		t.Errorf("the error of Chatwoot is %v", err)
	}
}

// held answers a list of conversations, when it is told to, only after release,
// and then with an error if fail is set.
type held struct {
	http.Handler
	hold, fail       atomic.Bool
	entered, release chan struct{}
	letGo            func() // closes release
}

func newHeld() *held {
	h := &held{entered: make(chan struct{}), release: make(chan struct{})}
	h.letGo = sync.OnceFunc(func() { close(h.release) })
	return h
}

func (h *held) around(inner http.Handler) http.Handler {
	h.Handler = inner
	return h
}

func (h *held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/conversations") && h.hold.CompareAndSwap(true, false) {
		h.entered <- struct{}{}
		<-h.release
		if h.fail.Load() {
			http.Error(w, "no lists today", http.StatusServiceUnavailable)
			return
		}
	}
	h.Handler.ServeHTTP(w, r)
}

// inPoll makes the monitor poll, and returns when Chatwoot lets it wait.
func (h *held) inPoll(r *rig) {
	r.t.Helper()
	r.t.Cleanup(h.letGo)
	<-r.rests // from here on only the hint wakes it
	h.hold.Store(true)
	r.mon.Hint()
	for {
		select {
		case <-h.entered:
			return
		case <-r.rests:
			r.skip()
		case <-time.After(time.Minute):
			r.t.Fatal("no poll within a minute of real time")
		}
	}
}

func TestSettleDoesNotWaitForASlowPoll(t *testing.T) {
	h := newHeld()
	h.fail.Store(true)
	var first, last int64
	r := newRig(t, rigOptions{prepare: func(sim *chatwootsim.Server) {
		first = sim.CustomerOpens(start.Add(-time.Minute), sim.Inboxes()[0], "")
		last = sim.CustomerOpens(start.Add(-time.Minute), sim.Inboxes()[0], "")
	}, interval: time.Hour, timeout: time.Hour, around: h.around})
	r.settled()
	h.inPoll(r)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r.sim.SetStatus(r.ServerNow(), first, "resolved")
	for range monitor.MostSettled {
		if err := r.mon.Settle(ctx, first); err != nil {
			t.Fatalf("it waits for the poll: %v", err)
		}
	}
	r.sim.SetStatus(r.ServerNow(), last, "resolved")
	if err := r.mon.Settle(ctx, last); err != nil {
		t.Fatalf("it waits for room: %v", err)
	}
	h.letGo()
	r.until("what was read during the poll is known", func(p *monitor.Picture) bool { _, open := clocks(p)[first]; return !open })
	r.until("a poll brings what found no room", func(p *monitor.Picture) bool { return len(clocks(p)) == 0 })
}

// What was read before a poll ended can be older than what the poll has brought.
func TestAPollOutdatesWhatWasSettledBefore(t *testing.T) {
	h := newHeld()
	r := newRig(t, rigOptions{interval: time.Hour, around: h.around})
	r.settled()
	h.inPoll(r)
	brief := r.sim.CustomerOpens(r.ServerNow(), r.sim.Inboxes()[0], "")
	if err := r.mon.Settle(t.Context(), brief); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Second)
	r.sim.SetStatus(r.ServerNow(), brief, "resolved")
	h.letGo()
	r.next()
	marker := r.sim.CustomerOpens(r.ServerNow(), r.sim.Inboxes()[0], "")
	if err := r.settle(t.Context(), marker); err != nil {
		t.Fatal(err)
	}
	r.until("the next is known", func(p *monitor.Picture) bool {
		if _, open := clocks(p)[brief]; open {
			t.Fatal("a conversation that is resolved is open again")
		}
		_, open := clocks(p)[marker]
		return open
	})
}
