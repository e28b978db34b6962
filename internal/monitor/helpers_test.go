package monitor_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// queries remembers the list requests that pass through it.
type queries struct {
	http.Handler
	mu   sync.Mutex
	now  func() time.Time // nil: times are not kept
	seen []query
}

type query struct {
	raw string
	at  time.Time
}

func (q *queries) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/conversations") {
		q.mu.Lock()
		one := query{raw: r.URL.RawQuery}
		if q.now != nil {
			one.at = q.now()
		}
		q.seen = append(q.seen, one)
		q.mu.Unlock()
	}
	q.Handler.ServeHTTP(w, r)
}

// keepTimes notes from now on when each query was sent.
func (q *queries) keepTimes(now func() time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.now = now
}

func (q *queries) reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seen = nil
}

func (q *queries) all() []url.Values {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []url.Values
	for _, s := range q.seen {
		v, err := url.ParseQuery(s.raw)
		if err != nil {
			panic(err)
		}
		out = append(out, v)
	}
	return out
}

// count returns how many queries contain all parts.
func (q *queries) count(parts ...string) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
next:
	for _, s := range q.seen {
		for _, p := range parts {
			if !strings.Contains(s.raw, p) {
				continue next
			}
		}
		n++
	}
	return n
}

// times returns when queries that contain part were sent.
func (q *queries) times(part string) (at []time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.seen {
		if strings.Contains(s.raw, part) {
			at = append(at, s.at)
		}
	}
	return at
}

// pollCounter finds a series of polls_total.
func pollCounter(r *rig, kind, result string) prometheus.Collector {
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "chatwoot_sla_polls_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if label(m, "kind") == kind && label(m, "result") == result {
				g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "found"})
				g.Set(m.GetCounter().GetValue())
				return g
			}
		}
	}
	r.t.Fatalf("no series %s, %s", kind, result)
	return nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
