package webhook_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hotdash/chatwoot-sla/internal/webhook"
)

func TestMetricsAreThereFromTheStart(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	if _, err := webhook.New(webhook.Options{AccountID: 3, Inbox: &inbox{}, Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	const rejected = `
# HELP chatwoot_sla_webhook_rejected_total Requests to the webhook endpoint that were turned away, by reason.
# TYPE chatwoot_sla_webhook_rejected_total counter
chatwoot_sla_webhook_rejected_total{reason="busy"} 0
chatwoot_sla_webhook_rejected_total{reason="foreign_account"} 0
chatwoot_sla_webhook_rejected_total{reason="incomplete_body"} 0
chatwoot_sla_webhook_rejected_total{reason="malformed"} 0
chatwoot_sla_webhook_rejected_total{reason="method"} 0
chatwoot_sla_webhook_rejected_total{reason="not_configured"} 0
chatwoot_sla_webhook_rejected_total{reason="path_token"} 0
chatwoot_sla_webhook_rejected_total{reason="signature_malformed"} 0
chatwoot_sla_webhook_rejected_total{reason="signature_mismatch"} 0
chatwoot_sla_webhook_rejected_total{reason="signature_missing"} 0
chatwoot_sla_webhook_rejected_total{reason="slow_body"} 0
chatwoot_sla_webhook_rejected_total{reason="timestamp_future"} 0
chatwoot_sla_webhook_rejected_total{reason="timestamp_malformed"} 0
chatwoot_sla_webhook_rejected_total{reason="timestamp_missing"} 0
chatwoot_sla_webhook_rejected_total{reason="timestamp_old"} 0
chatwoot_sla_webhook_rejected_total{reason="too_large"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(rejected), "chatwoot_sla_webhook_rejected_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "chatwoot_sla_webhook_requests_total"); err != nil || n != 7*4 {
		t.Errorf("%d series of requests (%v), want seven events times four results", n, err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// Whoever sends chooses the name of an event, and must not choose a label.
func TestUnknownEventsShareALabel(t *testing.T) {
	r := start(t, withSecret)
	for _, event := range []string{"contact_created", "macro.executed", "automation_event.message_created", strings.Repeat("x", 10000), "message_created "} {
		if got := r.deliver(`{"event":"` + event + `"}`); got.Status != "ignored" {
			t.Errorf("%.40s: %+v", event, got)
		}
	}
	if n := r.counted("webhook_requests_total", "other", "ignored"); n != 5 {
		t.Errorf("%v are counted as other, want 5", n)
	}
	if n, err := testutil.GatherAndCount(r.reg, "chatwoot_sla_webhook_requests_total"); err != nil || n != 7*4 {
		t.Errorf("%d series (%v), want no more than at the start", n, err)
	}
	if strings.Contains(r.log.String(), "xxxxxxxx") {
		t.Error("an event's name of 10,000 bytes is logged")
	}
}

func TestAcknowledgementsAreTimed(t *testing.T) {
	now := noon
	in := &inbox{}
	o := webhook.Options{Secrets: []string{secret}, Inbox: in, Now: func() time.Time {
		defer func() { now = now.Add(30 * time.Millisecond) }() // each look at the clock takes as long
		return now
	}}
	r := start(t, o)
	r.deliver(example(t, incoming))
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "chatwoot_sla_webhook_ack_duration_seconds" {
			continue
		}
		if sum := f.GetMetric()[0].GetHistogram().GetSampleSum(); sum != 0.03 {
			t.Errorf("%v s are measured, want 0.03", sum)
		}
	}
}
