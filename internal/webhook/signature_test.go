package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

// The vector was made with the code of Chatwoot's own that signs.
const (
	vectorTime = 1782119762
	vectorBody = `{"event":"message_created","id":91004,"private":false}`
	vectorSum  = "sha256=f6b59cc6d203cf0115ab2aa1fbf7a94cc7d241ece11e8fa625bcc71b7aec0630"
)

func TestSignAgreesWithChatwoot(t *testing.T) {
	if got := webhook.Sign(secret, time.Unix(vectorTime, 0), []byte(vectorBody)); got != vectorSum {
		t.Errorf("Sign = %s, want %s", got, vectorSum)
	}
	if got := chatwootsim.Sign(secret, vectorTime, []byte(vectorBody)); got != vectorSum {
		t.Errorf("the simulator signs %s, want %s", got, vectorSum)
	}
}

// hmacHex is HMAC-SHA256 over the body alone.
func hmacHex(key, body string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(body))
	return hex.EncodeToString(h.Sum(nil))
}
