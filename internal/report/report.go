// Package report says how well first answers were given in a period: against
// the target, against the period before, and where it went wrong.
//
// Entries of the ledger go in, and text, Markdown, CSV, JSON or HTML comes out.
// Nothing here reads a clock, a store or the network, so the same entries make
// the same report, byte for byte. No customer's name and no message is in it;
// agents and teams are named.
package report

import (
	"errors"
	"fmt"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
)

const (
	// DefaultTarget is the breach rate that must not be reached.
	DefaultTarget = 0.05

	// HealthTarget is the success rate that health probes must reach.
	HealthTarget = 0.999

	// Few is the number of decided conversations below which a breach rate is
	// not judged: one conversation more or less would decide the verdict.
	Few = 20

	maxDays   = 366
	worstKept = 20
)

// Options says what a report is about. From, To, AsOf and Promise are required.
type Options struct {
	From, To time.Time      // the period: From is part of it, To is not
	AsOf     time.Time      // when the entries were read; later ones could still be missing
	Zone     *time.Location // of days and hours; nil: UTC

	Target        float64                 // the breach rate to stay below; 0: DefaultTarget
	Promise       time.Duration           // within which a first answer is owed
	InboxPromises map[int64]time.Duration // of inboxes with a promise of their own
	BusinessHours string                  // in words, when only those count; empty: all hours count

	// Open returns how much of the time between two instants counts towards the
	// promise of an inbox, never less than 0; nil: all of it.
	Open func(inbox int64, from, to time.Time) time.Duration

	Inboxes         map[int64]string           // names
	ConversationURL func(display int64) string // nil: no links
	ProbeTitle      func(probe string) string  // nil: its name
	Pending         Pending                    // what the entries lack

	// KnownFrom is the instant from which on every outcome is known; zero: always.
	// Entries decided before it are not a fair sample, and are left out.
	KnownFrom time.Time

	// KnownTo is the instant up to which every outcome is known; zero: to the
	// end of the period.
	KnownTo time.Time
}

// Pending counts the first-response clocks without an outcome whose deadline
// lies in the period.
type Pending struct {
	Running   int // the deadline is still ahead
	Undecided int // it has passed, and nobody has looked since
}

// Probes counts health probes. One made during maintenance is in Maintenance
// and in neither of the others.
type Probes struct{ Success, Failure, Maintenance int }

// Builder collects what a Report is made of. It holds some 40 bytes for each
// entry, and a little for each inbox, team and agent. It is not safe for
// concurrent use.
type Builder struct{ facts }

// Report is a finished report. It never changes, and it is safe for concurrent
// use.
type Report struct{ facts }

// facts is all that a report is written from.
type facts struct {
	Options
	previous time.Time // when the period before begins
	firstDay int       // civil day of From

	now, before period

	agents map[string]*group
	days   []group
	hours  [24]group // of the clock's start
	times  distribution
	worst  worstList
}

// period is what is known of both periods.
type period struct {
	total   group
	inboxes map[int64]*group
	teams   map[string]*group
	probes  map[string]*probeDays
}

// probeDays counts the probes of one name.
type probeDays struct {
	total Probes
	days  []Probes // of the period, not of the one before
}

// New returns an empty Builder.
func New(o Options) (*Builder, error) {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Target == 0 {
		o.Target = DefaultTarget
	}
	if o.KnownTo.IsZero() {
		o.KnownTo = o.To
	}
	for _, t := range []*time.Time{&o.From, &o.To, &o.AsOf, &o.KnownFrom, &o.KnownTo} {
		*t = t.In(o.Zone)
	}
	p := Period{o.From, o.To}
	days := p.days()
	switch {
	case !o.From.Before(o.To):
		return nil, fmt.Errorf("report: the period ends at %s, which is not after its start at %s; give a later end",
			o.To.Format(time.RFC3339), o.From.Format(time.RFC3339))
	case days > maxDays:
		return nil, fmt.Errorf("report: %w", p.fits())
	case o.AsOf.IsZero():
		return nil, errors.New("report: AsOf is required: how long conversations have waited depends on it")
	case o.Promise <= 0:
		return nil, fmt.Errorf("report: the promise is %v; it must be positive", o.Promise)
	case !(o.Target > 0 && o.Target <= 1):
		return nil, fmt.Errorf("report: the target is %v; it is a share of all, above 0 and at most 1", o.Target)
	}
	return &Builder{facts{
		Options:  o,
		previous: previous(o.From, o.To, days),
		firstDay: civilDay(o.From),
		now:      newPeriod(),
		before:   newPeriod(),
		agents:   map[string]*group{},
		days:     make([]group, days),
		times:    newDistribution(o.Promise),
	}}, nil
}

func newPeriod() period {
	return period{inboxes: map[int64]*group{}, teams: map[string]*group{}, probes: map[string]*probeDays{}}
}

// Since returns the start of the period before, from which on entries and
// probes are wanted. A period of whole days follows as many whole days, however
// long they were.
func (b *Builder) Since() time.Time { return b.previous }

// Days returns the bounds of all days from Since to the period's end: where
// each begins, and last where the period ends. Probes are to be counted between
// one and the next.
func (b *Builder) Days() []time.Time {
	bounds := []time.Time{b.previous}
	for _, end := range []time.Time{b.From, b.To} {
		first := bounds[len(bounds)-1]
		for i := 1; ; i++ {
			t := DayStart(first, i)
			if !t.Before(end) {
				break
			}
			bounds = append(bounds, t)
		}
		bounds = append(bounds, end)
	}
	return bounds
}

// Provisional reports whether the period has ended and not all that was decided
// in it is known.
func (f *facts) Provisional() bool {
	return !f.AsOf.Before(f.To) && (f.KnownTo.Before(f.To) || f.Pending.Undecided > 0)
}

// comparable reports whether all of the period before is known.
func (f *facts) comparable() bool { return !f.previous.Before(f.KnownFrom) }

// Add takes a clock with an outcome. One that was decided in neither period is
// ignored, and so is one that still runs.
func (b *Builder) Add(e ledger.Entry) {
	if e.Outcome == "" || e.DecidedAt.Before(b.KnownFrom) {
		return
	}
	current := within(e.DecidedAt, b.From, b.To)
	p := &b.now
	if !current {
		if !b.comparable() || !within(e.DecidedAt, b.previous, b.From) {
			return
		}
		p = &b.before
	}
	d := b.decided(e)
	p.total.add(d)
	at(p.inboxes, e.Inbox).add(d)
	at(p.teams, e.Team).add(d)
	if !current {
		return
	}
	at(b.agents, e.Assignee).add(d)
	b.days[b.dayOf(e.DecidedAt)].add(d)
	b.hours[e.Start.In(b.Zone).Hour()].add(d)
	b.times.add(d)
	if e.Outcome == ledger.Breached {
		b.worst.add(b.overdue(e))
	}
}

// AddProbes takes the counts of a probe in the day, or the part of one, that
// begins at from. Counts of the same day are summed.
func (b *Builder) AddProbes(from time.Time, probe string, n Probes) {
	switch {
	case within(from, b.From, b.To):
		d := at(b.now.probes, probe)
		if d.days == nil {
			d.days = make([]Probes, len(b.days))
		}
		d.total.add(n)
		d.days[b.dayOf(from)].add(n)
	case b.comparable() && within(from, b.previous, b.From):
		at(b.before.probes, probe).total.add(n)
	}
}

func (b *Builder) dayOf(t time.Time) int { return civilDay(t.In(b.Zone)) - b.firstDay }

// Report returns the report of all that was added. The Builder must not be
// used afterwards.
func (b *Builder) Report() *Report {
	for _, p := range []*period{&b.now, &b.before} {
		p.total.sort()
		sortAll(p.inboxes)
		sortAll(p.teams)
	}
	sortAll(b.agents)
	for i := range b.days {
		b.days[i].sort()
	}
	for i := range b.hours {
		b.hours[i].sort()
	}
	b.worst.sort()
	return &Report{b.facts}
}

func sortAll[K comparable](groups map[K]*group) {
	for _, g := range groups {
		g.sort()
	}
}

// at returns the value of a key, which it adds when there is none.
func at[K comparable, V any](m map[K]*V, key K) *V {
	v := m[key]
	if v == nil {
		v = new(V)
		m[key] = v
	}
	return v
}
