// Package health asks whether Chatwoot is up, remembers what it was told, and
// keeps the evidence.
//
// It knows nothing of Chatwoot itself: probes are handed to it, and it judges,
// times, words, counts and files what they find. The command "check" and the
// daemon share all of it, so a person and a page never read different verdicts.
package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// Names of the probes, as the "probe" label and the evidence carry them.
const (
	RailsHealth      = "rails_health"
	AuthenticatedAPI = "authenticated_api"
	Widget           = "widget"
)

// Reasons why a probe failed. They are label values and a closed set.
const (
	ReasonTimeout    = "timeout"     // no complete answer in time
	ReasonDNS        = "dns"         // the host name does not resolve
	ReasonConnection = "connection"  // refused, reset, or cut in the middle
	ReasonTLS        = "tls"         // certificate or handshake
	ReasonHTTPStatus = "http_status" // an answer, but not 200
	ReasonNotJSON    = "not_json"    // 200, but not what Chatwoot sends
	ReasonDependency = "dependency"  // Chatwoot says that something it needs is failing
	ReasonAccount    = "account"     // the token is good, the account is not among its accounts
	ReasonRedirect   = "redirect"    // sent elsewhere; redirects are not followed
	ReasonCanceled   = "canceled"    // we stopped asking
	ReasonOther      = "other"
)

// Reasons lists every reason a failed probe can have.
func Reasons() []string {
	return []string{
		ReasonTimeout, ReasonDNS, ReasonConnection, ReasonTLS, ReasonHTTPStatus, ReasonNotJSON,
		ReasonDependency, ReasonAccount, ReasonRedirect, ReasonCanceled, ReasonOther,
	}
}

// dependencyOK is what Chatwoot reports of a dependency that works.
const dependencyOK = "ok"

// Outcome is what one probe found. A probe passes only with Status 200, no Err,
// no Reason, and every dependency "ok": an empty Outcome is a failure.
type Outcome struct {
	Status   int    // HTTP status, 0 when there was no answer
	Endpoint string // the path that answered, such as "/health"; never a query or a token

	// Detail is one line for a person. For an HTTP 401 it may hold Chatwoot's
	// own words, or say "missing header", "unknown token" or "wrong account":
	// the advice follows it.
	Detail string

	Dependencies map[string]string // what Chatwoot says of each, such as "data_services": "ok"; nil when unknown
	Version      string            // of Chatwoot; empty when unknown
	Err          error
	Reason       string // one of Reasons; may be left empty when Err or Status tell
}

// Probe is one thing to ask Chatwoot.
type Probe struct {
	Name          string // RailsHealth, AuthenticatedAPI or Widget
	Informational bool   // never changes the exit code

	// Run asks once, without retrying, and gives up when ctx ends. A Run that
	// does not is abandoned, and may be called again while it still hangs.
	Run func(ctx context.Context) Outcome
}

// Result is the verdict on one run of a probe. Its text is a single line each,
// without control characters, and without the query of any address.
type Result struct {
	Probe         string
	Informational bool
	Success       bool
	Status        int // HTTP status, 0 when there was no answer
	Endpoint      string
	Detail        string
	Dependencies  map[string]string // not to be modified
	Version       string
	Reason        string // one of Reasons, empty on success
	Error         string // what went wrong, in the runbook's words where it has them; empty on success
	Started       time.Time
	Duration      time.Duration // at most the time-out, for a probe that ran into it
}

// Report is the verdict on all probes at one time.
type Report struct {
	Host     string // of Chatwoot's base URL
	Started  time.Time
	Finished time.Time
	Results  []Result // in the order of the probes; not to be modified
}

// Exit codes of a health check.
const (
	ExitPassed = iota
	ExitConfiguration
	ExitRailsHealth
	ExitAuthenticatedAPI
	ExitBoth
)

// ExitCode returns 0 when every probe that counts passed, 2 when rails_health
// failed, 3 when authenticated_api failed and 4 when both did. It never returns
// 1, which says that no check could be made.
func (r Report) ExitCode() int {
	failed := func(name string) bool {
		return slices.ContainsFunc(r.Results, func(res Result) bool {
			return res.Probe == name && !res.Success && !res.Informational
		})
	}
	switch rails, api := failed(RailsHealth), failed(AuthenticatedAPI); {
	case rails && api:
		return ExitBoth
	case rails:
		return ExitRailsHealth
	case api:
		return ExitAuthenticatedAPI
	}
	return ExitPassed
}

// failed returns the names of the probes that did not pass.
func (r Report) failed() []string {
	var names []string
	for _, res := range r.Results {
		if !res.Success {
			names = append(names, res.Probe)
		}
	}
	return names
}

// with returns r brought up to date with a later report on some of its probes.
func (r Report) with(later Report) Report {
	r.Started, r.Finished = later.Started, later.Finished
	r.Results = slices.Clone(r.Results)
	for i, old := range r.Results {
		for _, res := range later.Results {
			if res.Probe == old.Probe {
				r.Results[i] = res
			}
		}
	}
	return r
}

// reason judges o: empty when the probe passed, otherwise one of Reasons.
func (o Outcome) reason() string {
	if o.Reason != "" {
		if slices.Contains(Reasons(), o.Reason) {
			return o.Reason
		}
		return ReasonOther
	}
	if o.Err == nil && o.Status == http.StatusOK {
		for _, state := range o.Dependencies {
			if state != dependencyOK {
				return ReasonDependency
			}
		}
		return ""
	}
	if reason := reasonOf(o.Err); reason != ReasonOther {
		return reason
	}
	switch {
	case o.Status >= 300 && o.Status < 400:
		return ReasonRedirect
	case o.Status != 0 && o.Status != http.StatusOK:
		return ReasonHTTPStatus
	}
	return ReasonOther
}

// reasonOf classifies an error of net/http.
func reasonOf(err error) string {
	var (
		dns      *net.DNSError
		timeout  net.Error
		cert     *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		alert    tls.AlertError
		unknown  x509.UnknownAuthorityError
		name     x509.HostnameError
		invalid  x509.CertificateInvalidError
		syntax   *json.SyntaxError
		mismatch *json.UnmarshalTypeError
		op       *net.OpError
	)
	switch {
	case err == nil:
		return ReasonOther
	case errors.Is(err, context.Canceled):
		return ReasonCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return ReasonTimeout
	case errors.As(err, &dns):
		return ReasonDNS
	case errors.As(err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	case errors.As(err, &cert), errors.As(err, &record), errors.As(err, &alert), errors.As(err, &unknown),
		errors.As(err, &name), errors.As(err, &invalid), errors.Is(err, http.ErrSchemeMismatch):
		return ReasonTLS
	case errors.As(err, &syntax), errors.As(err, &mismatch):
		return ReasonNotJSON
	case errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ReasonConnection
	}
	return ReasonOther
}
