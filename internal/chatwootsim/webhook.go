package chatwootsim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Webhook is a subscription of the account.
type Webhook struct {
	URL           string
	Secret        string   // for signatures; made up when empty
	Subscriptions []string // nil: Chatwoot's default set
	Name          string

	id int64
}

// WebhookFaults are shares, from 0 to 1, of deliveries that go wrong.
type WebhookFaults struct {
	Drop      float64 // never sent
	Duplicate float64 // sent twice, half of these with a new delivery id
	Reorder   float64 // kept back until after the next one, or until Flush
}

var defaultSubscriptions = []string{
	"conversation_status_changed", "conversation_updated", "conversation_created", "contact_created", "contact_updated",
	"message_created", "message_updated", "webwidget_triggered",
}

var allSubscriptions = slices.Concat(defaultSubscriptions, []string{
	"inbox_created", "inbox_updated", "conversation_typing_on", "conversation_typing_off",
})

// event is something that webhooks may be told of.
type event struct {
	name         string
	at           time.Time
	conversation *conversation
	message      message
	changes      []columnChange
	number       uint64
}

// columnChange is a changed column with its values as JSON.
type columnChange struct{ column, from, to string }

// Sign returns the value of X-Chatwoot-Signature for a body sent at a unix
// second.
func Sign(secret string, timestamp int64, body []byte) string {
	return "sha256=" + hex.EncodeToString([]byte(sign(secret, strconv.FormatInt(timestamp, 10)+"."+string(body))))
}

// sign returns the raw HMAC-SHA256.
func sign(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return string(mac.Sum(nil))
}

// segment is a part of a JWT.
func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// delivery is one request that is to be made. Its id is decided here, its time
// stamp only when it is sent.
type delivery struct {
	url, secret string
	id, other   string // other: for a duplicate that does not look like one
	body        []byte
	kept        bool // was held back already
}

// courier carries events to subscribers in two hops, as Sidekiq does: the
// first finds the subscribers and builds the payloads, the second delivers.
// Nothing is sent twice because it failed, and nothing has an order. Its
// workers live only while there is work.
type courier struct {
	server *Server
	client *http.Client

	mu       sync.Mutex
	idle     *sync.Cond
	critical []event
	medium   []delivery
	held     []delivery
	workers  int
	faults   WebhookFaults
	rng      *rand.Rand
}

const (
	courierWorkers = 10
	webhookTimeout = 5 * time.Second
	maxRedirects   = 10
)

func (c *courier) init(s *Server, seed uint64) {
	c.server = s
	c.idle = sync.NewCond(&c.mu)
	c.rng = rand.New(rand.NewPCG(seed, 0x3eb))
	c.client = &http.Client{
		Timeout:       webhookTimeout,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// WebhookFaults decides what happens to deliveries from now on.
func (s *Server) WebhookFaults(f WebhookFaults) {
	s.courier.mu.Lock()
	defer s.courier.mu.Unlock()
	s.courier.faults = f
}

// Flush sends deliveries that are held back and waits until none is on its
// way.
func (s *Server) Flush() {
	c := &s.courier
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.workers > 0 || len(c.held) > 0 {
		if c.workers == 0 {
			c.medium = append(c.medium, c.held...)
			c.held = nil
			c.start()
		}
		c.idle.Wait()
	}
}

// enqueue runs with the server's lock held, so the payload is built after the
// call that caused the event is over, and shows its final state.
func (s *Server) enqueue(e event) {
	if len(s.hooks) == 0 {
		return
	}
	select {
	case <-s.done:
		return
	default:
	}
	s.lastEvent++
	e.number = s.lastEvent
	s.courier.mu.Lock()
	defer s.courier.mu.Unlock()
	s.courier.critical = append(s.courier.critical, e)
	s.courier.start()
}

// start adds a worker: those that exist are busy, or they would have ended. The
// courier's lock is held.
func (c *courier) start() {
	if c.workers < courierWorkers {
		c.workers++
		go c.work()
	}
}

func (c *courier) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case len(c.critical) > 0:
			e := c.critical[0]
			c.critical = c.critical[1:]
			c.mu.Unlock()
			found := c.server.payloads(e)
			c.mu.Lock()
			for _, d := range found {
				c.spread(d)
				c.start()
			}
		case len(c.medium) > 0:
			d := c.medium[0]
			c.medium = c.medium[1:]
			if !d.kept && len(c.held) == 0 && c.rng.Float64() < c.faults.Reorder {
				d.kept = true
				c.held = append(c.held, d)
				continue
			}
			late := c.held
			c.held = nil
			c.mu.Unlock()
			c.server.deliver(d)
			c.mu.Lock()
			c.medium = append(c.medium, late...)
		default:
			c.workers--
			c.idle.Broadcast()
			return
		}
	}
}

// spread queues d as often as the faults want.
func (c *courier) spread(d delivery) {
	if c.rng.Float64() < c.faults.Drop {
		return
	}
	c.medium = append(c.medium, d)
	if c.rng.Float64() < c.faults.Duplicate {
		if c.rng.IntN(2) == 0 {
			d.id = d.other
		}
		c.medium = append(c.medium, d)
	}
}

// payloads is the first hop. What was deleted in the meantime is not told.
func (s *Server) payloads(e event) []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.conversation.deletedAt.IsZero() {
		return nil
	}
	var found []delivery
	var body []byte
	for _, hook := range s.hooks {
		if !slices.Contains(hook.Subscriptions, e.name) {
			continue
		}
		if body == nil {
			body = s.world.payload(e, s.opts.Now())
		}
		d := delivery{url: hook.URL, body: body}
		if s.modern {
			d.secret = hook.Secret
			d.id = uuid(s.opts.Seed, e.number, uint64(hook.id), 'w')
			d.other = uuid(s.opts.Seed, e.number, uint64(hook.id), 'd')
		}
		found = append(found, d)
	}
	return found
}

func (w *world) payload(e event, now time.Time) []byte {
	r := renderer{w}
	var d doc
	d.object("", func() {
		switch {
		case e.message.id != 0:
			r.webhookMessage(&d, e.conversation, &e.message, now)
		case strings.HasPrefix(e.name, "contact_"):
			r.webhookContact(&d, e.conversation)
		default:
			r.webhookConversation(&d, e.conversation, now)
		}
		d.str("event", e.name)
		switch {
		case e.name == "conversation_status_changed":
			d.null("changed_attributes") // Chatwoot never says what the status was
		case e.name == "conversation_updated":
			d.array("changed_attributes", func() {
				for _, change := range e.changes {
					d.object("", func() {
						d.object(change.column, func() {
							d.raw("previous_value", change.from)
							d.raw("current_value", change.to)
						})
					})
				}
			})
		}
	})
	return d.b
}

// deliver is the second hop. What comes back changes nothing.
func (s *Server) deliver(d delivery) {
	target := d.url
	for range maxRedirects + 1 {
		next, again := s.post(target, d)
		if !again {
			return
		}
		target = next
	}
}

// post makes one request. It returns where to try again, which only newer
// servers do, and only when told by a redirect.
func (s *Server) post(target string, d delivery) (next string, again bool) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, target, bytes.NewReader(d.body))
	if err != nil {
		return "", false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if s.modern {
		timestamp := s.opts.Now().Unix()
		req.Header.Set("X-Chatwoot-Delivery", d.id)
		if d.secret != "" {
			req.Header.Set("X-Chatwoot-Timestamp", strconv.FormatInt(timestamp, 10))
			req.Header.Set("X-Chatwoot-Signature", Sign(d.secret, timestamp, d.body))
		}
	}
	res, err := s.courier.client.Do(req)
	if err != nil {
		return "", false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	location, err := res.Location()
	if err != nil || !s.modern || res.StatusCode < 300 || res.StatusCode > 399 {
		return "", false
	}
	return location.String(), true
}

// subscribe completes hook and keeps it. The server's lock is held, or nobody
// else knows the server yet.
func (s *Server) subscribe(hook Webhook) *Webhook {
	s.lastHook++
	hook.id = s.lastHook
	if hook.Secret == "" {
		hook.Secret = fmt.Sprintf("demo-webhook-secret-%d", hook.id)
	}
	if hook.Subscriptions == nil {
		hook.Subscriptions = slices.Clone(defaultSubscriptions)
	}
	s.hooks = append(s.hooks, &hook)
	return &hook
}

func (s *Server) webhook(d *doc, hook *Webhook) {
	d.num("id", hook.id)
	d.strOrNull("name", hook.Name)
	d.str("url", hook.URL)
	d.num("account_id", s.opts.AccountID)
	d.strs("subscriptions", hook.Subscriptions)
	if s.modern {
		d.str("secret", hook.Secret)
	}
}

func (s *Server) listWebhooks(w http.ResponseWriter, _ *request) {
	var d doc
	s.mu.Lock()
	d.object("", func() {
		d.object("payload", func() {
			d.array("webhooks", func() {
				for _, hook := range s.hooks {
					d.object("", func() { s.webhook(&d, hook) })
				}
			})
		})
	})
	s.mu.Unlock()
	reply(w, http.StatusOK, string(d.b))
}

func (s *Server) createWebhook(w http.ResponseWriter, r *request) {
	s.saveWebhook(w, r, func(asked Webhook) *Webhook { return s.subscribe(asked) }, nil)
}

func (s *Server) updateWebhook(w http.ResponseWriter, r *request) {
	s.withWebhook(w, r, func(hook *Webhook) {
		s.saveWebhook(w, r, func(asked Webhook) *Webhook {
			hook.URL, hook.Name, hook.Subscriptions = asked.URL, asked.Name, asked.Subscriptions
			return hook
		}, hook)
	})
}

func (s *Server) deleteWebhook(w http.ResponseWriter, r *request) {
	s.withWebhook(w, r, func(hook *Webhook) {
		s.mu.Lock()
		s.hooks = slices.DeleteFunc(s.hooks, func(other *Webhook) bool { return other == hook })
		s.mu.Unlock()
		w.WriteHeader(http.StatusOK)
	})
}

func (s *Server) withWebhook(w http.ResponseWriter, r *request, do func(*Webhook)) {
	s.mu.Lock()
	i := slices.IndexFunc(s.hooks, func(hook *Webhook) bool { return strconv.FormatInt(hook.id, 10) == r.PathValue("id") })
	var hook *Webhook
	if i >= 0 {
		hook = s.hooks[i]
	}
	s.mu.Unlock()
	if hook == nil {
		fail(w, http.StatusNotFound, notFound)
		return
	}
	do(hook)
}

// saveWebhook validates what was asked for and hands it to save. old is the
// webhook that is being changed, nil for a new one.
func (s *Server) saveWebhook(w http.ResponseWriter, r *request, save func(Webhook) *Webhook, old *Webhook) {
	if !r.readBody(w) {
		return
	}
	given, ok := r.params["webhook"].(map[string]any)
	if !ok || len(given) == 0 {
		fail(w, http.StatusUnprocessableEntity, "param is missing or the value is empty: webhook")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var asked Webhook
	if old != nil {
		asked = *old
	}
	if _, ok := given["url"]; ok || old == nil {
		asked.URL = params(given).text("url")
	}
	if _, ok := given["name"]; ok {
		asked.Name = params(given).text("name")
	}
	if list, ok := given["subscriptions"]; ok {
		asked.Subscriptions = []string{}
		values, _ := list.([]any)
		for _, v := range values {
			asked.Subscriptions = append(asked.Subscriptions, fmt.Sprint(v))
		}
	}
	if problem, attribute := s.webhookProblem(asked, old); problem != "" {
		var d doc
		d.object("", func() {
			d.str("message", problem)
			d.strs("attributes", []string{attribute})
		})
		reply(w, http.StatusUnprocessableEntity, string(d.b))
		return
	}
	hook := save(asked)
	var d doc
	d.object("", func() {
		d.object("payload", func() {
			d.object("webhook", func() { s.webhook(&d, hook) })
		})
	})
	reply(w, http.StatusOK, string(d.b))
}

func (s *Server) webhookProblem(asked Webhook, old *Webhook) (problem, attribute string) {
	target, err := url.Parse(asked.URL)
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return "Url is invalid", "url"
	}
	for _, hook := range s.hooks {
		if hook != old && hook.URL == asked.URL {
			return "Url has already been taken", "url"
		}
	}
	known := func(name string) bool { return slices.Contains(allSubscriptions, name) }
	if asked.Subscriptions != nil && (len(asked.Subscriptions) == 0 ||
		slices.ContainsFunc(asked.Subscriptions, func(name string) bool { return !known(name) })) {
		return "Subscriptions Invalid events", "subscriptions"
	}
	return "", ""
}
