package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hotdash/chatwoot-sla/internal/metrics"
	"github.com/hotdash/chatwoot-sla/internal/sla"
)

const (
	scrapeMany    = 100_000
	scrapeFew     = 10
	scrapeInboxes = 10
	scrapeRounds  = 41
	scrapeBatch   = 20 // scrapes timed together
)

// scrape compares scrapes with many and with few open conversations.
func (b *bench) scrape(ctx context.Context) ([]row, error) {
	start := b.now()
	few, many := newScraper(scrapeFew, start), newScraper(scrapeMany, start)
	var fewTimes, manyTimes []time.Duration
	for range scrapeRounds {
		for _, turn := range []struct {
			s     *scraper
			times *[]time.Duration
		}{{few, &fewTimes}, {many, &manyTimes}} {
			began := b.now()
			for range scrapeBatch {
				if err := turn.s.scrape(ctx); err != nil {
					return nil, err
				}
			}
			*turn.times = append(*turn.times, b.now().Sub(began)/scrapeBatch)
		}
	}
	fewAllocs, err := few.allocations(ctx)
	if err != nil {
		return nil, err
	}
	manyAllocs, err := many.allocations(ctx)
	if err != nil {
		return nil, err
	}
	if few.lines != many.lines {
		return nil, fmt.Errorf("scrape: %d lines with few conversations and %d with many, which should be the same", few.lines, many.lines)
	}
	f, m := median(fewTimes), median(manyTimes)
	ratio := float64(m) / float64(f)
	more := max(0, manyAllocs-fewAllocs) // an allocation elsewhere in the process may fall into either
	return []row{
		{
			what:     "scrape with 100,000 open conversations, against one with 10",
			measured: fmt.Sprintf("%.2f ×", ratio), target: "≤ 1.2 ×", met: ratio <= 1.2,
			absolute: fmt.Sprintf("%d µs against %d µs, %d series", m.Microseconds(), f.Microseconds(), many.lines),
		},
		{
			what:     "allocations of such a scrape, more than with 10",
			measured: fmt.Sprintf("%.1f", more), target: "0", met: more < 0.5,
			absolute: fmt.Sprintf("%.1f against %.1f", manyAllocs, fewAllocs),
		},
	}, nil
}

// scraper scrapes a board of n conversations, at a later instant each time.
type scraper struct {
	handler http.Handler
	now     time.Time
	answer  sink
	lines   int // of the last answer, comments left out
}

func newScraper(n int, start time.Time) *scraper {
	s := &scraper{now: start, answer: sink{header: http.Header{}}}
	board := sla.NewBoard(promises, n, slices.Values(entries(n, scrapeInboxes, start)), nil)
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.NewSLA(metrics.SLAOptions{
		Promises:   promises,
		Board:      func() *sla.Board { return board },
		Now:        func() time.Time { return s.now },
		Inboxes:    func() []metrics.Inbox { return inboxNames },
		MaxInboxes: 50,
	}))
	s.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return s
}

var inboxNames = func() []metrics.Inbox {
	names := make([]metrics.Inbox, scrapeInboxes)
	for i := range names {
		names[i] = metrics.Inbox{ID: int64(i + 1), Name: "Inbox " + strconv.Itoa(i+1)}
	}
	return names
}()

func (s *scraper) scrape(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return err
	}
	s.now = s.now.Add(100 * time.Millisecond)
	s.answer.reset()
	s.handler.ServeHTTP(&s.answer, req)
	if s.answer.status != 0 && s.answer.status != http.StatusOK {
		return fmt.Errorf("scrape: status %d", s.answer.status)
	}
	s.lines = s.answer.series
	return nil
}

// allocations returns how many allocations a scrape makes on average.
func (s *scraper) allocations(ctx context.Context) (float64, error) {
	const scrapes = 200
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties pools
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range scrapes {
		if err := s.scrape(ctx); err != nil {
			return 0, err
		}
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / scrapes, nil
}

// sink is a ResponseWriter that counts what it is given and forgets it.
type sink struct {
	header http.Header
	status int
	series int // lines that are no comments
	inside bool
}

func (w *sink) reset() {
	clear(w.header)
	w.status, w.series, w.inside = 0, 0, false
}

func (w *sink) Header() http.Header    { return w.header }
func (w *sink) WriteHeader(status int) { w.status = status }

func (w *sink) Write(p []byte) (int, error) {
	for _, c := range p {
		if !w.inside && c != '#' {
			w.series++
		}
		w.inside = c != '\n'
	}
	return len(p), nil
}
