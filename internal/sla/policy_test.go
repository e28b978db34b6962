package sla_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/sla"
)

var halfHour = sla.Policy{Target: 30 * time.Minute, Warning: 15 * time.Minute, Urgent: 5 * time.Minute}

// t0 is when the conversations of these tests are created.
var t0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return t0.Add(d) }

func TestLevelWhileWaiting(t *testing.T) {
	const second = time.Second
	target := func(minutes time.Duration) sla.Policy {
		p := halfHour
		p.Target = minutes * time.Minute
		return p
	}
	tests := []struct {
		name      string
		policy    sla.Policy
		remaining time.Duration
		want      sla.Level
	}{
		{"the whole SLA left", halfHour, 30 * time.Minute, sla.Normal},
		{"just over 15:00 left", halfHour, 15*time.Minute + 1, sla.Normal},
		{"exactly 15:00 left", halfHour, 15 * time.Minute, sla.Warning},
		{"exactly 5:00 left", halfHour, 5 * time.Minute, sla.Warning},
		{"just under 5:00 left", halfHour, 5*time.Minute - 1, sla.Urgent},
		{"exactly 0:00 left", halfHour, 0, sla.Urgent},
		{"just past the deadline", halfHour, -1, sla.Breach},
		{"a month past the deadline", halfHour, -30 * 24 * time.Hour, sla.Breach},
		{"SLA of 1 minute begins urgent", target(1), 60 * second, sla.Urgent},
		{"SLA of 1 minute, over", target(1), -second, sla.Breach},
		{"SLA of 10 minutes begins in warning", target(10), 10 * time.Minute, sla.Warning},
		{"SLA of 15 minutes begins in warning", target(15), 15 * time.Minute, sla.Warning},
		{"SLA of 10,000 minutes", target(10_000), 9_000 * time.Minute, sla.Normal},
		{"SLA of 10,000 minutes, near its end", target(10_000), 4 * time.Minute, sla.Urgent},
		{"a conversation from the future", halfHour, 3 * time.Hour, sla.Normal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := tt.policy.Clock(sla.Conversation{
				CreatedAt: t0, WaitingSince: t0, CustomerWrote: sla.Yes, CustomerOpened: sla.Yes,
			})
			if k.State != sla.Waiting {
				t.Fatalf("state = %v, want waiting", k.State)
			}
			now := t0.Add(tt.policy.Target - tt.remaining)
			if got := tt.policy.Level(k, now); got != tt.want {
				t.Errorf("level with %v left = %v, want %v", tt.remaining, got, tt.want)
			}
		})
	}
}

func TestPolicyValidate(t *testing.T) {
	if err := halfHour.Validate(); err != nil {
		t.Errorf("the default policy is refused: %v", err)
	}
	bad := sla.Policy{Target: -1, Warning: 5, Urgent: 5}
	err := bad.Validate()
	if err == nil {
		t.Fatal("a policy with a negative SLA and equal thresholds is accepted")
	}
	for _, want := range []string{"SLA must be positive", "below the warning threshold"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestLevelNamesRoundTrip(t *testing.T) {
	for _, l := range sla.Levels {
		got, err := sla.ParseLevel(l.String())
		if err != nil || got != l {
			t.Errorf("ParseLevel(%q) = %v, %v", l, got, err)
		}
	}
	if _, err := sla.ParseLevel("critical"); err == nil {
		t.Error("ParseLevel accepts critical")
	}
}
