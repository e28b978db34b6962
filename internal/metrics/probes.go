package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

var descProbeRatio = prometheus.NewDesc(Namespace+"_probe_success_ratio",
	"Share of the window's health probes that succeeded, outside maintenance; NaN over none. The target is 0.999.", []string{"probe", "window"}, nil)

// ProbeRatios exports how many of the probes of each window have succeeded.
type ProbeRatios struct {
	probes, windows []string
	ratio           func(probe, window string) (ratio float64, known bool)
}

// NewProbeRatios returns a collector of the given probes and windows. While a
// ratio is not known its series is absent.
func NewProbeRatios(probes, windows []string, ratio func(probe, window string) (float64, bool)) *ProbeRatios {
	return &ProbeRatios{probes, windows, ratio}
}

// Describe implements prometheus.Collector.
func (c *ProbeRatios) Describe(ch chan<- *prometheus.Desc) { ch <- descProbeRatio }

// Collect implements prometheus.Collector.
func (c *ProbeRatios) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.probes {
		for _, w := range c.windows {
			if v, known := c.ratio(p, w); known {
				ch <- prometheus.MustNewConstMetric(descProbeRatio, prometheus.GaugeValue, v, p, w)
			}
		}
	}
}
