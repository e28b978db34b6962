// Package maintenance says when maintenance is planned: the windows that
// recurrence rules of RFC 5545 open, in UTC.
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
	option rrule.ROption
}

// Off is what Parse reads as no rules.
const Off = "off"

// Parse reads recurrence rules, separated by | or line breaks, or Off for
// none. Each is the value of an RRULE, in which DTSTART may be one more part:
//
//	FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2;BYMINUTE=0;BYSECOND=0
//	DTSTART=20260106T220000Z;FREQ=WEEKLY;INTERVAL=2;BYDAY=TU
//
// Without DTSTART a rule begins on Monday 2024-01-01 at 00:00. The error says
// what is wrong.
func Parse(text string) (Rules, error) {
	rules := Rules{text: strings.TrimSpace(text)}
	if strings.EqualFold(rules.text, Off) {
		return rules, nil
	}
	for each := range strings.FieldsFuncSeq(rules.text, func(r rune) bool { return r == '|' || r == '\n' }) {
		r, err := parseRule(strings.ToUpper(strings.TrimSpace(each)))
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

// parts are those of RFC 5545, and DTSTART; a part that is only for some
// frequencies names them.
var parts = map[string][]rrule.Frequency{
	"FREQ": nil, "DTSTART": nil, "INTERVAL": nil, "WKST": nil, "COUNT": nil, "UNTIL": nil, "BYSETPOS": nil,
	"BYMONTH": nil, "BYDAY": nil, "BYHOUR": nil, "BYMINUTE": nil, "BYSECOND": nil,
	"BYMONTHDAY": {rrule.DAILY, rrule.MONTHLY, rrule.YEARLY},
	"BYYEARDAY":  {rrule.YEARLY},
	"BYWEEKNO":   {rrule.YEARLY},
}

// zeroth finds a day that is counted from nothing, as 0TU.
var zeroth = regexp.MustCompile(`(^|,)[+-]?0+[A-Z]`)

// parseRule reads one rule in capitals. Most of its checks are of what the
// library would read as something else, or never return from.
func parseRule(text string) (rule, error) {
	text = strings.TrimPrefix(text, "RRULE:")
	values := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		name, value, _ := strings.Cut(part, "=")
		switch _, known := parts[name]; {
		case !known:
			return rule{}, fmt.Errorf("%q is no part of a recurrence rule", part)
		case value == "":
			return rule{}, fmt.Errorf("%s has no value", name)
		case values[name] != "":
			return rule{}, fmt.Errorf("%s comes twice", name)
		}
		values[name] = value
	}
	if values["FREQ"] == "" {
		return rule{}, errors.New("FREQ is missing")
	}
	option, err := rrule.StrToROption(text)
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
		option.Dtstart = anchor
	case option.Dtstart.Year() < 2000 || !option.Dtstart.Before(limit):
		return rule{}, fmt.Errorf("DTSTART=%s is not in this century", values["DTSTART"])
	}
	if option.Until.IsZero() || option.Until.After(limit) {
		option.Until = limit
	}
	if _, err := rrule.NewRRule(*option); err != nil {
		return rule{}, fmt.Errorf("%q is no recurrence rule (%w)", text, err)
	}
	return rule{text, *option}, nil
}

// starts returns an iterator over the starts of r's windows.
func (r rule) starts() rrule.Next {
	built, err := rrule.NewRRule(r.option)
	if err != nil {
		panic(err) // parseRule has built it before
	}
	return built.Iterator()
}
