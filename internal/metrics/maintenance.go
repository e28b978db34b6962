package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// MaintenanceOptions configures a Maintenance collector. All fields are
// required.
type MaintenanceOptions struct {
	Active func(time.Time) bool                       // whether an instant lies in a window
	Next   func(time.Time) (start time.Time, ok bool) // when the first window after an instant starts
	Now    func() time.Time
}

// Maintenance is the collector of what is planned.
type Maintenance struct{ o MaintenanceOptions }

// NewMaintenance returns a collector. Registering it is the caller's.
func NewMaintenance(o MaintenanceOptions) *Maintenance { return &Maintenance{o} }

var (
	descActive = desc("maintenance_active", "1 during planned maintenance, otherwise 0.")
	descPlan   = desc("maintenance_next_start_timestamp_seconds",
		"When the next planned maintenance starts; during one, the next after it. Absent when none is planned.")
)

// Describe implements prometheus.Collector.
func (c *Maintenance) Describe(ch chan<- *prometheus.Desc) {
	ch <- descActive
	ch <- descPlan
}

// Collect implements prometheus.Collector.
func (c *Maintenance) Collect(ch chan<- prometheus.Metric) {
	now, active := c.o.Now(), 0.0
	if c.o.Active(now) {
		active = 1
	}
	ch <- prometheus.MustNewConstMetric(descActive, prometheus.GaugeValue, active)
	if start, ok := c.o.Next(now); ok {
		ch <- prometheus.MustNewConstMetric(descPlan, prometheus.GaugeValue, seconds(start))
	}
}
