// Package calendar says which time counts: the opening hours of a week in a
// time zone, without pauses.
//
// It is arithmetic on values the caller passes in, like the package sla, whose
// Calendar it satisfies.
package calendar

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Span is the part of a day from From to To, in minutes after midnight by the
// clock on the wall. To is not part of it, and is at most 1440.
type Span struct{ From, To int }

const (
	minutesPerDay = 24 * 60
	secondsPerDay = 24 * 60 * 60

	// horizon is how long a calendar may stay closed, and a deadline be away,
	// before the search for it ends.
	horizon = 10 * 365 * 24 * time.Hour
)

// Pauses returns the first pause that ends after t; ok is false when there is
// none. Pauses do not overlap. It must be pure and safe for concurrent use.
type Pauses func(t time.Time) (from, to time.Time, ok bool)

// Calendar is a week of hours that repeats. It never changes and is safe for
// concurrent use.
//
// What is open is told by the clock on the wall: an hour that is skipped in
// spring is not there to be open, and one that comes twice in autumn is open
// both times.
type Calendar struct {
	week   *[7][]Span // by time.Weekday, in order; nil: always open
	zone   *time.Location
	pauses Pauses // nil: none
}

// Always returns the Calendar in which all time counts.
func Always() *Calendar { return &Calendar{} }

// ErrNeverOpen is returned for a week without hours: no deadline would ever
// come.
var ErrNeverOpen = errors.New("no day has any hours")

// Weekly returns the Calendar of a week, by time.Weekday, in a zone. The spans
// of a day may come in any order, and may touch but not overlap.
func Weekly(week [7][]Span, zone *time.Location) (*Calendar, error) {
	var sorted [7][]Span
	open := false
	for d, spans := range week {
		day := time.Weekday(d)
		sorted[d] = slices.SortedFunc(slices.Values(spans), func(a, b Span) int { return a.From - b.From })
		for i, s := range sorted[d] {
			switch {
			case s.From < 0 || s.To > minutesPerDay:
				return nil, fmt.Errorf("%s %v does not lie between 00:00 and 24:00", short(day), s)
			case s.To <= s.From:
				return nil, fmt.Errorf("%s %v does not end after it begins; give what lies after midnight to the next day", short(day), s)
			case i > 0 && s.From < sorted[d][i-1].To:
				return nil, fmt.Errorf("%s %v overlaps %v", short(day), s, sorted[d][i-1])
			}
			open = true
		}
	}
	if !open {
		return nil, ErrNeverOpen
	}
	return &Calendar{week: &sorted, zone: zone}, nil
}

// String returns the span as Parse reads it.
func (s Span) String() string {
	return fmt.Sprintf("%02d:%02d-%02d:%02d", s.From/60, s.From%60, s.To/60, s.To%60)
}

// Without returns c with pauses taken out, in place of any that it had.
func (c *Calendar) Without(pauses Pauses) *Calendar {
	return &Calendar{week: c.week, zone: c.zone, pauses: pauses}
}

// Add returns the first instant by which d of open time has passed since from;
// from itself when d is 0 or less. Where that takes more than ten years, it
// returns from and ten years.
func (c *Calendar) Add(from time.Time, d time.Duration) time.Time {
	end := from.Add(horizon)
	for t := from; d > 0; {
		opens, closes, ok := c.next(t, end)
		if !ok {
			return end
		}
		stretch := closes.Sub(opens)
		if d <= stretch {
			return opens.Add(d)
		}
		d -= stretch
		t = closes
	}
	return from
}

// Open returns how much open time lies between from and to; 0 when to is not
// after from.
func (c *Calendar) Open(from, to time.Time) time.Duration {
	var open time.Duration
	for t := from; t.Before(to); {
		opens, closes, ok := c.next(t, to)
		if !ok {
			break
		}
		open += closes.Sub(opens)
		t = closes
	}
	return open
}

// next returns the first stretch of open time within [t, end), cut to lie in
// it. What follows at once may be another stretch.
func (c *Calendar) next(t, end time.Time) (opens, closes time.Time, ok bool) {
	for t.Before(end) {
		opens, closes = c.hours(t, end)
		if !opens.Before(end) {
			break
		}
		if c.pauses == nil {
			return opens, closes, true
		}
		from, to, paused := c.pauses(opens)
		if !paused || !from.Before(closes) {
			return opens, closes, true
		}
		if opens.Before(from) {
			return opens, from, true
		}
		t = to
	}
	return time.Time{}, time.Time{}, false
}

// hours returns the first stretch of hours within [t, end), cut to lie in it;
// it begins at end when there is none.
func (c *Calendar) hours(t, end time.Time) (opens, closes time.Time) {
	if c.week == nil {
		return t, end
	}
	for t.Before(end) {
		// As long as the offset stays, the clock on the wall runs on evenly.
		local := t.In(c.zone)
		_, offset := local.Zone()
		until := end
		if _, changes := local.ZoneBounds(); !changes.IsZero() && changes.Before(end) {
			until = changes
		}
		wall := t.Unix() + int64(offset)
		day := wall / secondsPerDay
		if wall%secondsPerDay < 0 {
			day--
		}
		instant := func(day int64, minutes int) time.Time {
			return t.Add(time.Duration(day*secondsPerDay+int64(minutes)*60-wall)*time.Second - time.Duration(t.Nanosecond()))
		}
		for ; instant(day, 0).Before(until); day++ {
			for _, s := range c.week[weekday(day)] {
				opens, closes = instant(day, s.From), instant(day, s.To)
				if !closes.After(t) {
					continue
				}
				if !opens.Before(until) {
					break
				}
				return latest(opens, t), earliest(closes, until)
			}
		}
		t = until
	}
	return end, end
}

// weekday returns the weekday of a day counted from 1970-01-01, a Thursday.
func weekday(day int64) time.Weekday {
	return time.Weekday(((day+int64(time.Thursday))%7 + 7) % 7)
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
