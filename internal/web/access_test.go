package web_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/web"
)

const (
	adaToken   = "EXAMPLE-token-of-ada"
	tomasToken = "EXAMPLE-token-of-tomas"
)

// guarded serves two protected paths that say who asked.
func guarded(t *testing.T, now func() time.Time, tokens ...web.Token) *httptest.Server {
	t.Helper()
	say := func(w http.ResponseWriter, _ *http.Request, by string) { _, _ = io.WriteString(w, "by "+by) }
	h, err := web.New(web.Options{
		State: fresh, ConversationURL: func(int64) string { return "" }, Metrics: http.NotFoundHandler(),
		Report: emptyReport, ReportZone: time.UTC, Incidents: noIncidents,
		Tokens: tokens, Hosts: []string{"sla.example.com"}, Now: now,
		Protected: map[string]web.Protected{"GET /api/v1/secrets": say, "POST /api/v1/secrets/{id}": say},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

var both = []web.Token{{Name: "ada", Text: adaToken}, {Name: "tomas", Text: tomasToken}}

// ask sends a request and returns its status, its body and where it points.
func ask(t *testing.T, c *http.Client, method, address string, change func(*http.Request)) (status int, body, to string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header.Get("Location")
}

func header(pairs ...string) func(*http.Request) {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == "Host" {
				r.Host = pairs[i+1]
			}
			r.Header.Set(pairs[i], pairs[i+1])
		}
	}
}

func TestTokensOpenProtectedPaths(t *testing.T) {
	s := guarded(t, nil, both...)
	tests := []struct {
		name    string
		method  string
		path    string
		headers []string
		status  int
		says    string
	}{
		{"nothing", "GET", "/api/v1/secrets", nil, http.StatusUnauthorized, "needs a token"},
		{"a token", "GET", "/api/v1/secrets", []string{"Authorization", "Bearer " + adaToken}, http.StatusOK, "by ada"},
		{"another token, in other letters", "POST", "/api/v1/secrets/5", []string{"Authorization", "bearer " + tomasToken}, http.StatusOK, "by tomas"},
		{"beside a password", "GET", "/api/v1/secrets", []string{"Authorization", "Basic YTpi", "X-Api-Token", adaToken}, http.StatusOK, "by ada"},
		{"a wrong token", "GET", "/api/v1/secrets", []string{"Authorization", "Bearer " + adaToken + "x"}, http.StatusUnauthorized, "needs a token"},
		{"an empty token", "GET", "/api/v1/secrets", []string{"Authorization", "Bearer "}, http.StatusUnauthorized, "needs a token"},
		{"a name in place of a token", "GET", "/api/v1/secrets", []string{"Authorization", "Bearer ada"}, http.StatusUnauthorized, "needs a token"},
		{"any host name", "GET", "/api/v1/secrets", []string{"Authorization", "Bearer " + adaToken, "Host", "monitor:9642"}, http.StatusOK, "by ada"},
		{"a page of another site", "POST", "/api/v1/secrets/5", []string{"Authorization", "Bearer " + adaToken, "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden, "another site"},
		{"a page that hides where it is from", "POST", "/api/v1/secrets/5", []string{"Authorization", "Bearer " + adaToken, "Origin", "null"}, http.StatusForbidden, "another site"},
		{"such a page of ours", "POST", "/api/v1/secrets/5", []string{"Authorization", "Bearer " + adaToken, "Origin", "null", "Sec-Fetch-Site", "same-origin"}, http.StatusOK, "by ada"},
		{"another method", "DELETE", "/api/v1/secrets", []string{"Authorization", "Bearer " + adaToken}, http.StatusMethodNotAllowed, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body, _ := ask(t, s.Client(), tt.method, s.URL+tt.path, header(tt.headers...))
			if status != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("%d %s, want %d with %q", status, body, tt.status, tt.says)
			}
		})
	}
}

func TestWithoutTokensProtectedPathsAreOff(t *testing.T) {
	s := guarded(t, nil)
	for _, path := range []string{"/api/v1/secrets", "/sign-in"} {
		status, body, _ := ask(t, s.Client(), "GET", s.URL+path, header("Authorization", "Bearer "))
		if status != http.StatusNotFound || !strings.Contains(body, "set API_TOKENS") {
			t.Errorf("%s: %d %s, want 404 with what to do", path, status, body)
		}
	}
	if _, page := get(t, s, "/"); strings.Contains(page, "sign-in") {
		t.Error("the board offers to sign in where nobody can")
	}
}

// browser returns a client that keeps cookies and follows nothing.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func signIn(t *testing.T, c *http.Client, s *httptest.Server, token string) (status int, cookies []*http.Cookie) {
	t.Helper()
	resp, err := c.PostForm(s.URL+"/sign-in", url.Values{"token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Cookies()
}

func TestTokenBuysASession(t *testing.T) {
	now := t0
	s := guarded(t, func() time.Time { return now }, both...)
	c := browser(t)
	page := header("Accept", "text/html")
	if status, _, to := ask(t, c, "GET", s.URL+"/api/v1/secrets", page); status != http.StatusSeeOther || to != "../../sign-in?next=%2Fapi%2Fv1%2Fsecrets" {
		t.Errorf("a browser without a session is sent to %q with %d", to, status)
	}
	if status, cookies := signIn(t, c, s, "EXAMPLE-wrong"); status != http.StatusUnauthorized || len(cookies) > 0 {
		t.Errorf("a wrong token: %d with %v", status, cookies)
	}
	status, cookies := signIn(t, c, s, " "+tomasToken+"\n")
	if status != http.StatusSeeOther || len(cookies) != 1 {
		t.Fatalf("signing in: %d with %v", status, cookies)
	}
	cookie := cookies[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || strings.Contains(cookie.Value, tomasToken) {
		t.Errorf("the cookie is %v", cookie)
	}
	status, body, _ := ask(t, c, "GET", s.URL+"/api/v1/secrets", nil)
	if status != http.StatusOK || body != "by tomas" {
		t.Errorf("with a session: %d %s", status, body)
	}
	if _, board, _ := ask(t, c, "GET", s.URL+"/", nil); !strings.Contains(board, "Signed in as tomas") {
		t.Error("the board does not say who is signed in")
	}

	foreign := []struct {
		name    string
		headers []string
		status  int
	}{
		{"another site's form", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"another site's form in an old browser", []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{"our address under another site's name", []string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
		{"our name", []string{"Host", "SLA.example.com"}, http.StatusOK},
		{"our own form", []string{"Sec-Fetch-Site", "same-origin"}, http.StatusOK},
	}
	for _, tt := range foreign {
		change := header(tt.headers...)
		status, _, _ := ask(t, http.DefaultClient, "POST", s.URL+"/api/v1/secrets/5", func(r *http.Request) {
			change(r)
			r.AddCookie(cookie)
		})
		if status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, status, tt.status)
		}
	}

	// A seal cannot be moved to another name, and not to another time.
	claim, seal, _ := strings.Cut(cookie.Value, ".")
	for name, value := range map[string]string{"no seal": claim, "an empty seal": claim + ".", "another claim": claim[:len(claim)-4] + "YWRh." + seal, "nothing": "."} {
		if status, _, _ := ask(t, http.DefaultClient, "GET", s.URL+"/api/v1/secrets", func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: cookie.Name, Value: value})
		}); status != http.StatusUnauthorized {
			t.Errorf("a cookie with %s: %d, want 401", name, status)
		}
	}
	changed := guarded(t, func() time.Time { return now }, both[0], web.Token{Name: "tomas", Text: "EXAMPLE-new-token-of-tomas"})
	if status, _, _ := ask(t, http.DefaultClient, "GET", changed.URL+"/api/v1/secrets", func(r *http.Request) { r.AddCookie(cookie) }); status != http.StatusUnauthorized {
		t.Errorf("the session outlives its token: %d", status)
	}
	now = t0.Add(12 * time.Hour)
	if status, _, _ := ask(t, http.DefaultClient, "GET", s.URL+"/api/v1/secrets", func(r *http.Request) { r.AddCookie(cookie) }); status != http.StatusUnauthorized {
		t.Errorf("the session does not end: %d", status)
	}
	now = t0
	if status, _, _ := ask(t, c, "POST", s.URL+"/sign-out", nil); status != http.StatusSeeOther {
		t.Errorf("signing out: %d", status)
	}
	if status, _, _ := ask(t, c, "GET", s.URL+"/api/v1/secrets", nil); status != http.StatusUnauthorized {
		t.Errorf("after signing out: %d", status)
	}
}

// Over plain HTTP, except on localhost, a browser says with Origin alone whose
// form it sends, and the page's own Referrer-Policy decides whether it does.
func TestFormsWorkOverPlainHTTP(t *testing.T) {
	s := guarded(t, nil, both...)
	c := browser(t)
	const home = "http://192.0.2.2:9642"
	send := func(page, form string, values url.Values) int {
		t.Helper()
		read, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+page, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(read)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		origin := home
		if resp.Header.Get("Referrer-Policy") == "no-referrer" {
			origin = "null"
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+form, strings.NewReader(values.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = strings.TrimPrefix(home, "http://")
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", origin)
		if resp, err = c.Do(req); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if status := send("/sign-in", "/sign-in", url.Values{"token": {adaToken}}); status != http.StatusSeeOther {
		t.Fatalf("signing in: %d", status)
	}
	if status := send("/", "/api/v1/secrets/5", nil); status != http.StatusOK {
		t.Errorf("a protected form: %d", status)
	}
	if status := send("/", "/sign-out", nil); status != http.StatusSeeOther {
		t.Errorf("signing out: %d", status)
	}
}

// A page of another site, under a name of its own for our address, reads nothing.
func TestAnswersUnderItsOwnNamesAlone(t *testing.T) {
	s := guarded(t, nil, both...)
	for _, path := range []string{"/", "/sign-in", "/approvals", "/api/v1/status", "/api/v1/conversations", "/api/v1/report", "/api/v1/incidents", "/api/v1/secrets"} {
		for _, host := range []string{"evil.example", "evil.example:9642", "localhost.evil.example", "127.0.0.1.evil.example", "sla.example.com.evil.example"} {
			status, body, _ := ask(t, s.Client(), "GET", s.URL+path, header("Host", host))
			if status != http.StatusMisdirectedRequest || !strings.Contains(body, "ALLOWED_HOSTS") || strings.Contains(body, "Tomas") {
				t.Errorf("%s under %s: %d %.200s", path, host, status, body)
			}
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:9642", "127.0.0.1:9642", "[::1]:9642", "192.0.2.2", "sla.example.com", "SLA.example.com:443"} {
		if status, body, _ := ask(t, s.Client(), "GET", s.URL+"/api/v1/conversations", header("Host", host)); status != http.StatusOK {
			t.Errorf("under %s: %d %.200s", host, status, body)
		}
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		if status, _, _ := ask(t, s.Client(), "GET", s.URL+path, header("Host", "chatwoot-sla:9642")); status == http.StatusMisdirectedRequest {
			t.Errorf("%s is refused to a monitor", path)
		}
	}
	if status, body, _ := ask(t, s.Client(), "GET", s.URL+"/", header("Host", "evil.example", "Accept", "text/html")); status != http.StatusMisdirectedRequest || !strings.Contains(body, "<!DOCTYPE html>") || !strings.Contains(body, "ALLOWED_HOSTS") {
		t.Errorf("to a browser: %d %s", status, body)
	}
}

// The cookie must not travel unencrypted once the page is read over TLS, also
// by a proxy.
func TestSessionOverTLSIsSecure(t *testing.T) {
	s := guarded(t, nil, both...)
	for proto, want := range map[string]bool{"http": false, "https": true} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/sign-in", strings.NewReader(url.Values{"token": {adaToken}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("X-Forwarded-Proto", proto)
		resp, err := browser(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if cookies := resp.Cookies(); len(cookies) != 1 || cookies[0].Secure != want {
			t.Errorf("%s: %v", proto, cookies)
		}
	}
}
