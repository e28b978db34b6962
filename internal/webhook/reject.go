package webhook

import (
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// RejectReason is why a request was turned away before anything was decided
// about its event.
type RejectReason string

const (
	RejectMethod             RejectReason = "method"
	RejectNotConfigured      RejectReason = "not_configured"
	RejectPathToken          RejectReason = "path_token"
	RejectSignatureMissing   RejectReason = "signature_missing"
	RejectSignatureMalformed RejectReason = "signature_malformed"
	RejectSignatureMismatch  RejectReason = "signature_mismatch"
	RejectTimestampMissing   RejectReason = "timestamp_missing"
	RejectTimestampMalformed RejectReason = "timestamp_malformed"
	RejectTimestampOld       RejectReason = "timestamp_old" // a replay, or a clock that is slow
	RejectTimestampFuture    RejectReason = "timestamp_future"
	RejectTooLarge           RejectReason = "too_large"
	RejectSlowBody           RejectReason = "slow_body"
	RejectIncompleteBody     RejectReason = "incomplete_body"
	RejectBusy               RejectReason = "busy"
	RejectMalformed          RejectReason = "malformed"
	RejectForeignAccount     RejectReason = "foreign_account"
)

// rejectReasons lists every RejectReason.
var rejectReasons = []RejectReason{
	RejectMethod, RejectNotConfigured, RejectPathToken,
	RejectSignatureMissing, RejectSignatureMalformed, RejectSignatureMismatch,
	RejectTimestampMissing, RejectTimestampMalformed, RejectTimestampOld, RejectTimestampFuture,
	RejectTooLarge, RejectSlowBody, RejectIncompleteBody, RejectBusy, RejectMalformed, RejectForeignAccount,
}

// notVerified is all that a stranger is told. The log and the metrics know
// more.
const notVerified = "the request is not verified; the receiver's log and its metric chatwoot_sla_webhook_rejected_total say why"

// status returns the HTTP status for r.
func (r RejectReason) status() int {
	switch r {
	case RejectMethod:
		return http.StatusMethodNotAllowed
	case RejectNotConfigured, RejectBusy:
		return http.StatusServiceUnavailable
	case RejectTooLarge:
		return http.StatusRequestEntityTooLarge
	case RejectSlowBody:
		return http.StatusRequestTimeout
	case RejectIncompleteBody, RejectMalformed, RejectForeignAccount:
		return http.StatusBadRequest
	}
	return http.StatusUnauthorized
}

// reject answers, counts and, now and then, logs. Detail, which may be nil, is
// what the log says beyond the reason; it is called only if it will be read.
func (h *Handler) reject(w http.ResponseWriter, r *http.Request, reason RejectReason, text string, detail func() string) {
	reply(w, reason.status(), refusal{text})
	h.metrics.rejected.WithLabelValues(string(reason)).Inc()
	held, ok := h.gate.pass(reason, h.o.Now())
	if !ok {
		return
	}
	fields := []zap.Field{zap.String("reason", string(reason)), zap.String("from", r.RemoteAddr), zap.Int("not_logged_since", held)}
	if detail != nil {
		if text := detail(); text != "" {
			fields = append(fields, zap.String("detail", text))
		}
	}
	h.log.Warn("a webhook request was rejected", fields...)
}

// storeFailed has a place of its own at the gate.
const storeFailed RejectReason = "store_failed"

// gate lets one line a logInterval through for each reason.
type gate struct {
	mu   sync.Mutex
	last map[RejectReason]time.Time
	held map[RejectReason]int
}

// pass reports whether to log, and how many lines were held back before.
func (g *gate) pass(reason RejectReason, now time.Time) (held int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if last, before := g.last[reason]; before && now.Sub(last) < logInterval {
		g.held[reason]++
		return 0, false
	}
	held = g.held[reason]
	g.last[reason], g.held[reason] = now, 0
	return held, true
}
