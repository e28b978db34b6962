// Package incident says what an outage is, by the levels of the runbook: when
// it begins, how bad it is and when it is over.
//
// It is a state machine whose input is what was observed and when: nothing here
// probes, stores or reads a clock.
package incident

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Level is one of the runbook's outage levels. The number does not tell which
// is worse: see WorseThan.
type Level uint8

// The levels.
const (
	None       Level = iota
	OneFailing       // one check fails
	Down             // both fail, or one has for more than five minutes
	Webhooks         // webhooks are not processed
)

// Levels returns those that an incident can have.
func Levels() []Level { return []Level{OneFailing, Down, Webhooks} }

// WorseThan orders levels by severity: 1 < 3 < 2.
func (l Level) WorseThan(m Level) bool {
	severity := [...]int{None: 0, OneFailing: 1, Webhooks: 2, Down: 3}
	return severity[l] > severity[m]
}

const (
	// escalation is how long one failing check stays level 1.
	escalation = 5 * time.Minute

	// MostWaiting is how many jobs may wait to be tried again before webhooks
	// count as not processed.
	MostWaiting = 50

	// settled is how long webhooks have to be processed, or not, before that
	// counts: a queue that is about as long as it may be is one incident, and
	// not one at each count. ChatwootRetryQueueHigh waits as long.
	settled = time.Minute
)

// Due returns how long an incident of the level may last by the runbook, and
// zero where it names no time.
func (l Level) Due() time.Duration {
	switch l {
	case OneFailing:
		return 15 * time.Minute
	case Webhooks:
		return 30 * time.Minute
	}
	return 0
}

// Kind is what an Entry of the timeline tells.
type Kind string

// The kinds. What only people know comes as an action, a status, a next step or
// an impact.
const (
	Event   Kind = "event"
	Symptom Kind = "symptom"
	Action  Kind = "action"
	Status  Kind = "status"
	Next    Kind = "next"
	Impact  Kind = "impact"
)

// Entry is a line of the timeline.
type Entry struct {
	At   time.Time
	Kind Kind
	Text string
}

// Incident is an outage, from when something failed until nothing does. The
// zero Incident is none.
type Incident struct {
	ID      int64 // 0: it is not kept yet
	Version int64 // of what is kept

	Started  time.Time
	Ended    time.Time // zero: it is under way
	Level    Level     // the highest that it reached; it never goes down
	ExitCode int       // the worst, as "chatwoot-sla check" has it; 0: no check failed
	Affected []string

	// FailingSince is since when at least one check has failed without a
	// break; zero: none does.
	FailingSince time.Time

	// Overran tells one whose checks failed in maintenance and still did when
	// that was over.
	Overran  bool
	Timeline []Entry
}

// Open reports whether i is under way.
func (i Incident) Open() bool { return !i.Started.IsZero() && i.Ended.IsZero() }

// Duration returns how long i lasted, up to now if it is under way.
func (i Incident) Duration(now time.Time) time.Duration {
	if i.Ended.IsZero() {
		return max(now.Sub(i.Started), 0)
	}
	return i.Ended.Sub(i.Started)
}

// Check is one of the two health checks, or what is known of webhooks.
type Check struct {
	Name     string // for people, such as "platform health"
	ExitCode int    // when it alone fails; 0: it is no health check
	Known    bool   // false: it has not been made often enough, or nobody can say now
	Passes   bool
	Since    time.Time // of what is known
	Problem  string    // why it fails
}

// Facts are what is known at an instant.
type Facts struct {
	Checks []Check

	// Webhooks passes while they are processed. It is not known while they are
	// held back on purpose, and as long as what has piled up then says nothing.
	Webhooks Check

	Maintenance      bool
	MaintenanceEnded time.Time // the last one; zero: there was none
}

// Step returns what i has become by now, and whether that is anything new. In
// maintenance nothing begins and nothing gets worse: failures are expected.
func (i Incident) Step(f Facts, now time.Time) (Incident, bool) {
	down, unknown := f.failing()
	stuck := !f.Maintenance && f.Webhooks.hasSettled(now) && !f.Webhooks.Passes
	if !i.Open() {
		if f.Maintenance || len(down) == 0 && !stuck {
			return i, false
		}
		return begin(f, down, stuck, now), true
	}
	// A process that has just started, and a queue that stands still on purpose,
	// cannot say that it is over.
	processed := f.Webhooks.hasSettled(now) && f.Webhooks.Passes
	if len(down) == 0 && !unknown && !stuck && (processed || !slices.Contains(i.Affected, f.Webhooks.Name)) {
		return i.end(f, now), true
	}
	was := i
	i.Affected, i.Timeline = slices.Clone(i.Affected), slices.Clone(i.Timeline)
	switch {
	case len(down) == 0 && !unknown:
		i.FailingSince = time.Time{}
	case len(down) > 0 && i.FailingSince.IsZero():
		i.FailingSince = earliest(down)
	}
	if !f.Maintenance {
		if len(down) > 0 && i.FailingSince.Before(f.MaintenanceEnded) {
			i.overrun(f.MaintenanceEnded)
		}
		i.take(f, down, stuck, now)
	}
	return i, i.Level != was.Level || i.ExitCode != was.ExitCode || i.Overran != was.Overran ||
		len(i.Affected) != len(was.Affected) || !i.FailingSince.Equal(was.FailingSince)
}

// hasSettled reports whether what is known of c has been so for long enough.
func (c Check) hasSettled(now time.Time) bool { return c.Known && now.Sub(c.Since) >= settled }

func (f Facts) failing() (down []Check, unknown bool) {
	for _, c := range f.Checks {
		switch {
		case !c.Known:
			unknown = true
		case !c.Passes:
			down = append(down, c)
		}
	}
	return down, unknown
}

func earliest(down []Check) time.Time {
	first := down[0].Since
	for _, c := range down[1:] {
		if c.Since.Before(first) {
			first = c.Since
		}
	}
	return first
}

// begin returns a new incident. What failed in maintenance already is an
// incident from its end on.
func begin(f Facts, down []Check, stuck bool, now time.Time) Incident {
	i := Incident{Started: f.Webhooks.Since}
	if len(down) > 0 {
		i.FailingSince = earliest(down)
		i.Started = i.FailingSince
		if i.Started.Before(f.MaintenanceEnded) {
			i.Started = f.MaintenanceEnded
			i.overrun(f.MaintenanceEnded)
		}
	}
	i.take(f, down, stuck, now)
	if len(down) > 0 {
		i.note(now, Action, "Each failing check was repeated after ten seconds and failed again.")
		i.note(now, Action, "Evidence of each failure is kept under artifacts/ops/chatwoot-health.")
	}
	return i
}

// overrun notes once that checks have failed beyond the end of maintenance.
func (i *Incident) overrun(ended time.Time) {
	if !i.Overran {
		i.Overran = true
		i.note(ended, Event, "maintenance is over, and what failed in it still fails")
	}
}

// take adds to i what is worse than before.
func (i *Incident) take(f Facts, down []Check, stuck bool, now time.Time) {
	failing := slices.Clone(down)
	if stuck {
		failing = append(failing, f.Webhooks)
	}
	for _, c := range failing {
		if !slices.Contains(i.Affected, c.Name) {
			i.Affected = append(i.Affected, c.Name)
			i.note(now, Symptom, c.Name+": "+strings.TrimSuffix(c.Problem, ".")+", since "+clock(c.Since))
		}
	}
	i.ExitCode = max(i.ExitCode, exitCode(down))
	if l := i.judge(down, stuck, now); l.WorseThan(i.Level) {
		i.Level = l
		i.note(now, Event, fmt.Sprintf("level %d: %s", l, l.meaning()))
	}
}

func exitCode(down []Check) int {
	switch len(down) {
	case 0:
		return 0
	case 1:
		return down[0].ExitCode
	}
	return 4
}

func (i *Incident) judge(down []Check, stuck bool, now time.Time) Level {
	switch {
	case len(down) > 1, len(down) == 1 && now.Sub(i.FailingSince) >= escalation:
		return Down
	case stuck:
		return Webhooks
	case len(down) == 1:
		return OneFailing
	}
	return None
}

func (l Level) meaning() string {
	switch l {
	case OneFailing:
		return "one check fails"
	case Down:
		return "both checks fail, or one has for five minutes"
	case Webhooks:
		return "webhooks are not processed"
	}
	return "nothing fails"
}

// end returns i as it is over: since the last check, or webhooks, have passed
// again.
func (i Incident) end(f Facts, now time.Time) Incident {
	i.Timeline = slices.Clone(i.Timeline)
	i.Ended, i.FailingSince = now, time.Time{}
	passed := slices.Clone(f.Checks)
	if slices.Contains(i.Affected, f.Webhooks.Name) {
		passed = append(passed, f.Webhooks)
	}
	var last time.Time
	for _, c := range passed {
		if c.Since.After(last) {
			last = c.Since
		}
	}
	if last.After(i.Started) && last.Before(now) {
		i.Ended = last
	}
	i.note(i.Ended, Event, "nothing fails any more")
	return i
}

func (i *Incident) note(at time.Time, k Kind, text string) {
	i.Timeline = append(i.Timeline, Entry{at.UTC(), k, text})
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
