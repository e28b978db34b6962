package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Requests counts the requests to Chatwoot.
type Requests struct {
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

var codeClasses = []string{"none", "2xx", "3xx", "4xx", "429", "5xx"}

// NewRequests registers the metrics with reg; endpoints is every value that
// Observe will be given.
func NewRequests(reg prometheus.Registerer, endpoints []string) *Requests {
	r := &Requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: Namespace, Name: "api_requests_total",
			Help: "Requests to Chatwoot, by class of status code; 429 is counted apart, none means no answer.",
		}, []string{"endpoint", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: Namespace, Name: "api_request_duration_seconds",
			Help:    "How long Chatwoot took to answer, reading included.",
			Buckets: []float64{0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20},
		}, []string{"endpoint"}),
	}
	for _, e := range endpoints {
		r.duration.WithLabelValues(e)
		for _, class := range codeClasses {
			r.total.WithLabelValues(e, class)
		}
	}
	reg.MustRegister(r.total, r.duration)
	return r
}

// Observe counts one request. Status is 0 when there was no answer.
func (r *Requests) Observe(endpoint string, status int, took time.Duration) {
	r.total.WithLabelValues(endpoint, codeClass(status)).Inc()
	r.duration.WithLabelValues(endpoint).Observe(took.Seconds())
}

func codeClass(status int) string {
	switch {
	case status == 429:
		return "429"
	case status >= 200 && status < 600:
		return strconv.Itoa(status/100) + "xx"
	}
	return "none"
}
