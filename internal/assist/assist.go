// Package assist calls the two services that drafts are made with: the one that
// searches the knowledge base, and the one that writes. Both are somebody
// else's, so whatever they answer is checked, and nothing that they were told
// or have answered appears in an error.
package assist

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"

	"github.com/hotdash/chatwoot-sla/internal/pipeline"
)

const (
	queryPath = "api/llamaindex/query"
	draftPath = "api/agentsdk/draft"

	queryTimeout = 2 * time.Second
	draftTimeout = 10 * time.Second

	topK         = 5
	minRelevance = 0.7

	maxAnswer = 4 << 20

	// A knowledge base that failed so often in a row is left alone for a while:
	// every draft would wait for it.
	opensAfter = 3
	openFor    = 10 * time.Second

	defaultWait = 10 * time.Second // after a 429 that names no time
	longestWait = 10 * time.Minute
)

const namespace = "chatwoot_sla"

// Options configures both services.
type Options struct {
	URL        *url.URL // without the path of the contract
	UserAgent  string
	Registerer prometheus.Registerer // nil: metrics are kept and not exported
	Now        func() time.Time      // nil: time.Now
}

// service is one of the two.
type service struct {
	name      string
	base      *url.URL
	userAgent string
	timeout   time.Duration
	client    *http.Client
	now       func() time.Time
	requests  *prometheus.CounterVec
	duration  prometheus.Histogram
}

// The values of the "result" label.
const (
	resultFound     = "found"
	resultEmpty     = "empty"
	resultDrafted   = "drafted"
	resultTimeout   = "timeout"
	resultDown      = "unreachable" // no connection, or a 5xx
	resultLimited   = "rate_limited"
	resultRefused   = "refused"  // any other status
	resultMalformed = "nonsense" // 200, and not what the contract says
	resultSkipped   = "circuit_open"
)

func newService(o Options, name, help string, timeout time.Duration, results ...string) (*service, error) {
	if o.URL == nil || o.URL.Host == "" {
		return nil, fmt.Errorf("assist: the %s service needs an address", name)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &service{
		name: name, base: o.URL, userAgent: o.UserAgent, timeout: timeout, now: o.Now,
		client: &http.Client{
			// What customers write goes to the address that was configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     http.DefaultTransport.(*http.Transport).Clone(),
		},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: name + "_requests_total", Help: "Requests to " + help + ", by how they ended.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: name + "_request_duration_seconds", Help: "How long " + help + " took to answer.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10},
		}),
	}
	for _, r := range append(results, resultTimeout, resultDown, resultLimited, resultRefused, resultMalformed) {
		s.requests.WithLabelValues(r)
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.requests, s.duration)
	}
	return s, nil
}

// Close closes idle connections.
func (s *service) Close() { s.client.CloseIdleConnections() }

// failure is a request that failed.
type failure struct {
	result string
	status int // 0 without an answer
	wait   time.Duration
	err    error
}

func (f *failure) Error() string {
	if f.status != 0 {
		return fmt.Sprintf("HTTP %d: %v", f.status, f.err)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// call posts a document and reads the answer into another.
func (s *service) call(ctx context.Context, path string, ask, answer any, check func() error) *failure {
	began := s.now()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	f := s.exchange(ctx, path, ask, answer)
	if f == nil {
		if err := check(); err != nil {
			f = &failure{result: resultMalformed, status: http.StatusOK, err: err}
		}
	}
	s.duration.Observe(s.now().Sub(began).Seconds())
	if f != nil {
		s.requests.WithLabelValues(f.result).Inc()
	}
	return f
}

func (s *service) exchange(ctx context.Context, path string, ask, answer any) *failure {
	body, err := json.Marshal(ask)
	if err != nil {
		return &failure{result: resultMalformed, err: fmt.Errorf("encode the request: %w", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return &failure{result: resultDown, err: errors.New("the address is invalid")}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", s.userAgent)
	resp, err := s.client.Do(req)
	if err != nil {
		return s.transport(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests:
		return &failure{result: resultLimited, status: code, wait: retryAfter(resp.Header.Get("Retry-After"), s.now()), err: errors.New("it asks to be left alone for a while")}
	case code >= 500:
		return &failure{result: resultDown, status: code, err: errors.New("look into its log")}
	case code != http.StatusOK:
		return &failure{result: resultRefused, status: code, err: fmt.Errorf("it refuses the request; is the address that of the %s service?", s.name)}
	case err != nil:
		return s.transport(err)
	case len(text) > maxAnswer:
		return &failure{result: resultMalformed, status: code, err: fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)}
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &failure{result: resultMalformed, status: resp.StatusCode, err: errors.New("the answer is no JSON by its content type")}
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return &failure{result: resultMalformed, status: resp.StatusCode, err: errors.New("the answer is not the JSON that was asked for")} // the decoder would quote it
	}
	return nil
}

func (s *service) transport(err error) *failure {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return &failure{result: resultTimeout, err: fmt.Errorf("no answer within %v", s.timeout)}
	}
	return &failure{result: resultDown, err: fmt.Errorf("%w; does it run, and can it be reached?", err)}
}

// retryAfter reads a header of that name, in either of its forms.
func retryAfter(header string, now time.Time) time.Duration {
	d := defaultWait
	if seconds, err := strconv.Atoi(header); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, time.Second), longestWait)
}

// Knowledge searches the knowledge base. It implements pipeline.Knowledge.
type Knowledge struct {
	*service
	circuit *gobreaker.CircuitBreaker[[]pipeline.Source]
}

// NewKnowledge returns the service at an address.
func NewKnowledge(o Options) (*Knowledge, error) {
	s, err := newService(o, "knowledge", "the knowledge service", queryTimeout, resultFound, resultEmpty, resultSkipped)
	if err != nil {
		return nil, err
	}
	return &Knowledge{s, gobreaker.NewCircuitBreaker[[]pipeline.Source](gobreaker.Settings{
		Name: s.name, Timeout: openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= opensAfter },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) },
	})}, nil
}

// Query returns what is known about a question, the most relevant first.
func (k *Knowledge) Query(ctx context.Context, question string) ([]pipeline.Source, error) {
	found, err := k.circuit.Execute(func() ([]pipeline.Source, error) { return k.query(ctx, question) })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		k.requests.WithLabelValues(resultSkipped).Inc()
	}
	if err != nil {
		return nil, fmt.Errorf("ask the knowledge service: %w", err)
	}
	return found, nil
}

func (k *Knowledge) query(ctx context.Context, question string) ([]pipeline.Source, error) {
	var answer struct {
		Results []pipeline.Source `json:"results"`
	}
	f := k.call(ctx, queryPath, map[string]any{"query": question, "top_k": topK, "min_relevance": minRelevance}, &answer, func() error {
		if answer.Results == nil {
			return errors.New("results is missing")
		}
		return nil
	})
	if f != nil {
		return nil, f
	}
	var found []pipeline.Source
	for _, r := range answer.Results {
		if r.Relevance >= minRelevance && strings.TrimSpace(r.Content) != "" {
			found = append(found, r)
		}
	}
	found = found[:min(topK, len(found))]
	result := resultFound
	if len(found) == 0 {
		result = resultEmpty
	}
	k.requests.WithLabelValues(result).Inc()
	return found, nil
}

// Agent writes drafts. It implements pipeline.Drafter.
type Agent struct{ *service }

// NewAgent returns the service at an address.
func NewAgent(o Options) (*Agent, error) {
	s, err := newService(o, "agent", "the agent service", draftTimeout, resultDrafted)
	if err != nil {
		return nil, err
	}
	return &Agent{s}, nil
}

// Draft has an answer drafted.
func (a *Agent) Draft(ctx context.Context, ask pipeline.Ask) (pipeline.Suggestion, error) {
	sources := ask.Sources
	if sources == nil {
		sources = []pipeline.Source{}
	}
	var answer struct {
		Draft      *string  `json:"draft_response"`
		Confidence *float64 `json:"confidence_score"`
		Action     string   `json:"recommended_action"`
		Sources    []any    `json:"sources"` // shown nowhere: what was found is
		Tags       []string `json:"suggested_tags"`
		Sentiment  struct {
			Customer string `json:"customer_sentiment"`
			Urgency  string `json:"urgency"`
		} `json:"sentiment"`
	}
	f := a.call(ctx, draftPath, map[string]any{
		"customer_message": ask.Message, "customer_context": ask.Customer,
		"knowledge_context": sources, "conversation_history": ask.History,
	}, &answer, func() error {
		switch {
		case answer.Draft == nil:
			return errors.New("draft_response is missing")
		case answer.Confidence == nil:
			return errors.New("confidence_score is missing")
		case math.IsNaN(*answer.Confidence) || *answer.Confidence < 0 || *answer.Confidence > 100:
			return errors.New("confidence_score is no percentage")
		}
		return nil
	})
	switch {
	case f == nil:
	case f.result == resultLimited:
		return pipeline.Suggestion{}, &pipeline.Wait{Err: fmt.Errorf("ask the agent service: %w", f), For: f.wait, Service: true}
	case f.result == resultDown || f.result == resultTimeout:
		return pipeline.Suggestion{}, &pipeline.Unavailable{Err: fmt.Errorf("ask the agent service: %w", f)}
	default:
		return pipeline.Suggestion{}, fmt.Errorf("ask the agent service: %w", f)
	}
	a.requests.WithLabelValues(resultDrafted).Inc()
	return pipeline.Suggestion{
		Reply: *answer.Draft, Confidence: *answer.Confidence, Action: answer.Action, Tags: answer.Tags,
		Sentiment: answer.Sentiment.Customer, Urgency: answer.Sentiment.Urgency,
	}, nil
}
