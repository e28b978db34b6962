package app

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
	"github.com/hotdash/chatwoot-sla/internal/config"
	"github.com/hotdash/chatwoot-sla/internal/maintenance"
)

// monday is a Monday, at 8.
var monday = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func testPromiser(t *testing.T, settings ...string) (*promiser, *observer.ObservedLogs, error) {
	t.Helper()
	loaded, err := config.Load(config.Options{Environ: append([]string{
		"CHATWOOT_BASE_URL=http://127.0.0.1:1", "CHATWOOT_TOKEN=abc", "CHATWOOT_ACCOUNT_ID=1",
	}, settings...)})
	if err != nil {
		t.Fatal(err)
	}
	planned, err := maintenance.New(loaded.MaintenanceRules, loaded.MaintenanceDuration)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.WarnLevel)
	p, err := newPromiser(loaded.Config, planned, zap.New(core), func() time.Time { return monday })
	return p, logs, err
}

func TestPromisesOfInboxes(t *testing.T) {
	office := func(zone string) *chatwoot.WorkingHours {
		return &chatwoot.WorkingHours{Zone: zone, Days: [7]chatwoot.Day{1: {Opens: 9 * 60, Closes: 17 * 60}}}
	}
	backwards := office("UTC")
	backwards.Days[2] = chatwoot.Day{Opens: 17 * 60, Closes: 9 * 60}
	nightly := &chatwoot.WorkingHours{Zone: "UTC", Days: [7]chatwoot.Day{2: {Opens: 2 * 60, Closes: 4 * 60}}}
	const paused = "SLA_PAUSE_DURING_MAINTENANCE=true"
	tests := []struct {
		name     string
		settings []string
		hours    *chatwoot.WorkingHours // of inbox 5 in Chatwoot
		deadline time.Duration          // after Monday 8:00, when the customer writes
		warning  string                 // a part of it; empty: none
	}{
		{"all time counts", nil, office("UTC"), 30 * time.Minute, ""},
		{"the inbox's own promise", []string{"SLA_INBOX_MINUTES=5:45"}, nil, 45 * time.Minute, ""},
		{"hours of all inboxes", []string{"SLA_BUSINESS_HOURS=Mon 10:00-17:00 UTC"}, office("UTC"), 150 * time.Minute, ""},
		{"and a promise of its own", []string{"SLA_BUSINESS_HOURS=Mon 10:00-17:00 UTC", "SLA_INBOX_MINUTES=5:45"}, nil, 165 * time.Minute, ""},
		{"hours of the inbox", []string{"SLA_BUSINESS_HOURS=chatwoot"}, office("UTC"), 90 * time.Minute, ""},
		{"hours and promise of the inbox", []string{"SLA_BUSINESS_HOURS=chatwoot", "SLA_INBOX_MINUTES=5:45"}, office("UTC"), 105 * time.Minute, ""},
		{"hours in another zone", []string{"SLA_BUSINESS_HOURS=chatwoot"}, office("Europe/Berlin"), 30 * time.Minute, ""},
		{"an inbox without hours", []string{"SLA_BUSINESS_HOURS=chatwoot"}, nil, 30 * time.Minute, ""},
		{"a pause", []string{paused, "MAINTENANCE_RRULE=FREQ=DAILY;BYHOUR=8"}, nil, 150 * time.Minute, ""},
		{"a pause within the hours", []string{paused, "SLA_BUSINESS_HOURS=chatwoot", "MAINTENANCE_RRULE=FREQ=DAILY;BYHOUR=8"}, office("UTC"), 150 * time.Minute, ""},
		{"maintenance without a pause", []string{"MAINTENANCE_RRULE=FREQ=DAILY;BYHOUR=8"}, nil, 30 * time.Minute, ""},

		{"an inbox that is never open", []string{"SLA_BUSINESS_HOURS=chatwoot"}, &chatwoot.WorkingHours{Zone: "UTC"}, 30 * time.Minute, "no day has any hours"},
		{"hours that end before they begin", []string{"SLA_BUSINESS_HOURS=chatwoot"}, backwards, 30 * time.Minute, "Tue 17:00-09:00"},
		{"a zone that nobody knows", []string{"SLA_BUSINESS_HOURS=chatwoot"}, office("Mars/Olympus"), 30 * time.Minute, "Mars/Olympus"},
		{"an inbox open in maintenance alone", []string{paused, "SLA_BUSINESS_HOURS=chatwoot", "MAINTENANCE_RRULE=FREQ=WEEKLY;BYDAY=TU;BYHOUR=2"}, nightly, 30 * time.Minute, "covers all of the hours"},
		{"a promise for an inbox that is not there", []string{"SLA_INBOX_MINUTES=7:45"}, nil, 30 * time.Minute, "SLA_INBOX_MINUTES names an inbox"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, logs, err := testPromiser(t, tt.settings...)
			if err != nil {
				t.Fatal(err)
			}
			perInbox := slices.Contains(tt.settings, "SLA_BUSINESS_HOURS=chatwoot")
			if got := p.promises(nil).For(5).Unknown; got != perInbox {
				t.Errorf("before the inboxes are read, the promise is unknown: %v", got)
			}
			p.promises([]chatwoot.Inbox{{ID: 5, Hours: tt.hours}})
			made := p.promises([]chatwoot.Inbox{{ID: 5, Hours: tt.hours}})
			if err := made.Validate(); err != nil {
				t.Error(err)
			}
			if made.For(5).Unknown || made.For(6).Unknown != perInbox {
				t.Errorf("unknown is the promise of an inbox that is listed: %v, and of one that is not: %v", made.For(5).Unknown, made.For(6).Unknown)
			}
			if got := made.For(5).Deadline(monday).Sub(monday); got != tt.deadline {
				t.Errorf("the deadline is %v after 8:00, want %v", got, tt.deadline)
			}
			var warnings []string
			for _, l := range logs.All() {
				warnings = append(warnings, l.Message)
			}
			if said := strings.Join(warnings, "\n"); !strings.Contains(said, tt.warning) || (tt.warning == "") != (said == "") || len(warnings) > 1 {
				t.Errorf("warned %q, want %q once", warnings, tt.warning)
			}
		})
	}
}

func TestMaintenanceThatCoversAllHoursIsRefused(t *testing.T) {
	_, _, err := testPromiser(t, "SLA_BUSINESS_HOURS=Tue 02:00-04:00 UTC", "SLA_PAUSE_DURING_MAINTENANCE=true", "MAINTENANCE_RRULE=FREQ=WEEKLY;BYDAY=TU;BYHOUR=2")
	if err == nil || !strings.Contains(err.Error(), "SLA_BUSINESS_HOURS") || !strings.Contains(err.Error(), "MAINTENANCE_RRULE") {
		t.Errorf("error %v, want one that names both settings", err)
	}
}
