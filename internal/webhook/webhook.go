// Package webhook receives Chatwoot's webhooks: it verifies who sent them,
// decides what they are worth, and answers once the ones to be processed are
// stored. It also holds what operators need to set this up: Explain, Ping and
// Register.
//
// Chatwoot delivers at most once, in no order, and gives up after five
// seconds. A webhook therefore only shortens a delay: whatever is lost here is
// found by the next poll.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

// Path is where deliveries are received. The path token, if there is one, is
// the segment behind it.
const Path = "/api/webhooks/chatwoot"

// MaxConnections is how many clients the listener should let in at once. It
// bounds the memory that bodies take before their senders are verified.
const MaxConnections = 128

const (
	defaultMaxBytes = 8 << 20

	// A body up to smallBody is simply read. Of the longer ones, largeBodies
	// are held at a time and others wait for room up to roomTimeout, because
	// nobody has been verified yet when a body is read.
	smallBody   = 64 << 10
	largeBodies = 4
	roomTimeout = 2 * time.Second

	// storeTimeout lets the answer reach Chatwoot before its own five seconds
	// are over, so that its log names the status.
	storeTimeout = 4 * time.Second

	// logInterval is how often a rejection for the same reason is logged:
	// anybody can cause them.
	logInterval = time.Minute
)

// Inbox stores deliveries that are to be processed.
type Inbox interface {
	// Accept returns once d is stored for good and will be processed. Fresh is
	// false if a delivery with the same ID or the same Key was stored before;
	// then nothing is stored. The context ends in time for the answer, and not
	// when the sender hangs up. Accept is called concurrently.
	Accept(ctx context.Context, d Delivery) (fresh bool, err error)
}

// Delivery is a webhook that was verified and is to be processed.
type Delivery struct {
	ID  string // of this attempt; empty from servers before 4.12.0. Not signed
	Key string // the same whenever Chatwoot tells of the same event

	Event          string // such as message_created
	Reason         Reason // why it is processed
	AccountID      int64
	ConversationID int64           // the display id
	MessageID      int64           // 0 when it is about the conversation
	Status         chatwoot.Status // of the conversation, after the event

	// UpdatedAt is when the conversation's row was last saved. Its states are
	// to be ordered by this, never by arrival.
	UpdatedAt  time.Time
	ReceivedAt time.Time

	// Missed is whether no webhook came and a Finder made the delivery up.
	Missed bool

	// Body is what was received, to the byte. It holds what customers wrote
	// and a credential of theirs: not to be logged.
	Body []byte
}

// Options configures a Handler.
type Options struct {
	AccountID int64 // required; deliveries that name another are refused
	Inbox     Inbox // required

	Form    Form     // empty: Timestamped
	Secrets []string // any of them is good; none: deliveries are answered with 503

	// PathToken, if set, must follow Path in the address. Unsigned needs it.
	PathToken string

	MaxBytes int64 // of a body; 0: 8 MiB

	// Hint is called for every verified delivery that may mean a change, be it
	// processed or not, stored or not. It must return at once. Nil: nobody
	// wants to know.
	Hint func()

	// ClockSkew is how far Chatwoot's clock is ahead of ours; time stamps are
	// judged by Chatwoot's. Nil: not at all.
	ClockSkew func() time.Duration

	Now        func() time.Time // nil: time.Now
	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: metrics are kept and not exported
}

// Handler answers all requests to the webhook listener: deliveries, and
// /healthz. It is safe for concurrent use.
type Handler struct {
	o       Options
	log     *zap.Logger
	metrics metrics
	large   chan struct{} // holds one for each large body in memory
	first   sync.Once
	gate    gate
}

// New returns a Handler. Without secrets it warns and answers 503: a listener
// that is open and says so is easier to find than one that is not there.
func New(o Options) (*Handler, error) {
	o.Form = cmp.Or(o.Form, Timestamped)
	switch {
	case o.AccountID <= 0:
		return nil, fmt.Errorf("webhook: account id %d is not positive", o.AccountID)
	case o.Inbox == nil:
		return nil, errors.New("webhook: an inbox is required")
	case o.MaxBytes < 0:
		return nil, fmt.Errorf("webhook: a limit of %d bytes lets nothing in", o.MaxBytes)
	case o.Form != Timestamped && o.Form != BodyOnly && o.Form != Unsigned:
		return nil, fmt.Errorf("webhook: signature form %q is unknown", o.Form)
	case o.Form == Unsigned && o.PathToken == "":
		return nil, errors.New("webhook: unsigned deliveries need a path token")
	case slices.Contains(o.Secrets, ""):
		return nil, errors.New("webhook: an empty secret would let everybody in")
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, defaultMaxBytes)
	if o.Hint == nil {
		o.Hint = func() {}
	}
	if o.ClockSkew == nil {
		o.ClockSkew = func() time.Duration { return 0 }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	h := &Handler{
		o:       o,
		log:     o.Logger,
		metrics: newMetrics(o.Registerer),
		large:   make(chan struct{}, largeBodies),
		gate:    gate{last: map[RejectReason]time.Time{}, held: map[RejectReason]int{}},
	}
	if !h.Configured() {
		h.log.Warn("webhooks are answered with 503 until CHATWOOT_WEBHOOK_SECRET is set; chatwoot-sla webhook register tells it")
	}
	return h, nil
}

// Configured reports whether deliveries can be verified, and so are taken in.
func (h *Handler) Configured() bool { return h.o.Form == Unsigned || len(h.o.Secrets) > 0 }

// Server returns a server for h with limits that suit an address that can be
// reached from outside. The caller starts and stops it.
func (h *Handler) Server() *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second, // ReadTimeout, roomTimeout, storeTimeout, and some
		IdleTimeout:       5 * time.Second,  // an idle connection is one less for Chatwoot
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          zap.NewStdLog(h.log),
	}
}

// ServeHTTP implements http.Handler. It never answers with a redirect, as
// http.ServeMux might: Chatwoot before 4.14.0 takes one for an error.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close") // until somebody is verified: there are MaxConnections for everybody
	rest, below := strings.CutPrefix(r.URL.Path, Path)
	switch {
	case below && (rest == "" || rest[0] == '/'):
		h.receive(w, r, strings.Trim(rest, "/"))
	case r.URL.Path == "/healthz" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		_, _ = io.WriteString(w, "ok\n")
	default:
		http.NotFound(w, r)
	}
}

// receive answers one delivery. Each step is cheaper than the next, and
// nothing is parsed before it is known to be Chatwoot's. The content type does
// not matter: what is signed and is JSON was meant for us.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, token string) {
	arrived := h.o.Now()
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.reject(w, r, RejectMethod, "this address takes POST requests from Chatwoot", nil)
		return
	}
	if !h.Configured() {
		h.reject(w, r, RejectNotConfigured, "CHATWOOT_WEBHOOK_SECRET is not set here, so nothing can be verified", nil)
		return
	}
	// A token that nobody asks for does no harm: it may have been in use.
	if h.o.PathToken != "" && !sameToken(token, h.o.PathToken) {
		h.reject(w, r, RejectPathToken, notVerified, nil)
		return
	}
	timestamp, signature := r.Header.Get(HeaderTimestamp), r.Header.Get(HeaderSignature)
	var signed claim
	if h.o.Form != Unsigned {
		var wrong RejectReason
		if signed, wrong = readClaim(h.o.Form, timestamp, signature, arrived.Add(h.o.ClockSkew())); wrong != "" {
			h.reject(w, r, wrong, notVerified, nil)
			return
		}
	}
	body, release, err := h.read(w, r)
	defer release()
	if err != nil {
		reason, text := h.readError(err)
		h.reject(w, r, reason, text, nil)
		return
	}
	if h.o.Form != Unsigned && !signed.signedBy(h.o.Secrets, body) {
		h.reject(w, r, RejectSignatureMismatch, notVerified, func() string {
			if len(body) > smallBody {
				return ""
			}
			return Explain(Evidence{
				Form: h.o.Form, Secrets: h.o.Secrets, Timestamp: timestamp, Signature: signature,
				Body: body, At: arrived.Add(h.o.ClockSkew()),
			}).Findings[0].Problem
		})
		return
	}

	event, err := chatwoot.DecodeEvent(body)
	if err != nil {
		h.reject(w, r, RejectMalformed, err.Error(), err.Error)
		return
	}
	if event.AccountID != 0 && event.AccountID != h.o.AccountID {
		text := fmt.Sprintf("the delivery is of account %d, this is the monitor of account %d", event.AccountID, h.o.AccountID)
		h.reject(w, r, RejectForeignAccount, text, func() string { return text })
		return
	}
	h.first.Do(func() {
		h.log.Info("the first webhook since the start has arrived", zap.String("event", eventLabel(event.Name)))
	})
	w.Header().Del("Connection")
	h.answer(w, r, event, body, arrived)
}

// answer decides on a verified delivery, stores it if need be, and replies.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, event chatwoot.Event, body []byte, arrived time.Time) {
	if event.Name != PingEvent {
		h.o.Hint()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer cancel()
	decision := Decide(event)
	result, reason := resultIgnored, decision.Reason
	var failure error
	if decision.Process {
		var fresh bool
		fresh, failure = h.o.Inbox.Accept(ctx, h.delivery(r, event, decision.Reason, body, arrived))
		switch {
		case failure != nil:
			result = resultFailed
		case fresh:
			result = resultAccepted
		default:
			result, reason = resultDuplicate, alreadyReceived
		}
	}

	if failure != nil {
		// No Retry-After: Chatwoot repeats nothing, and the next poll finds
		// what this was about.
		reply(w, http.StatusServiceUnavailable, refusal{"the delivery could not be stored; the monitor will find by polling what it was about"})
	} else {
		reply(w, http.StatusOK, verdict{result, reason})
	}
	took := h.o.Now().Sub(arrived)
	h.metrics.answered(event.Name, result, took)
	fields := []zap.Field{zap.String("event", eventLabel(event.Name)), zap.String("result", result), zap.String("reason", string(reason)), zap.Duration("took", took)}
	if event.Conversation != nil {
		fields = append(fields, zap.Int64("conversation_id", event.Conversation.ID))
	}
	if failure == nil {
		h.log.Debug("webhook answered", fields...)
		return
	}
	if held, ok := h.gate.pass(storeFailed, arrived); ok {
		h.log.Error("a webhook could not be stored", append(fields, zap.Error(failure), zap.Int("not_logged_since", held))...)
	}
}

func (h *Handler) delivery(r *http.Request, e chatwoot.Event, why Reason, body []byte, arrived time.Time) Delivery {
	d := Delivery{
		ID:             deliveryID(r.Header.Get(HeaderDelivery)),
		Event:          e.Name,
		Reason:         why,
		AccountID:      h.o.AccountID,
		ConversationID: e.Conversation.ID,
		Status:         e.Conversation.Status,
		UpdatedAt:      e.Conversation.UpdatedAt,
		ReceivedAt:     arrived,
		Body:           body,
	}
	if e.Message != nil {
		d.MessageID = e.Message.ID
		d.Key = messageKey(d.AccountID, d.MessageID)
	} else {
		// A state is told once, however often and under whatever delivery id.
		// Chatwoot does not tell what it was before, and no memory of ours could:
		// a reopening, of which nothing is processed, may never have been told.
		d.Key = fmt.Sprintf("%d/%s/%d@%d", d.AccountID, d.Event, d.ConversationID, d.UpdatedAt.UnixMicro())
	}
	return d
}

// messageKey returns the Key of the delivery that tells of a message.
func messageKey(account, message int64) string {
	return fmt.Sprintf("%d/%s/%d", account, chatwoot.MessageCreated, message)
}

// deliveryID returns the id that a sender gave its attempt, or "" if it is
// none: it comes from a header that is not signed.
func deliveryID(s string) string {
	const longest = 64 // a UUID has 36
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	if len(s) > longest || strings.ContainsFunc(s, odd) {
		return ""
	}
	return s
}

var errNoRoom = errors.New("too many large bodies at once")

// read returns the body of a request. Release must be called when the body is
// no longer needed, and may be called whatever the error.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	release = func() {}
	if r.ContentLength > h.o.MaxBytes {
		return nil, release, &http.MaxBytesError{Limit: h.o.MaxBytes}
	}
	limited := http.MaxBytesReader(w, r.Body, h.o.MaxBytes)
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(min(r.ContentLength, smallBody)) + bytes.MinRead)
	}
	if _, err = io.CopyN(&buf, limited, smallBody); err != nil {
		if errors.Is(err, io.EOF) { // it was a small one; a body that is cut ends in ErrUnexpectedEOF
			err = nil
		}
		return buf.Bytes(), release, err
	}
	wait, cancel := context.WithTimeout(r.Context(), roomTimeout)
	defer cancel()
	select {
	case h.large <- struct{}{}:
	case <-wait.Done():
		return nil, release, errNoRoom
	}
	release = func() { <-h.large }
	if n := r.ContentLength - smallBody; n > 0 {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err = buf.ReadFrom(limited)
	return buf.Bytes(), release, err
}

// readError says why a body could not be read.
func (h *Handler) readError(err error) (RejectReason, string) {
	var tooLarge *http.MaxBytesError
	var timeout net.Error
	switch {
	case errors.As(err, &tooLarge):
		return RejectTooLarge, fmt.Sprintf("the body is longer than %d bytes, the value of WEBHOOK_MAX_BYTES", h.o.MaxBytes)
	case errors.Is(err, errNoRoom):
		return RejectBusy, "too many large deliveries are being read"
	case errors.As(err, &timeout) && timeout.Timeout():
		return RejectSlowBody, "the body did not arrive in time"
	}
	return RejectIncompleteBody, "the body ended before its end"
}

// verdict and refusal are the answers to a delivery.
type (
	verdict struct {
		Status string `json:"status"`
		Reason Reason `json:"reason"`
	}
	refusal struct {
		Error string `json:"error"`
	}
)

func reply(w http.ResponseWriter, status int, answer any) {
	text, err := json.Marshal(answer)
	if err != nil { // of two structs of strings
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a sender that left needs no answer
}
