package webhook_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// FuzzHandler sends anything, with headers of the fuzzer's own or with a good
// signature. Nothing unsigned may have an effect, nothing may panic, and what
// is stored is what was sent.
func FuzzHandler(f *testing.F) {
	stamp := strconv.FormatInt(noon.Unix(), 10)
	// The examples are too long: the fuzzer would spend its time on making them
	// shorter.
	for _, body := range []string{
		`{"event":"message_created","id":7,"message_type":"incoming","created_at":1,"account":{"id":3},"conversation":{"id":1,"status":"open","created_at":1}}`,
		`{"event":"conversation_status_changed","id":1,"status":"resolved","created_at":1,"updated_at":1.5}`,
		`{"event":"conversation_updated","id":1,"status":"open","created_at":1,"changed_attributes":[{"team_id":{}}]}`,
		`{"event":"contact_created","account":{"id":4}}`,
	} {
		f.Add("POST", "", stamp, webhook.Sign(secret, noon, []byte(body)), "5b6f", []byte(body), false)
		f.Add("POST", "/"+token, "", "", "", []byte(body), true)
		f.Add("POST", "", stamp, "sha256="+hmacHex(secret, body), "", []byte(body[:len(body)/2]), true)
	}
	f.Add("GET", "", "", "", "", []byte(nil), false)
	f.Add("POST", "/", "-1", "sha256=", "\xff", []byte(`{"event":"ping","event":"ping"}`), true)
	f.Add("POST", "", "99999999999999999999", strings.Repeat("0", 64), "", []byte(`[[[[`), true)

	now := func() time.Time { return noon }
	f.Fuzz(func(t *testing.T, method, rest, timestamp, signature, id string, body []byte, sign bool) {
		in, hints := &inbox{}, 0
		h, err := webhook.New(webhook.Options{AccountID: account, Inbox: in, Secrets: []string{secret}, Now: now, Hint: func() { hints++ }, MaxBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if sign {
			timestamp, signature = stamp, webhook.Sign(secret, noon, body)
		}
		req := httptest.NewRequest(http.MethodPost, webhook.Path, bytes.NewReader(body))
		req.Method, req.URL.Path = method, webhook.Path+rest
		req.Header.Set(webhook.HeaderTimestamp, timestamp)
		req.Header.Set(webhook.HeaderSignature, signature)
		req.Header.Set(webhook.HeaderDelivery, id)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)

		verified := signature == webhook.Sign(secret, noon, body) && timestamp == stamp
		stored := in.all()
		var said answer
		if w.Code != http.StatusNotFound {
			if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil {
				t.Fatalf("the answer %q is no JSON: %v", w.Body, err)
			}
		}
		switch w.Code {
		case http.StatusOK:
			if !verified || (said.Status == "accepted") != (len(stored) == 1) || said.Reason == "" {
				t.Errorf("%+v with %d stored, verified %v", said, len(stored), verified)
			}
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge:
			if len(stored) != 0 || hints != 0 {
				t.Errorf("%d, and yet it had an effect", w.Code)
			}
			if verified && w.Code == http.StatusUnauthorized {
				t.Error("a good signature is refused")
			}
		default:
			t.Errorf("status %d", w.Code)
		}
		for _, d := range stored {
			if !bytes.Equal(d.Body, body) || d.Key == "" || d.ConversationID <= 0 || len(d.ID) > 64 {
				t.Errorf("stored %+v", d)
			}
			if e, err := chatwoot.DecodeEvent(d.Body); err != nil || !webhook.Decide(e).Process {
				t.Errorf("stored what is not to be processed: %v", err)
			}
		}
	})
}
