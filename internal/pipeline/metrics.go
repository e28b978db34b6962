package pipeline

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const namespace = "chatwoot_sla"

// Depth is how many items wait for a decision, and since when.
type Depth struct {
	Pending map[Priority]int
	Oldest  time.Time // zero: none waits
}

// Metrics counts what becomes of drafts and items.
type Metrics struct {
	drafts    *prometheus.CounterVec
	decisions *prometheus.CounterVec
	wait      *prometheus.HistogramVec
	replies   *prometheus.CounterVec
}

// The values of the "result" label of drafts.
const (
	resultConfident = "confident"
	resultMedium    = "medium"
	resultLow       = "low_confidence"
)

// NewMetrics registers the metrics with reg. Depth tells what is known of the
// queue; false: nothing yet.
func NewMetrics(reg prometheus.Registerer, depth func() (Depth, bool)) *Metrics {
	m := &Metrics{
		drafts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "drafts_total",
			Help: "Messages that were drafted for, by how it ended: confident, medium, low_confidence, no_draft, no_text, answered, gone.",
		}, []string{"result"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "approvals_total",
			Help: "Items of the approval queue that no longer wait, by decision.",
		}, []string{"decision"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "approval_wait_seconds",
			Help:    "How long items of the approval queue waited for a decision.",
			Buckets: []float64{15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400, 259200},
		}, []string{"decision"}),
		replies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "approval_replies_total",
			Help: "Approved replies, by how they ended: sent, failed, unknown, cancelled.",
		}, []string{"result"}),
	}
	for _, r := range []string{resultConfident, resultMedium, resultLow, string(NoDraft), string(NoText), string(Answered), string(Gone)} {
		m.drafts.WithLabelValues(r)
	}
	for _, d := range Decisions {
		m.decisions.WithLabelValues(string(d))
		m.wait.WithLabelValues(string(d))
	}
	for _, s := range []State{Sent, Failed, Unknown, Cancelled} {
		m.replies.WithLabelValues(string(s))
	}
	reg.MustRegister(m.drafts, m.decisions, m.wait, m.replies, depthCollector(depth))
	return m
}

// Drafted counts a draft.
func (m *Metrics) Drafted(d Drafted, why Skipped) {
	result := resultMedium
	switch {
	case why != "":
		result = string(why)
	case d.Problem != "":
		result = string(d.Problem)
	case d.LowConfidence():
		result = resultLow
	case d.Confidence > goodConfidence:
		result = resultConfident
	}
	m.drafts.WithLabelValues(result).Inc()
}

// Decided counts an item that no longer waits.
func (m *Metrics) Decided(it Item) {
	m.decisions.WithLabelValues(string(it.Decision)).Inc()
	m.wait.WithLabelValues(string(it.Decision)).Observe(max(0, it.DecidedAt.Sub(it.CreatedAt).Seconds()))
}

// Replied counts an approved reply that has come to its end.
func (m *Metrics) Replied(o Outcome) { m.replies.WithLabelValues(string(o.State)).Inc() }

// depthCollector exports the depth as it is when it is asked.
type depthCollector func() (Depth, bool)

var (
	pendingDesc = prometheus.NewDesc(namespace+"_approvals_pending", "Items of the approval queue that wait for a decision.", []string{"priority"}, nil)
	oldestDesc  = prometheus.NewDesc(namespace+"_approvals_oldest_timestamp_seconds", "When the item that waits longest for a decision was queued.", nil, nil)
)

// Describe implements prometheus.Collector.
func (depthCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- pendingDesc
	ch <- oldestDesc
}

// Collect implements prometheus.Collector.
func (c depthCollector) Collect(ch chan<- prometheus.Metric) {
	d, ok := c()
	if !ok {
		return
	}
	for _, p := range Priorities {
		ch <- prometheus.MustNewConstMetric(pendingDesc, prometheus.GaugeValue, float64(d.Pending[p]), string(p))
	}
	if !d.Oldest.IsZero() {
		ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, float64(d.Oldest.UnixMilli())/1000)
	}
}
