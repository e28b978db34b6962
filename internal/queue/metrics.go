package queue

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

const namespace = "chatwoot_sla"

// The values of the "result" label: what became of one attempt.
const (
	resultDone   = "done"
	resultFailed = "failed" // and is tried again
	resultDown   = "down"   // the service is out of reach; the job waits for it
	resultWait   = "wait"   // the service asked to be left alone for a while
	resultDead   = "dead"   // the last attempt
)

// otherReason stands for reasons that nobody has announced.
const otherReason = "other"

type metrics struct {
	attempts   *prometheus.CounterVec
	dead       *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	processing prometheus.Histogram
	reasons    []string
}

func newMetrics(reg prometheus.Registerer, q *Queue) metrics {
	m := metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "stage_attempts_total",
			Help: "Attempts at jobs, by stage and what became of them.",
		}, []string{"stage", "result"}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "dead_letters_total",
			Help: "Jobs that were given up, by stage and reason.",
		}, []string{"stage", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "stage_duration_seconds",
			Help:    "How long one attempt at a job took.",
			Buckets: []float64{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20},
		}, []string{"stage"}),
		processing: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "webhook_processing_duration_seconds",
			Help:    "From a webhook's being stored to the end of each job that it asked for, waits and retries included.",
			Buckets: []float64{0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 1800, 7200},
		}),
		reasons: append([]string{ReasonFailed, ReasonDown, ReasonPanic, otherReason}, q.handlers.reasons...),
	}
	for _, s := range q.stages {
		for _, result := range []string{resultDone, resultFailed, resultDown, resultWait, resultDead} {
			m.attempts.WithLabelValues(s.Name, result)
		}
		for _, reason := range m.reasons {
			m.dead.WithLabelValues(s.Name, reason)
		}
		m.duration.WithLabelValues(s.Name)
	}
	if reg != nil {
		reg.MustRegister(m.attempts, m.dead, m.duration, m.processing, state{q})
	}
	return m
}

func (m metrics) deadReason(reason string) string {
	if slices.Contains(m.reasons, reason) {
		return reason
	}
	return otherReason
}

var (
	jobsDesc    = prometheus.NewDesc(namespace+"_queue_jobs", "Jobs, by queue and state: ready, retry (waits after a failure or for its service), running, dead.", []string{"queue", "state"}, nil)
	oldestDesc  = prometheus.NewDesc(namespace+"_queue_oldest_timestamp_seconds", "When the job that waits longest was due.", []string{"queue", "state"}, nil)
	circuitDesc = prometheus.NewDesc(namespace+"_circuit_open", "1 while the service of a stage is out of reach and its jobs wait for it.", []string{"stage"}, nil)
	pausedDesc  = prometheus.NewDesc(namespace+"_queue_paused", "1 while jobs are held back, as in planned maintenance.", nil, nil)
)

// state exports how things stand when it is asked.
type state struct{ q *Queue }

// Describe implements prometheus.Collector.
func (state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{jobsDesc, oldestDesc, circuitDesc, pausedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s state) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	number := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	gauge(pausedDesc, number(s.q.paused.Load()))
	for _, stage := range s.q.stages {
		gauge(circuitDesc, number(stage.open()), stage.Name)
	}
	d, ok := s.q.Depth()
	if !ok {
		return // 0 would be a claim
	}
	for _, c := range d.Counts {
		gauge(jobsDesc, float64(c.Jobs), c.Stage, string(c.State))
		if !c.Oldest.IsZero() {
			gauge(oldestDesc, float64(c.Oldest.UnixMilli())/1000, c.Stage, string(c.State))
		}
	}
}
