package report

import "time"

const secondsPerDay = 24 * 60 * 60

// within reports whether t lies in [from, to).
func within(t, from, to time.Time) bool { return !t.Before(from) && t.Before(to) }

// civilDay numbers the days of a calendar, so that neighbours differ by one
// whatever the clocks do.
func civilDay(t time.Time) int {
	y, m, d := t.Date()
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay)
}

// DayStart returns when the day of t, moved by a number of days, begins where t
// is. That is not always midnight: a clock that goes forward then skips it, and
// one that goes back shows it twice. A day that the calendar skipped altogether
// begins in the day before.
func DayStart(t time.Time, days int) time.Time { return dayIn(t, days, t.Location()) }

// dayIn is DayStart for the date of t, whose own zone does not matter, in a zone.
func dayIn(t time.Time, days int, zone *time.Location) time.Time {
	y, m, d := t.Date()
	start := time.Date(y, m, d+days, 0, 0, 0, 0, zone)
	want := civilDay(t) + days
	switch {
	case civilDay(start) < want:
		return start.Add(time.Hour)
	case civilDay(start.Add(-time.Hour)) == want:
		return start.Add(-time.Hour)
	}
	return start
}

// wholeDays reports whether the period is made of days as the zone has them.
func wholeDays(from, to time.Time) bool {
	return from.Equal(DayStart(from, 0)) && to.Equal(DayStart(to, 0))
}

// previous returns when the period of the same length before [from, to) begins.
func previous(from, to time.Time, days int) time.Time {
	if wholeDays(from, to) {
		return DayStart(from, -days)
	}
	return from.Add(-to.Sub(from))
}
