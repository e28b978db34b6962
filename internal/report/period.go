package report

import (
	"fmt"
	"time"
)

// Period is what a report is about: From is part of it, To is not.
type Period struct{ From, To time.Time }

// ParsePeriod reads a period from two days (2026-11-01, which begins at
// midnight in zone) or instants of RFC 3339. Without a to it ends at the last
// midnight, without a from it begins seven days before its end. The errors say
// what could be written instead.
func ParsePeriod(from, to string, now time.Time, zone *time.Location) (Period, error) {
	now = now.In(zone)
	p := Period{To: time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, zone)}
	var err error
	if to != "" {
		if p.To, err = parseInstant(to, zone); err != nil {
			return Period{}, fmt.Errorf("the end %w", err)
		}
	}
	p.From = p.To.AddDate(0, 0, -7)
	if from != "" {
		if p.From, err = parseInstant(from, zone); err != nil {
			return Period{}, fmt.Errorf("the start %w", err)
		}
	}
	if !p.From.Before(p.To) {
		return Period{}, fmt.Errorf("the start (%s) is not before the end (%s), which is not part of the period", p.From.Format(time.RFC3339), p.To.Format(time.RFC3339))
	}
	return p, nil
}

func parseInstant(text string, zone *time.Location) (time.Time, error) {
	if t, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a day nor an instant; write 2026-11-01 or 2026-11-01T09:00:00Z", text)
	}
	return t.In(zone), nil
}
