package webhook_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// The body has what re-encoding changes: an escape, and no white space.
const sample = `{"event":"message_created","id":91004,"content":"1 \u003c 2 \u0026 3"}`

func TestExplain(t *testing.T) {
	stamp := strconv.FormatInt(noon.Unix(), 10)
	good := webhook.Sign(secret, noon, []byte(sample))
	over := func(key, text string) string { return "sha256=" + hmacHex(key, text) }
	raw, err := hex.DecodeString(strings.TrimPrefix(good, "sha256="))
	if err != nil {
		t.Fatal(err)
	}
	pretty := func(escape bool) string {
		var v struct {
			Event   string `json:"event"`
			ID      int    `json:"id"`
			Content string `json:"content"`
		}
		if err := json.Unmarshal([]byte(sample), &v); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(escape)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	reencoded := strings.NewReplacer(`\u003c`, "<", `\u0026`, "&").Replace(sample)

	tests := []struct {
		name    string
		change  func(*webhook.Evidence)
		matches bool
		want    []string // the beginning of each finding
	}{
		{"as Chatwoot sends it", func(*webhook.Evidence) {}, true, nil},
		{"no signature", func(e *webhook.Evidence) { e.Signature = "" }, false, []string{"there is no X-Chatwoot-Signature header"}},
		{"no secret", func(e *webhook.Evidence) { e.Secrets = nil }, false, []string{"there is no secret to compare with"}},

		{"no prefix before the digits", func(e *webhook.Evidence) { e.Signature = good[7:] }, true, []string{"the signature lacks its prefix, sha256="}},
		{"capitals", func(e *webhook.Evidence) { e.Signature = strings.ToUpper(good) }, true, []string{"the signature is in capital letters"}},
		{"quotes", func(e *webhook.Evidence) { e.Signature = `"` + good + `"` }, true, []string{"the signature has spaces or quotes around it"}},
		{"base64", func(e *webhook.Evidence) { e.Signature = base64.StdEncoding.EncodeToString(raw) }, true, []string{"the signature is in base64"}},
		{"SHA-1", func(e *webhook.Evidence) { e.Signature = "sha1=" + good[7:47] }, false, []string{"the signature is no HMAC-SHA256: 45 characters"}},
		{"SHA-1 without prefix", func(e *webhook.Evidence) { e.Signature = good[7:47] }, false, []string{"the signature has 40 digits"}},
		{"cut", func(e *webhook.Evidence) { e.Signature = good[:70] }, false, []string{"the signature is no HMAC-SHA256: 70 characters"}},

		{"the body alone is signed", func(e *webhook.Evidence) { e.Signature = over(secret, sample) }, true, []string{`only the body is signed: the prefix "timestamp." is missing`}},
		{"no dot", func(e *webhook.Evidence) { e.Signature = over(secret, stamp+sample) }, true, []string{"the dot between time stamp and body is missing"}},
		{"a colon", func(e *webhook.Evidence) { e.Signature = over(secret, stamp+":"+sample) }, true, []string{"a colon stands between"}},
		{"the time stamp behind", func(e *webhook.Evidence) { e.Signature = over(secret, sample+"."+stamp) }, true, []string{"the time stamp is signed behind the body"}},

		{"another secret", func(e *webhook.Evidence) { e.Secrets = []string{"another"} }, false, []string{"the signature belongs to another secret or to another body"}},
		{"a secret with a space", func(e *webhook.Evidence) { e.Secrets = []string{secret + " "} }, true, []string{"the secret has white space around it"}},
		{"a secret in quotes", func(e *webhook.Evidence) { e.Secrets = []string{`"` + secret + `"`} }, true, []string{"the secret has quotes around it"}},
		{"a sender's secret with a newline", func(e *webhook.Evidence) { e.Signature = over(secret+"\n", stamp+"."+sample) }, true, []string{"the sender's secret ends in a newline"}},

		{"another body", func(e *webhook.Evidence) { e.Body = []byte(`{}`) }, false, []string{"the signature belongs to another secret or to another body"}},
		{"a newline at the end", func(e *webhook.Evidence) { e.Body = []byte(sample + "\n") }, true, []string{"the body has a newline at its end that was not signed"}},
		{"a newline that is gone", func(e *webhook.Evidence) { e.Signature = over(secret, stamp+"."+sample+"\n") }, true, []string{"the body has lost the newline at its end"}},
		{"a byte order mark", func(e *webhook.Evidence) { e.Body = []byte("\uFEFF" + sample) }, true, []string{"the body begins with a byte order mark"}},
		{"line ends of Windows", func(e *webhook.Evidence) {
			e.Body = []byte("{\r\n}")
			e.Signature = over(secret, stamp+".{\n}")
		}, true, []string{"the line ends of the body were changed"}},
		{"pretty-printed", func(e *webhook.Evidence) { e.Body = []byte(pretty(true)) }, true, []string{"the body was pretty-printed"}},
		{"pretty-printed and unescaped", func(e *webhook.Evidence) { e.Body = []byte(pretty(false)) }, true, []string{"the body was parsed, encoded again and pretty-printed"}},
		{"unescaped", func(e *webhook.Evidence) { e.Body = []byte(reencoded) }, true, []string{"the body was encoded again: <, > and & are no longer"}},
		{"escaped", func(e *webhook.Evidence) { e.Signature = over(secret, stamp+"."+reencoded) }, true, []string{"the body was encoded again: <, > and & are now"}},

		{"no time stamp", func(e *webhook.Evidence) { e.Timestamp = "" }, false, []string{"the signature belongs to another", "there is no X-Chatwoot-Timestamp header"}},
		{"no time stamp, and none was signed", func(e *webhook.Evidence) { e.Timestamp, e.Signature = "", over(secret, sample) }, true, []string{"only the body is signed", "there is no X-Chatwoot-Timestamp header"}},
		{"stale", func(e *webhook.Evidence) { e.At = noon.Add(5*time.Minute + time.Second) }, true, []string{"the time stamp is 5m1s old, of which 5m0s are allowed"}},
		{"just not stale", func(e *webhook.Evidence) { e.At = noon.Add(5 * time.Minute) }, true, nil},
		{"early", func(e *webhook.Evidence) { e.At = noon.Add(-time.Hour) }, true, []string{"the time stamp is 1h0m0s in the future"}},
		{"milliseconds", func(e *webhook.Evidence) {
			e.Timestamp += "000"
			e.Signature = over(secret, e.Timestamp+"."+sample)
		}, true, []string{"the time stamp counts milliseconds"}},
		{"an ISO time", func(e *webhook.Evidence) { e.Timestamp = "2026-06-22T12:00:00Z" }, false, []string{"the signature belongs to another", "the time stamp is not a number of seconds"}},

		{"three mistakes together", func(e *webhook.Evidence) {
			e.Signature = hmacHex(secret, sample)
			e.Secrets = []string{" " + secret}
			e.Body = []byte(sample + "\n")
		}, true, []string{"only the body is signed", "the secret has white space", "the body has a newline at its end", "the signature lacks its prefix"}},

		{"the runbook's form", func(e *webhook.Evidence) {
			e.Form, e.Signature, e.Timestamp = webhook.BodyOnly, over(secret, sample), ""
		}, true, nil},
		{"the runbook's form in capitals", func(e *webhook.Evidence) {
			e.Form, e.Signature = webhook.BodyOnly, strings.ToUpper(hmacHex(secret, sample))
		}, true, nil},
		{"Chatwoot's form where the runbook's is expected", func(e *webhook.Evidence) { e.Form = webhook.BodyOnly }, true, []string{"time stamp and body are signed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := webhook.Evidence{Form: webhook.Timestamped, Secrets: []string{secret}, Timestamp: stamp, Signature: good, Body: []byte(sample), At: noon}
			tt.change(&e)
			x := webhook.Explain(e)
			if x.Accepted != (len(tt.want) == 0) || x.Matches != tt.matches {
				t.Errorf("accepted %v, matches %v", x.Accepted, x.Matches)
			}
			if len(x.Findings) != len(tt.want) {
				t.Fatalf("findings %q, want %q", x.Findings, tt.want)
			}
			for i, f := range x.Findings {
				if !strings.HasPrefix(f.Problem, tt.want[i]) || f.Fix == "" {
					t.Errorf("finding %q, want %q", f, tt.want[i])
				}
				if text := f.Problem + f.Fix; strings.Contains(text, secret) || strings.Contains(text, "91004") {
					t.Errorf("it tells the secret or the body: %q", text)
				}
			}
		})
	}
}

func TestExplainTellsWhichSecret(t *testing.T) {
	e := webhook.Evidence{
		Secrets: []string{"old", secret}, Timestamp: strconv.FormatInt(noon.Unix(), 10),
		Signature: webhook.Sign(secret, noon, []byte(sample)), Body: []byte(sample), At: noon,
	}
	if x := webhook.Explain(e); !x.Accepted || x.Secret != 2 {
		t.Errorf("Explain = %+v, want the second secret", x)
	}
}
