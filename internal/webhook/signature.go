package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// Form is what a sender signs.
type Form string

const (
	// Timestamped is the form of Chatwoot from 4.12.0 on: HMAC-SHA256 over the
	// time stamp, a dot and the body.
	Timestamped Form = "timestamped"
	// BodyOnly is HMAC-SHA256 over the body. Without a time in it, a request
	// that was recorded can be repeated for ever.
	BodyOnly Form = "body"
	// Unsigned is for servers that do not sign: only the path token tells that
	// a request is theirs.
	Unsigned Form = "none"
)

// The headers of a delivery. Of these, only the timestamp is signed.
const (
	HeaderSignature = "X-Chatwoot-Signature"
	HeaderTimestamp = "X-Chatwoot-Timestamp"
	HeaderDelivery  = "X-Chatwoot-Delivery"
)

const (
	signaturePrefix = "sha256="

	// Tolerance is how far the time stamp of a delivery may be from the
	// receiver's clock, either way.
	Tolerance = 5 * time.Minute
)

// Sign returns the signature of a body in Chatwoot's form.
func Sign(secret string, at time.Time, body []byte) string {
	return signaturePrefix + hex.EncodeToString(mac(secret, strconv.FormatInt(at.Unix(), 10)+".", body))
}

// signBody returns the signature of a body in the form BodyOnly.
func signBody(secret string, body []byte) string {
	return signaturePrefix + hex.EncodeToString(mac(secret, "", body))
}

// mac returns the HMAC-SHA256 of prefix and body.
func mac(secret, prefix string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(prefix))
	h.Write(body)
	return h.Sum(nil)
}

// claim is what the headers of a request say about its signature.
type claim struct {
	prefix string // what is signed before the body
	sum    []byte
}

// readClaim judges all that can be judged before the body is read. The reason
// is empty if there is nothing wrong with the headers.
func readClaim(form Form, timestamp, signature string, now time.Time) (claim, RejectReason) {
	if signature == "" {
		return claim{}, RejectSignatureMissing
	}
	sum, ok := parseSignature(form, signature)
	if !ok {
		return claim{}, RejectSignatureMalformed
	}
	if form == BodyOnly {
		return claim{sum: sum}, ""
	}
	if timestamp == "" {
		return claim{}, RejectTimestampMissing
	}
	at, ok := parseTimestamp(timestamp)
	switch {
	case !ok:
		return claim{}, RejectTimestampMalformed
	case now.Sub(at) > Tolerance:
		return claim{}, RejectTimestampOld
	case at.Sub(now) > Tolerance:
		return claim{}, RejectTimestampFuture
	}
	return claim{prefix: timestamp + ".", sum: sum}, ""
}

// parseSignature reads a signature as Chatwoot writes it. Other senders, those
// of BodyOnly, may leave the prefix out and use capital letters.
func parseSignature(form Form, s string) ([]byte, bool) {
	digits, prefixed := strings.CutPrefix(s, signaturePrefix)
	if form != BodyOnly && (!prefixed || digits != strings.ToLower(digits)) {
		return nil, false
	}
	sum, err := hex.DecodeString(digits)
	return sum, err == nil && len(sum) == sha256.Size
}

// parseTimestamp reads unix seconds, digits only.
func parseTimestamp(s string) (time.Time, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	const farthest = 1 << 44 // in milliseconds still a time, to be called what it is
	if err != nil || n > farthest {
		return time.Time{}, false
	}
	return time.Unix(int64(n), 0), true
}

// signedBy reports whether one of secrets made c for body. It takes as long
// whichever it is.
func (c claim) signedBy(secrets []string, body []byte) bool {
	found := 0
	for _, secret := range secrets {
		found |= subtle.ConstantTimeCompare(mac(secret, c.prefix, body), c.sum)
	}
	return found == 1
}

// sameToken compares in constant time, whatever the lengths.
func sameToken(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
