package chatwoot

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// Kind classifies a failed request by what a caller can do about it.
type Kind uint8

const (
	Unreachable   Kind = iota + 1 // no connection, or it broke
	NameUnknown                   // the host name does not resolve
	BadTLS                        // the certificate or the handshake
	TimedOut                      // no answer in time
	Canceled                      // the caller gave up
	Redirected                    // 3xx; never followed, it could carry the token elsewhere
	Unauthorized                  // 401; of one conversation or of the token, see Client.Profile
	NotFound                      // 404
	Throttled                     // 429
	Refused                       // any other 4xx
	ServerError                   // 5xx
	NotJSON                       // 200 with another content type: a login page, a proxy
	Malformed                     // JSON that is cut, damaged or not what was asked for
	TooLarge                      // longer than this client reads
	AccountHidden                 // the token is good, the account is not among its own
)

// Error is a request to Chatwoot that failed. It never holds the token, nor
// any text of a body but Chatwoot's own error message.
type Error struct {
	Endpoint   string // method and path, ids and queries left out
	Kind       Kind
	Status     int           // HTTP status; 0 without an answer
	Detail     string        // what the server said, or where it points
	RetryAfter time.Duration // when Throttled: how long to wait
	Timeout    time.Duration // when TimedOut: how long was waited; 0: it was never sent
	Err        error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Endpoint)
	b.WriteString(": ")
	switch e.Kind {
	case TimedOut:
		if e.Timeout == 0 {
			b.WriteString("not sent before the deadline: requests wait while the budget is spent or Chatwoot throttles us")
			break
		}
		fmt.Fprintf(&b, "Connection timeout after %dms", e.Timeout.Milliseconds())
	case Redirected:
		fmt.Fprintf(&b, "HTTP %d, a redirect to %s", e.Status, e.Detail)
	case NotJSON:
		fmt.Fprintf(&b, "HTTP %d with %s instead of JSON", e.Status, e.Detail)
	case AccountHidden:
		b.WriteString(e.Detail)
	default:
		if e.Status != 0 {
			fmt.Fprintf(&b, "HTTP %d", e.Status)
			if e.Detail != "" {
				fmt.Fprintf(&b, " (%s)", e.Detail)
			}
		}
		if e.Err != nil {
			if e.Status != 0 {
				b.WriteString(": ")
			}
			b.WriteString(e.Err.Error())
		}
	}
	if hint := e.hint(); hint != "" {
		b.WriteString("; ")
		b.WriteString(hint)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) hint() string {
	switch e.Kind {
	case Unreachable:
		return "check that Chatwoot runs and that the base URL, network and firewall let us reach it"
	case NameUnknown:
		return "check the host in the base URL and the name server"
	case BadTLS:
		return "check the certificate and its expiry, and that the base URL has the right scheme"
	case TimedOut:
		if e.Timeout == 0 {
			return "raise the budget or Chatwoot's limit, or ask for less"
		}
		return "check network, Chatwoot's load and firewall rules"
	case Redirected:
		return "set the base URL to the address that Chatwoot is served from"
	case Unauthorized:
		if e.Detail == missingToken {
			return "Chatwoot saw no token: a proxy may drop the Api-Access-Token header"
		}
		return "check the token and the permissions of its user"
	case NotFound:
		return "check the base URL, and that this Chatwoot has what was asked for"
	case Refused:
		return "check the base URL, and what stands between us and Chatwoot"
	case ServerError:
		return "look into Chatwoot's log, and into that of the proxy before it"
	case TooLarge:
		return "ask for a shorter time or for less"
	case Throttled:
		if e.Endpoint == "GET "+widgetPath {
			return "without the conversation token of an earlier load, five loads an hour are allowed"
		}
		return "Chatwoot limits requests per minute and address; lower the request budget"
	case NotJSON:
		return "check that the base URL is Chatwoot's own, with no login page or proxy in between"
	case Malformed:
		return "a proxy may have cut the answer, or this Chatwoot sends what its releases do not"
	case AccountHidden:
		return "use the number after /app/accounts/ in Chatwoot's address bar, or a token of one of its administrators"
	}
	return ""
}

// TokenMissing reports whether Chatwoot saw no token at all, though one was
// sent.
func (e *Error) TokenMissing() bool { return e.Kind == Unauthorized && e.Detail == missingToken }

// Temporary reports whether the same request may succeed soon.
func (e *Error) Temporary() bool {
	switch e.Kind {
	case Unreachable, NameUnknown, TimedOut, Throttled, ServerError, Malformed:
		return true
	}
	return false
}

// Is reports whether err is, or wraps, an Error of the given kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}

// missingToken is how Detail names the body that Chatwoot sends when no token
// arrived, which has an "errors" list, localized, where others have "error".
const missingToken = "no token arrived"

// serverMessage extracts Chatwoot's own words from an error body, which must
// not repeat the token.
func serverMessage(status int, body []byte, token string) string {
	var shape struct {
		Error   any      `json:"error"`
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	if json.Unmarshal(body, &shape) != nil {
		return ""
	}
	text := shape.Message
	if s, ok := shape.Error.(string); ok {
		text = s
	}
	if len(shape.Errors) > 0 {
		if status == 401 {
			return missingToken
		}
		text = shape.Errors[0]
	}
	text = without(token, text)
	const most = 200
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	printable := func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}
	return strings.Join(strings.Fields(strings.Map(printable, text)), " ")
}

// without returns text with every occurrence of secret masked.
func without(secret, text string) string {
	if secret == "" {
		return text
	}
	return strings.ReplaceAll(text, secret, "[token]")
}

// transportError classifies an error of net/http. The URL that net/http puts
// into its text is left out: it may hold a website token.
func transportError(err error) (Kind, error) {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	var (
		timeout net.Error
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled, err
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut, err
	case errors.As(err, &dns):
		return NameUnknown, err
	case errors.As(err, &cert), errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch),
		strings.Contains(err.Error(), "tls: "): // alerts, for which crypto/tls has no type
		return BadTLS, err
	}
	return Unreachable, err
}
