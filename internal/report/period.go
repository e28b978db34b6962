package report

import (
	"fmt"
	"time"
)

// Period is what a report is about: From is part of it, To is not.
type Period struct{ From, To time.Time }

// ParsePeriod reads a period from two days (2026-11-01, which begins with that
// day in zone) or instants of RFC 3339. Without a to it ends with yesterday,
// without a from it begins seven days before its end. The errors say what could
// be written instead.
func ParsePeriod(from, to string, now time.Time, zone *time.Location) (Period, error) {
	now = now.In(zone)
	p := Period{To: DayStart(now, 0)}
	var err error
	if to != "" {
		if p.To, err = parseInstant(to, zone); err != nil {
			return Period{}, fmt.Errorf("the end %w", err)
		}
	}
	p.From = p.To.AddDate(0, 0, -7)
	if p.To.Equal(DayStart(p.To, 0)) {
		p.From = DayStart(p.To, -7)
	}
	if from != "" {
		if p.From, err = parseInstant(from, zone); err != nil {
			return Period{}, fmt.Errorf("the start %w", err)
		}
	}
	if !p.From.Before(p.To) {
		return Period{}, fmt.Errorf("the start (%s) is not before the end (%s), which is not part of the period", p.From.Format(time.RFC3339), p.To.Format(time.RFC3339))
	}
	return p, p.fits()
}

// days returns how many days p touches.
func (p Period) days() int { return civilDay(p.To.Add(-1)) - civilDay(p.From) + 1 }

// fits says what is wrong with a period that is too long for a report.
func (p Period) fits() error {
	if days := p.days(); days > maxDays {
		return fmt.Errorf("the period has %d days, and at most %d fit into a report; ask for shorter ones", days, maxDays)
	}
	return nil
}

func parseInstant(text string, zone *time.Location) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return dayIn(day, 0, zone), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a day nor an instant; write 2026-11-01 or 2026-11-01T09:00:00Z", text)
	}
	return t.In(zone), nil
}
