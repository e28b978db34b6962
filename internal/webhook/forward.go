package webhook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

// forwardTimeout bounds one request to the other service.
const forwardTimeout = 10 * time.Second

// usualWait is how long a 429 that does not say more is taken to mean.
const usualWait = 30 * time.Second

// Forwarder passes deliveries on to another service of the operator's, signed
// like Chatwoot's with a secret of their own.
type Forwarder struct {
	URL       *url.URL
	Secret    string
	UserAgent string
	Transport http.RoundTripper // nil: http.DefaultTransport
	Now       func() time.Time  // by which it is signed
}

// ForwardError says why the other service did not take a delivery.
type ForwardError struct {
	Status     int           // 0: there was no answer
	RetryAfter time.Duration // when it asks to be left alone for a while
	Err        error         // without an answer
}

func (e *ForwardError) Error() string {
	switch {
	case e.Err != nil:
		return "forward to WEBHOOK_FORWARD_URL: " + e.Err.Error()
	case e.Status >= 300 && e.Status < 400:
		return fmt.Sprintf("forward to WEBHOOK_FORWARD_URL: HTTP %d, a redirect, which is not followed; set the final address", e.Status)
	}
	return fmt.Sprintf("forward to WEBHOOK_FORWARD_URL: HTTP %d", e.Status)
}

func (e *ForwardError) Unwrap() error { return e.Err }

// Down reports whether the service cannot be used at all, rather than refusing
// this one delivery.
func (e *ForwardError) Down() bool {
	return e.Err != nil || e.Status >= 500 || e.Status == http.StatusRequestTimeout
}

// Send passes one delivery on. Its key goes where Chatwoot names the delivery,
// so that the other service knows one that it is sent twice. The error is a
// *ForwardError.
func (f *Forwarder) Send(ctx context.Context, key string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL.String(), bytes.NewReader(body))
	if err != nil {
		return &ForwardError{Err: withoutURL(err)}
	}
	at := f.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", cmp.Or(f.UserAgent, "chatwoot-sla"))
	req.Header.Set(HeaderDelivery, key)
	req.Header.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(HeaderSignature, Sign(f.Secret, at, body))
	client := http.Client{
		Transport:     f.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		err = withoutURL(err)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", forwardTimeout)
		}
		return &ForwardError{Err: err}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, smallBody) // so that the connection can be used again
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests:
		return &ForwardError{Status: code, RetryAfter: cmp.Or(chatwoot.RetryAfter(resp.Header.Get("Retry-After"), at), usualWait)}
	default:
		return &ForwardError{Status: code}
	}
}
