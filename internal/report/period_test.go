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
