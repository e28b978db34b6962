package ledger

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

const namespace = "chatwoot_sla"

// metrics holds what is counted as it happens; the rest is read from the
// Summary when it is scraped, which never waits for the store.
type metrics struct {
	ledger   *Ledger
	inboxes  func() []int64
	label    func(int64) string
	outcomes *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(o Options, l *Ledger) *metrics {
	m := &metrics{
		ledger:  l,
		inboxes: o.Inboxes,
		label:   o.InboxLabel,
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "first_responses_total",
			Help: "First-response clocks that this process saw decided, by outcome: met, breached, excluded. What was read from before it started is not in it.",
		}, []string{"inbox", "outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "first_response_duration_seconds",
			Help:    "Time from the start of a first-response clock to the first human answer, late answers included, of those that this process saw.",
			Buckets: []float64{60, 120, 300, 600, 900, 1200, 1800, 2700, 3600, 7200, 14400, 28800, 86400},
		}),
	}
	if m.inboxes == nil {
		m.inboxes = func() []int64 { return nil }
	}
	if m.label == nil {
		m.label = func(inbox int64) string { return strconv.FormatInt(inbox, 10) }
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(m)
	}
	return m
}

func (m *metrics) count(ev event) {
	if ev.outcome != "" {
		m.outcomes.WithLabelValues(m.label(ev.inbox), string(ev.outcome)).Inc()
	}
	if ev.answer {
		m.duration.Observe(ev.took.Seconds())
	}
}

var (
	descOutcomes = prometheus.NewDesc(namespace+"_first_response_outcomes",
		"First-response clocks decided in the window, by outcome: met, breached, excluded. Absent until counted once.", []string{"window", "outcome"}, nil)
	descRatio = prometheus.NewDesc(namespace+"_breach_ratio",
		"breached ÷ (met + breached) over the first-response clocks decided in the window; NaN over none. The target is below 0.05.", []string{"window"}, nil)
	descInboxRatio = prometheus.NewDesc(namespace+"_inbox_breach_ratio",
		"breach_ratio of each inbox.", []string{"inbox", "window"}, nil)
	descRefreshed = prometheus.NewDesc(namespace+"_first_response_outcomes_timestamp_seconds",
		"When the windows were last counted. Absent until then.", nil, nil)
	descUnwritten = prometheus.NewDesc(namespace+"_ledger_unwritten_conversations",
		"Conversations with an outcome or a running clock that is kept in memory because the store has not taken it yet.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.outcomes.Describe(ch)
	m.duration.Describe(ch)
	for _, d := range []*prometheus.Desc{descOutcomes, descRatio, descInboxRatio, descRefreshed, descUnwritten} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	inboxes := m.inboxes()
	for _, inbox := range inboxes {
		for _, o := range Outcomes {
			m.outcomes.WithLabelValues(m.label(inbox), string(o)) // there from the start, at 0
		}
	}
	m.outcomes.Collect(ch)
	m.duration.Collect(ch)
	gauge(descUnwritten, float64(m.ledger.Unwritten()))

	s := m.ledger.Summary()
	if s == nil {
		return // nothing is known, which is not the same as zero
	}
	gauge(descRefreshed, float64(s.At.UnixMilli())/1000)
	for i, w := range Windows {
		total := s.Total(i)
		for _, o := range Outcomes {
			gauge(descOutcomes, float64(total.Of(o)), w.Name, string(o))
		}
		gauge(descRatio, total.BreachRatio(), w.Name)

		byLabel := make(map[string]Tally, len(inboxes))
		for _, inbox := range inboxes {
			byLabel[m.label(inbox)] = Tally{}
		}
		for inbox, t := range s.ByInbox[i] {
			label := m.label(inbox)
			byLabel[label] = byLabel[label].Plus(t)
		}
		for label, t := range byLabel {
			gauge(descInboxRatio, t.BreachRatio(), label, w.Name)
		}
	}
}
