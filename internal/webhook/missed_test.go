package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// search is a Finder that looks into a simulated Chatwoot. Its clock stands
// still at noon.
type search struct {
	*inbox
	t          *testing.T
	sim        *chatwootsim.Server
	finder     *webhook.Finder
	candidates []webhook.Candidate
	requests   atomic.Int32
}

func newSearch(t *testing.T) *search {
	s := &search{inbox: &inbox{}, t: t}
	s.sim = chatwootsim.New(chatwootsim.Options{Now: func() time.Time { return noon }, NoThrottle: true})
	server := httptest.NewServer(s.sim)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := chatwoot.New(chatwoot.Options{BaseURL: base, Token: chatwootsim.DemoToken, AccountID: account})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		s.sim.Close()
	})
	s.finder = webhook.NewFinder(webhook.FinderOptions{
		AccountID:  account,
		Inbox:      s.inbox,
		Candidates: func() []webhook.Candidate { return s.candidates },
		Missing: func(_ context.Context, keys []string) ([]string, error) {
			return slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
				return slices.ContainsFunc(s.all(), func(d webhook.Delivery) bool { return d.Key == key })
			}), nil
		},
		History: func(ctx context.Context, conversation int64, each func([]chatwoot.Message) bool) error {
			return client.History(ctx, conversation, func(page []chatwoot.Message) bool {
				s.requests.Add(1)
				return each(page)
			})
		},
		Began:      func(context.Context) (time.Time, error) { return noon.Add(-30*time.Minute + 700*time.Millisecond), nil },
		Now:        func() time.Time { return noon },
		Registerer: prometheus.NewPedanticRegistry(),
	})
	return s
}

// look looks once, with every conversation a candidate, and returns the
// messages that were found.
func (s *search) look(cs ...webhook.Candidate) []int64 {
	s.t.Helper()
	before := len(s.all())
	s.candidates = cs
	if err := s.finder.Look(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	var found []int64
	for _, d := range s.all()[before:] {
		if !d.Missed || d.Reason != webhook.CustomerMessage || d.Event != "message_created" {
			s.t.Errorf("found %+v", d)
		}
		found = append(found, d.MessageID)
	}
	return found
}

func TestMessagesThatNoWebhookToldOfAreFound(t *testing.T) {
	s := newSearch(t)
	in := s.sim.Inboxes()[0]
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	conv := s.sim.CustomerOpens(ago(10*time.Minute), in, "My parcel is lost.")
	second := s.sim.CustomerWrites(ago(5*time.Minute), conv, "Hello?")
	fresh := s.sim.CustomerWrites(ago(30*time.Second), conv, "Anybody?")
	c := webhook.Candidate{Conversation: conv, OpenedAt: ago(10 * time.Minute), Newest: second, At: ago(5 * time.Minute)}

	got := s.look(c)
	if len(got) != 2 || got[1] != second || slices.Contains(got, fresh) {
		t.Fatalf("found %v, want two, of which the second is %d", got, second)
	}
	for i, d := range s.all() {
		event, err := chatwoot.DecodeEvent(d.Body)
		if err != nil {
			t.Fatalf("what was made up cannot be read: %v", err)
		}
		if dec := webhook.Decide(event); !dec.Process || event.Message.ID != got[i] || event.Conversation.ID != conv || event.AccountID != account {
			t.Errorf("what was made up is %+v, decided %+v", event, dec)
		}
	}
	var said struct{ Content string }
	if err := json.Unmarshal(s.all()[0].Body, &said); err != nil || said.Content != "My parcel is lost." {
		t.Errorf("the text is %q, %v", said.Content, err)
	}
	if got := s.look(c); got != nil {
		t.Errorf("found again: %v", got)
	}
	if s.requests.Load() != 1 {
		t.Errorf("%d requests, want one: what is known costs none", s.requests.Load())
	}
}

func TestAMessageOfTheSecondInWhichWebhooksBeganIsFound(t *testing.T) {
	s := newSearch(t)
	at := noon.Add(-30 * time.Minute)
	conv := s.sim.CustomerOpens(at, s.sim.Inboxes()[0], "")
	if got := s.look(webhook.Candidate{Conversation: conv, OpenedAt: at, Newest: 1, At: at}); len(got) != 1 {
		t.Errorf("found %v, want one", got)
	}
}

func TestWhatIsNotMissed(t *testing.T) {
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	for _, tt := range []struct {
		name    string
		written time.Duration
		then    func(*search, int64)
	}{
		{"before webhooks began", 31 * time.Minute, nil},
		{"on its way", 59 * time.Second, nil},
		{"answered meanwhile", 10 * time.Minute, func(s *search, conv int64) { s.sim.AgentReplies(ago(time.Minute), conv) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSearch(t)
			conv := s.sim.CustomerOpens(ago(tt.written), s.sim.Inboxes()[0], "")
			if tt.then != nil {
				tt.then(s, conv)
			}
			if got := s.look(webhook.Candidate{Conversation: conv, OpenedAt: ago(tt.written), Newest: 1, At: ago(tt.written)}); got != nil {
				t.Errorf("found %v", got)
			}
		})
	}
}

// asked returns how many requests the looks since the last call have cost.
func (s *search) asked() int32 { return s.requests.Swap(0) }

// What a webhook told of hides nothing that was lost before it.
func TestAMessageBeforeOneThatArrivedIsFound(t *testing.T) {
	s := newSearch(t)
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	conv := s.sim.CustomerOpens(ago(10*time.Minute), s.sim.Inboxes()[0], "")
	second := s.sim.CustomerWrites(ago(5*time.Minute), conv, "")
	arrives := func(message int64) {
		t.Helper()
		key := fmt.Sprintf("%d/message_created/%d", account, message)
		if _, err := s.Accept(t.Context(), webhook.Delivery{Key: key, ConversationID: conv, MessageID: message}); err != nil {
			t.Fatal(err)
		}
	}
	arrives(second)
	c := webhook.Candidate{Conversation: conv, OpenedAt: ago(10 * time.Minute), Newest: second, At: ago(5 * time.Minute)}
	if got := s.look(c); len(got) != 1 || got[0] >= second || s.asked() != 1 {
		t.Errorf("found %v, want the first message alone, with one request", got)
	}
	third := s.sim.CustomerWrites(ago(4*time.Minute), conv, "")
	c.Newest, c.At = s.sim.CustomerWrites(ago(3*time.Minute), conv, ""), ago(3*time.Minute)
	arrives(c.Newest)
	if got := s.look(c); !slices.Equal(got, []int64{third}) || s.asked() != 1 {
		t.Errorf("found %v, want %d, with one request", got, third)
	}
	if got := s.look(c); got != nil || s.asked() != 0 {
		t.Errorf("without a new message, found %v; want neither that nor a request", got)
	}
}

// A private note behind the customer's message hides it in the row.
func TestAMessageBehindANoteIsFound(t *testing.T) {
	s := newSearch(t)
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	conv := s.sim.CustomerOpens(ago(10*time.Minute), s.sim.Inboxes()[0], "")
	c := webhook.Candidate{Conversation: conv, OpenedAt: ago(10 * time.Minute)}
	for _, at := range []time.Duration{9 * time.Minute, 5 * time.Minute} {
		c.Newest, c.At = s.sim.AgentNotes(ago(at), conv), ago(at)
		if got := s.look(c); len(got) != 1 || s.asked() != 1 {
			t.Errorf("found %v, want one with one request", got)
		}
		if got := s.look(c); got != nil || s.asked() != 0 {
			t.Errorf("without a new message, found %v; want neither that nor a request", got)
		}
		s.sim.CustomerWrites(ago(at-time.Minute), conv, "")
	}
}

// However long a conversation is, it is read as far back as something can have
// been missed, and nothing in it twice.
func TestALongConversationIsReadFromItsEnd(t *testing.T) {
	s := newSearch(t)
	opened := noon.Add(-100 * time.Hour)
	conv := s.sim.CustomerOpens(opened, s.sim.Inboxes()[0], "")
	for i := range 150 {
		s.sim.CustomerWrites(opened.Add(time.Duration(i)*time.Second), conv, "")
	}
	c := webhook.Candidate{Conversation: conv, OpenedAt: opened}
	write := func(n int) (ids []int64) {
		for range n {
			ids = append(ids, s.sim.CustomerWrites(noon.Add(-2*time.Minute), conv, ""))
		}
		c.Newest, c.At = ids[n-1], noon.Add(-2*time.Minute)
		return ids
	}
	for _, tt := range []struct{ messages, requests int }{{1, 1}, {1, 1}, {45, 3}, {1, 1}} {
		want := write(tt.messages)
		if got := s.look(c); !slices.Equal(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
		if n := s.asked(); n != int32(tt.requests) {
			t.Errorf("%d requests for %d messages, want %d", n, tt.messages, tt.requests)
		}
	}
}

// What was read is remembered as long as it is of use.
func TestWhoIsNoCandidateIsForgotten(t *testing.T) {
	s := newSearch(t)
	at := noon.Add(-10 * time.Minute)
	c := webhook.Candidate{Conversation: s.sim.CustomerOpens(at, s.sim.Inboxes()[0], ""), OpenedAt: at, Newest: 1, At: at}
	for _, tt := range []struct {
		candidates []webhook.Candidate
		requests   int32
	}{{[]webhook.Candidate{c}, 1}, {[]webhook.Candidate{c}, 0}, {nil, 0}, {[]webhook.Candidate{c}, 1}} {
		s.look(tt.candidates...)
		if n := s.asked(); n != tt.requests {
			t.Errorf("%d requests with the candidates %v, want %d", n, tt.candidates, tt.requests)
		}
	}
}
