package webhook_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

func TestADayOfWebhooks(t *testing.T) {
	d := webhook.NewDay("2026-11-25", "UTC", webhook.Counts{
		webhook.CountAnswered:   {"accepted": 90, "ignored": 200, "duplicate": 3, "failed": 1},
		webhook.CountRejected:   {"signature_mismatch": 4, "too_large": 0},
		webhook.CountMissed:     {"": 2},
		webhook.CountRetried:    {"forward": 7},
		webhook.CountDead:       {"failed": 1},
		webhook.CountAck:        {"0.005": 200, "0.01": 290, "0.05": 293, "+Inf": 294},
		webhook.CountProcessing: {"1": 50, "3": 89, "+Inf": 91},
	})
	var text, doc bytes.Buffer
	if err := d.WriteMarkdown(&text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"# Webhooks on 2026-11-25 (UTC)",
		"| received | 298 |",
		"| lost, because the database did not take them | 1 |",
		"| missed: polling found what no webhook told | 2 |",
		"| `signature_mismatch` | 4 |",
		"| `forward` | 7 |",
		"| acknowledgement (Chatwoot gives up after 5 s) | 294 | 0.005 s | 0.01 s | 0.05 s |",
		"| processing, waits and retries included (target: 3 s) | 91 | 1 s | 3 s | longer than is measured |",
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the text lacks %q:\n%s", line, &text)
		}
	}
	if strings.Contains(text.String(), "too_large") {
		t.Error("the text names a reason that nothing was rejected for")
	}

	if err := d.WriteJSON(&doc); err != nil {
		t.Fatal(err)
	}
	var read map[string]any
	if err := json.Unmarshal(doc.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	if read["schema"] != "chatwoot-sla/webhook-reliability/v1" || read["received"] != 298.0 {
		t.Errorf("the JSON is %v", read)
	}
	if p99 := read["processing"].(map[string]any)["p99_at_most_seconds"]; p99 != nil {
		t.Errorf("a bound that is not known is %v", p99)
	}
}

func TestADayOfNothing(t *testing.T) {
	var text bytes.Buffer
	if err := webhook.NewDay("2026-11-25", "UTC", nil).WriteMarkdown(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "| received | 0 |") || !strings.Contains(text.String(), "| 0 | – | – | – |") {
		t.Errorf("a day of nothing reads\n%s", &text)
	}
}
