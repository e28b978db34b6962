package health

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"
)

const namespace = "chatwoot_sla"

// metrics holds what is counted as it happens. What can be read from the
// Watcher's state is computed by collector when it is scraped.
type metrics struct {
	probes   *prometheus.CounterVec
	failures *prometheus.CounterVec
	duration *prometheus.HistogramVec
	writes   *prometheus.CounterVec
}

func newMetrics(probes []Probe) *metrics {
	m := &metrics{
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "probes_total",
			Help: "Health probes by result, repeats included; those in a maintenance window do not count for the target.",
		}, []string{"probe", "result", "maintenance"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "probe_failures_total",
			Help: "Failed health probes by reason.",
		}, []string{"probe", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "probe_duration_seconds",
			Help:    "Time from the start of a probe to its verdict; the target is 0.5, the time-out 10.",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"probe"}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "evidence_writes_total",
			Help: "Attempts to write evidence by kind and result.",
		}, []string{"kind", "result"}),
	}
	for _, p := range probes {
		for _, result := range []string{"success", "failure"} {
			for _, maintenance := range []string{"false", "true"} {
				m.probes.WithLabelValues(p.Name, result, maintenance)
			}
		}
		for _, reason := range Reasons() {
			m.failures.WithLabelValues(p.Name, reason)
		}
		m.duration.WithLabelValues(p.Name)
	}
	for _, kind := range []string{kindCheck, kindDaily} {
		for _, result := range []string{"success", "failure"} {
			m.writes.WithLabelValues(kind, result)
		}
	}
	return m
}

func (m *metrics) count(r Result, inMaintenance bool) {
	maintenance := "false"
	if inMaintenance {
		maintenance = "true"
	}
	m.probes.WithLabelValues(r.Probe, resultLabel(r.Success), maintenance).Inc()
	m.duration.WithLabelValues(r.Probe).Observe(r.Duration.Seconds())
	if !r.Success {
		m.failures.WithLabelValues(r.Probe, r.Reason).Inc()
	}
}

func (m *metrics) wrote(kind string, err error) {
	m.writes.WithLabelValues(kind, resultLabel(err == nil)).Inc()
}

func resultLabel(success bool) string {
	if success {
		return "success"
	}
	return "failure"
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.probes, m.failures, m.duration, m.writes}
}

// collector reads a Watcher when it is scraped.
type collector struct{ w *Watcher }

var (
	probeSuccess = prometheus.NewDesc(namespace+"_probe_success",
		"1 while a probe passes, 0 from its second failure in a row; absent until either is known.", []string{"probe"}, nil)
	dependencyUp = prometheus.NewDesc(namespace+"_dependency_up",
		"Whether Chatwoot reports a dependency as ok; absent while the newest platform health probe could not tell.", []string{"dependency"}, nil)
	chatwootInfo = prometheus.NewDesc(namespace+"_chatwoot_info",
		"The version that Chatwoot last reported; always 1.", []string{"version"}, nil)
	endpointInfo = prometheus.NewDesc(namespace+"_health_endpoint_info",
		"The path that last answered the platform health probe; always 1.", []string{"path"}, nil)
	lastWrite = prometheus.NewDesc(namespace+"_evidence_last_write_timestamp_seconds",
		"When the evidence of a health check was last written.", nil, nil)
)

// dependencies are the ones that Chatwoot reports on; others would let the
// server choose label values.
func dependencies() []string { return []string{"queue_services", "data_services"} }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.w.metrics.all() {
		m.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{probeSuccess, dependencyUp, chatwootInfo, endpointInfo, lastWrite} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.w.metrics.all() {
		m.Collect(ch)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	c.w.mu.RLock()
	tracks, latest := maps.Clone(c.w.tracks), c.w.latest
	version, path, written := c.w.version, c.w.path, c.w.lastWritten
	c.w.mu.RUnlock()

	for probe, t := range tracks {
		if t.Known {
			gauge(probeSuccess, zeroOrOne(t.Success), probe)
		}
	}
	for _, r := range latest.Results {
		if r.Probe != RailsHealth {
			continue
		}
		for _, name := range dependencies() {
			if state, known := r.Dependencies[name]; known {
				gauge(dependencyUp, zeroOrOne(state == dependencyOK), name)
			}
		}
	}
	if version != "" {
		gauge(chatwootInfo, 1, version)
	}
	if path != "" {
		gauge(endpointInfo, 1, path)
	}
	if !written.IsZero() {
		gauge(lastWrite, float64(written.UnixMilli())/1000)
	}
}

func zeroOrOne(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
