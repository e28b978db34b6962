package webhook

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

const namespace = "chatwoot_sla"

// The values of the "result" label: what became of a delivery that was
// verified and understood.
const (
	resultAccepted  = "accepted"
	resultIgnored   = "ignored"
	resultDuplicate = "duplicate"
	resultFailed    = "failed" // it could not be stored
)

const otherEvents = "other"

// events has the values of the "event" label. Whoever sends chooses the name of
// an event, so all others are otherEvents.
var events = []string{
	chatwoot.MessageCreated, chatwoot.MessageUpdated, chatwoot.ConversationCreated,
	chatwoot.ConversationUpdated, chatwoot.ConversationStatusChanged, PingEvent, otherEvents,
}

func eventLabel(name string) string {
	if slices.Contains(events, name) {
		return name
	}
	return otherEvents
}

type metrics struct {
	requests *prometheus.CounterVec
	rejected *prometheus.CounterVec
	ack      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_requests_total",
			Help: "Webhook deliveries that were verified and understood, by event and what became of them.",
		}, []string{"event", "result"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_rejected_total",
			Help: "Requests to the webhook endpoint that were turned away, by reason.",
		}, []string{"reason"}),
		ack: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "webhook_ack_duration_seconds",
			Help:    "From the arrival of a webhook delivery that was verified to its answer; Chatwoot gives up after 5.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5},
		}),
	}
	for _, event := range events {
		for _, result := range []string{resultAccepted, resultIgnored, resultDuplicate, resultFailed} {
			m.requests.WithLabelValues(event, result)
		}
	}
	for _, reason := range rejectReasons {
		m.rejected.WithLabelValues(string(reason))
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.rejected, m.ack)
	}
	return m
}

func (m metrics) answered(event, result string, took time.Duration) {
	m.requests.WithLabelValues(eventLabel(event), result).Inc()
	m.ack.Observe(took.Seconds())
}
