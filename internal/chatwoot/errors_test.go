package chatwoot_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/porttest"
)

const (
	temporary = true
	permanent = false
)

// wantError checks what callers branch on and what people read: the kind, and
// a text that has says in it and no secret and no query.
func wantError(t *testing.T, err error, kind chatwoot.Kind, status int, again bool, says ...string) *chatwoot.Error {
	t.Helper()
	var e *chatwoot.Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v, of type %T", err, err)
	}
	if !chatwoot.Is(err, kind) || e.Status != status || e.Temporary() != again {
		t.Errorf("kind %d, status %d, temporary %v; want %d, %d, %v: %v", e.Kind, e.Status, e.Temporary(), kind, status, again, e)
	}
	for _, want := range says {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("%q lacks %q", e, want)
		}
	}
	for _, secret := range []string{token, websiteToken, "?", "assignee_type", "website_token"} {
		if strings.Contains(e.Error(), secret) {
			t.Errorf("%q tells %q", e, secret)
		}
	}
	return e
}

const rubyHTML = "<!DOCTYPE html>\n<html><head><title>We're sorry, but something went wrong (500)</title></head></html>"

func TestAnswersThatAreErrors(t *testing.T) {
	asJSON := func(status int, body string) http.HandlerFunc {
		return says(status, "application/json; charset=utf-8", body)
	}
	asHTML := func(status int, body string) http.HandlerFunc { return says(status, "text/html; charset=UTF-8", body) }
	redirect := func(status int, to string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(status)
		}
	}
	short := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			asJSON(status, body)(w, r)
		}
	}
	long := strings.Repeat("ж", 1000)

	tests := []struct {
		name      string
		h         http.HandlerFunc
		kind      chatwoot.Kind
		status    int
		temporary bool
		says      []string
	}{
		{
			"no token arrived, whatever the language", asJSON(401, `{"errors":["Войдите или зарегистрируйтесь."]}`),
			chatwoot.Unauthorized, 401, permanent,
			[]string{"HTTP 401", "no token arrived", "a proxy may drop the Api-Access-Token header"},
		},
		{
			"unknown token", asJSON(401, example(t, "error_401")),
			chatwoot.Unauthorized, 401, permanent,
			[]string{"HTTP 401 (Invalid Access Token)", "check the token"},
		},
		{
			"not a member of the account", asJSON(401, `{"error":"You are not authorized to access this account"}`),
			chatwoot.Unauthorized, 401, permanent,
			[]string{"not authorized to access this account", "permissions of its user"},
		},
		{
			"account suspended", asJSON(401, `{"error":"Account is suspended"}`),
			chatwoot.Unauthorized, 401, permanent,
			[]string{"Account is suspended"},
		},
		{
			"policy denies", asJSON(401, `{"error":"You are not authorized to do this action"}`),
			chatwoot.Unauthorized, 401, permanent,
			[]string{"permissions of its user"},
		},
		{
			"bot token", asJSON(401, `{"error":"Access to this endpoint is not authorized for bots"}`),
			chatwoot.Unauthorized, 401, permanent,
			[]string{"not authorized for bots"},
		},
		{
			"a proxy's own 401", asHTML(401, "<h1>401 Authorization Required</h1>"),
			chatwoot.Unauthorized, 401, permanent,
			[]string{"HTTP 401", "check the token"},
		},
		{
			"unknown id or account", asJSON(404, `{"error":"Resource could not be found"}`),
			chatwoot.NotFound, 404, permanent,
			[]string{"HTTP 404 (Resource could not be found)", "check the base URL"},
		},
		{
			"no such route, as JSON", asJSON(404, `{"status":404,"error":"Not Found"}`),
			chatwoot.NotFound, 404, permanent,
			[]string{"HTTP 404 (Not Found)", "check the base URL"},
		},
		{
			"no such route, as a page", asHTML(404, "<html>The page you were looking for doesn't exist.</html>"),
			chatwoot.NotFound, 404, permanent,
			[]string{"HTTP 404", "check the base URL"},
		},
		{
			"malformed request", asJSON(400, `{"status":400,"error":"Bad Request"}`),
			chatwoot.Refused, 400, permanent,
			[]string{"HTTP 400 (Bad Request)", "check the base URL"},
		},
		{
			"a web page's address", asJSON(406, `{"error":"Please use API routes instead of dashboard routes for JSON requests"}`),
			chatwoot.Refused, 406, permanent,
			[]string{"HTTP 406 (Please use API routes", "check the base URL"},
		},
		{
			"a proxy forbids", asHTML(403, "<h1>403 Forbidden</h1>"),
			chatwoot.Refused, 403, permanent,
			[]string{"HTTP 403", "check the base URL"},
		},
		{
			"invalid parameter", asJSON(422, `{"error":"param is missing or the value is empty: payload"}`),
			chatwoot.Refused, 422, permanent,
			[]string{"HTTP 422 (param is missing"},
		},
		{
			"flood", asJSON(422, example(t, "error_422")),
			chatwoot.Refused, 422, permanent,
			[]string{"Too many messages"},
		},
		{
			"model validation", asJSON(422, `{"message":"Name can't be blank","attributes":["name"]}`),
			chatwoot.Refused, 422, permanent,
			[]string{"HTTP 422 (Name can't be blank)"},
		},
		{
			"a list of errors", asJSON(422, `{"errors":["Inbox is gone","and more"]}`),
			chatwoot.Refused, 422, permanent,
			[]string{"HTTP 422 (Inbox is gone)"},
		},
		{
			"a long message on several lines", asJSON(422, `{"error":"one\n\ttwo `+long+`"}`),
			chatwoot.Refused, 422, permanent,
			[]string{"(one two жжж", "…)"},
		},
		{
			"throttled", says(429, "text/plain", "Retry later\n"),
			chatwoot.Throttled, 429, temporary,
			[]string{"HTTP 429", "lower the request budget"},
		},
		{
			"throttled, and cut", short(429, "Retry"),
			chatwoot.Throttled, 429, temporary,
			[]string{"HTTP 429"},
		},
		{
			"rack-timeout, as JSON", asJSON(500, `{"status":500,"error":"Internal Server Error"}`),
			chatwoot.ServerError, 500, temporary,
			[]string{"HTTP 500 (Internal Server Error)", "Chatwoot's log"},
		},
		{
			"rack-timeout, as a page", asHTML(500, rubyHTML),
			chatwoot.ServerError, 500, temporary,
			[]string{"HTTP 500", "Chatwoot's log"},
		},
		{
			"the proxy finds no Chatwoot", asHTML(502, "<h1>502 Bad Gateway</h1>"),
			chatwoot.ServerError, 502, temporary,
			[]string{"HTTP 502", "Chatwoot's log"},
		},
		{
			"maintenance", asHTML(503, "<h1>503 Service Unavailable</h1>"),
			chatwoot.ServerError, 503, temporary,
			[]string{"HTTP 503"},
		},
		{
			"the proxy's time-out, cut", short(504, "<h1>"),
			chatwoot.ServerError, 504, temporary,
			[]string{"HTTP 504"},
		},
		{
			"FORCE_SSL", redirect(301, "https://support.example.com/api?website_token="+websiteToken),
			chatwoot.Redirected, 301, permanent,
			[]string{"HTTP 301", "https://support.example.com/api;", "set the base URL"},
		},
		{
			"onboarding", redirect(302, "/installation/onboarding"),
			chatwoot.Redirected, 302, permanent,
			[]string{"HTTP 302", "/installation/onboarding;", "set the base URL"},
		},
		{
			"a redirect with a password", redirect(307, "https://user:EXAMPLE-password@support.example.com/"),
			chatwoot.Redirected, 307, permanent,
			[]string{"https://support.example.com/;"},
		},
		{
			"a redirect to nowhere", redirect(308, ""),
			chatwoot.Redirected, 308, permanent,
			[]string{"HTTP 308, a redirect to an address it does not name"},
		},
		{
			"a login page with 200", asHTML(200, "<html><form>"),
			chatwoot.NotJSON, 200, permanent,
			[]string{"HTTP 200 with text/html instead of JSON", "base URL"},
		},
		{
			"text with 200", says(200, "text/plain", "{}"),
			chatwoot.NotJSON, 200, permanent,
			[]string{"HTTP 200 with text/plain instead of JSON"},
		},
		{
			"no content type", says(200, "", "{}"),
			chatwoot.NotJSON, 200, permanent,
			[]string{"no content type"},
		},
		{
			"a page that claims to be JSON", asJSON(200, "<html>"),
			chatwoot.Malformed, 200, temporary,
			[]string{"HTTP 200", "a proxy may have cut the answer"},
		},
		{
			"nothing that claims to be JSON", asJSON(200, ""),
			chatwoot.Malformed, 200, temporary,
			[]string{"HTTP 200"},
		},
		{
			"JSON that is cut", asJSON(200, `{"data":{"payload":[{"id":1482`),
			chatwoot.Malformed, 200, temporary,
			[]string{"HTTP 200"},
		},
		{
			"JSON of something else", asJSON(200, `{}`),
			chatwoot.Malformed, 200, temporary,
			[]string{"HTTP 200"},
		},
		{
			"JSON null", asJSON(200, `null`),
			chatwoot.Malformed, 200, temporary,
			[]string{"HTTP 200"},
		},
		{
			"JSON that stops before its announced length", short(200, `{"data":{"payload":[`),
			chatwoot.Malformed, 200, temporary,
			[]string{"the body ends before its announced length", "a proxy may have cut"},
		},
		{
			"a body that tells the token again", asJSON(401, `{"error":"no user has the token `+token+`"}`),
			chatwoot.Unauthorized, 401, permanent,
			[]string{"no user has the token"},
		},
		{
			"a redirect that tells the token again", redirect(302, "/login/"+token+"?token="+token),
			chatwoot.Redirected, 302, permanent,
			[]string{"/login/"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := serve(t, tt.h)
			for _, call := range calls {
				if call.html {
					continue
				}
				err := call.do(t.Context(), dial(t, base))
				if err == nil {
					t.Fatalf("%s: no error", call.name)
				}
				path, _, _ := strings.Cut(strings.Replace(call.url, "1482", "{id}", 1), "?")
				wantError(t, err, tt.kind, tt.status, tt.temporary, append(tt.says, "GET "+path+": ")...)
				if !strings.Contains(err.Error(), "; ") {
					t.Errorf("%q does not say what to do", err)
				}
				if n := len([]rune(err.Error())); n > 500 {
					t.Errorf("the text has %d characters", n)
				}
			}
		})
	}
}

func TestWidgetErrorsTellNoSecret(t *testing.T) {
	tests := []struct {
		name    string
		h       http.HandlerFunc
		timeout time.Duration
		kind    chatwoot.Kind
		says    string
	}{
		{"unknown website", says(404, "application/json", `{"error":"web widget does not exist"}`), 0, chatwoot.NotFound, "web widget does not exist"},
		{"suspended", says(401, "application/json", `{"error":"Account is suspended"}`), 0, chatwoot.Unauthorized, "Account is suspended"},
		{"throttled", says(429, "text/plain", "Retry later\n"), 0, chatwoot.Throttled, "HTTP 429"},
		{"another page", says(200, "text/html", "<html>"), 0, chatwoot.Malformed, "no widget"},
		{"no answer", hangs, 30 * time.Millisecond, chatwoot.TimedOut, "Connection timeout after 30ms"},
		{"broken connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, chatwoot.Unreachable, "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, serve(t, tt.h), func(o *chatwoot.Options) { o.Timeout = tt.timeout })
			_, err := c.Widget(t.Context(), websiteToken, "")
			var e *chatwoot.Error
			if !errors.As(err, &e) {
				t.Fatalf("the error is %v", err)
			}
			wantError(t, err, tt.kind, e.Status, e.Temporary(), "GET /widget: ", tt.says)
		})
	}
}

// The next minute is Chatwoot's; only a proxy says anything else.
func TestThrottledSaysHowLongToWait(t *testing.T) {
	tests := []struct {
		name, header  string
		least, at     time.Duration
		date          time.Duration // to the date that is the header
		untilNextFull time.Duration // when there is no usable header
	}{
		{name: "Chatwoot sends no Retry-After", untilNextFull: time.Minute},
		{name: "a proxy's seconds", header: "7", least: 7 * time.Second, at: 7 * time.Second},
		{name: "a proxy's seconds beyond belief", header: "86400", least: time.Hour, at: time.Hour},
		{name: "zero seconds", header: "0", untilNextFull: time.Minute},
		{name: "negative seconds", header: "-5", untilNextFull: time.Minute},
		{name: "words", header: "soon", untilNextFull: time.Minute},
		{name: "a proxy's date", date: 20 * time.Minute},
		{name: "a date that is past", header: "Mon, 22 Jun 2015 09:16:02 GMT", untilNextFull: time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := time.Now()
			if tt.date > 0 {
				tt.header = before.Add(tt.date).UTC().Format(http.TimeFormat)
			}
			c := client(t, func(w http.ResponseWriter, r *http.Request) {
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				says(429, "text/plain", "Retry later\n")(w, r)
			})
			_, err := c.Conversation(t.Context(), 1482)
			after := time.Now()
			e := wantError(t, err, chatwoot.Throttled, 429, temporary)
			least, most := tt.least, tt.at
			if tt.date > 0 {
				least, most = tt.date-after.Sub(before)-time.Second, tt.date
			}
			if tt.untilNextFull > 0 {
				next := before.Truncate(tt.untilNextFull).Add(tt.untilNextFull)
				least, most = next.Sub(after)+time.Second, tt.untilNextFull+3*time.Second
			}
			if e.RetryAfter < least || e.RetryAfter > most {
				t.Errorf("wait %v, want %v to %v", e.RetryAfter, least, most)
			}
		})
	}
}

func TestRedirectsNeverCarryTheTokenAway(t *testing.T) {
	var strangers atomic.Int64
	other := serve(t, func(http.ResponseWriter, *http.Request) { strangers.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.JoinPath(r.URL.Path).String(), status)
		})
		for _, call := range calls {
			err := call.do(t.Context(), dial(t, base))
			wantError(t, err, chatwoot.Redirected, status, permanent, other.Host)
		}
	}
	if n := strangers.Load(); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

// counted counts what is read from a connection.
type counted struct {
	net.Conn
	read *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

func TestEndlessAnswerStops(t *testing.T) {
	const limit = 32 << 20
	done := make(chan struct{})
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"data":{"payload":[`)
		for chunk := []byte(strings.Repeat(" ", 1<<20)); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	var read atomic.Int64
	c := dial(t, base, patient, transport(&http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return counted{conn, &read}, err
	}}))
	before := heap()
	_, err := c.Conversations(t.Context(), chatwoot.Query{Status: chatwoot.Open, UpdatedWithin: time.Hour})
	grown := heap() - before
	wantError(t, err, chatwoot.TooLarge, 200, permanent, "longer than 32 MiB", "; ")
	<-done
	if n := read.Load(); n < limit || n > limit+64<<10 { // headers, the sizes of chunks and a buffer are more
		t.Errorf("the client read %d bytes", n)
	}
	if grown > 4<<20 {
		t.Errorf("%d MiB are held after the error", grown>>20)
	}
	runtime.KeepAlive(c)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestLargestAnswerIsRead(t *testing.T) {
	const limit = 32 << 20
	const head, tail = `{"data":{"meta":{"all_count":7},"payload":[]},"skipped":"`, `"}`
	body := head + strings.Repeat("x", limit-len(head)-len(tail)) + tail
	page, err := dial(t, serve(t, saysJSON(body)), patient).Conversations(t.Context(), chatwoot.Query{Status: chatwoot.Open})
	if err != nil || page.AllCount != 7 {
		t.Errorf("got %+v, %v", page, err)
	}
}

// patient keeps a busy test machine from timing out.
func patient(o *chatwoot.Options) { o.Timeout = 5 * time.Minute }

func TestConnectionsThatFail(t *testing.T) {
	trust := func(certs ...*x509.Certificate) func(*chatwoot.Options) {
		return transport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool(certs...)}})
	}
	withTimeout := func(d time.Duration) func(*chatwoot.Options) {
		return func(o *chatwoot.Options) { o.Timeout = d }
	}
	unknown := secure(t, nil, nil)
	expired := secure(t, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Hour) }, nil)
	elsewhere := secure(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example.com"} }, nil)
	modern := secure(t, nil, &tls.Config{MinVersion: tls.VersionTLS13})
	guarded := secure(t, nil, &tls.Config{ClientAuth: tls.RequireAnyClientCert})
	plain := serve(t, http.NotFound)

	tests := []struct {
		name      string
		base      *url.URL
		option    func(*chatwoot.Options)
		kind      chatwoot.Kind
		status    int
		temporary bool
		says      []string
	}{
		{
			"nothing listens", parse(t, "http://"+porttest.Refusing(t)), nil,
			chatwoot.Unreachable, 0, temporary,
			[]string{"connection refused", "check that Chatwoot runs"},
		},
		{
			"the connection breaks before an answer", serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), nil,
			chatwoot.Unreachable, 0, temporary,
			[]string{"EOF", "check that Chatwoot runs"},
		},
		{
			"the host name is unknown", parse(t, "http://chatwoot.example.invalid"), transport(&http.Transport{DialContext: noSuchName(t)}),
			chatwoot.NameUnknown, 0, temporary,
			[]string{"no such host", "check the host in the base URL"},
		},
		{
			"the certificate's issuer is unknown", parse(t, unknown.URL), trust(),
			chatwoot.BadTLS, 0, permanent,
			[]string{"certificate signed by unknown authority", "check the certificate"},
		},
		{
			"the certificate has expired", parse(t, expired.URL), trust(expired.Certificate()),
			chatwoot.BadTLS, 0, permanent,
			[]string{"expired", "check the certificate and its expiry"},
		},
		{
			"the certificate names another host", parse(t, elsewhere.URL), trust(elsewhere.Certificate()),
			chatwoot.BadTLS, 0, permanent,
			[]string{"127.0.0.1", "check the certificate"},
		},
		{
			"the server wants a newer TLS", parse(t, modern.URL), transport(&http.Transport{TLSClientConfig: &tls.Config{
				RootCAs: pool(modern.Certificate()), MaxVersion: tls.VersionTLS12,
			}}),
			chatwoot.BadTLS, 0, permanent,
			[]string{"protocol version not supported"},
		},
		{
			"the server wants a certificate of ours", parse(t, guarded.URL), trust(guarded.Certificate()),
			chatwoot.BadTLS, 0, permanent,
			[]string{"certificate required"},
		},
		{
			"http is spoken on an https URL", parse(t, "https://"+plain.Host), nil,
			chatwoot.BadTLS, 0, permanent,
			[]string{"HTTP response to HTTPS client", "the right scheme"},
		},
		{
			"https is spoken on an http URL", parse(t, strings.Replace(unknown.URL, "https", "http", 1)), nil,
			chatwoot.Refused, 400, permanent,
			[]string{"HTTP 400", "check the base URL"},
		},
		{
			"something else listens on an https URL", parse(t, "https://"+raw(t, "220 mail.example.com ESMTP\r\n")), nil,
			chatwoot.BadTLS, 0, permanent,
			[]string{"TLS", "the right scheme"},
		},
		{
			"something else listens on an http URL", parse(t, "http://"+raw(t, "220 mail.example.com ESMTP\r\n")), nil,
			chatwoot.Unreachable, 0, temporary,
			[]string{"malformed HTTP"},
		},
		{
			"the server hangs before it answers", serve(t, hangs), withTimeout(30 * time.Millisecond),
			chatwoot.TimedOut, 0, temporary,
			[]string{"Connection timeout after 30ms", "check network"},
		},
		{
			"nothing answers the TLS handshake", parse(t, "https://"+raw(t, "")), withTimeout(50 * time.Millisecond),
			chatwoot.TimedOut, 0, temporary,
			[]string{"Connection timeout after 50ms"},
		},
		{
			"the connection breaks in the middle", serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"data":`)
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}), nil,
			chatwoot.Malformed, 200, temporary,
			[]string{"a proxy may have cut the answer"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.option == nil {
				tt.option = func(*chatwoot.Options) {}
			}
			c := dial(t, tt.base, tt.option)
			for _, call := range calls {
				if call.html {
					continue
				}
				path, _, _ := strings.Cut(strings.Replace(call.url, "1482", "{id}", 1), "?")
				if err := call.do(t.Context(), c); err == nil {
					t.Errorf("%s: no error", call.name)
				} else {
					wantError(t, err, tt.kind, tt.status, tt.temporary, append(tt.says, "GET "+path+": ", "; ")...)
				}
			}
		})
	}
}

func TestCallerGivesUp(t *testing.T) {
	t.Run("in the middle of a request", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := client(t, func(w http.ResponseWriter, r *http.Request) {
			cancel()
			hangs(w, r)
		})
		_, err := c.Conversation(ctx, 1482)
		wantError(t, err, chatwoot.Canceled, 0, permanent, "conversations/{id}", "context canceled")
		if !errors.Is(err, context.Canceled) {
			t.Error("the cause is lost")
		}
	})
	t.Run("before it is sent", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		asked := false
		c := client(t, func(http.ResponseWriter, *http.Request) { asked = true })
		_, err := c.For(chatwoot.Probe).Conversation(ctx, 1482)
		wantError(t, err, chatwoot.Canceled, 0, permanent, "conversations/{id}")
		if asked {
			t.Error("the request was sent")
		}
	})
}

func TestServerThatHangsInTheMiddle(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"data":`)
		w.(http.Flusher).Flush()
		hangs(w, r)
	})
	for timeout := 500 * time.Millisecond; ; timeout *= 2 {
		c := dial(t, base, func(o *chatwoot.Options) { o.Timeout = timeout })
		_, err := c.Conversation(t.Context(), 1482)
		if e, ok := errors.AsType[*chatwoot.Error](err); ok && e.Kind == chatwoot.TimedOut && e.Status == 0 && timeout < 30*time.Second {
			continue // a busy machine has not come to the middle
		}
		wantError(t, err, chatwoot.TimedOut, 200, temporary, fmt.Sprintf("Connection timeout after %dms", timeout.Milliseconds()), "check network")
		return
	}
}

type silence struct{}

func (silence) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// The runbook's troubleshooting table quotes this text with 10000ms.
func TestTimeoutTellsHowLongWasWaited(t *testing.T) {
	tests := []struct {
		name               string
		own, callers, want time.Duration // 0: not set
		says               string
	}{
		{"by default", 0, 0, 20 * time.Second, "Connection timeout after 20000ms;"},
		{"as configured", 7 * time.Second, 0, 7 * time.Second, "Connection timeout after 7000ms;"},
		{"the caller's deadline comes first", 0, 10 * time.Second, 10 * time.Second, "Connection timeout after 10000ms;"},
		{"the caller's deadline comes later", 7 * time.Second, 10 * time.Second, 7 * time.Second, "Connection timeout after 7000ms;"},
		{"hardly at all", time.Microsecond, 0, time.Millisecond, "Connection timeout after 1ms;"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.callers > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.callers)
					defer cancel()
				}
				c := dial(t, parse(t, "http://chatwoot.example.com"), func(o *chatwoot.Options) {
					o.Timeout, o.Transport = tt.own, silence{}
				})
				start := time.Now()
				_, err := c.Conversation(ctx, 1482)
				took := time.Since(start).Round(time.Millisecond)
				if e := wantError(t, err, chatwoot.TimedOut, 0, temporary, tt.says); e.Timeout != tt.want || took > tt.want {
					t.Errorf("Timeout is %v after %v, want %v", e.Timeout, took, tt.want)
				}
			})
		})
	}
}

// A token that is no header value, such as one read with its line ending, must
// not be told in the complaint about it.
func TestTokenThatNoHeaderCanCarryIsNotTold(t *testing.T) {
	base := serve(t, http.NotFound)
	c := dial(t, base, func(o *chatwoot.Options) { o.Token = token + "\nX: y" })
	_, err := c.Inboxes(t.Context())
	var e *chatwoot.Error
	if !errors.As(err, &e) || e.Status != 0 || strings.Contains(err.Error(), "EXAMPLE") {
		t.Errorf("the error is %v", err)
	}
}

func TestErrorWithoutATokenToHide(t *testing.T) {
	base := serve(t, says(401, "application/json", `{"error":"Invalid Access Token"}`))
	_, err := dial(t, base, func(o *chatwoot.Options) { o.Token = "" }).Inboxes(t.Context())
	wantError(t, err, chatwoot.Unauthorized, 401, permanent, "HTTP 401 (Invalid Access Token);")
}

func transport(tr *http.Transport) func(*chatwoot.Options) {
	return func(o *chatwoot.Options) { o.Transport = tr }
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// secure starts a TLS server whose own certificate is good for 127.0.0.1 until
// change has spoilt it.
func secure(t *testing.T, change func(*x509.Certificate), config *tls.Config) *httptest.Server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "chatwoot under test"},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if config == nil {
		config = &tls.Config{}
	}
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = config
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// raw listens on loopback, answers the first words of whoever connects with
// its own, and says no more.
func raw(t *testing.T, words string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, words)
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return l.Addr().String()
}

// noSuchName dials through a name server on loopback that knows no name.
func noSuchName(t *testing.T) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			packet[2], packet[3] = 0x81, 0x83 // an answer: NXDOMAIN
			_, _ = server.WriteTo(packet[:n], from)
		}
	}()
	resolver := &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
		},
	}
	return (&net.Dialer{Resolver: resolver}).DialContext
}
