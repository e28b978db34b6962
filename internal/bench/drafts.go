package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/pipeline"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

const (
	draftMessages  = 400
	draftsASecond  = 20
	serviceTakes   = time.Second // each of the two
	draftPromise   = 3 * time.Second
	draftSecret    = "EXAMPLE-of-the-bench"
	draftToken     = "EXAMPLE-token-of-the-bench"
	draftsComplete = time.Minute // after the last message
)

// drafts measures how long it takes from a customer's message to the item of
// the approval queue, as the server-sent events tell it.
func (b *bench) drafts(ctx context.Context) ([]row, error) {
	sim := newSimulator(b.now)
	defer sim.Close()
	services := &chatwootsim.Assist{}
	services.Inject(chatwootsim.Fault{Kind: chatwootsim.FaultLatency, Delay: serviceTakes})
	mux := http.NewServeMux()
	mux.Handle("/", sim)
	mux.Handle(chatwootsim.KnowledgePath, services)
	mux.Handle(chatwootsim.AgentPath, services)
	url, stop, err := serve(mux)
	if err != nil {
		return nil, err
	}
	defer stop()
	cfg, err := settings(url, b.dir)
	if err != nil {
		return nil, err
	}
	cfg.LlamaIndexURL, cfg.AgentSDKURL = url, url
	cfg.WebhookSecret, cfg.APITokens = config.NewSecret(draftSecret), config.NewSecret("bench:"+draftToken)
	daemon, err := app.New(app.Options{Config: cfg, Version: "bench"})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- daemon.Run(running) }()
	defer func() { cancel(); <-ran }()
	sim.Subscribe(chatwootsim.Webhook{
		URL: "http://" + daemon.WebhookAddr().String() + webhook.Path, Secret: draftSecret, Subscriptions: webhook.Subscriptions,
	})

	var mu sync.Mutex
	written, took := map[int64]time.Time{}, []time.Duration{}
	all := make(chan struct{})
	events, err := b.listen(ctx, "http://"+daemon.Addr().String(), func(conversation int64) {
		seen := b.now()
		mu.Lock()
		defer mu.Unlock()
		at, ok := written[conversation]
		if !ok {
			return
		}
		delete(written, conversation)
		took = append(took, seen.Sub(at))
		if len(took) == draftMessages {
			close(all)
		}
	})
	if err != nil {
		return nil, err
	}
	defer events()

	inbox := sim.Inboxes()[0]
	next := time.NewTicker(time.Second / draftsASecond)
	defer next.Stop()
	for range draftMessages {
		select {
		case <-next.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		mu.Lock() // until the conversation has its number
		at := b.now()
		written[sim.CustomerOpens(at, inbox, "Where is my order?")] = at
		mu.Unlock()
	}
	select {
	case <-all:
	case <-time.After(draftsComplete):
		mu.Lock()
		defer mu.Unlock()
		return nil, fmt.Errorf("%d of %d messages have no item a minute after the last", len(written), draftMessages)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	listing, err := b.listing(ctx)
	if err != nil {
		return nil, err
	}
	return []row{{
		what:     "from a customer's message to its item in the approval queue, p99 at 20 a second, both services answering in 1 s, SQLite",
		measured: fmt.Sprintf("%.2f s", p99.Seconds()), target: "< 3 s", met: p99 < draftPromise,
		absolute: fmt.Sprintf("median %.2f s, the worst of %d %.2f s", took[len(took)/2].Seconds(), draftMessages, took[len(took)-1].Seconds()),
	}, listing}, nil
}

const (
	itemsPending  = 10_000
	itemsListed   = 200 // what a page of the API has
	listings      = 21
	listedPromise = 50 * time.Millisecond
)

// listing measures how long a page of a long approval queue takes to read.
func (b *bench) listing(ctx context.Context) (_ row, err error) {
	s, _, err := b.openStore(ctx, "listing")
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	now := b.now()
	for i := range int64(itemsPending) {
		it := pipeline.Item{State: pipeline.Pending, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
		it.Message, it.Conversation, it.Question, it.Draft = i+1, i%1000+1, filler[:400], filler[:400]
		it.Action, it.Priority, it.Deadline = pipeline.Review, pipeline.Normal, now.Add(time.Duration(i*7919%itemsPending)*time.Second)
		if _, err := s.PutApproval(ctx, it, nil); err != nil {
			return row{}, err
		}
	}
	took := make([]time.Duration, listings)
	for i := range took {
		began := b.now()
		items, err := s.Approvals(ctx, pipeline.ItemFilter{States: []pipeline.State{pipeline.Pending}, Limit: itemsListed})
		took[i] = b.now().Sub(began)
		if err == nil && len(items) != itemsListed {
			err = fmt.Errorf("%d items are listed, not %d", len(items), itemsListed)
		}
		if err != nil {
			return row{}, err
		}
	}
	slices.Sort(took)
	return row{
		what:     "the first 200 of 10,000 drafts that wait for approval, those due first, SQLite",
		measured: milliseconds(median(took)), target: "< 50 ms", met: median(took) < listedPromise,
		absolute: "the slowest of 21: " + milliseconds(took[len(took)-1]),
	}, nil
}

// listen calls told for the conversation of every server-sent event.
func (b *bench) listen(ctx context.Context, address string, told func(int64)) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	for ready := false; !ready; { // until the database is open
		resp, err := authorized(ctx, address+"/api/v1/approvals")
		if err == nil {
			ready = resp.StatusCode == http.StatusOK
			err = resp.Body.Close()
		}
		if err != nil || !ready {
			err = pause(ctx, 50*time.Millisecond)
		}
		if err != nil {
			cancel()
			return nil, err
		}
	}
	resp, err := authorized(ctx, address+"/api/v1/events") //nolint:bodyclose // below, when the events end
	if err != nil {
		cancel()
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer resp.Body.Close()
		in := bufio.NewScanner(resp.Body)
		for in.Scan() {
			var e struct {
				Conversation int64 `json:"conversation_id"`
			}
			data, ok := strings.CutPrefix(in.Text(), "data: ")
			if ok && json.Unmarshal([]byte(data), &e) == nil {
				told(e.Conversation)
			}
		}
	}()
	return func() { cancel(); <-done }, nil
}

func authorized(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+draftToken)
	return new(http.Client).Do(req)
}
