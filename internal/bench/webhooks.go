package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/queue"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

const (
	hookSecret    = "EXAMPLE-webhook-secret-of-the-benchmarks"
	forwardSecret = "EXAMPLE-forward-secret-of-the-benchmarks"

	hookClients = 64
	hookRounds  = 5
	hookRound   = 2 * time.Second // of deliveries, and half of that of the disk alone
	hookBytes   = 4 << 10

	hookRate  = 200 // deliveries a second
	hookFor   = 10 * time.Second
	hookLimit = 50 * time.Millisecond

	hookBacklog      = 100_000
	hookBacklogLimit = 100 * time.Millisecond

	hookRetries = 50

	hookConversations = 1000
)

// webhooks measures how fast deliveries are acknowledged, and what becomes of
// them.
func (b *bench) webhooks(ctx context.Context) ([]row, error) {
	acks, err := b.acknowledge(ctx)
	if err != nil {
		return nil, fmt.Errorf("acknowledge deliveries: %w", err)
	}
	steady, retried, err := b.steady(ctx)
	if err != nil {
		return nil, fmt.Errorf("work at %d a second: %w", hookRate, err)
	}
	behind, err := b.backlog(ctx)
	if err != nil {
		return nil, fmt.Errorf("work with a backlog: %w", err)
	}
	return []row{acks, steady, retried, behind}, nil
}

// receiver is a daemon that takes webhooks in, the Chatwoot that it watches, and
// the other service that it forwards to.
type receiver struct {
	daemon *app.App
	client *http.Client
	sent   atomic.Int64
	stop   func() error

	mu      sync.Mutex
	refuse  bool                   // each one once
	arrived map[string][]time.Time // by key
}

// receive starts a daemon with its files in a folder of that name, of which
// prepare makes what it needs. It returns when deliveries are acknowledged.
func (b *bench) receive(ctx context.Context, name string, prepare func(context.Context, config.Config) error) (_ *receiver, err error) {
	r := &receiver{
		client:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: hookClients}, Timeout: 10 * time.Second},
		arrived: map[string][]time.Time{},
	}
	var stops []func() error
	r.stop = func() error {
		var errs []error
		for _, stop := range slices.Backward(stops) {
			errs = append(errs, stop())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()
	sim := newSimulator(b.now)
	sim.Fill(hookConversations, b.now().Add(-time.Minute))
	stops = append(stops, func() error { sim.Close(); return nil })
	url, stopChatwoot, err := serve(sim)
	if err != nil {
		return nil, err
	}
	stops = append(stops, func() error { stopChatwoot(); return nil })
	other, stopOther, err := serve(r)
	if err != nil {
		return nil, err
	}
	stops = append(stops, func() error { stopOther(); return nil })
	cfg, err := settings(url, filepath.Join(b.dir, name), "CHATWOOT_WEBHOOK_SECRET="+hookSecret,
		"WEBHOOK_FORWARD_URL="+other, "WEBHOOK_FORWARD_SECRET="+forwardSecret)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, cfg); err != nil {
		return nil, err
	}
	if r.daemon, err = app.New(app.Options{Config: cfg, Version: "bench"}); err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- r.daemon.Run(running) }()
	stops = append(stops, func() error { cancel(); return <-ran })
	// The start is not what is measured: until the database is open, a delivery
	// may be answered with 503.
	for tries := 0; ; tries++ {
		err := r.deliver(ctx, b.now())
		if err == nil {
			break
		}
		if tries == 10 || ctx.Err() != nil {
			return nil, err
		}
	}
	return r, pause(ctx, time.Second)
}

// ServeHTTP is the other service.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	key := req.Header.Get(webhook.HeaderDelivery)
	r.arrived[key] = append(r.arrived[key], time.Now()) //nolint:forbidigo // when it really arrived
	if r.refuse && len(r.arrived[key]) == 1 {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
}

// filler is what customers write.
var filler = strings.Repeat("Where is my parcel? ", hookBytes/20)

// deliver sends a message that is new, and returns when it is acknowledged.
func (r *receiver) deliver(ctx context.Context, now time.Time) error {
	id := r.sent.Add(1)
	body := fmt.Appendf(nil, `{"event":"message_created","id":%d,"message_type":"incoming","private":false,"content":"%s",`+
		`"created_at":"2026-06-22T09:16:02.417Z","conversation":{"id":%d,"status":"open","created_at":1782119581},"account":{"id":%d}}`,
		id, filler[:hookBytes-250], id%hookConversations+1, chatwootsim.DemoAccountID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.daemon.WebhookAddr().String()+webhook.Path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set(webhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(webhook.HeaderSignature, webhook.Sign(hookSecret, now, body))
	req.Header.Set(webhook.HeaderDelivery, fmt.Sprint("delivery-", id))
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(`"accepted"`))) {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return err
}

// acknowledge compares deliveries from many clients at once, with the workers
// held back, with what the disk does alone.
func (b *bench) acknowledge(ctx context.Context) (_ row, err error) {
	r, err := b.receive(ctx, "acknowledge", empty)
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	r.daemon.HoldJobs(true)
	var ratios, acks, syncs []float64
	for range hookRounds {
		alone, err := b.syncRate(hookRound / 2)
		if err != nil {
			return row{}, err
		}
		before, began := r.sent.Load(), b.now()
		var g errgroup.Group
		for range hookClients {
			g.Go(func() error {
				for b.now().Sub(began) < hookRound {
					if err := r.deliver(ctx, b.now()); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return row{}, err
		}
		rate := float64(r.sent.Load()-before) / b.now().Sub(began).Seconds()
		ratios, acks, syncs = append(ratios, rate/alone), append(acks, rate), append(syncs, alone)
	}
	ratio := median(ratios)
	return row{
		what:     "webhooks acknowledged durably on SQLite, 64 clients, against single 4 KB appends with fsync",
		measured: spread(ratios), target: "≥ 1.5 ×", met: ratio >= 1.5,
		absolute: fmt.Sprintf("%.0f a second against %.0f", median(acks), median(syncs)),
	}, nil
}

// syncRate returns how many times a second the disk appends 4 KB and has them.
func (b *bench) syncRate(d time.Duration) (perSecond float64, err error) {
	f, err := os.CreateTemp(b.dir, "append-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 4<<10)
	for i := range block {
		block[i] = byte(rand.Uint32()) //nolint:gosec // so that no disk makes it smaller
	}
	began, n := b.now(), 0
	for b.now().Sub(began) < d {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / b.now().Sub(began).Seconds(), nil
}

// pace sends a delivery so many times a second for a while, whether those before
// have been answered or not, and with each a request to a server that does
// nothing, because the machine may be slow by itself. It returns how long each
// took from when it was due, and how many deliveries failed.
func (b *bench) pace(ctx context.Context, r *receiver) (times, empty []time.Duration, failed int64, err error) {
	url, stop, err := serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	if err != nil {
		return nil, nil, 0, err
	}
	defer stop()
	const n = int(hookFor/time.Second) * hookRate
	times, empty = make([]time.Duration, n), make([]time.Duration, n)
	var wg sync.WaitGroup
	var failures atomic.Int64
	began := b.now()
	for i := range n {
		due := began.Add(time.Duration(i) * time.Second / hookRate)
		if err := pause(ctx, due.Sub(b.now())); err != nil {
			return nil, nil, 0, err
		}
		wg.Go(func() {
			if r.deliver(ctx, b.now()) != nil {
				failures.Add(1)
			}
			times[i] = b.now().Sub(due)
		})
		wg.Go(func() {
			_ = r.post(ctx, url) // a failure takes its time as well
			empty[i] = b.now().Sub(due)
		})
	}
	wg.Wait()
	slices.Sort(times)
	slices.Sort(empty)
	return times, empty, failures.Load(), nil
}

// post sends as much as a delivery has, and nobody looks at it.
func (r *receiver) post(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(filler))
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// beside words what more there is to say of sorted times.
func beside(times, empty []time.Duration, failed int64) string {
	return fmt.Sprintf("median %s, the slowest %s, %d not stored; an empty server beside it: median %s, 99th percentile %s", milliseconds(median(times)),
		milliseconds(times[len(times)-1]), failed, milliseconds(median(empty)), milliseconds(p99(empty)))
}

func p99(sorted []time.Duration) time.Duration { return sorted[len(sorted)*99/100] }

// steady measures acknowledgements and retries while the workers work.
func (b *bench) steady(ctx context.Context) (acked, retried row, err error) {
	r, err := b.receive(ctx, "steady", empty)
	if err != nil {
		return row{}, row{}, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	times, floor, failed, err := b.pace(ctx, r)
	if err != nil {
		return row{}, row{}, err
	}
	left := int(r.sent.Load()) - r.forwarded()
	worst := p99(times)
	acked = row{
		what:     "acknowledgement at 200 webhooks a second with workers running, 99th percentile",
		measured: milliseconds(worst), target: "< 50 ms", met: worst < hookLimit && failed == 0,
		absolute: fmt.Sprintf("%s; %d of %d not yet forwarded at the end", beside(times, floor, failed), left, len(times)),
	}
	// Nothing that is left may be taken for a retry.
	if err := r.drained(ctx); err != nil {
		return row{}, row{}, err
	}

	r.mu.Lock()
	r.refuse = true
	clear(r.arrived)
	r.mu.Unlock()
	for range hookRetries {
		if err := r.deliver(ctx, b.now()); err != nil {
			return row{}, row{}, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return row{}, row{}, err
		}
	}
	var gaps []time.Duration
	for len(gaps) < hookRetries {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return row{}, row{}, errors.New("what was refused is not tried again in time")
		}
		gaps = nil
		r.mu.Lock()
		for _, at := range r.arrived {
			if len(at) > 1 {
				gaps = append(gaps, at[1].Sub(at[0]))
			}
		}
		r.mu.Unlock()
	}
	slices.Sort(gaps)
	first, last := gaps[0], gaps[len(gaps)-1]
	retried = row{
		what:     "a retry that is due after 1 s, the latest of 50",
		measured: fmt.Sprintf("%.2f s", last.Seconds()), target: "1 to 1.5 s", met: first >= time.Second && last <= 1500*time.Millisecond,
		absolute: fmt.Sprintf("the earliest %.2f s, median %.2f s", first.Seconds(), median(gaps).Seconds()),
	}
	return acked, retried, nil
}

// forwarded returns how many deliveries have reached the other service.
func (r *receiver) forwarded() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.arrived)
}

// drained waits until everything has.
func (r *receiver) drained(ctx context.Context) error {
	for r.forwarded() < int(r.sent.Load()) {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return errors.New("the backlog is not worked off in time")
		}
	}
	return nil
}

// forward is a job as the daemon makes it for a delivery.
type forward struct {
	Key  string `json:"key"`
	Body string `json:"body"`
}

// Kind implements queue.Args.
func (forward) Kind() string { return "forward" }

// backlog measures acknowledgements while the workers have much to do.
func (b *bench) backlog(ctx context.Context) (_ row, err error) {
	r, err := b.receive(ctx, "backlog", fill)
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	before := r.forwarded()
	times, floor, failed, err := b.pace(ctx, r)
	if err != nil {
		return row{}, err
	}
	worst := p99(times)
	return row{
		what:     "the same with 100,000 jobs that wait",
		measured: milliseconds(worst), target: "< 100 ms", met: worst < hookBacklogLimit && failed == 0,
		absolute: fmt.Sprintf("%s; %d jobs a second were done meanwhile", beside(times, floor, failed), (r.forwarded()-before)/int(hookFor/time.Second)),
	}, nil
}

func empty(context.Context, config.Config) error { return nil }

// fill puts a backlog into a new database.
func fill(ctx context.Context, cfg config.Config) (err error) {
	handlers := queue.NewHandlers()
	queue.Handle(handlers, "forward", func(context.Context, queue.Job[forward]) error { return nil })
	q, err := queue.New(queue.Options{Stages: []queue.Stage{{Name: "forward", Workers: 1}}, Handlers: handlers})
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{
		DataDir: cfg.DataDir, Account: store.Account{Host: cfg.BaseURL.Host, ID: cfg.AccountID}, Migrate: queue.Engine{}.Migrate,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	const each = 1000
	for first := 0; first < hookBacklog; first += each {
		jobs := make([]queue.Args, each)
		for i := range jobs {
			jobs[i] = forward{Key: fmt.Sprint("waiting-", first+i), Body: filler[:1000]}
		}
		tx, err := s.Writer().BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := q.InsertTx(ctx, tx, jobs...); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}
