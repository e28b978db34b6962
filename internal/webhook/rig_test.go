package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = 3
	secret  = "EXAMPLE-signing-secret-not-real"
	token   = "EXAMPLE-path-token"
)

var noon = time.Date(2026, 6, 22, 12, 0, 0, 0, time.UTC)

// inbox keeps deliveries in memory.
type inbox struct {
	mu   sync.Mutex
	got  []webhook.Delivery
	fail error
	wait func(context.Context) error // before anything is kept
}

func (i *inbox) Accept(ctx context.Context, d webhook.Delivery) (bool, error) {
	if i.wait != nil {
		if err := i.wait(ctx); err != nil {
			return false, err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fail != nil {
		return false, i.fail
	}
	for _, known := range i.got {
		if d.ID != "" && d.ID == known.ID || d.Key == known.Key {
			return false, nil
		}
	}
	i.got = append(i.got, d)
	return true, nil
}

func (i *inbox) all() []webhook.Delivery {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]webhook.Delivery(nil), i.got...)
}

// rig is a Handler behind a real listener. Its clock stands still at noon.
type rig struct {
	t     *testing.T
	url   string // of the endpoint
	inbox *inbox
	hints atomic.Int64
	reg   *prometheus.Registry
	log   *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start fills in what o leaves open. Limit may change the server before it
// starts.
func start(t *testing.T, o webhook.Options, limit ...func(*http.Server)) *rig {
	t.Helper()
	r := &rig{t: t, inbox: &inbox{}, reg: prometheus.NewPedanticRegistry(), log: &logBuffer{}}
	if o.Inbox != nil {
		r.inbox = o.Inbox.(*inbox)
	}
	if o.AccountID == 0 {
		o.AccountID = account
	}
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	o.Inbox = r.inbox
	o.Hint = func() { r.hints.Add(1) }
	o.Registerer = r.reg
	o.Logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(r.log)), zap.DebugLevel))
	h, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(nil)
	s.Config = h.Server()
	for _, change := range limit {
		change(s.Config)
	}
	s.Start()
	t.Cleanup(func() {
		s.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	r.url = s.URL + webhook.Path
	return r
}

// signed returns headers as Chatwoot sends them at a time.
func signed(key string, at time.Time, body string) http.Header {
	return http.Header{
		"Content-Type":          {"application/json"},
		webhook.HeaderTimestamp: {strconv.FormatInt(at.Unix(), 10)},
		webhook.HeaderSignature: {webhook.Sign(key, at, []byte(body))},
	}
}

// answer is what came back.
type answer struct {
	code                  int
	Status, Reason, Error string
}

func (r *rig) send(method, url string, header http.Header, body io.Reader) answer {
	r.t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := answer{code: resp.StatusCode}
	if err := json.Unmarshal(text, &a); err != nil {
		r.t.Fatalf("%s answers with %q: %v", url, text, err)
	}
	return a
}

func (r *rig) post(header http.Header, body string) answer {
	r.t.Helper()
	return r.send(http.MethodPost, r.url, header, strings.NewReader(body))
}

// deliver sends a body as Chatwoot would.
func (r *rig) deliver(body string) answer {
	r.t.Helper()
	return r.post(signed(secret, noon, body), body)
}

// counted returns the value of a series such as
// webhook_rejected_total{reason="method"}, and fails if it is not there.
func (r *rig) counted(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "chatwoot_sla_"+name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			for i, pair := range m.GetLabel() {
				if pair.GetValue() != labels[i] {
					continue series
				}
			}
			if h := m.GetHistogram(); h != nil {
				return float64(h.GetSampleCount())
			}
			return m.GetCounter().GetValue()
		}
	}
	r.t.Fatalf("there is no series %s%q", name, labels)
	return 0
}

func example(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../chatwoot/testdata/examples", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
