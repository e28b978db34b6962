package webhook_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

func forwarder(t *testing.T, answer http.HandlerFunc) *webhook.Forwarder {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
	})
	to, err := url.Parse(server.URL + "/hooks/EXAMPLE-path-token")
	if err != nil {
		t.Fatal(err)
	}
	return &webhook.Forwarder{URL: to, Secret: secret, Now: func() time.Time { return noon }}
}

func TestForwardedAsChatwootWouldSend(t *testing.T) {
	body := example(t, incoming)
	f := forwarder(t, func(_ http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != body {
			t.Errorf("the body is changed, %v", err)
		}
		if x := webhook.Explain(webhook.Evidence{
			Form: webhook.Timestamped, Secrets: []string{secret}, Body: got, At: noon,
			Timestamp: r.Header.Get(webhook.HeaderTimestamp), Signature: r.Header.Get(webhook.HeaderSignature),
		}); !x.Accepted {
			t.Errorf("the signature is %+v", x.Findings)
		}
		if key := r.Header.Get(webhook.HeaderDelivery); key != "3/message_created/91004" {
			t.Errorf("the delivery is named %q", key)
		}
	})
	if err := f.Send(t.Context(), "3/message_created/91004", []byte(body)); err != nil {
		t.Error(err)
	}
}

func TestWhatTheOtherServiceAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		down   bool
		wait   time.Duration
		says   string
	}{
		{"refused", code(http.StatusUnprocessableEntity), false, 0, "HTTP 422"},
		{"broken", code(http.StatusBadGateway), true, 0, "HTTP 502"},
		{"too slow for its own proxy", code(http.StatusRequestTimeout), true, 0, "HTTP 408"},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, false, 0, "not followed"},
		{"busy, for so long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}, false, 7 * time.Second, "HTTP 429"},
		{"busy, until then", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", noon.Add(time.Minute).Format(http.TimeFormat))
			w.WriteHeader(http.StatusTooManyRequests)
		}, false, time.Minute, "HTTP 429"},
		{"busy", code(http.StatusTooManyRequests), false, 30 * time.Second, "HTTP 429"},
		{"gone in the middle", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, 0, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := forwarder(t, tt.answer).Send(t.Context(), "key", []byte("{}"))
			e, ok := errors.AsType[*webhook.ForwardError](err)
			if !ok || e.Down() != tt.down || e.RetryAfter != tt.wait || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the error is %v, down %v, wait %v", err, e.Down(), e.RetryAfter)
			}
			if strings.Contains(err.Error(), "EXAMPLE") {
				t.Errorf("the error shows the address: %v", err)
			}
		})
	}
}

func TestASilentServiceIsDown(t *testing.T) {
	release := make(chan struct{})
	f := forwarder(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second)) // its patience is over
	defer cancel()
	e, ok := errors.AsType[*webhook.ForwardError](f.Send(ctx, "key", []byte("{}")))
	if !ok || !e.Down() || !strings.Contains(e.Error(), "no answer within 10s") {
		t.Errorf("the error is %v", e)
	}
}

func code(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}
