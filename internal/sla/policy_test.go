package sla_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/calendar"
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

// officeHours is half an hour of Monday to Friday, 9 to 17.
func officeHours(t *testing.T) sla.Policy {
	t.Helper()
	hours, err := calendar.Parse("Mon-Fri 09:00-17:00 UTC")
	if err != nil {
		t.Fatal(err)
	}
	p := halfHour
	p.Calendar = hours
	return p
}

func TestDeadlineInBusinessHours(t *testing.T) {
	tests := []struct {
		name            string
		start, deadline string
	}{
		{"within a day", "Mon 10:00", "Mon 10:30"},
		{"as the doors close", "Mon 16:30", "Mon 17:00"},
		{"over night", "Mon 16:50", "Tue 09:20"},
		{"over the weekend", "Fri 16:50", "Mon 09:20"},
		{"written on Saturday", "Sat 12:00", "Mon 09:30"},
		{"written as the doors close", "Fri 17:00", "Mon 09:30"},
		{"written as they open", "Mon 09:00", "Mon 09:30"},
	}
	p := officeHours(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := p.Clock(sla.Conversation{
				CreatedAt: day(t, tt.start), WaitingSince: day(t, tt.start), CustomerWrote: sla.Yes, CustomerOpened: sla.Yes,
			})
			if !k.Start.Equal(day(t, tt.start)) {
				t.Errorf("the clock starts at %v, want the customer's instant", k.Start)
			}
			if got := k.Deadline.Format("Mon 15:04:05"); got != tt.deadline+":00" {
				t.Errorf("deadline %s, want %s", got, tt.deadline)
			}
		})
	}
}

// day returns an instant of the week that ends with t0's Monday, from a text
// such as "Fri 16:50" or "Fri 16:50:01".
func day(t *testing.T, text string) time.Time {
	t.Helper()
	name, clock, _ := strings.Cut(text, " ")
	if strings.Count(clock, ":") == 1 {
		clock += ":00"
	}
	date := t0
	for date.Format("Mon") != name {
		date = date.AddDate(0, 0, -1)
	}
	at, err := time.Parse(time.DateTime, date.Format(time.DateOnly)+" "+clock)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestLevelInBusinessHours(t *testing.T) {
	p := officeHours(t)
	weekend, evening := p.Deadline(day(t, "Fri 16:50")), p.Deadline(day(t, "Fri 16:30"))
	tests := []struct {
		name      string
		deadline  time.Time
		now       string
		remaining time.Duration
		level     sla.Level
		paused    bool
	}{
		{"before the doors close", weekend, "Fri 16:59:59", 20*time.Minute + time.Second, sla.Normal, false},
		{"closed: time stands still", weekend, "Fri 17:00:00", 20 * time.Minute, sla.Normal, true},
		{"closed, on Sunday", weekend, "Sun 12:00:00", 20 * time.Minute, sla.Normal, true},
		{"on Monday before the doors open", weekend, "Mon 08:59:59", 20 * time.Minute, sla.Normal, true},
		{"exactly 15:00 left", weekend, "Mon 09:05:00", 15 * time.Minute, sla.Warning, false},
		{"just under 5:00 left", weekend, "Mon 09:15:01", 5*time.Minute - time.Second, sla.Urgent, false},
		{"past the deadline", weekend, "Mon 09:20:01", -time.Second, sla.Breach, false},

		{"due as the doors close", evening, "Fri 17:00:00", 0, sla.Urgent, true},
		{"late as soon as they are closed, though no open time has passed", evening, "Fri 17:00:01", -time.Second, sla.Breach, true},
		{"late by the whole night", evening, "Sat 17:00:00", -24 * time.Hour, sla.Breach, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, now := sla.Clock{State: sla.Waiting, Deadline: tt.deadline}, day(t, tt.now)
			if got := p.Remaining(k, now); got != tt.remaining {
				t.Errorf("remaining = %v, want %v", got, tt.remaining)
			}
			if got := p.Level(k, now); got != tt.level {
				t.Errorf("level = %v, want %v", got, tt.level)
			}
			if got := p.Paused(now); got != tt.paused {
				t.Errorf("paused = %v, want %v", got, tt.paused)
			}
		})
	}
	if opening := day(t, "Mon 09:00"); !p.Paused(opening.Add(-1)) || p.Paused(opening) {
		t.Error("the doors do not open at 9 sharp")
	}
	if halfHour.Paused(t0) {
		t.Error("paused without a calendar")
	}
}

func TestPromises(t *testing.T) {
	p := promises(t)
	if err := p.Validate(); err != nil {
		t.Errorf("good promises are refused: %v", err)
	}
	if got := p.For(1).Target; got != 10*time.Minute {
		t.Errorf("inbox 1 was promised %v, want its own 10m", got)
	}
	if got := p.For(7); got != halfHour {
		t.Errorf("inbox 7 was promised %+v, want the default", got)
	}
	p.ByInbox[5] = sla.Policy{}
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "inbox 5: the SLA must be positive") {
		t.Errorf("error %v does not name the inbox and what is wrong", err)
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
