package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

// pingTimeout is Chatwoot's own, so that Ping sees what Chatwoot would.
const pingTimeout = 5 * time.Second

// PingEvents lists the events that Ping can send.
var PingEvents = []string{PingEvent, chatwoot.MessageCreated, chatwoot.ConversationStatusChanged, chatwoot.ConversationUpdated}

// PingOptions configures Ping.
type PingOptions struct {
	URL       *url.URL // required, http or https
	Event     string   // out of PingEvents; empty: PingEvent
	AccountID int64    // that the delivery names; 0: none

	Form   Form // empty: Timestamped
	Secret string

	UserAgent string
	Transport http.RoundTripper // nil: one that goes straight to the host
	Now       func() time.Time  // nil: time.Now
}

// Pong is what came of a Ping.
type Pong struct {
	Received bool // verified and understood by a Handler
	Status   int  // 0: there was no answer
	Took     time.Duration

	Finding // Problem: what happened; Fix: what it means or what to do
}

// Ping sends a delivery as Chatwoot would, and says what the answer means. What
// it sends is made up, and such that a Handler ignores it: the message is a
// private note, and the conversation, number 1, is pending. The error is that
// of a ping which could not even be made.
func Ping(ctx context.Context, o PingOptions) (Pong, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	started := o.Now()
	body, err := pingBody(cmp.Or(o.Event, PingEvent), o.AccountID, started)
	if err != nil {
		return Pong{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.URL.String(), bytes.NewReader(body))
	if err != nil {
		return Pong{}, fmt.Errorf("make the request: %w", withoutURL(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", cmp.Or(o.UserAgent, "chatwoot-sla"))
	if o.Form != Unsigned {
		req.Header.Set(HeaderDelivery, PingEvent+"-"+rand.Text())
	}
	switch cmp.Or(o.Form, Timestamped) {
	case Timestamped:
		req.Header.Set(HeaderTimestamp, strconv.FormatInt(started.Unix(), 10))
		req.Header.Set(HeaderSignature, Sign(o.Secret, started, body))
	case BodyOnly:
		req.Header.Set(HeaderSignature, signBody(o.Secret, body))
	}

	transport := o.Transport
	if transport == nil {
		own := &http.Transport{DisableKeepAlives: true}
		defer own.CloseIdleConnections()
		transport = own
	}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	took := o.Now().Sub(started)
	if err != nil {
		return Pong{Took: took, Finding: explainFailure(withoutURL(err), o.URL)}, nil
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, smallBody)) // the status says enough without it
	p := Pong{Status: resp.StatusCode, Took: took}
	p.Received, p.Finding = explainAnswer(resp, answer)
	return p, nil
}

// pingBody returns a payload with the members that a Handler reads.
func pingBody(event string, account int64, now time.Time) ([]byte, error) {
	type object map[string]any
	conversation := object{
		"id": 1, "inbox_id": 1, "status": "pending", "created_at": now.Unix(), "updated_at": now.Unix(), "messages": []any{},
	}
	payload := object{}
	switch event {
	case PingEvent:
	case chatwoot.MessageCreated:
		payload = object{
			"id": 1, "message_type": "outgoing", "private": true, "content_type": "text", "sender": nil,
			"content":      "A test of the webhook by chatwoot-sla.",
			"created_at":   now.UTC().Format("2006-01-02T15:04:05.000Z"),
			"conversation": conversation,
		}
	case chatwoot.ConversationStatusChanged, chatwoot.ConversationUpdated:
		payload = conversation
		payload["changed_attributes"] = nil
	default:
		return nil, fmt.Errorf("a ping cannot be a %q; use one of %s", event, strings.Join(PingEvents, ", "))
	}
	payload["event"] = event
	if account > 0 {
		payload["account"] = object{"id": account}
	}
	return json.Marshal(payload)
}

// withoutURL strips what net/http adds to its errors: the URL may end in the
// path token.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// explainFailure says why there was no answer.
func explainFailure(err error, target *url.URL) Finding {
	var (
		timeout net.Error
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &dns):
		return Finding{
			fmt.Sprintf("the name %s does not resolve: %v", target.Hostname(), err),
			"check the name in the URL and the name server; Chatwoot has to resolve it as well",
		}
	case errors.As(err, &cert):
		return Finding{
			fmt.Sprintf("the certificate is not trusted: %v", err),
			"Chatwoot refuses it as well: use one from a public authority, complete with its chain, and for the name in the URL",
		}
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return Finding{"the server does not speak TLS at this port", "write http:// if it is the listener itself, or the port of the proxy that ends TLS"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return Finding{
			fmt.Sprintf("nothing listens at %s: %v", target.Host, err),
			"start chatwoot-sla serve, and compare the address with WEBHOOK_LISTEN_ADDR, or with where the proxy listens",
		}
	case errors.As(err, &timeout) && timeout.Timeout():
		return Finding{
			fmt.Sprintf("there was no answer within %v, after which Chatwoot gives up", pingTimeout),
			"check firewalls and the proxy on the way",
		}
	}
	return Finding{fmt.Sprintf("the connection failed: %v", err), "check that the URL has the right scheme and port, and what is on the way"}
}

// explainAnswer says what an answer means, and whether it is that of a Handler
// that took the delivery.
func explainAnswer(resp *http.Response, body []byte) (received bool, f Finding) {
	var said struct {
		verdict
		refusal
	}
	ours := json.Unmarshal(body, &said) == nil && (said.Status != "" || said.Error != "")
	f.Problem = fmt.Sprintf("HTTP %d", resp.StatusCode)
	if ours {
		f.Problem += ": " + printable(cmp.Or(said.Error, said.Status+", "+string(said.Reason)))
	}
	switch code := resp.StatusCode; {
	case code == http.StatusOK && ours && said.Status != "":
		f.Fix = "the delivery arrived and was verified; a ping is never processed"
		return true, f
	case code >= 200 && code <= 299:
		f.Fix = "something answered that is not chatwoot-sla: check the host, the port and the path, which ends in " + Path + " and the path token, if there is one"
	case code >= 300 && code <= 399:
		to := "an address that it does not name"
		if l, err := resp.Location(); err == nil {
			to = l.Scheme + "://" + l.Host
		}
		f.Fix = "a redirect to " + to + ", which Chatwoot before 4.14.0 takes for an error: register the final address, https included"
	case code == http.StatusBadRequest:
		f.Fix = "the delivery was verified, but not understood: compare CHATWOOT_ACCOUNT_ID here and there, and whether something on the way changes bodies"
	case code == http.StatusUnauthorized && ours:
		f.Fix = "the secret, the signature form, the path token or the clock differs: compare CHATWOOT_WEBHOOK_SECRET, CHATWOOT_WEBHOOK_SIGNATURE and CHATWOOT_WEBHOOK_PATH_TOKEN with what the receiver runs with (did it restart since?), and both clocks; its log names the reason"
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		f.Fix = "something in front of chatwoot-sla asks for a login: let " + Path + " through, deliveries bring their own proof"
	case code == http.StatusNotFound:
		f.Fix = "the host answers, the path does not: it must reach the listener as " + Path + "; LISTEN_ADDR does not serve it, WEBHOOK_LISTEN_ADDR does"
	case code == http.StatusMethodNotAllowed:
		f.Fix = "the request was not a POST any more: something on the way redirects it"
	case code == http.StatusRequestTimeout:
		f.Fix = "the body did not arrive in time: check the proxy on the way"
	case code == http.StatusRequestEntityTooLarge && ours:
		f.Fix = "raise WEBHOOK_MAX_BYTES"
	case code == http.StatusRequestEntityTooLarge:
		f.Fix = "the proxy's limit on bodies is too low: allow 8 MiB (client_max_body_size 8m in nginx)"
	case code == http.StatusTooManyRequests:
		f.Fix = "the proxy limits requests: Chatwoot repeats nothing, so lift the limit for this path"
	case code == http.StatusServiceUnavailable && ours:
		f.Fix = "the receiver is there and cannot take deliveries: it says why, and so does its log"
	case code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		f.Fix = "the proxy does not reach chatwoot-sla: check that it runs, and that the proxy points at WEBHOOK_LISTEN_ADDR"
	default:
		f.Fix = "chatwoot-sla does not answer so: look into the log of the proxy on the way"
	}
	return false, f
}

// printable cuts what a server said to a line that cannot upset a terminal.
func printable(s string) string {
	const longest = 300
	s = strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}
