package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/app"
)

const (
	levelDeadlines = 5 // a second apart
	levelTarget    = 12 * time.Second
)

// level watches deadlines pass in a daemon's metrics.
func (b *bench) level(ctx context.Context) ([]row, error) {
	sim := newSimulator(b.now)
	defer sim.Close()
	url, stop, err := serve(sim)
	if err != nil {
		return nil, err
	}
	defer stop()

	// Chatwoot tells instants in whole seconds, so deadlines lie on them.
	first := b.now().Truncate(time.Second).Add(4 * time.Second)
	for i := range levelDeadlines {
		deadline := first.Add(time.Duration(i) * time.Second)
		sim.CustomerOpens(deadline.Add(-levelTarget), sim.Inboxes()[0], "Hello?")
	}
	cfg, err := settings(url, b.dir)
	if err != nil {
		return nil, err
	}
	cfg.SLA, cfg.SLAWarning, cfg.SLAUrgent = levelTarget, 6*time.Second, 3*time.Second
	daemon, err := app.New(app.Options{Config: cfg, Version: "bench"})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- daemon.Run(running) }()
	defer func() { cancel(); <-ran }()

	client := &http.Client{Timeout: 5 * time.Second}
	address := "http://" + daemon.Addr().String()
	var late []time.Duration
	scrapes := 0
	for len(late) < levelDeadlines {
		s, err := gather(ctx, client, address)
		if err != nil {
			return nil, err
		}
		seen := b.now()
		scrapes++
		breached := int(s.sum("chatwoot_sla_waiting_conversations", `level="breach"`))
		for len(late) < breached {
			deadline := first.Add(time.Duration(len(late)) * time.Second)
			if seen.Before(deadline) {
				return nil, fmt.Errorf("a breach is shown %v before its deadline", deadline.Sub(seen))
			}
			late = append(late, seen.Sub(deadline))
		}
		if overdue := b.now().Sub(first); overdue > 20*time.Second {
			return nil, fmt.Errorf("%d of %d breaches are shown %v after the first", len(late), levelDeadlines, overdue)
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return nil, err
		}
	}
	worst := slices.Max(late)
	return []row{{
		what:     "from a deadline to a scrape that shows the breach, the worst of five",
		measured: milliseconds(worst), target: "the same second", met: worst < time.Second,
		absolute: fmt.Sprintf("median %s, scraped every %s", milliseconds(median(late)),
			milliseconds(b.now().Sub(first.Add(-4*time.Second))/time.Duration(scrapes))),
	}}, nil
}
