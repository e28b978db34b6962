package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hotdash/chatwoot-sla/internal/monitor"
)

const (
	syncOpen   = 10_000
	syncRounds = 15
)

// sync measures a full sync against two ways to send the same requests.
func (b *bench) sync(ctx context.Context) ([]row, error) {
	sim, err := b.start(ctx, "simulator", fmt.Sprint(syncOpen))
	if err != nil {
		return nil, err
	}
	defer sim.stop()

	var rec recorder
	if err := b.fullSync(ctx, sim.url, &rec); err != nil {
		return nil, fmt.Errorf("record a sync: %w", err)
	}
	var discarded, unmarshaled int64
	contenders := []struct {
		run   func() error
		times []time.Duration
	}{
		{run: func() error { return b.fullSync(ctx, sim.url, nil) }},
		{run: func() (err error) { discarded, err = replay(ctx, rec.groups, discard); return err }},
		{run: func() (err error) { unmarshaled, err = replay(ctx, rec.groups, unmarshal); return err }},
	}
	for round := range syncRounds + 1 {
		for i := range contenders {
			c := &contenders[(round+i)%len(contenders)]
			runtime.GC()
			started := b.now()
			if err := c.run(); err != nil {
				return nil, err
			}
			if round > 0 { // the first one warms up
				c.times = append(c.times, b.now().Sub(started))
			}
		}
	}
	if discarded != unmarshaled {
		return nil, fmt.Errorf("the baselines read %d and %d bytes, which should be the same", discarded, unmarshaled)
	}
	ours, floor, stdlib := contenders[0].times, contenders[1].times, contenders[2].times
	overFloor, underStdlib := ratios(ours, floor), ratios(stdlib, ours)
	requests := 0
	for _, g := range rec.groups {
		requests += len(g)
	}
	size := fmt.Sprintf("%d requests, %s", requests, mib(uint64(discarded))) //nolint:gosec // a number of bytes
	return []row{
		{
			what:     "full sync of 10,000 open conversations, against fetching and discarding the same",
			measured: spread(overFloor), target: "≤ 2.5 ×", met: median(overFloor) <= 2.5,
			absolute: fmt.Sprintf("%s against %s; %s", milliseconds(median(ours)), milliseconds(median(floor)), size),
		},
		{
			what:     "the same, against fetching and unmarshalling with encoding/json: how many times faster",
			measured: spread(underStdlib), target: "≥ 3 ×", met: median(underStdlib) >= 3,
			absolute: fmt.Sprintf("%s against %s", milliseconds(median(ours)), milliseconds(median(stdlib))),
		},
	}, nil
}

// fullSync runs a monitor until it has its first picture, through rec if it is
// not nil.
func (b *bench) fullSync(ctx context.Context, url string, rec *recorder) error {
	var transport http.RoundTripper
	if rec != nil {
		rec.through = newTransport()
		transport = rec
	}
	client, err := newClient(url, b.dir, nil, transport)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var m *monitor.Monitor
	ended := make(chan struct{}, 1)
	m, err = monitor.New(monitor.Options{
		Client: client, Promises: promised,
		// What was read is published before the wait for the next poll.
		After: func(time.Duration) <-chan time.Time {
			if p := m.Picture(); p.Board != nil || p.Problem != "" {
				select {
				case ended <- struct{}{}:
				default:
				}
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	ran := make(chan error, 1)
	go func() { ran <- m.Run(ctx) }()
	select {
	case <-ctx.Done():
	case <-ended:
	}
	cancel()
	if err := <-ran; err != nil {
		return err
	}
	switch p := m.Picture(); {
	case p.Problem != "":
		return errors.New(p.Problem)
	case p.Board == nil:
		return context.Cause(ctx)
	case p.Board.Len() != syncOpen || p.Incomplete != 0:
		return fmt.Errorf("the picture has %d conversations and lacks %d, want %d", p.Board.Len(), p.Incomplete, syncOpen)
	}
	return nil
}

// newTransport returns a transport as the daemon's client makes its own.
func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 8
	t.MaxConnsPerHost = 16
	return t
}

// recorder is a transport that remembers requests in groups: those that were
// under way together.
type recorder struct {
	through http.RoundTripper

	mu       sync.Mutex
	groups   [][]*http.Request
	underWay int
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	if r.underWay == 0 {
		r.groups = append(r.groups, nil)
	}
	r.underWay++
	last := len(r.groups) - 1
	r.groups[last] = append(r.groups[last], req)
	r.mu.Unlock()

	resp, err := r.through.RoundTrip(req)
	if err != nil {
		r.done()
		return nil, err
	}
	resp.Body = &closing{resp.Body, sync.OnceFunc(r.done)}
	return resp, nil
}

func (r *recorder) done() {
	r.mu.Lock()
	r.underWay--
	r.mu.Unlock()
}

// closing is a body that tells when it is closed.
type closing struct {
	io.ReadCloser
	closed func()
}

func (c *closing) Close() error {
	defer c.closed()
	return c.ReadCloser.Close()
}

// replay sends groups of requests one after the other, each group side by
// side, and returns how many bytes read got of their answers.
func replay(ctx context.Context, groups [][]*http.Request, read func(*http.Response) (int64, error)) (total int64, err error) {
	transport := newTransport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for _, group := range groups {
		sizes := make([]int64, len(group))
		g, gctx := errgroup.WithContext(ctx)
		for i, req := range group {
			g.Go(func() error {
				resp, err := client.Do(req.Clone(gctx))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					return fmt.Errorf("replay %s: %s", req.URL.Path, resp.Status)
				}
				sizes[i], err = read(resp)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return 0, err
		}
		for _, n := range sizes {
			total += n
		}
	}
	return total, nil
}

func discard(resp *http.Response) (int64, error) { return io.Copy(io.Discard, resp.Body) }

// bodies are reused, as the daemon's client does.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func unmarshal(resp *http.Response) (int64, error) {
	body := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(body)
	body.Reset()
	if resp.ContentLength > 0 {
		body.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	n, err := body.ReadFrom(resp.Body)
	if err != nil {
		return n, err
	}
	var page stdPage
	if err := json.Unmarshal(body.Bytes(), &page); err != nil {
		return n, err
	}
	if slices.ContainsFunc(page.Data.Payload, func(c stdConversation) bool { return c.ID == 0 }) {
		return n, errors.New("unmarshal: a conversation without id")
	}
	return n, nil
}

// stdPage has the fields that the daemon's client decodes.
type stdPage struct {
	Data struct {
		Meta struct {
			AllCount int `json:"all_count"`
		} `json:"meta"`
		Payload []stdConversation `json:"payload"`
	} `json:"data"`
}

type stdConversation struct {
	ID             int64        `json:"id"`
	InboxID        int64        `json:"inbox_id"`
	Status         string       `json:"status"`
	CreatedAt      float64      `json:"created_at"`
	UpdatedAt      float64      `json:"updated_at"`
	LastActivityAt float64      `json:"last_activity_at"`
	WaitingSince   float64      `json:"waiting_since"`
	FirstReplyAt   float64      `json:"first_reply_created_at"`
	UnreadCount    int          `json:"unread_count"`
	Messages       []stdMessage `json:"messages"`
	Spoken         *stdMessage  `json:"last_non_activity_message"`
	Meta           struct {
		Sender       *stdNamed `json:"sender"`
		Assignee     *stdNamed `json:"assignee"`
		AssigneeType string    `json:"assignee_type"`
		Team         *stdNamed `json:"team"`
	} `json:"meta"`
}

type stdMessage struct {
	Kind        int     `json:"message_type"`
	ContentType string  `json:"content_type"`
	Private     bool    `json:"private"`
	CreatedAt   float64 `json:"created_at"`
	Additional  struct {
		Campaign *int64 `json:"campaign_id"`
	} `json:"additional_attributes"`
}

type stdNamed struct {
	Name string `json:"name"`
}
