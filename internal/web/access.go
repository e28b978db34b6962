package web

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Token lets somebody in. What they do is recorded under Name.
type Token struct{ Name, Text string }

// Protected is a handler for those who have a token; by is the name of the one
// who asks.
type Protected func(w http.ResponseWriter, r *http.Request, by string)

const (
	sessionCookie = "chatwoot_sla_session"
	sessionLength = 12 * time.Hour
	signInPath    = "sign-in"
	mostForm      = 64 << 10
	mostBody      = 2 << 20 // the longest reply that Chatwoot takes, as a form has it
)

const foreign = "a page of another site must not do this"

// accessOff tells an operator who wonders how to turn a path on.
const accessOff = "this is off, because nobody has a token: set API_TOKENS to a name, a colon and the output of openssl rand -hex 24"

//go:embed signin.html
var signInText string

var signInTemplate = template.Must(template.New("sign in").Parse(signInText))

// access decides who may use the protected paths.
type access struct {
	tokens []Token
	hosts  []string
	now    func() time.Time
	cross  *http.CrossOriginProtection
	log    *zap.Logger
}

// protect returns a handler that lets those in who show a token or a session,
// and no page of another site on their behalf.
func (a *access) protect(next Protected) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		if len(a.tokens) == 0 {
			refuse(w, r, http.StatusNotFound, accessOff)
			return
		}
		if err := a.cross.Check(r); err != nil {
			refuse(w, r, http.StatusForbidden, foreign)
			return
		}
		by, ok := a.bearer(r)
		if !ok {
			by, ok = a.session(r)
		}
		switch {
		case ok:
			next(w, r, by)
		case r.Method == http.MethodGet && wantsPage(r):
			redirect(w, up(r.URL.Path)+signInPath+"?next="+url.QueryEscape(r.URL.RequestURI()))
		case wantsPage(r): // a form of ours, whose page has the same address
			a.form(w, http.StatusUnauthorized, signInData{
				Problem: "Your session has ended, and nothing was done. Sign in, and do it again.",
				Root:    up(r.URL.Path), Next: r.URL.Path, Typed: typed(r),
			})
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			WriteProblem(w, http.StatusUnauthorized, "this needs a token of API_TOKENS, as Authorization: Bearer or X-Api-Token")
		}
	}
}

// bearer returns whose token a request carries. Basic authentication, which is
// the server's and not ours, takes the usual header for itself.
func (a *access) bearer(r *http.Request) (name string, ok bool) {
	text := r.Header.Get("X-Api-Token")
	if scheme, rest, found := strings.Cut(r.Header.Get("Authorization"), " "); found && strings.EqualFold(scheme, "Bearer") {
		text = strings.TrimSpace(rest)
	}
	return a.owner(text)
}

// owner returns whose token text is. It takes the same time for every text of a
// length.
func (a *access) owner(text string) (name string, ok bool) {
	given := sha256.Sum256([]byte(text))
	for _, t := range a.tokens {
		token := sha256.Sum256([]byte(t.Text))
		if subtle.ConstantTimeCompare(given[:], token[:]) == 1 {
			name, ok = t.Name, true
		}
	}
	return name, ok
}

// session returns whose session a request belongs to.
//
// A session is a name and an expiry, sealed with the token that bought it: it
// holds on every replica and across restarts, and ends with its token.
func (a *access) session(r *http.Request) (name string, ok bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return "", false
	}
	claim, seal, _ := strings.Cut(cookie.Value, ".")
	raw, err := base64.RawURLEncoding.DecodeString(claim)
	if err != nil {
		return "", false
	}
	given, err := base64.RawURLEncoding.DecodeString(seal)
	if err != nil {
		return "", false
	}
	expiry, name, _ := strings.Cut(string(raw), " ")
	until, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || !a.now().Before(time.Unix(until, 0)) {
		return "", false
	}
	for _, t := range a.tokens {
		if t.Name == name && hmac.Equal(given, sealOf(t, claim)) {
			return name, true
		}
	}
	return "", false
}

func sealOf(t Token, claim string) []byte {
	mac := hmac.New(sha256.New, []byte(t.Text))
	mac.Write([]byte("chatwoot-sla session " + claim))
	return mac.Sum(nil)
}

// signIn shows the form, and takes what it sends.
func (a *access) signIn(w http.ResponseWriter, r *http.Request) {
	if len(a.tokens) == 0 {
		refuse(w, r, http.StatusNotFound, accessOff)
		return
	}
	if r.Method != http.MethodPost {
		a.form(w, http.StatusOK, signInData{Root: "./", Next: local(r.URL.Query().Get("next"))})
		return
	}
	if err := a.cross.Check(r); err != nil {
		refuse(w, r, http.StatusForbidden, foreign)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	next := local(r.PostFormValue("next"))
	name, ok := a.owner(strings.TrimSpace(r.PostFormValue("token"))) // of the body alone: addresses are logged
	if !ok {
		a.log.Info("somebody tried to sign in with a wrong token")
		a.form(w, http.StatusUnauthorized, signInData{
			Problem: "This is no token of API_TOKENS. Copy it again, without the name and the colon before it.", Root: "./", Next: next,
		})
		return
	}
	a.log.Info("signed in", zap.String("name", name))
	until := a.now().Add(sessionLength)
	claim := base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(until.Unix(), 10) + " " + name))
	i := slices.IndexFunc(a.tokens, func(t Token) bool { return t.Name == name })
	a.cookie(w, r, claim+"."+base64.RawURLEncoding.EncodeToString(sealOf(a.tokens[i], claim)), int(sessionLength.Seconds()))
	redirect(w, "."+next)
}

// local returns a path of ours that somebody asks to be sent to, or the
// board's.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, "/") || path.Clean(u.Path) != u.Path {
		return "/"
	}
	return u.RequestURI()
}

// signOut ends a session, also one that has run out.
func (a *access) signOut(w http.ResponseWriter, r *http.Request) {
	if err := a.cross.Check(r); err != nil {
		refuse(w, r, http.StatusForbidden, foreign)
		return
	}
	a.cookie(w, r, "", -1)
	redirect(w, "./")
}

func (a *access) cookie(w http.ResponseWriter, r *http.Request, value string, age int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // without TLS, on loopback, a secure one would never be sent
		Name: sessionCookie, Value: value, MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
}

type signInData struct {
	Problem string
	Root    string // where the board is
	Next    string // where to go on
	Typed   string // what was sent in vain
}

func (a *access) form(w http.ResponseWriter, code int, d signInData) {
	var body bytes.Buffer
	if err := signInTemplate.Execute(&body, d); err != nil {
		a.log.Error("render page", zap.Error(err))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = body.WriteTo(w) // the client is gone if it fails
}

// atHome returns a handler that answers under our own names alone. Any other site
// could give its name to our address, and its pages could then read ours, also
// where only this machine reaches us. Whoever has a token is not such a page, and
// what monitors and orchestrators ask names nobody.
func (a *access) atHome(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics", "/healthz", "/readyz":
		default:
			if _, ok := a.bearer(r); !ok && !a.allowed(r.Host) {
				refuse(w, r, http.StatusMisdirectedRequest, "this is not answered under the host name "+strconv.Quote(r.Host)+"; if it is yours, add it to ALLOWED_HOSTS")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// allowed reports whether host is one of our names.
func (a *access) allowed(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	return slices.ContainsFunc(a.hosts, func(h string) bool { return strings.EqualFold(h, name) || strings.EqualFold(h, host) })
}

// wantsPage reports whether a person's browser asks.
func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

// redirect sends a browser on. The address is relative, because a proxy may
// serve us below another path, which http.Redirect knows nothing of.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// up returns the relative address of the root, from path.
func up(path string) string {
	if n := strings.Count(path, "/") - 1; n > 0 {
		return strings.Repeat("../", n)
	}
	return "./"
}
