// Package maintenance says when there is maintenance: the windows that
// recurrence rules of RFC 5545 open, and those that somebody opened by hand.
//
// It reads no clock, and the same rules give the same windows whenever they
// are asked for.
package maintenance

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/teambition/rrule-go"
)

// anchor is where rules without a DTSTART begin. It is a Monday, the first of
// a month and of a year, at midnight: what a rule leaves open is taken from
// it, and every INTERVAL counts from it.
var anchor = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

// limit is where all rules end. The days of a rule that never fires are
// searched up to here.
var limit = time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)

// Rules is a list of recurrence rules.
type Rules struct {
	text string
	list []rule
}

type rule struct {
	text   string
	zone   *time.Location
	option rrule.ROption // by the clocks of the zone, which the library takes for UTC
}

// Off is what Parse reads as no rules.
const Off = "off"

// Parse reads recurrence rules, separated by | or line breaks, or Off for
// none. Each is the value of an RRULE, in which DTSTART and TZID may be two more
// parts:
//
//	FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2;BYMINUTE=0;BYSECOND=0
//	DTSTART=20260106T220000Z;FREQ=WEEKLY;INTERVAL=2;BYDAY=TU
//	TZID=Europe/Berlin;FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2
//
// Without DTSTART a rule begins on Monday 2024-01-01 at 00:00, and without TZID
// its times are UTC. The error says what is wrong.
func Parse(text string) (Rules, error) {
	rules := Rules{text: strings.TrimSpace(text)}
	if strings.EqualFold(rules.text, Off) {
		return rules, nil
	}
	for each := range strings.FieldsFuncSeq(rules.text, func(r rune) bool { return r == '|' || r == '\n' }) {
		r, err := parseRule(strings.TrimSpace(each))
		if err != nil {
			return Rules{}, err
		}
		rules.list = append(rules.list, r)
	}
	if len(rules.list) == 0 {
		return Rules{}, errors.New("there is no rule")
	}
	return rules, nil
}

// String returns the text that Parse was given.
func (r Rules) String() string { return r.text }

// parts are those of RFC 5545, DTSTART and TZID; a part that is only for some
// frequencies names them.
var parts = map[string][]rrule.Frequency{
	"FREQ": nil, "DTSTART": nil, "TZID": nil, "INTERVAL": nil, "WKST": nil, "COUNT": nil, "UNTIL": nil, "BYSETPOS": nil,
	"BYMONTH": nil, "BYDAY": nil, "BYHOUR": nil, "BYMINUTE": nil, "BYSECOND": nil,
	"BYMONTHDAY": {rrule.DAILY, rrule.MONTHLY, rrule.YEARLY},
	"BYYEARDAY":  {rrule.YEARLY},
	"BYWEEKNO":   {rrule.YEARLY},
}

// zeroth finds a day that is counted from nothing, as 0TU.
var zeroth = regexp.MustCompile(`(^|,)[+-]?0+[A-Z]`)

// parseRule reads one rule. Most of its checks are of what the library would
// read as something else, or never return from.
func parseRule(written string) (rule, error) {
	values := map[string]string{}
	zone := time.UTC
	var kept []string // the parts that the library knows
	if prefix := "RRULE:"; len(written) >= len(prefix) && strings.EqualFold(written[:len(prefix)], prefix) {
		written = written[len(prefix):]
	}
	for part := range strings.SplitSeq(written, ";") {
		name, value, _ := strings.Cut(part, "=")
		if strings.EqualFold(name, "TZID") && value != "" {
			var err error
			if zone, err = zoneNamed(value); err != nil { // its capitals matter
				return rule{}, err
			}
		}
		part = strings.ToUpper(part)
		name, value = strings.ToUpper(name), strings.ToUpper(value)
		switch _, known := parts[name]; {
		case !known:
			return rule{}, fmt.Errorf("%q is no part of a recurrence rule", part)
		case value == "":
			return rule{}, fmt.Errorf("%s has no value", name)
		case values[name] != "":
			return rule{}, fmt.Errorf("%s comes twice", name)
		}
		values[name] = value
		if name != "TZID" {
			kept = append(kept, part)
		}
	}
	if values["FREQ"] == "" {
		return rule{}, errors.New("FREQ is missing")
	}
	text := strings.Join(kept, ";")
	option, err := rrule.StrToROptionInLocation(text, zone)
	if err != nil {
		return rule{}, fmt.Errorf("%q is no recurrence rule (%w)", text, err)
	}
	if option.Freq > rrule.DAILY {
		return rule{}, fmt.Errorf("FREQ=%s is too often; use DAILY with BYHOUR", values["FREQ"])
	}
	for name, only := range parts {
		if values[name] != "" && only != nil && !slices.Contains(only, option.Freq) {
			return rule{}, fmt.Errorf("%s means nothing with FREQ=%s", name, values["FREQ"])
		}
	}
	for _, name := range []string{"INTERVAL", "COUNT"} {
		if n, err := strconv.Atoi(values[name]); values[name] != "" && (err != nil || n < 1 || n > 1000) {
			return rule{}, fmt.Errorf("%s=%s is not a number from 1 to 1000", name, values[name])
		}
	}
	switch {
	case zeroth.MatchString(values["BYDAY"]):
		return rule{}, fmt.Errorf("BYDAY=%s names a zeroth day", values["BYDAY"])
	case strings.ContainsAny(values["BYDAY"], "0123456789") && option.Freq != rrule.MONTHLY && option.Freq != rrule.YEARLY:
		return rule{}, fmt.Errorf("BYDAY=%s counts days, which means nothing with FREQ=%s", values["BYDAY"], values["FREQ"])
	case values["COUNT"] != "" && values["UNTIL"] != "":
		return rule{}, errors.New("COUNT and UNTIL exclude each other")
	case values["COUNT"] != "" && values["DTSTART"] == "":
		return rule{}, errors.New("COUNT has nothing to count from; add DTSTART, such as DTSTART=20260106T020000Z")
	case values["DTSTART"] == "":
		option.Dtstart = instantOf(anchor, zone)
	case option.Dtstart.Year() < 2000 || !option.Dtstart.Before(limit):
		return rule{}, fmt.Errorf("DTSTART=%s is not in this century", values["DTSTART"])
	}
	if option.Until.IsZero() || option.Until.After(limit) {
		option.Until = limit
	}
	option.Dtstart, option.Until = onTheClock(option.Dtstart, zone), onTheClock(option.Until, zone)
	if _, err := rrule.NewRRule(*option); err != nil {
		return rule{}, fmt.Errorf("%q is no recurrence rule (%w)", text, err)
	}
	return rule{written, zone, *option}, nil
}

// zoneNamed does not take what LoadLocation takes besides names: "" for UTC and
// "Local" for whatever this machine has.
func zoneNamed(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("TZID=%s is no time zone; write a name of the TZ database, such as Europe/Berlin", name)
	}
	return zone, nil
}

// starts returns an iterator over the starts of r's windows, in UTC.
func (r rule) starts() rrule.Next {
	built, err := rrule.NewRRule(r.option)
	if err != nil {
		panic(err) // parseRule has built it before
	}
	next := built.Iterator()
	return func() (time.Time, bool) {
		clock, ok := next()
		if !ok {
			return time.Time{}, false
		}
		return instantOf(clock, r.zone), true
	}
}

// sources returns the rules, each before its first window.
func (r Rules) sources() []source {
	list := make([]source, len(r.list))
	for i, each := range r.list {
		list[i] = source{rule: each.text, next: each.starts()}
		list[i].advance()
	}
	return list
}

// onTheClock returns what the clocks of a zone show at t, as if it were UTC.
func onTheClock(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// instantOf is the inverse of onTheClock. A time that the clocks show twice is
// the first, and one that they skip is taken as if they had not yet been put
// forward: RFC 5545, 3.3.5. time.Date promises neither.
func instantOf(clock time.Time, zone *time.Location) time.Time {
	const day = 24 * time.Hour // clocks are not changed twice in two
	_, before := clock.Add(-day).In(zone).Zone()
	_, after := clock.Add(day).In(zone).Zone()
	early := clock.Add(-time.Duration(before) * time.Second)
	late := clock.Add(-time.Duration(after) * time.Second)
	if !onTheClock(early, zone).Equal(clock) && onTheClock(late, zone).Equal(clock) {
		return late
	}
	return early
}
