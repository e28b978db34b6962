package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// nothing stands for a number that does not exist. A rate over nothing is not 0 %.
const nothing = "–"

// percent writes a share of one with at least the given decimals, and with as
// many more as it takes not to be rounded onto or across an edge: 4.96 % is
// below 5 %, and 99.996 % is not 100 %.
func percent(share float64, decimals int, edges ...float64) string {
	if math.IsNaN(share) {
		return nothing
	}
	const tolerance = 1e-9
	side := func(percent, edge float64) int {
		switch {
		case percent < edge*100-tolerance:
			return -1
		case percent > edge*100+tolerance:
			return 1
		}
		return 0
	}
	var s string
	for ; decimals <= 6; decimals++ {
		s = strconv.FormatFloat(share*100, 'f', decimals, 64)
		shown, _ := strconv.ParseFloat(s, 64) // FormatFloat wrote it
		if !slices.ContainsFunc(edges, func(e float64) bool { return side(shown, e) != side(share*100, e) }) {
			break
		}
	}
	return s + " %"
}

// exactPercent writes a configured share: 5 %, 99.9 %.
func exactPercent(share float64) string {
	return strconv.FormatFloat(math.Round(share*1e6)/1e4, 'f', -1, 64) + " %"
}

// points writes the difference of two shares, which has no sign.
func points(difference float64, decimals int) string {
	return strconv.FormatFloat(math.Abs(difference)*100, 'f', decimals, 64) + " points"
}

// duration writes what was measured: 45 s, 4 min 30 s, 12 min, 1 h 05 min,
// 2 d 03 h.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	if d = d.Round(time.Second); d >= 10*time.Minute {
		d = d.Round(time.Minute)
	}
	if d >= day {
		d = d.Round(time.Hour)
	}
	switch {
	case d >= day:
		return fmt.Sprintf("%d d %02d h", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// bound writes what was agreed: 30 min, 2 h, 90 min.
func bound(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return d.String()
}

// signed writes a difference: +3, −3, 0.
func signed[N int | time.Duration](n N, write func(N) string) string {
	switch {
	case n > 0:
		return "+" + write(n)
	case n < 0:
		return "−" + write(-n)
	}
	return "0"
}

// conversations writes "1 conversation", "2 conversations".
func conversations(n int) string {
	if n == 1 {
		return "1 conversation"
	}
	return strconv.Itoa(n) + " conversations"
}

// clean makes a name from Chatwoot safe to put into a line of text: without
// control characters, which move a terminal's cursor, without what turns the
// reading direction, and on one line.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), r == unicode.ReplacementChar, unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, name)
	return strings.Join(strings.Fields(name), " ")
}

// dates writes a period.
func dates(from, to time.Time) string {
	if !wholeDays(from, to) {
		return from.Format(minute) + " – " + to.Format(minute)
	}
	last := DayStart(to, -1)
	switch {
	case last.Equal(from):
		return from.Format("Monday, 2 January 2006")
	case last.Year() != from.Year():
		return from.Format("Mon 2 Jan 2006") + " – " + last.Format("Mon 2 Jan 2006")
	}
	return from.Format("Mon 2 Jan") + " – " + last.Format("Mon 2 Jan 2006")
}

// zone writes whose days and hours these are.
func (f *facts) zone() string {
	if f.Zone == time.UTC {
		return "UTC"
	}
	return f.Zone.String() + " time"
}

// Verdict says how a breach rate stands to its target.
type Verdict string

const (
	TargetMet      Verdict = "met"
	TargetMissed   Verdict = "missed"
	TooFew         Verdict = "too_few" // were decided to judge
	NothingDecided Verdict = "nothing_decided"
)

// Verdict returns the verdict on the period.
func (f *facts) Verdict() Verdict {
	g := &f.now.total
	switch n := g.decided(); {
	case n == 0:
		return NothingDecided
	case n < Few:
		return TooFew
	case g.BreachRatio() < f.Target:
		return TargetMet
	}
	return TargetMissed
}

// Headline returns the report in one sentence.
func (f *facts) Headline() string {
	if f.Provisional() {
		return "Provisional, not everything is known yet. " + f.judgement()
	}
	return f.judgement()
}

func (f *facts) judgement() string {
	g := &f.now.total
	result := fmt.Sprintf("%d of %s (%s)", g.Breached, conversations(g.decided()), f.rate(g))
	switch f.Verdict() {
	case NothingDecided:
		if g.Excluded > 0 {
			return fmt.Sprintf("Nothing to judge: no first response was decided, and %s ended in time without an answer.", conversations(g.Excluded))
		}
		return "Nothing to judge: no first response was decided in this period."
	case TooFew:
		return fmt.Sprintf("Too few to judge: %s breached, and it takes %d to compare with the target of below %s.", result, Few, exactPercent(f.Target))
	case TargetMet:
		return fmt.Sprintf("Target met: %s breached, below %s; %s.", result, exactPercent(f.Target), f.trend())
	}
	return fmt.Sprintf("Target missed: %s breached, and the target is below %s; %s.", result, exactPercent(f.Target), f.trend())
}

// trend compares the breach rate with that of the period before.
func (f *facts) trend() string {
	h := &f.before.total
	switch {
	case !f.comparable():
		return "the ledger does not reach back to " + f.periodBefore() + ", to compare with"
	case h.decided() == 0:
		return "nothing was decided in " + f.periodBefore() + " to compare with"
	case h.decided() < Few:
		return fmt.Sprintf("too few were decided in %s to compare with (%d)", f.periodBefore(), h.decided())
	}
	difference := f.now.total.BreachRatio() - h.BreachRatio()
	was := fmt.Sprintf("%s (%s", f.periodBefore(), f.rate(h))
	switch {
	case math.Abs(difference) < 0.0005: // written, it is 0.0 points
		return "about the same as in " + was + ")"
	case difference < 0:
		return "better than " + was + ", " + points(difference, 1) + " lower)"
	}
	return "worse than " + was + ", " + points(difference, 1) + " higher)"
}

func (f *facts) periodBefore() string {
	switch n := len(f.days); {
	case !wholeDays(f.From, f.To):
		return "the period before"
	case n == 1:
		return "the day before"
	default:
		return fmt.Sprintf("the %d days before", n)
	}
}

// rate writes the breach rate of g.
func (f *facts) rate(g *group) string { return percent(g.BreachRatio(), 1, 0, f.Target, 1) }

// healthRate writes a success rate.
func healthRate(n Probes) string { return percent(n.successRate(), 2, 0, HealthTarget, 1) }

// inboxName returns the name of an inbox as a line of text.
func (f *facts) inboxName(id int64) string {
	if name := clean(f.Inboxes[id]); name != "" {
		return name
	}
	return "inbox " + strconv.FormatInt(id, 10)
}

func teamName(name string) string {
	if name = clean(name); name == "" {
		return "(no team)"
	}
	return name
}

func agentName(name string) string {
	if name = clean(name); name == "" {
		return "(nobody)"
	}
	return name
}

func (f *facts) probeTitle(name string) string {
	if f.ProbeTitle != nil {
		name = f.ProbeTitle(name)
	}
	return clean(name)
}

// clock says which time is counted.
func (f *facts) clock() string {
	switch {
	case f.Open == nil:
		return "by the clock on the wall"
	case f.BusinessHours != "":
		return "in business hours"
	}
	return "without planned maintenance"
}

// promise returns within which an inbox owes its first answer.
func (f *facts) promise(inbox int64) time.Duration {
	if d, ok := f.InboxPromises[inbox]; ok {
		return d
	}
	return f.Promise
}

// promises writes what was promised to whom.
func (f *facts) promises() string {
	others := map[time.Duration][]string{}
	for id, d := range f.InboxPromises {
		if d != f.Promise {
			others[d] = append(others[d], f.inboxName(id))
		}
	}
	parts := []string{"First answer within " + bound(f.Promise)}
	for _, d := range slices.Sorted(maps.Keys(others)) {
		slices.Sort(others[d])
		parts = append(parts, bound(d)+" for "+strings.Join(others[d], ", "))
	}
	text := strings.Join(parts, "; ")
	if hours := clean(f.BusinessHours); hours != "" {
		text += ". Only business hours count: " + hours
	}
	return text + "."
}
