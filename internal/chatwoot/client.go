// Package chatwoot speaks to a Chatwoot server through its API: it reads
// conversations, messages, inboxes, the token's profile and health, and posts
// notes and replies. It knows what real servers send, and nothing of what is
// done with it.
//
// Facts about Chatwoot in this package come from its source at v4.15.1 and
// v4.2.0; where the two differ, both are handled.
package chatwoot

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// defaultTimeout is longer than Chatwoot's own limit of 15 s, so that its
	// answer to a slow query is seen rather than guessed.
	defaultTimeout = 20 * time.Second

	// maxBody bounds what is read of one answer: about 5,000 list rows.
	maxBody = 32 << 20

	// maxPooled bounds the memory that is kept for the next answer; a page
	// takes a quarter.
	maxPooled = 1 << 20
)

// Options configures a Client.
type Options struct {
	BaseURL   *url.URL // required; where Chatwoot is served from, without /api
	Token     string   // access token of a user
	AccountID int64    // required, positive

	RequestsPerMinute int           // budget of all requests together, with a burst of as many; 0: 1,200
	Timeout           time.Duration // of one request, reading included; 0: 20 s
	Transport         http.RoundTripper
	UserAgent         string

	// Now is the clock that the server's Date header is compared with.
	// Nil: time.Now.
	Now func() time.Time

	// Observe, if set, is told of every request that was sent. Endpoint is a
	// template out of Endpoints; status is 0 without an answer. It must be
	// safe for concurrent use.
	Observe func(endpoint string, status int, took time.Duration)
}

// The templates that Options.Observe is given.
const (
	EndpointConversations = "conversations"
	EndpointConversation  = "conversation"
	EndpointMessages      = "messages"
	EndpointPosting       = "posting" // of notes and replies
	EndpointInboxes       = "inboxes"
	EndpointProfile       = "profile"
	EndpointHealth        = "health"
	EndpointIndex         = "api"
	EndpointWidget        = "widget"
)

// Endpoints lists every template that Options.Observe is given.
var Endpoints = []string{
	EndpointConversations, EndpointConversation, EndpointMessages, EndpointPosting, EndpointInboxes,
	EndpointProfile, EndpointHealth, EndpointIndex, EndpointWidget,
}

// Client talks to one account of one Chatwoot. It is safe for concurrent use.
type Client struct {
	*shared
	class Class
}

type shared struct {
	base      url.URL
	token     string
	account   int64
	timeout   time.Duration
	userAgent string
	http      *http.Client
	budget    *budget
	skew      skew
	now       func() time.Time
	observe   func(string, int, time.Duration)
	bodies    sync.Pool

	mu         sync.Mutex
	healthPath string // the path that answered last
}

// New returns a Client whose requests are of class Poll.
func New(o Options) (*Client, error) {
	switch {
	case o.BaseURL == nil || o.BaseURL.Host == "":
		return nil, errors.New("chatwoot: a base URL with a host is required")
	case o.AccountID <= 0:
		return nil, fmt.Errorf("chatwoot: account id %d is not positive", o.AccountID)
	case o.RequestsPerMinute < 0:
		return nil, fmt.Errorf("chatwoot: %d requests per minute would send nothing", o.RequestsPerMinute)
	case o.Timeout < 0:
		return nil, fmt.Errorf("chatwoot: a time-out %v is over before it starts", o.Timeout)
	}
	if o.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 8
		o.Transport = t
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observe == nil {
		o.Observe = func(string, int, time.Duration) {}
	}
	base := *o.BaseURL
	base.Path = strings.TrimRight(base.Path, "/")
	return &Client{class: Poll, shared: &shared{
		base:      base,
		token:     o.Token,
		account:   o.AccountID,
		timeout:   cmp.Or(o.Timeout, defaultTimeout),
		userAgent: cmp.Or(o.UserAgent, "chatwoot-sla"),
		budget:    newBudget(cmp.Or(o.RequestsPerMinute, 1200)),
		now:       o.Now,
		observe:   o.Observe,
		bodies:    sync.Pool{New: func() any { return new(bytes.Buffer) }},
		http: &http.Client{
			Transport: o.Transport,
			// A redirect could carry the token to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}}, nil
}

// For returns a Client that shares everything with c but sends its requests
// in the given class.
func (c *Client) For(class Class) *Client { return &Client{c.shared, class} }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ClockSkew returns how far Chatwoot's clock is ahead of ours, by the Date
// headers of the last answers. Below two seconds it is 0: the header counts
// whole seconds, and the network takes its time.
func (c *Client) ClockSkew() time.Duration { return c.skew.median() }

// ClockKnown reports whether any answer has told Chatwoot's time yet.
func (c *Client) ClockKnown() bool { return c.skew.known() }

// AccountID returns the account that c reads.
func (c *Client) AccountID() int64 { return c.account }

// ConversationURL returns the address of a conversation in Chatwoot's own
// interface, without a password that the base URL may hold.
func (c *Client) ConversationURL(id int64) string {
	u := url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: c.base.Path, RawPath: c.base.RawPath}
	return u.JoinPath("app/accounts", strconv.FormatInt(c.account, 10), "conversations", strconv.FormatInt(id, 10)).String()
}

// request is one GET.
type request struct {
	endpoint string // template
	path     string // below the base URL
	label    string // path without ids, for errors; empty: path
	query    url.Values
	public   bool // sent without the token
	html     bool // the answer is no JSON
}

// answer is what came back: a status of 200 and a body that is JSON by its
// content type. Its body is valid until release is called.
type answer struct {
	body []byte
	date time.Time
}

// get sends r and hands the answer to read, whose error makes the answer
// malformed. The body must not be kept.
func (c *Client) get(ctx context.Context, r request, read func(answer) error) error {
	if r.label == "" {
		r.label = r.path
	}
	fail := &Error{Endpoint: "GET " + r.label}
	if err := c.budget.wait(ctx, c.class); err != nil {
		fail.Kind, fail.Err = Canceled, err
		if errors.Is(err, context.DeadlineExceeded) {
			fail.Kind = TimedOut // Timeout stays 0: it was never sent
		}
		return fail
	}

	started := time.Now()
	timeout := c.timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	status, err := c.exchange(ctx, r, fail, read)
	c.observe(r.endpoint, status, time.Since(started))
	if fail.Kind == TimedOut {
		fail.Timeout = max(timeout.Round(time.Millisecond), time.Millisecond)
	}
	return err
}

func (c *Client) exchange(ctx context.Context, r request, fail *Error, read func(answer) error) (status int, err error) {
	u := c.base.JoinPath(r.path)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		fail.Kind, fail.Err = Unreachable, errors.New("the address is invalid")
		return 0, fail
	}
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept", "application/json")
	if r.html {
		req.Header.Set("Accept", "text/html")
	}
	if !r.public {
		// The documented spelling, api_access_token, is dropped by nginx.
		req.Header.Set("Api-Access-Token", c.token)
	}

	sent := c.now()
	resp, err := c.http.Do(req)
	if err != nil {
		fail.Kind, fail.Err = transportError(err)
		return 0, fail
	}
	defer resp.Body.Close()
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	c.skew.add(date, sent, c.now())

	body := c.bodies.Get().(*bytes.Buffer)
	body.Reset()
	defer func() {
		if body.Cap() <= maxPooled {
			c.bodies.Put(body)
		}
	}()
	if n := resp.ContentLength; n > 0 && n <= maxBody {
		body.Grow(int(n) + bytes.MinRead)
	}
	_, err = body.ReadFrom(io.LimitReader(resp.Body, maxBody+1))

	fail.Status = resp.StatusCode
	switch {
	case resp.StatusCode != http.StatusOK: // which says more than how its body ended
		c.classify(r, resp, body.Bytes(), fail)
		return resp.StatusCode, fail
	case err != nil:
		fail.Kind, fail.Err = transportError(err)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			fail.Kind, fail.Err = Malformed, errors.New("the body ends before its announced length")
		}
		return resp.StatusCode, fail
	case body.Len() > maxBody:
		fail.Kind, fail.Err = TooLarge, fmt.Errorf("the answer is longer than %d MiB", maxBody>>20)
		return resp.StatusCode, fail
	}
	if !r.html && !isJSON(resp.Header.Get("Content-Type")) {
		fail.Kind, fail.Detail = NotJSON, cmp.Or(mediaType(resp.Header.Get("Content-Type")), "no content type")
		return resp.StatusCode, fail
	}
	if err := read(answer{body: body.Bytes(), date: date}); err != nil {
		fail.Kind, fail.Err = Malformed, err
		return resp.StatusCode, fail
	}
	return resp.StatusCode, nil
}

// classify fills fail for an answer other than 200.
func (c *Client) classify(r request, resp *http.Response, body []byte, fail *Error) {
	fail.Detail = serverMessage(resp.StatusCode, body, c.token)
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		fail.Kind = Unauthorized
	case code == http.StatusNotFound:
		fail.Kind = NotFound
	case code == http.StatusTooManyRequests:
		fail.Kind = Throttled
		now := time.Now()
		wait := RetryAfter(resp.Header.Get("Retry-After"), now)
		if r.endpoint == EndpointWidget {
			// A limit of this page alone, by the hour: it stops no others.
			fail.RetryAfter = cmp.Or(wait, untilNext(time.Hour, now))
			return
		}
		fail.RetryAfter = c.budget.throttled(wait)
	case code >= 500:
		fail.Kind = ServerError
	case code >= 300 && code < 400:
		fail.Kind = Redirected
		fail.Detail = "an address it does not name"
		if to, err := resp.Location(); err == nil {
			fail.Detail = without(c.token, (&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String())
		}
	default:
		fail.Kind = Refused
	}
}

// RetryAfter reads the header of that name, which Chatwoot never sends and
// proxies do, in either of its forms. More than an hour is not believed; 0 is
// what tells nothing.
func RetryAfter(header string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.Atoi(header); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), time.Hour)
}

func mediaType(contentType string) string {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return t
}

func isJSON(contentType string) bool {
	t := mediaType(contentType)
	return t == "application/json" || strings.HasSuffix(t, "+json")
}
