package webhook_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

const (
	incoming = "webhook_message_created_incoming"
	resolved = "webhook_conversation_status_changed_resolved"
)

var withSecret = webhook.Options{Secrets: []string{secret}}

// small is a body that is ignored.
const small = `{"event":"contact_created","account":{"id":3}}`

func TestVerification(t *testing.T) {
	body := example(t, incoming)
	good := func() http.Header { return signed(secret, noon, body) }
	with := func(name, value string) http.Header {
		h := good()
		h.Del(name)
		if value != "" {
			h.Set(name, value)
		}
		return h
	}
	at := func(d time.Duration) http.Header { return signed(secret, noon.Add(d), body) }
	sum := strings.TrimPrefix(good().Get(webhook.HeaderSignature), "sha256=")
	tests := []struct {
		name   string
		header http.Header
		body   string
		reject string // why it is refused; empty: it is not
	}{
		{"as Chatwoot sends it", good(), body, ""},
		{"without a content type", with("Content-Type", ""), body, ""},
		{"with another content type", with("Content-Type", "text/plain"), body, ""},
		{"five minutes old", at(-5 * time.Minute), body, ""},
		{"five minutes early", at(5 * time.Minute), body, ""},
		{"a replay", at(-5*time.Minute - time.Second), body, "timestamp_old"},
		{"from the future", at(5*time.Minute + time.Second), body, "timestamp_future"},
		{"tampered with", good(), strings.Replace(body, `"incoming"`, `"outgoing"`, 1), "signature_mismatch"},
		{"cut by a byte", good(), body[:len(body)-1], "signature_mismatch"},
		{"another's secret", signed("another", noon, body), body, "signature_mismatch"},
		{"the time stamp of another moment", with(webhook.HeaderTimestamp, strconv.FormatInt(noon.Unix()+1, 10)), body, "signature_mismatch"},
		{"a signature over the body alone", with(webhook.HeaderSignature, "sha256="+hmacHex(secret, body)), body, "signature_mismatch"},
		{"no signature", with(webhook.HeaderSignature, ""), body, "signature_missing"},
		{"a signature without prefix", with(webhook.HeaderSignature, sum), body, "signature_malformed"},
		{"a signature in capitals", with(webhook.HeaderSignature, "sha256="+strings.ToUpper(sum)), body, "signature_malformed"},
		{"half a signature", with(webhook.HeaderSignature, "sha256="+sum[:32]), body, "signature_malformed"},
		{"a signature that is no number", with(webhook.HeaderSignature, "sha256="+strings.Repeat("z", 64)), body, "signature_malformed"},
		{"no time stamp", with(webhook.HeaderTimestamp, ""), body, "timestamp_missing"},
		{"a time stamp in words", with(webhook.HeaderTimestamp, "noon"), body, "timestamp_malformed"},
		{"a time stamp with a sign", with(webhook.HeaderTimestamp, fmt.Sprintf("+%d", noon.Unix())), body, "timestamp_malformed"},
		{"a time stamp beyond all time", with(webhook.HeaderTimestamp, "9223372036854775807"), body, "timestamp_malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, withSecret)
			got := r.post(tt.header, tt.body)
			if tt.reject == "" {
				if want := (answer{code: 200, Status: "accepted", Reason: "customer_message"}); got != want {
					t.Errorf("answer %+v, want %+v", got, want)
				}
				return
			}
			want := answer{code: 401, Error: "the request is not verified; the receiver's log and its metric chatwoot_sla_webhook_rejected_total say why"}
			if got != want {
				t.Errorf("answer %+v, want %+v: a stranger learns nothing more", got, want)
			}
			if n := r.counted("webhook_rejected_total", tt.reject); n != 1 {
				t.Errorf("%v rejections are counted as %s, want 1", n, tt.reject)
			}
			if !strings.Contains(r.log.String(), `"reason":"`+tt.reject+`"`) {
				t.Errorf("the log does not say %s:\n%s", tt.reject, r.log)
			}
			if len(r.inbox.all()) != 0 || r.hints.Load() != 0 {
				t.Error("it had an effect all the same")
			}
		})
	}
}

func TestEverySecretCountsWhileTheyRotate(t *testing.T) {
	r := start(t, webhook.Options{Secrets: []string{"old", "new"}})
	for _, tt := range []struct {
		secret string
		code   int
	}{{"old", 200}, {"new", 200}, {"older", 401}, {"oldnew", 401}, {"old,new", 401}} {
		if got := r.post(signed(tt.secret, noon, small), small); got.code != tt.code {
			t.Errorf("signed with %q: %+v, want %d", tt.secret, got, tt.code)
		}
	}
}

// The vector goes through the whole handler. Its body has no conversation, so
// that it is verified shows in its being refused for that.
func TestTheContractsVectorIsVerified(t *testing.T) {
	header := http.Header{webhook.HeaderSignature: {vectorSum}, webhook.HeaderTimestamp: {strconv.Itoa(vectorTime)}}
	o := withSecret
	o.Now = func() time.Time { return time.Unix(vectorTime, 0) }
	r := start(t, o)
	if got := r.post(header, vectorBody); got.code != 400 || !strings.Contains(got.Error, "a message event without id, created_at or conversation") {
		t.Errorf("answer %+v", got)
	}
}

func TestTimeStampsAreJudgedByChatwootsClock(t *testing.T) {
	o := withSecret
	o.ClockSkew = func() time.Duration { return time.Hour }
	r := start(t, o)
	for at, code := range map[time.Time]int{noon: 401, noon.Add(time.Hour): 200, noon.Add(55 * time.Minute): 200} {
		if got := r.post(signed(secret, at, small), small); got.code != code {
			t.Errorf("sent at %v: %+v, want %d", at, got, code)
		}
	}
}

func TestBodyForm(t *testing.T) {
	r := start(t, webhook.Options{Form: webhook.BodyOnly, Secrets: []string{secret}})
	sum := hmacHex(secret, small)
	for signature, code := range map[string]int{
		"sha256=" + sum:      200,
		sum:                  200,
		strings.ToUpper(sum): 200,
		"":                   401,
		webhook.Sign(secret, noon, []byte(small)): 401,
		"sha256=" + hmacHex("another", small):     401,
	} {
		if got := r.post(http.Header{webhook.HeaderSignature: {signature}}, small); got.code != code {
			t.Errorf("signature %q: %+v, want %d", signature, got, code)
		}
	}
}

func TestPathToken(t *testing.T) {
	unsigned := webhook.Options{Form: webhook.Unsigned, PathToken: token}
	both := webhook.Options{Secrets: []string{secret}, PathToken: token}
	header := signed(secret, noon, small)
	for _, tt := range []struct {
		name   string
		o      webhook.Options
		path   string
		header http.Header
		code   int
	}{
		{"unsigned, with the token", unsigned, "/" + token, nil, 200},
		{"unsigned, with the token and a slash", unsigned, "/" + token + "/", nil, 200},
		{"unsigned, without token", unsigned, "", nil, 401},
		{"unsigned, with another token", unsigned, "/" + token + "x", nil, 401},
		{"unsigned, with a part of the token", unsigned, "/" + token[:5], nil, 401},
		{"unsigned, with more behind the token", unsigned, "/" + token + "/more", nil, 401},
		{"a signature does not replace the token", both, "", header, 401},
		{"the token does not replace a signature", both, "/" + token, nil, 401},
		{"token and signature", both, "/" + token, header, 200},
		{"a token that nobody asks for", withSecret, "/" + token, header, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, tt.o)
			if got := r.send("POST", r.url+tt.path, tt.header, strings.NewReader(small)); got.code != tt.code {
				t.Errorf("answer %+v, want %d", got, tt.code)
			}
			if strings.Contains(r.log.String(), token) {
				t.Errorf("the token is logged:\n%s", r.log)
			}
		})
	}
}

func TestWithoutASecretItSaysSo(t *testing.T) {
	r := start(t, webhook.Options{})
	if !strings.Contains(r.log.String(), `"level":"warn"`) || !strings.Contains(r.log.String(), "CHATWOOT_WEBHOOK_SECRET") {
		t.Errorf("no warning at the start:\n%s", r.log)
	}
	got := r.deliver(small)
	if got.code != 503 || !strings.Contains(got.Error, "CHATWOOT_WEBHOOK_SECRET is not set") {
		t.Errorf("answer %+v", got)
	}
	if n := r.counted("webhook_rejected_total", "not_configured"); n != 1 {
		t.Errorf("counted %v times", n)
	}
	if strings.Contains(start(t, withSecret).log.String(), "warn") {
		t.Error("it warns with a secret, too")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]webhook.Options{
		"no account":                {Inbox: &inbox{}},
		"no inbox":                  {AccountID: 3},
		"a negative limit":          {AccountID: 3, Inbox: &inbox{}, MaxBytes: -1},
		"an unknown form":           {AccountID: 3, Inbox: &inbox{}, Form: "hex"},
		"unsigned without a token":  {AccountID: 3, Inbox: &inbox{}, Form: webhook.Unsigned},
		"an empty secret among two": {AccountID: 3, Inbox: &inbox{}, Secrets: []string{"a", ""}},
	} {
		if _, err := webhook.New(o); err == nil {
			t.Errorf("New accepts %s", name)
		}
	}
}

func TestRoutes(t *testing.T) {
	r := start(t, withSecret)
	base := strings.TrimSuffix(r.url, webhook.Path)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, tt := range []struct {
		method, path string
		code         int
	}{
		{"POST", "/api/webhooks/chatwoot/", 200},
		{"GET", "/api/webhooks/chatwoot", 405},
		{"PUT", "/api/webhooks/chatwoot", 405},
		{"OPTIONS", "/api/webhooks/chatwoot", 405},
		{"POST", "//api/webhooks/chatwoot", 404},
		{"POST", "/api/webhooks/chatwoots", 404},
		{"POST", "/api/webhooks", 404},
		{"GET", "/", 404},
		{"GET", "/metrics", 404},
		{"GET", "/healthz", 200},
		{"HEAD", "/healthz", 200},
		{"POST", "/healthz", 404},
	} {
		req, err := http.NewRequest(tt.method, base+tt.path, strings.NewReader(small))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = signed(secret, noon, small)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.code {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, resp.StatusCode, tt.code)
		}
		if tt.code == 405 && resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow is %q", tt.method, resp.Header.Get("Allow"))
		}
	}
	if n := r.counted("webhook_rejected_total", "method"); n != 3 {
		t.Errorf("%v wrong methods are counted, want 3", n)
	}
}

// padded returns an event of exactly n bytes.
func padded(n int) string {
	const frame = `{"event":"contact_created","x":""}`
	return strings.Replace(frame, `""`, `"`+strings.Repeat("x", n-len(frame))+`"`, 1)
}

func TestSize(t *testing.T) {
	const limit = 8 << 20
	r := start(t, withSecret)
	for _, size := range []int{64<<10 - 1, 64 << 10, 64<<10 + 1, limit, limit + 1} {
		code := 200
		if size > limit {
			code = 413
		}
		body := padded(size)
		if size <= limit { // see below
			if got := r.deliver(body); got.code != code {
				t.Errorf("%d bytes: %+v, want %d", size, got, code)
			}
		}
		// A reader that hides its length is sent in chunks.
		chunked := r.send("POST", r.url, signed(secret, noon, body), io.MultiReader(strings.NewReader(body)))
		if chunked.code != code {
			t.Errorf("%d bytes in chunks: %+v, want %d", size, chunked, code)
		}
		if code == 413 && !strings.Contains(chunked.Error, "8388608") {
			t.Errorf("the answer %+v does not name the limit", chunked)
		}
	}
	// What says that it is too long is not waited for; a client that sends it all
	// the same may be cut off before it reads the answer.
	if got := status(t, dial(t, r, signed(secret, noon, small), limit+1, "")); got != 413 {
		t.Errorf("a length that is too large: %d, want 413", got)
	}
	if n := r.counted("webhook_rejected_total", "too_large"); n != 2 {
		t.Errorf("%v are counted as too large, want 2", n)
	}
}

// dial sends the beginning of a request and leaves the connection open.
func dial(t *testing.T, r *rig, header http.Header, length int, begin string) net.Conn {
	t.Helper()
	host := strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), webhook.Path)
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", webhook.Path, host, length)
	if err := header.Write(c); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "\r\n%s", begin)
	return c
}

func status(t *testing.T, c net.Conn) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestSlowBody(t *testing.T) {
	r := start(t, withSecret, func(s *http.Server) { s.ReadTimeout = 50 * time.Millisecond })
	c := dial(t, r, signed(secret, noon, small), len(small), small[:5])
	if got := status(t, c); got != http.StatusRequestTimeout {
		t.Errorf("status %d, want 408", got)
	}
	if n := r.counted("webhook_rejected_total", "slow_body"); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

func TestBodyThatIsCut(t *testing.T) {
	r := start(t, withSecret)
	c := dial(t, r, signed(secret, noon, small), len(small), small[:5])
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := status(t, c); got != http.StatusBadRequest {
		t.Errorf("status %d, want 400", got)
	}
	if n := r.counted("webhook_rejected_total", "incomplete_body"); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

// Strangers who send large bodies slowly must not fill the memory, nor keep
// small deliveries out.
func TestLargeBodiesWaitForRoom(t *testing.T) {
	t.Parallel()
	r := start(t, withSecret, func(s *http.Server) { s.ReadTimeout, s.WriteTimeout = 2*time.Minute, 2*time.Minute }) // the test alone decides what is slow
	const size = 1 << 20
	large := padded(size)
	forged := http.Header{webhook.HeaderSignature: {"sha256=" + strings.Repeat("0", 64)}, webhook.HeaderTimestamp: {strconv.FormatInt(noon.Unix(), 10)}}
	var held []net.Conn
	for range 4 {
		held = append(held, dial(t, r, forged, size, large[:100<<10]))
	}
	for deadline := time.Now().Add(time.Minute); ; { // until all four have their place
		got := r.deliver(large)
		if got.code == 503 && strings.Contains(got.Error, "large") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a fifth large body is not kept waiting: %+v", got)
		}
	}
	if got := r.deliver(small); got.code != 200 {
		t.Errorf("a small delivery meanwhile: %+v", got)
	}
	for _, c := range held {
		if _, err := io.WriteString(c, large[100<<10:]); err != nil {
			t.Fatal(err)
		}
		if got := status(t, c); got != 401 {
			t.Errorf("a forgery ends with %d, want 401", got)
		}
	}
	if got := r.deliver(large); got.code != 200 {
		t.Errorf("a large delivery afterwards: %+v", got)
	}
}

func TestBodiesThatAreNotUnderstood(t *testing.T) {
	for name, tt := range map[string]struct{ body, says string }{
		"nothing":             {"", "too early"},
		"not JSON":            {"event=message_created", "decode webhook"},
		"a list":              {"[1]", "want"},
		"no event":            {`{"id":1}`, "event is missing"},
		"cut JSON":            {`{"event":"contact_created"`, "too early"},
		"invalid UTF-8":       {"{\"event\":\"contact_created\",\"name\":\"\xff\"}", "not valid UTF-8"},
		"a member twice":      {`{"event":"contact_created","account":{"id":3,"id":4}}`, `"id" comes twice`},
		"deep nesting":        {`{"event":"x","a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "nesting deeper than"},
		"a message of nobody": {`{"event":"message_created","id":1}`, "without id, created_at or conversation"},
		"a foreign account":   {`{"event":"contact_created","account":{"id":4}}`, "of account 4, this is the monitor of account 3"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, withSecret)
			if got := r.deliver(tt.body); got.code != 400 || !strings.Contains(got.Error, tt.says) {
				t.Errorf("answer %+v, want 400 with %q", got, tt.says)
			}
			reason := "malformed"
			if name == "a foreign account" {
				reason = "foreign_account"
			}
			if n := r.counted("webhook_rejected_total", reason); n != 1 {
				t.Errorf("counted %v times as %s", n, reason)
			}
		})
	}
}

func TestAnUnnamedAccountIsNotForeign(t *testing.T) {
	r := start(t, withSecret)
	body := `{"event":"conversation_status_changed","id":7,"status":"resolved","created_at":1,"updated_at":1782119762.5}`
	if got := r.deliver(body); got.Status != "accepted" {
		t.Errorf("answer %+v", got)
	}
}

func TestAnswersToTheExamples(t *testing.T) {
	for file, want := range map[string]answer{
		incoming:                                  {code: 200, Status: "accepted", Reason: "customer_message"},
		resolved:                                  {code: 200, Status: "accepted", Reason: "resolved"},
		"webhook_message_created_agent":           {code: 200, Status: "ignored", Reason: "agent_message"},
		"webhook_message_created_private_note":    {code: 200, Status: "ignored", Reason: "private_note"},
		"webhook_conversation_updated_assignment": {code: 200, Status: "ignored", Reason: "assignment"},
	} {
		t.Run(file, func(t *testing.T) {
			r := start(t, withSecret)
			body := example(t, file)
			if got := r.deliver(body); got != want {
				t.Errorf("answer %+v, want %+v", got, want)
			}
			event := strings.TrimPrefix(file, "webhook_")
			for _, name := range kinds {
				if strings.HasPrefix(event, name) {
					event = name
				}
			}
			if n := r.counted("webhook_requests_total", event, want.Status); n != 1 {
				t.Errorf("counted %v times as %s, %s", n, event, want.Status)
			}
			if n := r.counted("webhook_ack_duration_seconds"); n != 1 {
				t.Errorf("timed %v times", n)
			}
			if r.hints.Load() != 1 {
				t.Errorf("%d hints, want 1", r.hints.Load())
			}
			if got := len(r.inbox.all()); got != 1 && want.Status == "accepted" || got != 0 && want.Status == "ignored" {
				t.Errorf("%d deliveries are stored", got)
			}
			for _, private := range []string{"Hannah", "Okafor", "example.com", "pubsub", "label", secret} {
				if strings.Contains(r.log.String(), private) {
					t.Errorf("the log tells %q:\n%s", private, r.log)
				}
			}
		})
	}
}

func TestWhatIsStored(t *testing.T) {
	r := start(t, withSecret)
	for _, d := range []struct{ file, noID string }{{incoming, "with a space"}, {resolved, strings.Repeat("0", 65)}} {
		header := signed(secret, noon, example(t, d.file))
		header.Set(webhook.HeaderDelivery, d.noID)
		r.post(header, example(t, d.file))
	}
	another := strings.ReplaceAll(example(t, incoming), `"id": 91004,`, `"id": 91005,`)
	header := signed(secret, noon, another)
	header.Set(webhook.HeaderDelivery, "5b6f2a52-2d0e-4f0b-9d6e-6f6f2f1f9a01")
	r.post(header, another)

	got := r.inbox.all()
	want := []webhook.Delivery{
		{
			Key: "3/message_created/91004", Event: "message_created", Reason: webhook.CustomerMessage,
			AccountID: 3, ConversationID: 1482, MessageID: 91004, Status: chatwoot.Open,
			UpdatedAt: time.UnixMicro(1782119762431207).UTC(), ReceivedAt: noon, Body: []byte(example(t, incoming)),
		},
		{
			Key: "3/conversation_status_changed/1482@1782121290550120", Event: "conversation_status_changed", Reason: webhook.Resolution,
			AccountID: 3, ConversationID: 1482, Status: chatwoot.Resolved,
			UpdatedAt: time.UnixMicro(1782121290550120).UTC(), ReceivedAt: noon, Body: []byte(example(t, resolved)),
		},
	}
	if len(got) != 3 {
		t.Fatalf("%d deliveries are stored, want 3", len(got))
	}
	if !reflect.DeepEqual(got[:2], want) {
		t.Errorf("stored %+v\nwant %+v", got[:2], want)
	}
	if got[2].ID != "5b6f2a52-2d0e-4f0b-9d6e-6f6f2f1f9a01" || got[2].Key != "3/message_created/91005" {
		t.Errorf("stored under %q and %q", got[2].ID, got[2].Key)
	}
}

func TestDuplicates(t *testing.T) {
	r := start(t, withSecret)
	send := func(file, id string) answer {
		header := signed(secret, noon, example(t, file))
		header.Set(webhook.HeaderDelivery, id)
		return r.post(header, example(t, file))
	}
	first := answer{code: 200, Status: "accepted", Reason: "customer_message"}
	again := answer{code: 200, Status: "duplicate", Reason: "already_received"}
	for _, tt := range []struct {
		name, file, id string
		want           answer
	}{
		{"the first", incoming, "a", first},
		{"the same delivery", incoming, "a", again},
		{"the same message under a new id", incoming, "b", again},
		{"a resolution", resolved, "c", answer{code: 200, Status: "accepted", Reason: "resolved"}},
		{"the same state under a new id", resolved, "d", again},
	} {
		if got := send(tt.file, tt.id); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	if n := r.counted("webhook_requests_total", "message_created", "duplicate"); n != 2 {
		t.Errorf("%v duplicates are counted, want 2", n)
	}
}

// Connections are few, so strangers do not keep theirs.
func TestOnlyVerifiedSendersKeepTheirConnection(t *testing.T) {
	var idle time.Duration
	r := start(t, withSecret, func(s *http.Server) { idle = s.IdleTimeout })
	if idle <= 0 || idle > 5*time.Second {
		t.Errorf("an idle connection is kept for %v", idle)
	}
	base := strings.TrimSuffix(r.url, webhook.Path)
	for _, tt := range []struct {
		name, method, url string
		header            http.Header
		body              string
		kept              bool
	}{
		{"a processed delivery", "POST", r.url, signed(secret, noon, example(t, incoming)), example(t, incoming), true},
		{"an ignored delivery", "POST", r.url, signed(secret, noon, small), small, true},
		{"a stranger's", "POST", r.url, signed("another", noon, small), small, false},
		{"without a signature", "POST", r.url, nil, small, false},
		{"verified, and no webhook", "POST", r.url, signed(secret, noon, "{}"), "{}", false},
		{"in a browser", "GET", r.url, nil, "", false},
		{"health", "GET", base + "/healthz", nil, "", false},
		{"nothing there", "GET", base, nil, "", false},
	} {
		req, err := http.NewRequest(tt.method, tt.url, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = tt.header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.Close == tt.kept {
			t.Errorf("%s: the connection is kept: %v", tt.name, !resp.Close)
		}
	}
}

func TestAStoreThatFails(t *testing.T) {
	r := start(t, webhook.Options{Secrets: []string{secret}, Inbox: &inbox{fail: errors.New("the disk is full")}})
	got := r.deliver(example(t, incoming))
	if got.code != 503 || !strings.Contains(got.Error, "could not be stored") || strings.Contains(got.Error, "disk") {
		t.Errorf("answer %+v", got)
	}
	if n := r.counted("webhook_requests_total", "message_created", "failed"); n != 1 {
		t.Errorf("counted %v times", n)
	}
	if r.hints.Load() != 1 {
		t.Error("the next poll is not hastened, and it is all that is left")
	}
	if !strings.Contains(r.log.String(), "the disk is full") {
		t.Errorf("the log does not say why:\n%s", r.log)
	}
	if got := r.deliver(example(t, "webhook_message_created_agent")); got.code != 200 {
		t.Errorf("what is ignored needs no store: %+v", got)
	}
}

// Chatwoot hangs up after five seconds. What is on its way to the disk then
// must get there.
func TestASenderThatHangsUpDoesNotStopTheStore(t *testing.T) {
	entered, gone := make(chan context.Context), make(chan struct{})
	finished := make(chan error, 1)
	in := &inbox{wait: func(ctx context.Context) error {
		entered <- ctx
		<-gone
		finished <- ctx.Err()
		return nil
	}}
	closed := make(chan struct{})
	r := start(t, webhook.Options{Secrets: []string{secret}, Inbox: in}, func(s *http.Server) {
		inner := s.Handler
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			context.AfterFunc(req.Context(), func() { close(closed) })
			inner.ServeHTTP(w, req)
		})
	})
	body := example(t, incoming)
	c := dial(t, r, signed(secret, noon, body), len(body), body)
	ctx := <-entered
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 4*time.Second {
		t.Errorf("the store may take until %v, longer than Chatwoot waits", deadline)
	}
	c.Close()
	<-closed // the server has noticed
	close(gone)
	if err := <-finished; errors.Is(err, context.Canceled) { // its own time may be over on a busy machine
		t.Errorf("the store's context ended with the connection: %v", err)
	}
}

func TestAFloodIsLoggedOnce(t *testing.T) {
	now := noon
	o := withSecret
	o.Now = func() time.Time { return now }
	r := start(t, o)
	for range 200 {
		r.post(signed("another", noon, small), small)
	}
	r.post(nil, small)
	if n := strings.Count(r.log.String(), "was rejected"); n != 2 {
		t.Errorf("%d lines, want one for each reason:\n%s", n, r.log)
	}
	now = now.Add(time.Minute)
	r.post(signed("another", noon, small), small)
	if !strings.Contains(r.log.String(), `"not_logged_since":199`) {
		t.Errorf("the log does not tell how many there were:\n%s", r.log)
	}
	if n := r.counted("webhook_rejected_total", "signature_mismatch"); n != 201 {
		t.Errorf("%v are counted, want 201", n)
	}
}

func TestTheLogExplainsAMismatch(t *testing.T) {
	r := start(t, withSecret)
	header := signed(secret, noon, small)
	header.Set(webhook.HeaderSignature, "sha256="+hmacHex(secret, small))
	r.post(header, small)
	if !strings.Contains(r.log.String(), "only the body is signed") {
		t.Errorf("log:\n%s", r.log)
	}
}

func TestTheSimulatorsOwnWebhooksArrive(t *testing.T) {
	for _, tt := range []struct {
		version chatwootsim.Version
		o       webhook.Options
		path    string
	}{
		{chatwootsim.V415, webhook.Options{Secrets: []string{secret}}, ""},
		{chatwootsim.V42, webhook.Options{Form: webhook.Unsigned, PathToken: token}, "/" + token},
	} {
		t.Run(string(tt.version), func(t *testing.T) {
			r := start(t, tt.o)
			sim := chatwootsim.New(chatwootsim.Options{
				Version: tt.version, Now: func() time.Time { return noon },
				Webhooks: []chatwootsim.Webhook{{URL: r.url + tt.path, Secret: secret, Subscriptions: webhook.Subscriptions}},
			})
			api := httptest.NewServer(sim)
			t.Cleanup(func() {
				sim.Close()
				api.Close()
			})
			sim.WebhookFaults(chatwootsim.WebhookFaults{Duplicate: 1}) // half of them under a new id
			inbox := sim.Inboxes()[0]
			c := sim.CustomerOpens(noon, inbox, "Hello?")
			sim.CustomerWrites(noon, c, "Anybody?")
			sim.AgentReplies(noon, c)
			sim.AgentNotes(noon, c)
			sim.Assign(noon, c, 11)
			sim.Flush() // payloads show the state in which they are made
			sim.SetStatus(noon, c, "resolved")
			sim.Flush()

			reasons := map[webhook.Reason]int{}
			for _, d := range r.inbox.all() {
				reasons[d.Reason]++
				if d.ConversationID != c || (d.ID != "") != (tt.version == chatwootsim.V415) {
					t.Errorf("stored %+v", d)
				}
			}
			if reasons[webhook.CustomerMessage] != 2 || reasons[webhook.Resolution] != 1 || len(reasons) != 2 {
				t.Errorf("stored %v, want two messages and a resolution", reasons)
			}
			if n := r.counted("webhook_requests_total", "message_created", "ignored"); n != 4 {
				t.Errorf("%v messages are ignored, want the reply and the note, twice each", n)
			}
			for _, reason := range []string{"signature_mismatch", "malformed", "path_token"} {
				if n := r.counted("webhook_rejected_total", reason); n != 0 {
					t.Errorf("%v are rejected as %s:\n%s", n, reason, r.log)
				}
			}
		})
	}
}

func TestSubscriptionsCoverWhatIsProcessed(t *testing.T) {
	for _, needed := range []string{chatwoot.MessageCreated, chatwoot.ConversationStatusChanged} {
		if !slices.Contains(webhook.Subscriptions, needed) {
			t.Errorf("%s is not subscribed to", needed)
		}
	}
}
