package metrics

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hotdash/chatwoot-sla/internal/incident"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
)

// OperationsOptions configures an Operations collector. All fields are required.
type OperationsOptions struct {
	// Plan is what is planned. It is not known while windows that were opened by
	// hand have not been looked up: a window is then absent rather than denied.
	Plan     func() (plan maintenance.Plan, known bool)
	Notice   time.Duration // how long ahead maintenance is announced
	Incident func() incident.Incident
	Failed   func() []string // of ChecklistItems, what did not pass after the last maintenance
	Now      func() time.Time

	// ChecklistItems are the names that Failed may have.
	ChecklistItems []string
}

// Operations is the collector of maintenance and incidents.
type Operations struct{ o OperationsOptions }

// NewOperations returns a collector. Registering it is the caller's.
func NewOperations(o OperationsOptions) *Operations { return &Operations{o} }

var (
	descActive = desc("maintenance_active", "1 during maintenance, otherwise 0.")
	descPlan   = desc("maintenance_next_start_timestamp_seconds",
		"When the next maintenance starts; during one, the next after it. Absent when none is planned.")
	descNotice    = desc("maintenance_notice_seconds", "How long ahead maintenance is announced.")
	descLastStart = desc("maintenance_last_start_timestamp_seconds", "When the last maintenance that is over started. Absent when there was none.")
	descLastEnd   = desc("maintenance_last_end_timestamp_seconds", "When the last maintenance that is over ended. Absent when there was none.")
	descOverrun   = desc("maintenance_overrun", "1 while what failed in the last maintenance has not passed since it was over, otherwise 0.")
	descChecklist = desc("checklist_failed", "1 for an item of the checklist that did not pass after the last maintenance, otherwise 0.", "item")
	descIncident  = desc("incident_active", "1 for the level of the incident that is under way, otherwise 0.", "level")
	descSince     = desc("incident_start_timestamp_seconds", "When the incident that is under way started. Absent when there is none.")
)

// Describe implements prometheus.Collector.
func (c *Operations) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descActive, descPlan, descNotice, descLastStart, descLastEnd, descOverrun, descChecklist, descIncident, descSince} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Operations) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := c.o.Now()
	plan, known := c.o.Plan()
	if _, active := plan.Active(now); active || known {
		gauge(descActive, truth(active))
	}
	if w, ok := plan.Next(now); ok {
		gauge(descPlan, seconds(w.Start))
	}
	if w, ok := plan.Ended(now); ok {
		gauge(descLastStart, seconds(w.Start))
		gauge(descLastEnd, seconds(w.End))
	}
	gauge(descNotice, c.o.Notice.Seconds())
	failed := c.o.Failed()
	for _, item := range c.o.ChecklistItems {
		gauge(descChecklist, truth(slices.Contains(failed, item)), item)
	}

	i := c.o.Incident()
	for _, l := range incident.Levels() {
		gauge(descIncident, truth(i.Open() && i.Level == l), strconv.Itoa(int(l)))
	}
	if i.Open() {
		gauge(descSince, seconds(i.Started))
	}
	gauge(descOverrun, truth(i.Open() && i.Overran && !i.FailingSince.IsZero()))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
