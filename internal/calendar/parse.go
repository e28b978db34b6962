package calendar

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	aroundMarks = regexp.MustCompile(`\s*([-,])\s*`)
	timeOfDay   = regexp.MustCompile(`^([0-9]{1,2}):([0-9]{2})$`)
)

// Parse reads a week of hours and its time zone, such as
//
//	Mon-Fri 09:00-17:00 Europe/Berlin
//	Mon-Thu 09:00-12:00,13:00-17:00; Fri,Sat 10:00-14:00 America/New_York
//
// Days are the first three letters of their English names; the end of a day is
// 24:00; the zone is a name of the TZ database. The error says what is wrong.
func Parse(text string) (*Calendar, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return nil, errors.New("it names no hours")
	}
	last := fields[len(fields)-1]
	if strings.ContainsAny(last, ":;,") || isDays(last) || last[0] >= '0' && last[0] <= '9' {
		return nil, errors.New("it does not end in a time zone, such as Europe/Berlin or UTC")
	}
	zone, err := Zone(last)
	if err != nil {
		return nil, err
	}
	var week [7][]Span
	for part := range strings.SplitSeq(strings.Join(fields[:len(fields)-1], " "), ";") {
		part = aroundMarks.ReplaceAllString(strings.ReplaceAll(strings.TrimSpace(part), "–", "-"), "$1")
		names, hours, _ := strings.Cut(part, " ")
		days, err := parseDays(names)
		if err != nil {
			return nil, err
		}
		spans, err := parseSpans(hours)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", names, err)
		}
		for _, d := range days {
			week[d] = append(week[d], spans...)
		}
	}
	return Weekly(week, zone)
}

// Zone returns the zone of that name in the TZ database.
func Zone(name string) (*time.Location, error) {
	// LoadLocation takes "" for UTC and "Local" for whatever this machine has.
	if zone, err := time.LoadLocation(name); err == nil && name != "" && name != "Local" {
		return zone, nil
	}
	return nil, fmt.Errorf("time zone %q is unknown", name)
}

// parseDays reads days and ranges of days, separated by commas. A range may go
// round the end of the week.
func parseDays(text string) ([]time.Weekday, error) {
	var days []time.Weekday
	for item := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(item, "-")
		from, ok := parseDay(first)
		to := from
		if ok && isRange {
			to, ok = parseDay(last)
		}
		if !ok {
			return nil, fmt.Errorf("%q names no day; days are Mon, Tue, Wed, Thu, Fri, Sat and Sun, and Mon-Fri is a range", item)
		}
		for d := from; ; d = (d + 1) % 7 {
			if slices.Contains(days, d) {
				return nil, fmt.Errorf("%q names %s twice", text, short(d))
			}
			days = append(days, d)
			if d == to {
				break
			}
		}
	}
	return days, nil
}

func isDays(text string) bool {
	_, err := parseDays(text)
	return err == nil
}

func parseDay(name string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(name, short(d)) {
			return d, true
		}
	}
	return 0, false
}

// parseSpans reads spans that are separated by commas.
func parseSpans(text string) ([]Span, error) {
	if text == "" {
		return nil, errors.New("there are no hours, such as 09:00-17:00")
	}
	var spans []Span
	for item := range strings.SplitSeq(text, ",") {
		from, to, found := strings.Cut(item, "-")
		if !found {
			return nil, fmt.Errorf("%q has no end; write it like 09:00-17:00", item)
		}
		opens, err := parseTime(from)
		if err != nil {
			return nil, err
		}
		closes, err := parseTime(to)
		if err != nil {
			return nil, err
		}
		spans = append(spans, Span{opens, closes})
	}
	return spans, nil
}

// parseTime reads a time of day, from 00:00 to 24:00, as minutes.
func parseTime(text string) (int, error) {
	if m := timeOfDay.FindStringSubmatch(text); m != nil {
		hours, _ := strconv.Atoi(m[1]) // digits, by the expression
		minutes, _ := strconv.Atoi(m[2])
		if total := hours*60 + minutes; minutes < 60 && total <= minutesPerDay {
			return total, nil
		}
	}
	return 0, fmt.Errorf("%q is no time of day; write it like 09:00, up to 24:00", text)
}

func short(d time.Weekday) string { return d.String()[:3] }
