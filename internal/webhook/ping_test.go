package webhook_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/porttest"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func ping(t *testing.T, o webhook.PingOptions) webhook.Pong {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	p, err := webhook.Ping(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPingIsReceivedAndNotProcessed(t *testing.T) {
	forms := map[webhook.Form]webhook.Options{
		webhook.Timestamped: {Secrets: []string{secret}},
		webhook.BodyOnly:    {Secrets: []string{secret}, Form: webhook.BodyOnly},
		webhook.Unsigned:    {Form: webhook.Unsigned, PathToken: token},
	}
	reasons := map[string]string{
		"ping": "ping", "message_created": "private_note", "conversation_status_changed": "not_resolved", "conversation_updated": "other_event",
	}
	for form, o := range forms {
		for _, event := range webhook.PingEvents {
			t.Run(string(form)+"/"+event, func(t *testing.T) {
				r := start(t, o)
				p := ping(t, webhook.PingOptions{URL: parse(t, r.url+"/"+token), Event: event, AccountID: account, Form: form, Secret: secret})
				if !p.Received || p.Status != 200 || p.Problem != "HTTP 200: ignored, "+reasons[event] {
					t.Errorf("Ping = %+v", p)
				}
				if n := r.counted("webhook_requests_total", event, "ignored"); n != 1 {
					t.Errorf("counted %v times", n)
				}
				if len(r.inbox.all()) != 0 {
					t.Error("it is processed")
				}
				if hints := r.hints.Load(); hints != 0 && event == "ping" {
					t.Errorf("%d hints of nothing", hints)
				}
			})
		}
	}
}

func TestPingOfAnEventThatItCannotMake(t *testing.T) {
	_, err := webhook.Ping(t.Context(), webhook.PingOptions{URL: parse(t, "http://127.0.0.1:1"), Event: "contact_created"})
	if err == nil || !strings.Contains(err.Error(), "message_created") {
		t.Errorf("the error %v does not say what can be sent", err)
	}
}

func TestPingExplainsWhatAHandlerSays(t *testing.T) {
	for name, tt := range map[string]struct {
		o      webhook.Options
		change func(*webhook.PingOptions)
		status int
		says   string
	}{
		"another secret":  {withSecret, func(o *webhook.PingOptions) { o.Secret = "another" }, 401, "CHATWOOT_WEBHOOK_SECRET"},
		"another clock":   {withSecret, func(o *webhook.PingOptions) { o.Now = func() time.Time { return noon.Add(time.Hour) } }, 401, "both clocks"},
		"another account": {withSecret, func(o *webhook.PingOptions) { o.AccountID = 4 }, 400, "CHATWOOT_ACCOUNT_ID"},
		"no secret there": {webhook.Options{}, func(*webhook.PingOptions) {}, 503, "it says why"},
		"another path":    {withSecret, func(o *webhook.PingOptions) { o.URL = parse(t, strings.TrimSuffix(o.URL.String(), "t")) }, 404, "WEBHOOK_LISTEN_ADDR does"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, tt.o)
			o := webhook.PingOptions{URL: parse(t, r.url), AccountID: account, Secret: secret}
			tt.change(&o)
			if p := ping(t, o); p.Received || p.Status != tt.status || !strings.Contains(p.Fix, tt.says) {
				t.Errorf("Ping = %+v, want %d and %q", p, tt.status, tt.says)
			}
		})
	}
}

func TestPingExplainsWhatIsNotAHandler(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		says   string
	}{
		"another program's page":         {200, "<html>", "something answered that is not chatwoot-sla"},
		"a redirect":                     {301, "", "a redirect to https://elsewhere.example.com, which"},
		"a login":                        {403, "", "asks for a login"},
		"a proxy's 401":                  {401, "<html>", "asks for a login"},
		"a proxy that knows no such way": {404, "<html>", "the path does not"},
		"a proxy that only reads":        {405, "", "not a POST any more"},
		"a proxy with a low limit":       {413, "<html>", "client_max_body_size"},
		"a proxy that throttles":         {429, "", "lift the limit"},
		"a proxy that is alone":          {502, "<html>", "the proxy does not reach chatwoot-sla"},
		"a proxy that waits":             {504, "", "the proxy does not reach chatwoot-sla"},
		"a proxy that says 503":          {503, "<html>", "the proxy does not reach chatwoot-sla"},
		"something that breaks":          {500, "", "does not answer so"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://elsewhere.example.com/"+token)
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer s.Close()
			p := ping(t, webhook.PingOptions{URL: parse(t, s.URL+"/"+token), Secret: secret})
			if p.Received || p.Status != tt.status || !strings.Contains(p.Fix, tt.says) {
				t.Errorf("Ping = %+v, want %q", p, tt.says)
			}
			if strings.Contains(p.Problem+p.Fix, token) {
				t.Errorf("it tells the path token: %+v", p)
			}
		})
	}
}

// transport fails as the network would.
type transport func() error

func (f transport) RoundTrip(*http.Request) (*http.Response, error) { return nil, f() }

func TestPingExplainsWhyThereIsNoAnswer(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are to fail
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()

	for name, tt := range map[string]struct {
		url  string
		via  http.RoundTripper
		says string
	}{
		"nothing listens":           {"http://" + porttest.Refusing(t), nil, "nothing listens at"},
		"an unknown certificate":    {secure.URL, nil, "the certificate is not trusted"},
		"https where there is none": {strings.Replace(plain.URL, "http", "https", 1), nil, "does not speak TLS at this port"},
		"a name that is none":       {"https://sla.invalid", transport(func() error { return &net.DNSError{Err: "no such host", Name: "sla.invalid", IsNotFound: true} }), "the name sla.invalid does not resolve"},
		"silence":                   {"https://sla.example.com", transport(func() error { return context.DeadlineExceeded }), "no answer within 5s"},
		"something else":            {"https://sla.example.com", transport(func() error { return errors.New("broken pipe") }), "the connection failed: broken pipe"},
		"a TLS alert":               {"https://sla.example.com", transport(func() error { return tls.AlertError(40) }), "the connection failed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := ping(t, webhook.PingOptions{URL: parse(t, tt.url+"/"+token), Secret: secret, Transport: tt.via})
			if p.Received || p.Status != 0 || !strings.Contains(p.Problem, tt.says) || p.Fix == "" {
				t.Errorf("Ping = %+v, want %q", p, tt.says)
			}
			if strings.Contains(p.Problem+p.Fix, token) {
				t.Errorf("it tells the path token: %+v", p)
			}
		})
	}
}
