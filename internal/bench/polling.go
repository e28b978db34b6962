package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/monitor"
)

const (
	pollingOpen    = 10_000
	pollingChanged = pollingOpen / 100
	pollingPolls   = 50
	perPage        = 25
)

// polling counts the list requests of a monitor that has read everything, by
// a clock that is driven.
func (b *bench) polling(ctx context.Context) ([]row, error) {
	c := chatwootsim.NewManualClock(b.now())
	sim := newSimulator(c.Now)
	defer sim.Close()
	sim.Fill(pollingOpen, c.Now().Add(-10*time.Minute))
	touch := toucher(sim)

	var lists, underWay atomic.Int64
	url, stop, err := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		underWay.Add(1)
		defer underWay.Add(-1)
		if strings.HasSuffix(r.URL.Path, "/conversations") {
			lists.Add(1)
		}
		sim.ServeHTTP(w, r)
	}))
	if err != nil {
		return nil, err
	}
	defer stop()
	client, err := newClient(url, b.dir, c.Now, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	registry := prometheus.NewRegistry()
	m, err := monitor.New(monitor.Options{Client: client, Promises: promised, Now: c.Now, After: c.After, Registerer: registry})
	if err != nil {
		return nil, err
	}

	running, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- m.Run(running) }()
	defer func() { cancel(); <-ran }()
	for m.Picture().Board == nil {
		if err := pause(ctx, time.Millisecond); err != nil {
			return nil, errors.New("no picture: " + m.Picture().Problem)
		}
	}
	before, err := polled(registry)
	if err != nil {
		return nil, err
	}
	first, started := lists.Load(), c.Now()
	polls := 0.0
	for polls < pollingPolls {
		if m.Picture().Problem != "" {
			return nil, errors.New(m.Picture().Problem)
		}
		c.Advance(time.Second)
		// Time stands still while a request is under way.
		for wait := true; wait; wait = underWay.Load() > 0 {
			if err := pause(ctx, time.Millisecond); err != nil {
				return nil, err
			}
		}
		now, err := polled(registry)
		if err != nil {
			return nil, err
		}
		if now-before > polls {
			polls = now - before
			touch(c.Now(), pollingChanged)
		}
	}
	requests := lists.Load() - first
	each := float64(requests) / polls
	took := c.Now().Sub(started)
	return []row{{
		what:     "list requests per poll, 10,000 open and 1 % changing between polls",
		measured: fmt.Sprintf("%.2f", each), target: "≤ 2", met: each <= 2,
		absolute: fmt.Sprintf("%d requests for %.0f polls within %v; listing everything takes %d",
			requests, polls, took, pollingOpen/perPage),
	}}, nil
}

// polled returns how many polls a monitor counts as successful.
func polled(monitor prometheus.Gatherer) (float64, error) {
	families, err := monitor.Gather()
	if err != nil {
		return 0, err
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := m.GetLabel() // by name
			if f.GetName() == "chatwoot_sla_polls_total" && labels[0].GetValue() == "delta" && labels[1].GetValue() == "success" {
				return m.GetCounter().GetValue(), nil
			}
		}
	}
	return 0, errors.New("the monitor does not count its polls")
}
