// Package sla says how conversations stand against the first response that
// their customers are owed.
//
// It is arithmetic on values the caller passes in: nothing here reads the
// clock, logs, blocks or fails. The metrics, the page, the report and the
// ledger all ask this package, so they cannot disagree.
package sla

import (
	"errors"
	"fmt"
	"time"
)

// Level is how an open conversation stands at an instant. Levels are ordered
// by urgency, so the worst of several is their max.
type Level uint8

const (
	Normal  Level = iota // nothing is owed, or there is time
	Warning              // prepare the answer
	Urgent               // answer now
	Breach               // the deadline has passed without an answer in time
)

// Levels lists every Level, least urgent first.
var Levels = [...]Level{Normal, Warning, Urgent, Breach}

var levelNames = [...]string{"normal", "warning", "urgent", "breach"}

// String returns the value of the "level" label. Alert rules match on it.
func (l Level) String() string { return levelNames[l] }

// ParseLevel returns the Level that String names.
func ParseLevel(name string) (Level, error) {
	for _, l := range Levels {
		if l.String() == name {
			return l, nil
		}
	}
	return 0, fmt.Errorf("level %q is unknown; use normal, warning, urgent or breach", name)
}

// Policy is what was promised: a first human answer within Target of the
// clock's start.
type Policy struct {
	Target  time.Duration // positive
	Warning time.Duration // remaining time, inclusive, from which a conversation is in Warning
	Urgent  time.Duration // remaining time, exclusive, from which it is Urgent; less than Warning
}

// Validate reports every rule that p breaks.
func (p Policy) Validate() error {
	var errs []error
	if p.Target <= 0 {
		errs = append(errs, fmt.Errorf("the SLA must be positive, not %v", p.Target))
	}
	if p.Urgent <= 0 {
		errs = append(errs, fmt.Errorf("the urgent threshold must be positive, not %v", p.Urgent))
	}
	if p.Urgent >= p.Warning {
		errs = append(errs, fmt.Errorf("the urgent threshold (%v) must be below the warning threshold (%v)", p.Urgent, p.Warning))
	}
	return errors.Join(errs...)
}

// Deadline returns the instant by which an answer is owed to a clock that
// started at start. The instant itself is still in time.
func (p Policy) Deadline(start time.Time) time.Time { return start.Add(p.Target) }

// Level reports how k stands at now. An Unknown or Idle clock is Normal: a
// level above it is a claim, and neither can support one.
func (p Policy) Level(k Clock, now time.Time) Level {
	switch k.State {
	case Waiting:
		remaining := k.Deadline.Sub(now)
		switch {
		case remaining < 0:
			return Breach
		case remaining < p.Urgent:
			return Urgent
		case remaining <= p.Warning:
			return Warning
		}
	case Answered:
		if k.AnsweredAt.After(k.Deadline) {
			return Breach
		}
	}
	return Normal
}
