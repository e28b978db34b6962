package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Evidence is a delivery as somebody recorded it.
type Evidence struct {
	Form      Form // Timestamped or BodyOnly
	Secrets   []string
	Timestamp string // the headers, as they came
	Signature string
	Body      []byte
	At        time.Time // when it arrived
}

// Finding is one thing that is wrong with a delivery.
type Finding struct {
	Problem string `json:"problem"` // holds neither a secret nor a part of the body
	Fix     string `json:"fix"`     // what to do
}

// Explanation is what Explain found out.
type Explanation struct {
	// Accepted is whether a Handler would have accepted the signature.
	Accepted bool `json:"accepted"`
	// Matches is whether the signature belongs to the body, if only after what
	// Findings name is undone.
	Matches bool `json:"matches"`
	// Secret is which of the secrets made the signature, from 1; 0 if none did.
	Secret int `json:"secret"`
	// Findings is never empty unless Accepted, most telling first.
	Findings []Finding `json:"findings"`
}

// Explain says why a signature does not match. It tries the mistakes that
// senders, proxies and people who copy things make, one of each kind at a time
// and together; what none of them explains is a wrong secret or another body,
// and these two cannot be told apart.
func Explain(e Evidence) Explanation {
	x := Explanation{Findings: []Finding{}}
	add := func(f Finding) {
		if f.Problem != "" {
			x.Findings = append(x.Findings, f)
		}
	}
	if e.Signature == "" {
		add(Finding{
			"there is no " + HeaderSignature + " header",
			"Chatwoot signs account webhooks from 4.12.0 on, automations and macros never; if this one is signed, a proxy drops the header",
		})
		return x
	}
	sum, shape := foldSignature(e.Form, e.Signature)
	if sum == nil {
		add(shape)
		return x
	}
	if len(e.Secrets) == 0 {
		add(Finding{"there is no secret to compare with", "set CHATWOOT_WEBHOOK_SECRET to the webhook's secret; chatwoot-sla webhook register --show-secret prints it"})
		return x
	}

	m, found := e.search(sum)
	x.Matches, x.Secret = found, m.number
	if found {
		for _, f := range []Finding{m.construction.finding, m.secret.finding, m.body.finding, shape} {
			add(f)
		}
	} else {
		add(shape)
		add(Finding{
			"the signature belongs to another secret or to another body",
			"compare the secret with that of the webhook in Chatwoot (Settings, Integrations, Webhooks), and sign the very bytes that arrive, before anything parses them",
		})
	}
	if e.Form != BodyOnly {
		add(judgeTimestamp(e.Timestamp, e.At))
	}
	x.Accepted = found && len(x.Findings) == 0
	return x
}

// foldSignature reads a signature in any spelling. It returns what is unusual
// about the spelling, and no sum if it is no HMAC-SHA256 at all.
func foldSignature(form Form, given string) (sum []byte, unusual Finding) {
	if sum, ok := parseSignature(form, given); ok {
		return sum, Finding{}
	}
	const fix = "send it as " + signaturePrefix + " and 64 lower-case hexadecimal digits"
	trimmed := strings.Trim(given, " \t\r\n\"'")
	digits := trimmed
	if len(digits) >= len(signaturePrefix) && strings.EqualFold(digits[:len(signaturePrefix)], signaturePrefix) {
		digits = digits[len(signaturePrefix):]
	}
	if sum, err := hex.DecodeString(digits); err == nil && len(sum) == sha256.Size {
		switch {
		case trimmed != given:
			unusual = Finding{"the signature has spaces or quotes around it", "remove them: " + fix}
		case digits == given:
			unusual = Finding{"the signature lacks its prefix, " + signaturePrefix, fix}
		default:
			unusual = Finding{"the signature is in capital letters", fix}
		}
		return sum, unusual
	}
	if sum, err := base64.StdEncoding.DecodeString(digits); err == nil && len(sum) == sha256.Size {
		return sum, Finding{"the signature is in base64", fix}
	}
	if sum, err := hex.DecodeString(digits); err == nil && len(sum) == 20 {
		return nil, Finding{"the signature has 40 digits, as HMAC-SHA1 has", "Chatwoot uses HMAC-SHA256; find out who else sends to this address"}
	}
	return nil, Finding{fmt.Sprintf("the signature is no HMAC-SHA256: %d characters, where there should be 71", len(given)), "copy the whole header; " + fix}
}

// judgeTimestamp says what is wrong with a time stamp, if anything.
func judgeTimestamp(timestamp string, at time.Time) Finding {
	if timestamp == "" {
		return Finding{
			"there is no " + HeaderTimestamp + " header",
			"a proxy may drop it; a sender that signs the body alone needs CHATWOOT_WEBHOOK_SIGNATURE=body",
		}
	}
	sent, ok := parseTimestamp(timestamp)
	if !ok {
		return Finding{"the time stamp is not a number of seconds since 1970", "send the header as it was signed, digits only"}
	}
	off := at.Sub(sent)
	if off.Abs() <= Tolerance {
		return Finding{}
	}
	const clocks = "compare the clocks of Chatwoot's Sidekiq and of this machine"
	if millis := time.UnixMilli(sent.Unix()); at.Sub(millis).Abs() <= Tolerance {
		return Finding{"the time stamp counts milliseconds", "send seconds"}
	}
	if off < 0 {
		return Finding{fmt.Sprintf("the time stamp is %v in the future, of which %v are allowed", -off.Round(time.Second), Tolerance), clocks}
	}
	return Finding{
		fmt.Sprintf("the time stamp is %v old, of which %v are allowed", off.Round(time.Second), Tolerance),
		clocks + "; to judge a recording, say when it arrived (--at)",
	}
}

// The ways in which what was signed may differ from what should have been. The
// first of each is the right one and has no finding.
type (
	construction struct {
		of      func(timestamp string, body []byte) (prefix string, rest []byte)
		finding Finding
	}
	secretVariant struct {
		of      func(string) string
		finding Finding
	}
	bodyVariant struct {
		of      func([]byte) []byte
		finding Finding
	}
	// match is the combination that was found.
	match struct {
		construction construction
		secret       secretVariant
		body         bodyVariant
		number       int // of the secret, from 1
	}
)

var (
	overBody = construction{of: func(_ string, body []byte) (string, []byte) { return "", body }}
	overBoth = construction{of: func(timestamp string, body []byte) (string, []byte) { return timestamp + ".", body }}
)

// constructions returns what may have been signed where form was expected.
func constructions(form Form) []construction {
	const prefix = "put the time stamp and a dot before the body when signing: HMAC-SHA256(secret, timestamp + \".\" + body)"
	if form == BodyOnly {
		right := overBody
		stamped := overBoth
		stamped.finding = Finding{"time stamp and body are signed, as Chatwoot does from 4.12.0 on, and the body alone is expected", "remove CHATWOOT_WEBHOOK_SIGNATURE=body"}
		return []construction{right, stamped}
	}
	bare := overBody
	bare.finding = Finding{"only the body is signed: the prefix \"timestamp.\" is missing", prefix + "; if the sender cannot, set CHATWOOT_WEBHOOK_SIGNATURE=body"}
	return []construction{
		overBoth,
		bare,
		{
			func(timestamp string, body []byte) (string, []byte) { return timestamp, body },
			Finding{"the dot between time stamp and body is missing from what is signed", prefix},
		},
		{
			func(timestamp string, body []byte) (string, []byte) { return timestamp + ":", body },
			Finding{"a colon stands between time stamp and body in what is signed, instead of a dot", prefix},
		},
		{
			func(timestamp string, body []byte) (string, []byte) {
				return "", append(append(bytes.Clone(body), '.'), timestamp...)
			},
			Finding{"the time stamp is signed behind the body, instead of before it", prefix},
		},
	}
}

const secretFix = "copy the secret again, with nothing around it"

var secretVariants = []secretVariant{
	{of: func(s string) string { return s }},
	{strings.TrimSpace, Finding{"the secret has white space around it", secretFix}},
	{func(s string) string { return s + "\n" }, Finding{"the sender's secret ends in a newline", "write the secret without one, as with printf %s"}},
	{func(s string) string { return strings.Trim(s, `"'`) }, Finding{"the secret has quotes around it", secretFix}},
}

const bodyFix = "verify the raw bytes as they arrive, before anything parses or rewrites them"

var bodyVariants = []bodyVariant{
	{of: func(b []byte) []byte { return b }},
	{func(b []byte) []byte { return bytes.TrimRight(b, "\r\n") }, Finding{"the body has a newline at its end that was not signed", "an editor or a shell adds one to files; " + bodyFix}},
	{func(b []byte) []byte { return append(bytes.Clone(b), '\n') }, Finding{"the body has lost the newline at its end", bodyFix}},
	{func(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\uFEFF")) }, Finding{"the body begins with a byte order mark that was not signed", bodyFix}},
	{func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }, Finding{"the line ends of the body were changed to those of Windows", bodyFix}},
	{compact, Finding{"the body was pretty-printed after it had been signed", bodyFix}},
	{escapeHTML, Finding{"the body was encoded again: <, > and & are no longer written as \\u003c, \\u003e and \\u0026", bodyFix}},
	{func(b []byte) []byte { return escapeHTML(compact(b)) }, Finding{"the body was parsed, encoded again and pretty-printed after it had been signed", bodyFix}},
	{unescapeHTML, Finding{"the body was encoded again: <, > and & are now written as \\u003c, \\u003e and \\u0026", bodyFix}},
	{func(b []byte) []byte { return unescapeHTML(compact(b)) }, Finding{"the body was parsed, encoded again and pretty-printed after it had been signed", bodyFix}},
}

// compact returns b as Chatwoot would have spaced it, or b if it is no JSON.
func compact(b []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return b
	}
	return out.Bytes()
}

// In JSON, these characters stand in strings only.
var htmlEscapes = [][2][]byte{
	{[]byte("<"), []byte(`\u003c`)},
	{[]byte(">"), []byte(`\u003e`)},
	{[]byte("&"), []byte(`\u0026`)},
	{[]byte("\u2028"), []byte(`\u2028`)},
	{[]byte("\u2029"), []byte(`\u2029`)},
}

func escapeHTML(b []byte) []byte {
	for _, pair := range htmlEscapes {
		b = bytes.ReplaceAll(b, pair[0], pair[1])
	}
	return b
}

func unescapeHTML(b []byte) []byte {
	for _, pair := range htmlEscapes {
		b = bytes.ReplaceAll(b, pair[1], pair[0])
	}
	return b
}

// search looks for a combination that has the given sum. Those with the fewest
// deviations come first.
func (e Evidence) search(sum []byte) (match, bool) {
	bodies := make([][]byte, len(bodyVariants))
	for i, v := range bodyVariants {
		bodies[i] = v.of(e.Body)
	}
	ways := constructions(e.Form)
	for deviations := range 4 {
		for w, way := range ways {
			for s, spelling := range secretVariants {
				for b, body := range bodies {
					if min(w, 1)+min(s, 1)+min(b, 1) != deviations {
						continue
					}
					prefix, rest := way.of(e.Timestamp, body)
					for i, secret := range e.Secrets {
						if hmac.Equal(mac(spelling.of(secret), prefix, rest), sum) {
							return match{way, spelling, bodyVariants[b], i + 1}, true
						}
					}
				}
			}
		}
	}
	return match{}, false
}
