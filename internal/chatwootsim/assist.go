package chatwootsim

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Assist stands in for the two services that drafts are made with: the one
// that searches a knowledge base, and the one that writes. No model is asked:
// answers are a function of the question. It is safe for concurrent use.
type Assist struct {
	// After waits for injected delays; nil: time.After.
	After func(time.Duration) <-chan time.Time

	mu       sync.Mutex
	faults   []*injected
	retry    string // Retry-After of a 429
	received map[string][]json.RawMessage
}

// The paths of the two services.
const (
	KnowledgePath = "/api/llamaindex/query"
	AgentPath     = "/api/agentsdk/draft"
)

// article is a page of the knowledge base.
type article struct {
	title, version, content string
	words                   []string
	relevance               float64
	urgent                  bool
	confidence              float64
	reply                   string
}

var articles = []article{
	{
		title: "Shipping times", version: "3", content: "Orders leave within one working day; the carrier takes two to four.", relevance: 0.93,
		words: []string{"order", "shipping", "deliver", "parcel", "arrive"}, confidence: 92,
		reply: "Your order leaves our warehouse within one working day, and the carrier takes two to four more. The tracking link is in your confirmation e-mail.",
	},
	{
		title: "Returns and refunds", version: "7", content: "Goods can be returned within 30 days; refunds take up to five working days.", relevance: 0.88,
		words: []string{"refund", "return", "money", "exchange"}, confidence: 84,
		reply: "You can return it within 30 days of delivery. Once it is back with us, the refund takes up to five working days.",
	},
	{
		title: "Invoices", version: "2", content: "Invoices are in the customer's account, under Orders.", relevance: 0.81,
		words: []string{"invoice", "receipt", "bill", "charged", "payment"}, confidence: 76,
		reply: "You find your invoices in your account, under Orders. If one of them looks wrong, please tell us its number.",
	},
	{
		title: "Complaints", version: "1", content: "Angry customers are called back the same day.", relevance: 0.74,
		words: []string{"angry", "terrible", "lawyer", "unacceptable", "urgent", "asap"}, urgent: true, confidence: 55,
		reply: "I am sorry about this. A colleague will call you back today.",
	},
}

// about returns the articles that a question is about.
func about(question string) (found []article) {
	question = strings.ToLower(question)
	for _, a := range articles {
		if slices.ContainsFunc(a.words, func(w string) bool { return strings.Contains(question, w) }) {
			found = append(found, a)
		}
	}
	return found
}

// Inject adds a fault and returns what ends it. Of the kinds, FaultLatency,
// FaultHang, FaultStatus, FaultThrottle, FaultHTML, FaultTruncatedJSON,
// FaultWrongType and FaultDropConn can be had.
func (a *Assist) Inject(f Fault) (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in := &injected{Fault: f, left: f.Times}
	a.faults = append(a.faults, in)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.faults = slices.DeleteFunc(a.faults, func(other *injected) bool { return other == in })
	}
}

// RetryAfter sets the header of that name in the 429s to come; empty: none.
func (a *Assist) RetryAfter(value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retry = value
}

// Received returns the bodies of the requests to a path, oldest first.
func (a *Assist) Received(path string) []json.RawMessage {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.received[path])
}

func (a *Assist) struck(path string) (delay time.Duration, struck *Fault, retry string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range slices.Clone(a.faults) {
		if !strings.Contains(path, f.Path) {
			continue
		}
		switch {
		case f.Kind == FaultLatency:
			delay += f.Delay
		case struck == nil:
			struck = &f.Fault
		default:
			continue
		}
		if f.Times == 0 {
			continue
		}
		if f.left--; f.left == 0 {
			a.faults = slices.DeleteFunc(a.faults, func(other *injected) bool { return other == f })
		}
	}
	return delay, struck, a.retry
}

// ServeHTTP implements http.Handler.
func (a *Assist) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return
	}
	a.mu.Lock()
	if a.received == nil {
		a.received = map[string][]json.RawMessage{}
	}
	if known := a.received[r.URL.Path]; len(known) < logSize { // demos run for days
		a.received[r.URL.Path] = append(known, body)
	}
	a.mu.Unlock()
	delay, fault, retry := a.struck(r.URL.Path)
	after := a.After
	if after == nil {
		after = time.After
	}
	if delay > 0 {
		select {
		case <-after(delay):
		case <-r.Context().Done():
			return
		}
	}
	var good recorder
	a.answer(&good, r, body)
	if fault == nil {
		good.send(w)
		return
	}
	switch fault.Kind {
	case FaultHang:
		<-r.Context().Done()
	case FaultThrottle:
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		http.Error(w, `{"error":"slow down"}`, http.StatusTooManyRequests)
	case FaultStatus:
		status := fault.Status
		if status == 0 {
			status = http.StatusInternalServerError
		}
		http.Error(w, `{"error":"no"}`, status)
	case FaultHTML:
		htmlPage(w, http.StatusOK, "Welcome")
	case FaultDropConn:
		panic(http.ErrAbortHandler)
	default:
		alter(w, &good, fault.Kind)
	}
}

func (g *recorder) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), g.header)
	w.WriteHeader(g.status)
	_, _ = w.Write(g.body.Bytes())
}

func (a *Assist) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	var ask struct {
		Query     string  `json:"query"`
		TopK      int     `json:"top_k"`
		Relevance float64 `json:"min_relevance"`
		Message   *string `json:"customer_message"`
		Sources   []any   `json:"knowledge_context"`
	}
	if err := json.Unmarshal(body, &ask); err != nil || r.Method != http.MethodPost {
		http.Error(w, `{"error":"not what the contract says"}`, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	var answer any
	switch {
	case r.URL.Path == KnowledgePath && ask.Query != "" && ask.TopK > 0:
		results := []map[string]any{}
		for _, found := range about(ask.Query) {
			if found.relevance >= ask.Relevance && len(results) < ask.TopK {
				results = append(results, map[string]any{
					"title": found.title, "content": found.content, "relevance": found.relevance, "version": found.version,
				})
			}
		}
		answer = map[string]any{"results": results}
	case r.URL.Path == AgentPath && ask.Message != nil && ask.Sources != nil:
		answer = draft(*ask.Message, len(ask.Sources) > 0)
	default:
		http.Error(w, `{"error":"not what the contract says"}`, http.StatusUnprocessableEntity)
		return
	}
	text, err := json.Marshal(answer)
	if err != nil { // of maps of texts and numbers
		panic(err)
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(text)
}

// draft answers a message the same way every time. Without sources it is less
// sure.
func draft(message string, sources bool) map[string]any {
	reply, confidence, urgency, mood := "Thank you for your message. Could you tell us a little more, so that we can help?", 62.0, "low", "neutral"
	tags := []string{"general"}
	if found := about(message); len(found) > 0 {
		reply, confidence = found[0].reply, found[0].confidence
		tags = []string{strings.ToLower(strings.Fields(found[0].title)[0])}
		if slices.ContainsFunc(found, func(f article) bool { return f.urgent }) {
			urgency, mood, confidence = "high", "negative", min(confidence, 60)
		}
	}
	if !sources {
		confidence = min(confidence, 65)
	}
	action := "approve"
	if confidence < 70 {
		action = "escalate"
	}
	return map[string]any{
		"draft_response": reply, "confidence_score": confidence, "recommended_action": action,
		"sources": []string{}, "suggested_tags": tags,
		"sentiment": map[string]any{"customer_sentiment": mood, "urgency": urgency},
	}
}
