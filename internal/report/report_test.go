package report_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/report"
)

// numbers is the part of the JSON that tests look at.
type numbers struct {
	From         string  `json:"from"`
	PreviousFrom string  `json:"previous_from"`
	KnownFrom    *string `json:"known_from"`
	Comparable   bool
	Verdict      report.Verdict
	Total        group
	Previous     group
	Days         []struct {
		Day string
		group
	}
	Inboxes []struct {
		Inbox int64
		Name  string
		group
		Previous group
	}
	Agents []struct {
		Agent string
		group
	}
	Hours []struct {
		Hour int
		group
	}
	Answers []struct {
		UpTo   *int64 `json:"up_to_seconds"`
		InTime int    `json:"in_time"`
		Late   int
	}
	Worst []struct {
		Conversation int64
		Over         int64 `json:"over_seconds"`
		Fate         string
	}
	GotWorse struct {
		Inbox *int64
		Team  *string
	} `json:"got_worse"`
	Health struct {
		Probes []struct {
			Probe string
			counts
			Previous counts
			Days     []counts
		}
	}
}

type group struct {
	Decided, Met, Breached, Excluded int
	Rate                             *float64 `json:"breach_rate"`
	P50                              *int64   `json:"p50_seconds"`
	P90                              *int64   `json:"p90_seconds"`
	P95                              *int64   `json:"p95_seconds"`
	Max                              *int64   `json:"max_seconds"`
}

type counts struct {
	Passed, Failed int
	InMaintenance  int      `json:"in_maintenance"`
	Rate           *float64 `json:"success_rate"`
}

func numbersOf(t *testing.T, r *report.Report) numbers {
	t.Helper()
	var n numbers
	if err := json.Unmarshal([]byte(write(t, r, report.JSON)), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// everyFormat checks that r can be written in all formats.
func everyFormat(t *testing.T, r *report.Report) {
	t.Helper()
	for _, f := range report.Formats {
		if write(t, r, f) == "" {
			t.Errorf("%s is empty", f)
		}
	}
}

func TestHeadline(t *testing.T) {
	monday := week().From.Add(9 * time.Hour)
	before := monday.AddDate(0, 0, -7)
	tests := []struct {
		name    string
		entries [][]ledger.Entry
		verdict report.Verdict
		want    string
	}{
		{"nothing", nil, report.NothingDecided, "Nothing to judge: no first response was decided in this period."},
		{"only excluded", [][]ledger.Entry{{excluded(1, monday)}}, report.NothingDecided, "Nothing to judge: no first response was decided, and 1 conversation ended in time without an answer."},
		{"one conversation", [][]ledger.Entry{many(1, 1, monday)}, report.TooFew, "Too few to judge: 1 of 1 conversation (100.0 %) breached, and it takes 20 to compare with the target of below 5 %."},
		{"one below few", [][]ledger.Entry{many(19, 0, monday)}, report.TooFew, "Too few to judge: 0 of 19 conversations (0.0 %) breached, and it takes 20 to compare with the target of below 5 %."},
		{"exactly on the target", [][]ledger.Entry{many(20, 1, monday)}, report.TargetMissed, "Target missed: 1 of 20 conversations (5.0 %) breached, and the target is below 5 %; nothing was decided in the 7 days before to compare with."},
		{"met, and little before", [][]ledger.Entry{many(21, 1, monday), many(3, 0, before)}, report.TargetMet, "Target met: 1 of 21 conversations (4.8 %) breached, below 5 %; too few were decided in the 7 days before to compare with (3)."},
		{"met, and better", [][]ledger.Entry{many(100, 4, monday), many(100, 9, before)}, report.TargetMet, "Target met: 4 of 100 conversations (4.0 %) breached, below 5 %; better than the 7 days before (9.0 %, 5.0 points lower)."},
		{"missed, and worse", [][]ledger.Entry{many(100, 9, monday), many(100, 4, before)}, report.TargetMissed, "Target missed: 9 of 100 conversations (9.0 %) breached, and the target is below 5 %; worse than the 7 days before (4.0 %, 5.0 points higher)."},
		{"the same", [][]ledger.Entry{many(100, 4, monday), many(200, 8, before)}, report.TargetMet, "Target met: 4 of 100 conversations (4.0 %) breached, below 5 %; about the same as in the 7 days before (4.0 %)."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := reportOf(t, week(), slices.Concat(tt.entries...)...)
			if got := r.Headline(); got != tt.want {
				t.Errorf("headline\n%s\nwant\n%s", got, tt.want)
			}
			if got := r.Verdict(); got != tt.verdict {
				t.Errorf("verdict %s, want %s", got, tt.verdict)
			}
			everyFormat(t, r)
		})
	}
}

func TestWhatIsNotDecidedIsNamed(t *testing.T) {
	const running, passed = "still within the deadline", "whose deadline has passed and whose outcome is not known yet"
	for want, p := range map[string]report.Pending{
		"Not in this report: 7 conversations " + running + ", and 1 conversation " + passed + ".": {Running: 7, Undecided: 1},
		"Not in this report: 1 conversation " + running + ".":                                     {Running: 1},
		"Not in this report: 2 conversations " + passed + ".":                                     {Undecided: 2},
		"": {},
	} {
		o := week()
		o.Pending = p
		var said string
		for line := range strings.Lines(write(t, reportOf(t, o), report.Markdown)) {
			if strings.HasPrefix(line, "- Not in") {
				said = strings.TrimSpace(strings.TrimPrefix(line, "- "))
			}
		}
		if said != want {
			t.Errorf("%+v: %q, want %q", p, said, want)
		}
	}
}

// When the ledger began on the period's second day, it had only those of
// earlier who still waited.
func TestWhatTheLedgerDoesNotCoverIsLeftOut(t *testing.T) {
	o := week()
	o.KnownFrom = o.From.AddDate(0, 0, 1).Add(9 * time.Hour)
	survivors := []ledger.Entry{waiting(1, o.From.AddDate(0, 0, -3)), waiting(2, o.From.Add(time.Hour)), waiting(3, o.KnownFrom.Add(-time.Hour))}
	b := newBuilder(t, o)
	for _, e := range append(survivors, many(25, 1, o.KnownFrom)...) {
		b.Add(e)
	}
	b.AddProbes(b.Since(), "rails_health", report.Probes{Failure: 1})
	r := b.Report()
	n := numbersOf(t, r)
	if n.Total.Decided != 25 || n.Total.Breached != 1 || n.Previous.Decided != 0 || n.Comparable {
		t.Errorf("%+v, before %+v, comparable: %v", n.Total, n.Previous, n.Comparable)
	}
	if want := "2026-11-17T09:00:00+01:00"; n.KnownFrom == nil || *n.KnownFrom != want {
		t.Errorf("known from %v, want %s", n.KnownFrom, want)
	}
	if want := "Target met: 1 of 25 conversations (4.0 %) breached, below 5 %; the ledger does not reach back to the 7 days before, to compare with."; r.Headline() != want {
		t.Errorf("headline\n%s\nwant\n%s", r.Headline(), want)
	}
	text := write(t, r, report.Markdown)
	for _, want := range []string{
		"- The ledger begins 17 Nov 2026 09:00. What was decided before is not in this report.",
		"There is nothing to compare with: the ledger begins 17 Nov 2026 09:00.",
		"| Decided | 25 | – | – |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%.2000s", want, text)
		}
	}
	if strings.Contains(write(t, r, report.CSV), ",previous,") || len(n.Health.Probes) != 0 {
		t.Error("the period before is there, although it is not known")
	}
	everyFormat(t, r)
}

func TestAPeriodOfWhichNotAllIsKnownIsProvisional(t *testing.T) {
	for _, tt := range []struct {
		name        string
		change      func(*report.Options)
		provisional bool
		says        string
	}{
		{"known to its end", func(o *report.Options) { o.KnownTo = o.To }, false, ""},
		{"known to the instant before", func(o *report.Options) { o.KnownTo = o.To.Add(-1) }, true, "- Provisional: what happened after 22 Nov 2026 23:59 has yet to be read from Chatwoot."},
		{"an outcome is missing", func(o *report.Options) { o.Pending.Undecided = 1 }, true, "- Not in this report: 1 conversation whose"},
		{"it has not ended", func(o *report.Options) { o.AsOf, o.KnownTo = o.To.Add(-1), o.To.Add(-time.Hour) }, false, "- The period has not ended yet: this is how it stood at 22 Nov 2026 23:00."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := week()
			tt.change(&o)
			r := reportOf(t, o, many(25, 1, o.From)...)
			if r.Provisional() != tt.provisional || report.IsProvisional([]byte(write(t, r, report.JSON))) != tt.provisional {
				t.Errorf("provisional: %v", r.Provisional())
			}
			if strings.HasPrefix(r.Headline(), "Provisional, not everything is known yet. Target met") != tt.provisional {
				t.Errorf("headline %s", r.Headline())
			}
			if text := write(t, r, report.Markdown); !strings.Contains(text, tt.says) {
				t.Errorf("it does not say %q:\n%.800s", tt.says, text)
			}
		})
	}
}

// The doors close on Friday at 17:00 and open on Monday at 9:00. Who wrote at
// 16:50 and was answered on Monday at 9:10 waited for 20 minutes.
func TestWithHoursOnlyOpenTimeCounts(t *testing.T) {
	o := week()
	o.BusinessHours = "Mon-Fri 09:00-17:00"
	friday := o.From.AddDate(0, 0, -3).Add(16*time.Hour + 50*time.Minute)
	closed, opens := friday.Add(10*time.Minute), o.From.Add(9*time.Hour)
	o.Open = func(inbox int64, from, to time.Time) time.Duration {
		if inbox == 2 || !from.Before(closed) && !to.After(opens) {
			return to.Sub(from) // open all the time, or within one stretch
		}
		if from.Before(closed) && to.After(opens) {
			return closed.Sub(from) + to.Sub(opens)
		}
		return to.Sub(from)
	}
	weekend := ledger.Entry{
		Conversation: 1, Round: 1, Inbox: 1, Start: friday, Deadline: opens.Add(20 * time.Minute),
		FirstResponseAt: opens.Add(10 * time.Minute), Outcome: ledger.Met, DecidedAt: opens.Add(10 * time.Minute),
	}
	late := weekend // on the Friday before the period's Monday
	late.Conversation, late.Start = 2, friday.Add(-25*time.Minute)
	late.Deadline, late.FirstResponseAt = friday.Add(5*time.Minute), opens.Add(time.Minute)
	late.Outcome, late.DecidedAt = ledger.Breached, o.From // decided in the period for the sake of the list
	other := answered(3, opens, 2*time.Hour)
	other.Inbox = 2
	r := reportOf(t, o, weekend, late, other)
	n := numbersOf(t, r)
	if n.Total.P50 == nil || *n.Total.P50 != 36*60 || *n.Total.Max != 2*3600 {
		t.Errorf("%+v", n.Total)
	}
	for _, a := range n.Answers {
		if a.UpTo == nil && a.InTime+a.Late > 0 {
			t.Error("the weekend counts among the answers")
		}
	}
	if n.Worst[0].Conversation != 3 || n.Worst[1].Over != 6*60 {
		t.Errorf("the weekend leads the list: %+v", n.Worst)
	}
	text := write(t, r, report.Markdown)
	for _, want := range []string{"the time they really took, in business hours.", "after the deadline, in business hours.", "late ones included, in business hours.", "Times are in business hours"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	everyFormat(t, r)
}

func TestALedgerThatReachesBackIsNotMentioned(t *testing.T) {
	o := week()
	o.KnownFrom = o.From.AddDate(0, 0, -7)
	r := reportOf(t, o, slices.Concat(many(25, 1, o.From), many(25, 2, o.KnownFrom))...)
	if n := numbersOf(t, r); !n.Comparable || n.Previous.Decided != 25 {
		t.Errorf("comparable: %v, with %d", n.Comparable, n.Previous.Decided)
	}
	if text := write(t, r, report.Text); strings.Contains(text, "ledger begins") {
		t.Errorf("it is mentioned:\n%.2000s", text)
	}
}

func TestAPeriodBeginsWithItsFirstInstantAndEndsBeforeItsLast(t *testing.T) {
	o := week()
	at := func(decided time.Time) ledger.Entry { return waiting(1, decided.Add(-30*time.Minute)) }
	n := numbersOf(t, reportOf(t, o,
		at(o.From.AddDate(0, 0, -7).Add(-1)), // before both
		at(o.From.AddDate(0, 0, -7)), at(o.From.Add(-1)),
		at(o.From), at(o.To.Add(-1)),
		at(o.To), // after both
		ledger.Entry{Conversation: 2, Start: o.From, Deadline: o.From.Add(time.Hour)}, // still runs
	))
	if n.Total.Decided != 2 || n.Previous.Decided != 2 {
		t.Errorf("%d decided, and %d before; want 2 and 2", n.Total.Decided, n.Previous.Decided)
	}
	if n.Days[0].Decided != 1 || n.Days[6].Decided != 1 {
		t.Error("the bounds of the period are not in its first and last day")
	}
}

func TestTheDayIsThatOfTheOutcomeAndTheHourThatOfTheStart(t *testing.T) {
	o := week()
	n := numbersOf(t, reportOf(t, o, waiting(1, o.From.Add(-20*time.Minute)))) // Sunday, 23:40
	if n.Days[0].Breached != 1 || n.Hours[23].Breached != 1 {
		t.Errorf("days %+v, hours %+v", n.Days, n.Hours)
	}
}

func TestEveryDayAndHourIsThere(t *testing.T) {
	o := week()
	o.From, o.To = time.Date(2026, 10, 28, 0, 0, 0, 0, berlin), time.Date(2026, 11, 4, 0, 0, 0, 0, berlin)
	n := numbersOf(t, reportOf(t, o))
	var days []string
	for _, d := range n.Days {
		days = append(days, d.Day)
		if d.Rate != nil {
			t.Errorf("%s has the rate %v over nothing", d.Day, *d.Rate)
		}
	}
	if want := "2026-10-28 2026-10-29 2026-10-30 2026-10-31 2026-11-01 2026-11-02 2026-11-03"; strings.Join(days, " ") != want {
		t.Errorf("days %v, want %s", days, want)
	}
	if len(n.Hours) != 24 || n.Hours[23].Hour != 23 {
		t.Errorf("hours %+v", n.Hours)
	}
}

func TestTheHourThatComesTwiceCountsBothTimes(t *testing.T) {
	o := week()
	o.From, o.To = time.Date(2026, 10, 25, 0, 0, 0, 0, berlin), time.Date(2026, 10, 26, 0, 0, 0, 0, berlin)
	if o.To.Sub(o.From) != 25*time.Hour {
		t.Fatal("the clocks no longer go back on this day")
	}
	b := newBuilder(t, o)
	b.Add(waiting(1, time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC)))         // 02:30 in summer time
	b.Add(answered(2, time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC), 60e9))  // 02:30 in winter time
	b.Add(answered(3, time.Date(2026, 10, 25, 22, 58, 0, 0, time.UTC), 60e9)) // 23:58
	b.Add(answered(4, time.Date(2026, 10, 23, 22, 30, 0, 0, time.UTC), 60e9)) // 00:30 the day before
	r := b.Report()
	n := numbersOf(t, r)
	if n.Hours[2].Decided != 2 || n.Hours[23].Decided != 1 || n.Total.Decided != 3 || len(n.Days) != 1 {
		t.Errorf("hour 2 has %d, hour 23 has %d, of %d in %d days", n.Hours[2].Decided, n.Hours[23].Decided, n.Total.Decided, len(n.Days))
	}
	if n.PreviousFrom != "2026-10-24T00:00:00+02:00" || n.Previous.Decided != 1 {
		t.Errorf("the day before begins at %s with %d", n.PreviousFrom, n.Previous.Decided)
	}
	everyFormat(t, r)
}

func TestDaysBeginWhenTheCalendarTurns(t *testing.T) {
	tests := []struct {
		name  string
		zone  string
		y     int
		m     time.Month
		d     int
		hours []float64 // of the two days before the period, and of its two
	}{
		{"ordinary days", "Europe/Berlin", 2026, 11, 16, []float64{24, 24, 24, 24}},
		{"clocks go forward", "Europe/Berlin", 2026, 3, 29, []float64{24, 24, 23, 24}},
		{"clocks go back", "Europe/Berlin", 2026, 10, 25, []float64{24, 24, 25, 24}},
		{"midnight is skipped", "America/Sao_Paulo", 2018, 11, 4, []float64{24, 24, 23, 24}},
		{"midnight comes twice", "Atlantic/Azores", 2026, 10, 25, []float64{24, 24, 25, 24}},
		{"midnight comes twice, east of Greenwich", "Asia/Amman", 2021, 10, 29, []float64{24, 24, 25, 24}},
		{"no clock is moved", "UTC", 2026, 10, 25, []float64{24, 24, 24, 24}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := week()
			o.Zone = zone(tt.zone)
			noon := time.Date(tt.y, tt.m, tt.d, 12, 0, 0, 0, o.Zone)
			first := firstInstant(noon)
			last := firstInstant(noon.AddDate(0, 0, 2))
			b := newBuilder(t, withPeriod(o, first, last))
			bounds := b.Days()
			var hours []float64
			for i, from := range bounds[:len(bounds)-1] {
				hours = append(hours, bounds[i+1].Sub(from).Hours())
				b.AddProbes(from, "rails_health", report.Probes{Success: 1})
			}
			if !slices.Equal(hours, tt.hours) {
				t.Errorf("days of %v hours, want %v", hours, tt.hours)
			}
			for _, d := range numbersOf(t, b.Report()).Health.Probes[0].Days {
				if d.Passed != 1 {
					t.Errorf("a day's counts went to another day: %+v", d)
				}
			}
		})
	}
}

func TestADayThatTheCalendarSkippedIsEmpty(t *testing.T) {
	o := week()
	o.Zone = zone("Pacific/Apia") // 30 December 2011 did not happen there
	b := newBuilder(t, withPeriod(o, time.Date(2011, 12, 29, 0, 0, 0, 0, o.Zone), time.Date(2012, 1, 1, 0, 0, 0, 0, o.Zone)))
	days := b.Days()
	for _, from := range days[:len(days)-1] {
		b.AddProbes(from, "rails_health", report.Probes{Success: 1})
	}
	n := numbersOf(t, b.Report())
	var passed []int
	for i, d := range n.Health.Probes[0].Days {
		passed = append(passed, d.Passed)
		if want := fmt.Sprintf("2011-12-%d", 29+i); n.Days[i].Day != want {
			t.Errorf("day %s, want %s", n.Days[i].Day, want)
		}
	}
	if len(passed) != 3 || passed[0] == 0 || passed[1] != 0 || passed[2] == 0 {
		t.Errorf("probes on the three days: %v", passed)
	}
}

func withPeriod(o report.Options, from, to time.Time) report.Options {
	o.From, o.To = from, to
	return o
}

// firstInstant returns when the day of t begins, found the slow way.
func firstInstant(t time.Time) time.Time {
	day := t.Day()
	for t.Day() == day {
		t = t.Add(-time.Minute)
	}
	return t.Add(time.Minute)
}

func TestAPeriodWithinDaysFollowsOneOfTheSameLength(t *testing.T) {
	o := week()
	o.From, o.To = o.From.Add(9*time.Hour), o.From.Add(33*time.Hour)
	b := newBuilder(t, o)
	if want := o.From.Add(-24 * time.Hour); !b.Since().Equal(want) {
		t.Errorf("the period before begins at %v, want %v", b.Since(), want)
	}
	want := []time.Time{
		o.From.Add(-24 * time.Hour), o.From.Add(-9 * time.Hour), // Sunday 9:00, Monday
		o.From, o.From.Add(15 * time.Hour), o.To, // Monday 9:00, Tuesday, Tuesday 9:00
	}
	if got := b.Days(); !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("days\n%v\nwant\n%v", got, want)
	}
	r := b.Report()
	if !strings.Contains(write(t, r, report.Text), "16 Nov 2026 09:00 – 17 Nov 2026 09:00") {
		t.Error("the text does not say from when to when")
	}
}

func TestPercentilesAreMeasuredTimesAndLateOnesAreAmongThem(t *testing.T) {
	o := week()
	var entries []ledger.Entry
	for i := range 20 {
		entries = append(entries, answered(int64(i), o.From, time.Duration(i+1)*time.Minute))
	}
	entries[19] = answered(19, o.From, 3*time.Hour)
	entries = append(entries, waiting(20, o.From), excluded(21, o.From)) // without an answer
	n := numbersOf(t, reportOf(t, o, entries...)).Total
	for _, q := range []struct {
		name string
		got  *int64
		want time.Duration
	}{
		{"p50", n.P50, 10 * time.Minute},
		{"p90", n.P90, 18 * time.Minute},
		{"p95", n.P95, 19 * time.Minute},
		{"max", n.Max, 3 * time.Hour},
	} {
		if q.got == nil || *q.got != int64(q.want.Seconds()) {
			t.Errorf("%s is %v s, want %v", q.name, q.got, q.want)
		}
	}
	if n.Decided != 21 || n.Breached != 2 || n.Excluded != 1 {
		t.Errorf("%+v", n)
	}
}

func TestAnswersFallIntoTheBinThatEndsWithThem(t *testing.T) {
	o := week()
	o.Promise = 45 * time.Minute
	start := o.From.Add(time.Hour)
	n := numbersOf(t, reportOf(t, o,
		answered(1, start, time.Minute), answered(2, start, time.Minute+time.Second),
		answered(3, start, 45*time.Minute), answered(4, start, 48*time.Hour), answered(5, start, -time.Second)))
	if n.Total.Max == nil || *n.Total.Max != 48*3600 {
		t.Errorf("the longest took %v s, and none took less than nothing", n.Total.Max)
	}
	at := map[int64][2]int{}
	for _, a := range n.Answers {
		upTo := int64(math.MaxInt64)
		if a.UpTo != nil {
			upTo = *a.UpTo
		}
		at[upTo] = [2]int{a.InTime, a.Late}
	}
	for upTo, want := range map[int64][2]int{60: {2, 0}, 120: {1, 0}, 45 * 60: {0, 1}, math.MaxInt64: {0, 1}} {
		if at[upTo] != want {
			t.Errorf("up to %d s: %v in time and late, want %v", upTo, at[upTo], want)
		}
	}
}

func TestTheWorstConversationsAreThoseFurthestOver(t *testing.T) {
	o := week()
	closed := waiting(2, o.From.Add(time.Hour))
	closed.EndedAt = closed.Deadline.Add(30 * time.Hour)
	entries := []ledger.Entry{
		answered(1, o.From.Add(time.Hour), 31*time.Minute),
		closed,
		waiting(3, o.From.Add(time.Hour)),
		answered(4, o.From.Add(time.Hour), 29*time.Minute),
		excluded(5, o.From.Add(time.Hour)),
	}
	for i := range 5000 { // far more than are kept
		entries = append(entries, answered(int64(10_000-i), o.From, 31*time.Minute+time.Duration(i%100)*time.Second))
	}
	n := numbersOf(t, reportOf(t, o, entries...))
	if len(n.Worst) != 20 {
		t.Fatalf("%d are listed, want 20", len(n.Worst))
	}
	first := n.Worst[0]
	if first.Conversation != 3 || first.Fate != "unanswered" || first.Over != int64(o.AsOf.Sub(entries[2].Deadline).Seconds()) {
		t.Errorf("the worst is %+v, want the one that still waits", first)
	}
	if n.Worst[1].Conversation != 2 || n.Worst[1].Fate != "ended_unanswered" || n.Worst[1].Over != 30*3600 {
		t.Errorf("the second is %+v, want the one closed without an answer", n.Worst[1])
	}
	var ids []int64
	for _, w := range n.Worst[2:] {
		if w.Over != 60+99 || w.Fate != "answered_late" {
			t.Errorf("%+v is among the worst", w)
		}
		ids = append(ids, w.Conversation)
	}
	if !slices.IsSorted(ids) {
		t.Errorf("equals are not in the order of their numbers: %v", ids)
	}
}

func TestTheInboxThatGotWorseMostIsTheOneWithMostBreachesMore(t *testing.T) {
	o := week()
	before := o.From.AddDate(0, 0, -7)
	in := func(inbox int64, entries []ledger.Entry) []ledger.Entry {
		for i := range entries {
			entries[i].Inbox = inbox
		}
		return entries
	}
	tests := []struct {
		name    string
		entries [][]ledger.Entry
		want    int64 // 0: none
	}{
		{"nothing before", [][]ledger.Entry{in(1, many(50, 40, o.From))}, 0},
		{"all got better", [][]ledger.Entry{in(1, many(50, 4, o.From)), in(1, many(50, 9, before))}, 0},
		{"as bad as before, with more to do", [][]ledger.Entry{in(1, many(100, 10, o.From)), in(1, many(50, 5, before))}, 0},
		{"less than one breach more", [][]ledger.Entry{in(1, many(110, 2, o.From)), in(1, many(100, 1, before))}, 0},
		{"a handful is too few", [][]ledger.Entry{in(1, many(4, 4, o.From)), in(1, many(50, 0, before))}, 0},
		{"the busy one, although the other's rate rose more", [][]ledger.Entry{
			in(1, many(300, 30, o.From)), in(1, many(300, 15, before)),
			in(2, many(10, 5, o.From)), in(2, many(10, 2, before)),
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := numbersOf(t, reportOf(t, o, slices.Concat(tt.entries...)...))
			var got int64
			if n.GotWorse.Inbox != nil {
				got = *n.GotWorse.Inbox
			}
			if got != tt.want {
				t.Errorf("inbox %d, want %d", got, tt.want)
			}
		})
	}
}

func TestProbesInMaintenanceDoNotCount(t *testing.T) {
	o := week()
	b := newBuilder(t, o)
	b.AddProbes(o.From, "rails_health", report.Probes{Success: 999, Failure: 1, Maintenance: 40})
	b.AddProbes(o.From.AddDate(0, 0, 1), "rails_health", report.Probes{Maintenance: 3})
	b.AddProbes(o.From.AddDate(0, 0, -1), "rails_health", report.Probes{Success: 5, Failure: 5})
	b.AddProbes(o.From.AddDate(0, 0, -8), "rails_health", report.Probes{Failure: 100})
	b.AddProbes(o.To, "rails_health", report.Probes{Failure: 100})
	b.AddProbes(o.From.AddDate(0, 0, -1), "gone_since", report.Probes{Success: 1})
	r := b.Report()
	probes := numbersOf(t, r).Health.Probes
	if len(probes) != 2 || probes[0].Probe != "gone_since" || probes[0].Rate != nil {
		t.Fatalf("%+v", probes)
	}
	p := probes[1]
	if p.Passed != 999 || p.Failed != 1 || p.InMaintenance != 43 || p.Rate == nil || math.Abs(*p.Rate-0.999) > 1e-6 {
		t.Errorf("%+v", p)
	}
	if p.Days[1].Rate != nil || p.Days[1].InMaintenance != 3 {
		t.Errorf("a day of maintenance is %+v, and has no rate", p.Days[1])
	}
	if p.Previous.Passed != 5 || p.Previous.Failed != 5 {
		t.Errorf("before: %+v", p.Previous)
	}
	text := write(t, r, report.Text)
	if !strings.Contains(text, "99.90 %") || !strings.Contains(text, "50.00 %") {
		t.Errorf("the rates are not in the text:\n%s", text)
	}
	everyFormat(t, r)
}

func TestMistakesInTheOptionsAreNamed(t *testing.T) {
	tests := []struct {
		name   string
		change func(*report.Options)
		want   string
	}{
		{"ends before it begins", func(o *report.Options) { o.To = o.From.Add(-1) }, "give a later end"},
		{"is empty", func(o *report.Options) { o.To = o.From }, "give a later end"},
		{"has no bounds", func(o *report.Options) { o.From, o.To = time.Time{}, time.Time{} }, "give a later end"},
		{"is too long", func(o *report.Options) { o.To = o.From.AddDate(0, 0, 367) }, "367 days, and at most 366"},
		{"nothing was promised", func(o *report.Options) { o.Promise = 0 }, "promise"},
		{"a target above all", func(o *report.Options) { o.Target = 5 }, "share of all"},
		{"a target that is no number", func(o *report.Options) { o.Target = math.NaN() }, "share of all"},
		{"read at no time", func(o *report.Options) { o.AsOf = time.Time{} }, "AsOf is required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := week()
			tt.change(&o)
			if _, err := report.New(o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want it to say %q", err, tt.want)
			}
		})
	}
}

func TestAYearFits(t *testing.T) {
	o := week()
	o.To = o.From.AddDate(0, 0, 366)
	b := newBuilder(t, o)
	for day := o.From; day.Before(o.To); day = day.AddDate(0, 0, 1) {
		b.Add(answered(1, day.Add(time.Hour), 20*time.Minute))
	}
	everyFormat(t, b.Report())
}
