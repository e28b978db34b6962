package monitor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The values of the "kind" label.
const (
	kindFull      = "full"      // everything, page by page
	kindDelta     = "delta"     // what changed
	kindReconcile = "reconcile" // Chatwoot's own count
)

type metrics struct {
	polls    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, m *Monitor) metrics {
	ms := metrics{
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chatwoot_sla_polls_total",
			Help: "Reads of the conversation list: full (everything), delta (what changed), reconcile (Chatwoot's own count).",
		}, []string{"kind", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "chatwoot_sla_poll_duration_seconds",
			Help:    "How long a read of the conversation list took, all its requests included.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"kind"}),
	}
	for _, kind := range []string{kindFull, kindDelta, kindReconcile} {
		ms.polls.WithLabelValues(kind, "success")
		ms.polls.WithLabelValues(kind, "failure")
		ms.duration.WithLabelValues(kind)
	}
	if reg != nil {
		reg.MustRegister(ms.polls, ms.duration, &pictureCollector{m})
	}
	return ms
}

func (ms metrics) observe(kind string, err error, took time.Duration) {
	result := "success"
	if err != nil {
		result = "failure"
	}
	ms.polls.WithLabelValues(kind, result).Inc()
	ms.duration.WithLabelValues(kind).Observe(took.Seconds())
}

// timed runs read and counts it.
func (m *Monitor) timed(kind string, read func() error) error {
	started := m.now()
	err := read()
	m.metrics.observe(kind, err, m.now().Sub(started))
	return err
}

var (
	descLastSuccess = prometheus.NewDesc("chatwoot_sla_poll_last_success_timestamp_seconds",
		"When the last good poll began. Absent until there was one.", nil, nil)
	descIncomplete = prometheus.NewDesc("chatwoot_sla_poll_incomplete",
		"By how many open conversations Chatwoot's own count differs from what was read. Absent until everything was read once.", nil, nil)
	descUndecided = prometheus.NewDesc("chatwoot_sla_undecided_outcomes",
		"First-response clocks that have ended, and whose outcome has yet to be looked up. Absent until everything was read once.", nil, nil)
	descSkew = prometheus.NewDesc("chatwoot_sla_poll_clock_skew_seconds",
		"How far Chatwoot's clock is ahead of ours; 0 below two seconds.", nil, nil)
	descRole = prometheus.NewDesc("chatwoot_sla_token_role_sufficient",
		"1 when the token's user is an administrator of the account and so sees all its conversations. Absent until known.", nil, nil)
)

// pictureCollector exports how far the picture can be trusted, when asked.
type pictureCollector struct{ m *Monitor }

func (c *pictureCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descLastSuccess
	ch <- descIncomplete
	ch <- descUndecided
	ch <- descSkew
	ch <- descRole
}

func (c *pictureCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	p := c.m.Picture()
	if p.Board != nil {
		gauge(descLastSuccess, float64(p.SyncedAt.UnixMilli())/1000)
		gauge(descIncomplete, float64(p.Incomplete))
		gauge(descUndecided, float64(p.Undecided))
	}
	gauge(descSkew, c.m.client.ClockSkew().Seconds())
	if p.Account != nil {
		sufficient := 0.0
		if p.Account.Administrator() {
			sufficient = 1
		}
		gauge(descRole, sufficient)
	}
}
