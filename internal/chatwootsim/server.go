// Package chatwootsim is an http.Handler that behaves like a Chatwoot server:
// its API as a monitor sees it, its clocks, its throttles, its webhooks and,
// on request, its bad days.
//
// It shares no code with the client that it is a test partner of, so that a
// misreading of Chatwoot on one side shows on the other. Everything is a
// function of the seed, the clock and the calls made; nothing is random.
// All people, addresses and tokens are invented.
package chatwootsim

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Version is a release of Chatwoot whose behaviour can be had.
type Version string

const (
	// V42 sends unsigned webhooks, has no /health and keeps waiting_since
	// through bot answers and resolutions.
	V42 Version = "4.2.0"
	// V415 has both signatures and /health.
	V415 Version = "4.15.1"
)

// DemoToken is the administrator's token unless Options say otherwise.
const DemoToken = "demo-token-not-a-secret"

// DemoAccountID is the account unless Options say otherwise.
const DemoAccountID = 3

// Options configure a Server. The zero value is a V415 server in real time.
//
// Besides AccountID there are three more accounts: AccountID+5, an empty one
// where the administrator is an agent, +6, somebody else's, and +7, which is
// suspended.
type Options struct {
	Version     Version
	Now         func() time.Time // the server's clock, also that of its Date header
	Seed        uint64           // varies texts, names and traffic
	AccountID   int64            // default DemoAccountID
	Token       string           // of the administrator; default DemoToken
	PageSize    int              // conversations a page; default 25
	FrontendURL string           // default https://support.example.com

	// After waits for delays of injected faults; default time.After.
	After func(time.Duration) <-chan time.Time

	// Webhooks are subscribed from the start; more can be added by the API.
	Webhooks []Webhook

	// IgnoreUpdatedWithin makes a server that does not know the parameter and
	// paginates instead.
	IgnoreUpdatedWithin bool

	// NoThrottle lifts Chatwoot's own limits. With them, callers on loopback are
	// limited too, although Chatwoot spares those: here nobody comes from
	// elsewhere.
	NoThrottle bool
}

// Server is a simulated Chatwoot. It is safe for concurrent use.
type Server struct {
	opts    Options
	modern  bool // V415; otherwise V42
	mux     *http.ServeMux
	done    chan struct{} // closed by Close
	courier courier
	pages   pages

	mu        sync.Mutex
	world     *world
	sandbox   *world
	users     []*user // whoever has a token
	sandboxed *user   // the administrator, in the other account
	hooks     []*Webhook
	lastHook  int64
	lastEvent uint64
	visitors  map[string]visitor // by widget token
	faults    []*injected
	counts    map[string]int
	log       []Request
	throttles map[string]*window
}

// Request is one that was received.
type Request struct {
	Method, Path, Query string
	At                  time.Time // on the server's clock
}

// New returns a server with a few inboxes and agents and no conversations. It
// panics on a Version that it does not know.
func New(opts Options) *Server {
	if opts.Version == "" {
		opts.Version = V415
	}
	if opts.Version != V42 && opts.Version != V415 {
		panic(fmt.Sprintf("chatwootsim: no version %q", opts.Version))
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.After == nil {
		opts.After = time.After
	}
	if opts.AccountID == 0 {
		opts.AccountID = DemoAccountID
	}
	if opts.Token == "" {
		opts.Token = DemoToken
	}
	if opts.PageSize <= 0 {
		opts.PageSize = 25
	}
	if opts.FrontendURL == "" {
		opts.FrontendURL = "https://support.example.com"
	}
	opts.FrontendURL = strings.TrimRight(opts.FrontendURL, "/")

	s := &Server{
		opts:      opts,
		modern:    opts.Version == V415,
		mux:       http.NewServeMux(),
		done:      make(chan struct{}),
		visitors:  map[string]visitor{},
		counts:    map[string]int{},
		throttles: map[string]*window{},
	}
	s.world = newWorld(s.modern, opts.Seed, opts.AccountID)
	s.world.emit = s.enqueue
	s.sandbox = &world{modern: s.modern, account: opts.AccountID + sandboxOffset, conversations: map[int64]*conversation{}}
	admin := user{id: 19, name: "SLA Watch", email: "sla-watch@example.com", token: opts.Token}
	s.sandboxed = new(user)
	*s.sandboxed = admin
	admin.administrator = true
	s.users = []*user{&admin, s.world.bot}
	s.courier.init(s, opts.Seed)
	for _, hook := range opts.Webhooks {
		s.subscribe(hook)
	}
	s.routes()
	return s
}

// AgentToken makes an agent who is a member of the given inboxes only and
// returns its token.
func (s *Server) AgentToken(inboxes ...int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(len(s.users))
	u := &user{
		id: 40 + n, name: fmt.Sprintf("Agent %d", n), email: fmt.Sprintf("agent-%d@example.com", n),
		token: fmt.Sprintf("demo-agent-token-%d", n), inboxes: map[int64]bool{},
	}
	for _, id := range inboxes {
		u.inboxes[s.world.mustInbox(id).id] = true
	}
	s.users = append(s.users, u)
	return u.token
}

// BotToken returns the token of the agent bot, which most routes refuse.
func (s *Server) BotToken() string { return s.world.bot.token }

// Close ends hanging requests and waits for the webhooks that are on their
// way. It may be called more than once.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.done:
	default:
		close(s.done)
	}
	s.mu.Unlock()
	s.Flush()
}

// Requests counts what was received by method and path template, such as
// "GET /api/v1/accounts/{a}/conversations". Unknown paths count as "*".
func (s *Server) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

const logSize = 1000

// RequestLog returns the last requests received, at most 1000, oldest first.
func (s *Server) RequestLog() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.log[max(0, len(s.log)-logSize):]...)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// request is one exchange and what is known of it by the time its handler
// runs.
type request struct {
	*http.Request
	now     time.Time
	user    *user  // nil on routes that need no token
	world   *world // of the account in the path
	params  params // of the body, where there is one
	failing bool   // the dependencies report trouble
}

type handler func(http.ResponseWriter, *request)

func (s *Server) routes() {
	if s.modern {
		s.handle("GET", "/health", s.health)
	}
	s.handle("GET", "/api", s.index)
	s.handle("GET", "/widget", s.widget)
	s.handle("GET", "/packs/js/sdk.js", s.sdk)
	s.handle("GET", "/{$}", s.dashboard)
	s.handle("GET", "/app", s.dashboard)
	s.handle("GET", "/app/{rest...}", s.dashboard)
	s.handle("GET", "/app/accounts/{a}/conversations/{id}", s.transcript)
	s.handle("GET", "/api/v1/profile", s.authenticated(members, s.profile))

	show := bots
	if !s.modern {
		show = members
	}
	s.account("GET", "conversations", members, s.listConversations)
	s.account("GET", "conversations/meta", members, s.countConversations)
	s.account("GET", "conversations/{id}", show, s.onConversation(s.showConversation))
	s.account("GET", "conversations/{id}/messages", members, s.onConversation(s.listMessages))
	s.account("POST", "conversations/{id}/messages", bots, s.onConversation(s.createMessage))
	s.account("POST", "conversations/{id}/toggle_status", bots, s.onConversation(s.toggleStatus))
	s.account("GET", "inboxes", members, s.listInboxes)
	s.account("GET", "teams", members, s.listTeams)
	s.account("GET", "agents", members, s.listAgents)
	s.account("GET", "webhooks", administrators, s.listWebhooks)
	s.account("POST", "webhooks", administrators, s.createWebhook)
	s.account("PATCH", "webhooks/{id}", administrators, s.updateWebhook)
	s.account("DELETE", "webhooks/{id}", administrators, s.deleteWebhook)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.exchange(w, r, "*", s.unknown) })
}

func (s *Server) handle(method, path string, h handler) {
	s.mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) { s.exchange(w, r, path, h) })
}

func (s *Server) account(method, path string, who access, h handler) {
	s.handle(method, "/api/v1/accounts/{a}/"+path, s.authenticated(who, s.inAccount(who, h)))
}

// exchange is what happens to every request: time catches up, faults strike,
// throttles count, and only then somebody answers.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, template string, h handler) {
	now := s.opts.Now()
	s.Advance(now)
	trouble := s.receive(r, template, now)
	if !s.wait(r, trouble.latency) {
		return
	}
	answer := func(w http.ResponseWriter) {
		now := s.opts.Now()
		w.Header().Set("Date", now.Add(trouble.skew).UTC().Format(http.TimeFormat))
		if s.throttled(r, now) {
			throttle(w)
			return
		}
		h(w, &request{Request: r, now: now, failing: trouble.failing})
	}
	if trouble.fault != nil {
		s.spoil(w, r, trouble, answer)
		return
	}
	answer(w)
}

// receive counts the request and picks the faults that apply to it.
func (s *Server) receive(r *http.Request, template string, now time.Time) trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[r.Method+" "+template]++
	if len(s.log) >= 2*logSize {
		s.log = append(s.log[:0], s.log[logSize:]...)
	}
	s.log = append(s.log, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, At: now})
	return s.trouble(r)
}

// wait returns false when the client left or the server closed meanwhile.
func (s *Server) wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-s.opts.After(d):
		return true
	case <-r.Context().Done():
	case <-s.done:
	}
	return false
}

// window counts requests within one period of the clock.
type window struct{ period, hits int64 }

// throttled applies Chatwoot's limits, whose windows begin with the full
// minute or hour.
func (s *Server) throttled(r *http.Request, now time.Time) bool {
	if s.opts.NoThrottle || r.URL.Path == "/health" && s.modern {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	over := func(key string, limit int64, period time.Duration) bool {
		w := s.throttles[key]
		if w == nil {
			w = &window{}
			s.throttles[key] = w
		}
		if n := now.UnixNano() / int64(period); n != w.period {
			*w = window{period: n}
		}
		w.hits++
		return w.hits > limit
	}
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	if over("ip "+ip, 3000, time.Minute) {
		return true
	}
	if r.Method != http.MethodGet {
		return false
	}
	if s.modern && strings.HasPrefix(r.URL.Path, "/api/v1/accounts/") && strings.HasSuffix(r.URL.Path, "/conversations/meta") {
		return over("meta "+token(r)+" "+r.URL.Path, 30, time.Minute)
	}
	if r.URL.Path == "/widget" && r.URL.Query().Get("cw_conversation") == "" {
		return over("widget "+ip, 5, time.Hour)
	}
	return false
}

// access says whom a route serves.
type access int

const (
	members access = iota
	administrators
	bots // and members
)

// token returns what the api_access_token header says, in any spelling that
// Rack takes for it: dashes and underscores are the same there.
func token(r *http.Request) string {
	var given []string
	for name, values := range r.Header {
		if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "Api-Access-Token") {
			given = append(given, values...)
		}
	}
	return strings.Join(given, ",")
}

func (s *Server) authenticated(who access, h handler) handler {
	return func(w http.ResponseWriter, r *request) {
		given := token(r.Request)
		if given == "" {
			reply(w, http.StatusUnauthorized, `{"errors":["You need to sign in or sign up before continuing."]}`)
			return
		}
		s.mu.Lock()
		for _, u := range s.users {
			if u.token == given {
				r.user = u
			}
		}
		s.mu.Unlock()
		switch {
		case r.user == nil:
			fail(w, http.StatusUnauthorized, "Invalid Access Token")
		case r.user.bot && who != bots:
			fail(w, http.StatusUnauthorized, "Access to this endpoint is not authorized for bots")
		default:
			h(w, r)
		}
	}
}

// Other accounts, counted from the one that is watched.
const (
	sandboxOffset   = 5
	foreignOffset   = 6
	suspendedOffset = 7
)

const (
	notFound = "Resource could not be found"
	denied   = "You are not authorized to do this action"
)

func (s *Server) inAccount(who access, h handler) handler {
	return func(w http.ResponseWriter, r *request) {
		id, err := strconv.ParseInt(r.PathValue("a"), 10, 64)
		offset := id - s.opts.AccountID
		member := offset == 0 || offset == sandboxOffset && r.user == s.users[0]
		switch {
		case err != nil || offset != 0 && (offset < sandboxOffset || offset > suspendedOffset):
			fail(w, http.StatusNotFound, notFound)
			return
		case offset == suspendedOffset:
			fail(w, http.StatusUnauthorized, "Account is suspended")
			return
		case !member && r.user.bot:
			fail(w, http.StatusUnauthorized, "Bot is not authorized to access this account")
			return
		case !member:
			fail(w, http.StatusUnauthorized, "You are not authorized to access this account")
			return
		case offset == sandboxOffset:
			r.world, r.user = s.sandbox, s.sandboxed
		default:
			r.world = s.world
		}
		if who == administrators && !r.user.administrator {
			fail(w, http.StatusUnauthorized, denied)
			return
		}
		h(w, r)
	}
}

// onConversation looks up the conversation of the path. The handler runs with
// the lock held and returns the status and body to send.
func (s *Server) onConversation(h func(*request, *conversation) (int, string)) handler {
	return func(w http.ResponseWriter, r *request) {
		if !r.readBody(w) {
			return
		}
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		status, body := func() (int, string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			c := r.world.conversations[id]
			switch {
			case err != nil || c == nil:
				return http.StatusNotFound, errorBody(notFound)
			case !r.user.sees(c.inbox.id):
				return http.StatusUnauthorized, errorBody(denied)
			}
			return h(r, c)
		}()
		reply(w, status, body)
	}
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func fail(w http.ResponseWriter, status int, message string) { reply(w, status, errorBody(message)) }

func errorBody(message string) string {
	var d doc
	d.object("", func() { d.str("error", message) })
	return string(d.b)
}

func throttle(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusTooManyRequests)
	io.WriteString(w, "Retry later\n")
}

// exception is Rails answering for an application that could not: JSON for
// whoever asked for JSON, otherwise a page.
func exception(w http.ResponseWriter, r *http.Request, status int, name string) {
	if wantsJSON(r) || status == http.StatusInternalServerError && strings.HasPrefix(r.URL.Path, "/api/v1/") {
		reply(w, status, fmt.Sprintf(`{"status":%d,"error":%q}`, status, name))
		return
	}
	htmlPage(w, status, name)
}

func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	if accept == "" {
		accept = r.Header.Get("Content-Type")
	}
	return strings.HasPrefix(strings.TrimSpace(accept), "application/json")
}

func htmlPage(w http.ResponseWriter, status int, title string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, "<!DOCTYPE html>\n<html>\n<head>\n  <title>"+title+"</title>\n</head>\n<body>\n  <h1>"+title+"</h1>\n</body>\n</html>\n")
}

func (s *Server) unknown(w http.ResponseWriter, r *request) {
	exception(w, r.Request, http.StatusNotFound, "Not Found")
}
