package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/report"
)

func TestParsePeriod(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 10, 27, 23, 30, 0, 0, time.UTC) // already the 28th in Berlin
	day := func(month time.Month, d int) time.Time { return time.Date(2026, month, d, 0, 0, 0, 0, berlin) }
	tests := []struct {
		name, from, to string
		want           report.Period
		wrong          string // part of the error
	}{
		{name: "nothing is the last seven days, that of the change included", want: report.Period{From: day(10, 21), To: day(10, 28)}},
		{name: "a start", from: "2026-10-01", want: report.Period{From: day(10, 1), To: day(10, 28)}},
		{name: "an end", to: "2026-10-08", want: report.Period{From: day(10, 1), To: day(10, 8)}},
		{name: "instants", from: "2026-10-01T09:00:00Z", to: "2026-10-01T12:00:00+02:00", want: report.Period{
			From: time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC), To: time.Date(2026, 10, 1, 10, 0, 0, 0, time.UTC),
		}},
		{name: "another order of days", from: "01.10.2026", wrong: `the start "01.10.2026" is neither a day nor an instant; write 2026-11-01`},
		{name: "a day that there is not", to: "2026-02-30", wrong: "the end"},
		{name: "more than a year", from: "2025-01-01", wrong: "the period has 665 days, and at most 366 fit into a report"},
		{name: "an empty period", from: "2026-10-08", to: "2026-10-08", wrong: "is not before the end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := report.ParsePeriod(tt.from, tt.to, now, berlin)
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Fatalf("error %v, want %q in it", err, tt.wrong)
				}
				return
			}
			if err != nil || !got.From.Equal(tt.want.From) || !got.To.Equal(tt.want.To) {
				t.Errorf("%v (%v), want %v", got, err, tt.want)
			}
		})
	}
}

// Where the clocks change at midnight, the day begins at one, or at the first
// of two midnights.
func TestDaysWhoseMidnightIsMovedAreWhole(t *testing.T) {
	for _, tt := range []struct{ zone, day, starts string }{
		{"America/Santiago", "2026-09-06", "2026-09-06T01:00:00-03:00"},
		{"America/Havana", "2026-03-08", "2026-03-08T01:00:00-04:00"},
		{"Africa/Cairo", "2026-04-24", "2026-04-24T01:00:00+03:00"},
		{"Asia/Beirut", "2026-03-29", "2026-03-29T01:00:00+03:00"},
		{"Atlantic/Azores", "2026-10-25", "2026-10-25T00:00:00Z"},
	} {
		t.Run(tt.zone, func(t *testing.T) {
			z := zone(tt.zone)
			morning, err := time.ParseInLocation(time.DateTime, tt.day+" 06:00:00", z)
			if err != nil {
				t.Fatal(err)
			}
			start, err := time.Parse(time.RFC3339, tt.starts)
			if err != nil {
				t.Fatal(err)
			}
			next := morning.AddDate(0, 0, 1).Format(time.DateOnly)
			weekLater := morning.AddDate(0, 0, 7).Format(time.DateOnly)
			for what, args := range map[string][2]string{"the day": {tt.day, next}, "a week without a start": {"", weekLater}} {
				p, err := report.ParsePeriod(args[0], args[1], morning, z)
				if err != nil || !p.From.Equal(start) || p.From.Format(time.DateOnly) != tt.day {
					t.Errorf("%s begins at %v (%v), want %v", what, p.From, err, start)
				}
			}
			if p, err := report.ParsePeriod("", "", morning, z); err != nil || !p.To.Equal(start) {
				t.Errorf("that morning, the last seven days end at %v (%v), want %v", p.To, err, start)
			}
		})
	}
}
