package calendar_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/calendar"
)

func parse(t *testing.T, text string) *calendar.Calendar {
	t.Helper()
	c, err := calendar.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestAdd(t *testing.T) {
	const (
		office   = "Mon-Fri 09:00-17:00 UTC"
		berlin   = "Mon-Sun 01:00-05:00 Europe/Berlin"
		saoPaulo = "Mon-Sun 00:00-02:00 America/Sao_Paulo"
	)
	tests := []struct {
		name   string
		hours  string
		from   string
		d      time.Duration
		finish string
	}{
		{"within a day", office, "2026-03-02T09:00:00Z", 30 * time.Minute, "2026-03-02T09:30:00Z"},
		{"ends as the doors close, not as they open again", office, "2026-03-02T16:30:00Z", 30 * time.Minute, "2026-03-02T17:00:00Z"},
		{"a nanosecond more ends in the morning", office, "2026-03-02T16:30:00Z", 30*time.Minute + 1, "2026-03-03T09:00:00.000000001Z"},
		{"from the very end of a day", office, "2026-03-02T17:00:00Z", time.Minute, "2026-03-03T09:01:00Z"},
		{"over a weekend", office, "2026-03-06T16:50:00Z", 30 * time.Minute, "2026-03-09T09:20:00Z"},
		{"from the middle of a weekend", office, "2026-03-07T12:00:00Z", 30 * time.Minute, "2026-03-09T09:30:00Z"},
		{"several days", office, "2026-03-02T12:00:00Z", 20 * time.Hour, "2026-03-04T16:00:00Z"},
		{"nothing, in closed time", office, "2026-03-07T12:00:00Z", 0, "2026-03-07T12:00:00Z"},
		{"less than nothing", office, "2026-03-02T12:00:00Z", -time.Hour, "2026-03-02T12:00:00Z"},
		{"over lunch", "Mon-Fri 09:00-12:00,13:00-17:00 UTC", "2026-03-02T11:50:00Z", 30 * time.Minute, "2026-03-02T13:20:00Z"},
		{"midnight is no border", "Mon 20:00-24:00; Tue 00:00-04:00 UTC", "2026-03-02T23:50:00Z", 30 * time.Minute, "2026-03-03T00:20:00Z"},
		{"an open Saturday", "Mon-Fri 09:00-17:00; Sat 10:00-14:00 UTC", "2026-03-06T16:50:00Z", 30 * time.Minute, "2026-03-07T10:20:00Z"},
		{"once a week", "Sun 10:00-11:00 UTC", "2026-03-02T00:00:00Z", 90 * time.Minute, "2026-03-15T10:30:00Z"},
		{"in another zone", "Mon-Fri 09:00-17:00 America/New_York", "2026-03-02T09:00:00Z", 30 * time.Minute, "2026-03-02T14:30:00Z"},
		{"a zone of odd minutes", "Mon-Fri 09:00-17:00 Asia/Kathmandu", "2026-03-02T00:00:00Z", 30 * time.Minute, "2026-03-02T03:45:00Z"},

		{"the day of 23 hours lacks an hour that was to be open", berlin, "2026-03-29T00:00:00Z", 3 * time.Hour, "2026-03-29T03:00:00Z"},
		{"the day of 25 hours has one more", berlin, "2026-10-24T23:00:00Z", 5 * time.Hour, "2026-10-25T04:00:00Z"},
		{"a span that begins in the skipped hour begins after it", "Sun 02:30-05:00 Europe/Berlin", "2026-03-29T00:00:00Z", time.Minute, "2026-03-29T01:01:00Z"},
		{"a span that ends in the doubled hour is open in both", "Sun 01:00-02:30 Europe/Berlin", "2026-10-24T23:00:00Z", 2 * time.Hour, "2026-10-25T01:30:00Z"},
		{"before 1970", office, "1969-12-26T16:50:00Z", 30 * time.Minute, "1969-12-29T09:20:00Z"},
		{"a midnight that does not exist", saoPaulo, "2018-11-04T02:30:00Z", 90 * time.Minute, "2018-11-05T02:30:00Z"},
		{"a day that does not exist", "Fri 09:00-17:00 Pacific/Apia", "2011-12-29T12:00:00Z", time.Hour, "2012-01-05T20:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, from, want := parse(t, tt.hours), instant(t, tt.from), instant(t, tt.finish)
			if got := c.Add(from, tt.d); !got.Equal(want) {
				t.Errorf("%v from %v is over at %v, want %v", tt.d, from, got.UTC(), want)
			}
		})
	}
}

// oracle counts open time minute by minute, by looking at the clock on the wall.
type oracle struct {
	from time.Time
	open []time.Duration // open time before each minute since from
}

func newOracle(from time.Time, minutes int, isOpen func(time.Time) bool) oracle {
	o := oracle{from: from, open: make([]time.Duration, minutes+1)}
	for i := range minutes {
		o.open[i+1] = o.open[i]
		if isOpen(from.Add(time.Duration(i) * time.Minute)) {
			o.open[i+1] += time.Minute
		}
	}
	return o
}

// before returns the open time between the oracle's beginning and t.
func (o oracle) before(t time.Time) time.Duration {
	whole, rest := t.Sub(o.from)/time.Minute, t.Sub(o.from)%time.Minute
	if o.open[whole] == o.open[min(int(whole)+1, len(o.open)-1)] {
		rest = 0
	}
	return o.open[whole] + rest
}

type pause struct{ from, to time.Time }

func pausesOf(list []pause) calendar.Pauses {
	return func(t time.Time) (from, to time.Time, ok bool) {
		for _, p := range list {
			if p.to.After(t) {
				return p.from, p.to, true
			}
		}
		return time.Time{}, time.Time{}, false
	}
}

func TestAgreesWithTheClockOnTheWall(t *testing.T) {
	const minutes = 6 * 24 * 60
	changes := map[string][]string{ // days on which the clock on the wall does not run on evenly
		"UTC":                 {"2026-03-29"},
		"Europe/Berlin":       {"2026-03-29", "2026-10-25"},
		"America/New_York":    {"2026-03-08", "2026-11-01"},
		"America/Sao_Paulo":   {"2018-11-04", "2019-02-16"},
		"Australia/Lord_Howe": {"2026-04-05", "2026-10-04"},
		"Pacific/Apia":        {"2011-12-30"},
		"Asia/Kathmandu":      {"2026-03-29"},
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for name, days := range changes {
		zone, err := calendar.Zone(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range days {
			from := instant(t, day+"T00:00:00Z").AddDate(0, 0, -3)
			for range 12 {
				week := randomWeek(rng)
				var pauses []pause
				for at := from; rng.IntN(4) > 0; {
					p := pause{from: at.Add(time.Duration(rng.IntN(2000)) * time.Minute)}
					p.to = p.from.Add(time.Duration(1+rng.IntN(600)) * time.Minute)
					pauses = append(pauses, p)
					at = p.to
				}
				c, err := calendar.Weekly(week, zone)
				if err != nil {
					t.Fatal(err)
				}
				c = c.Without(pausesOf(pauses))
				o := newOracle(from, minutes, func(at time.Time) bool {
					for _, p := range pauses {
						if !at.Before(p.from) && at.Before(p.to) {
							return false
						}
					}
					local := at.In(zone)
					for _, s := range week[local.Weekday()] {
						if m := local.Hour()*60 + local.Minute(); m >= s.From && m < s.To {
							return true
						}
					}
					return false
				})
				for range 50 {
					a := from.Add(time.Duration(rng.IntN(minutes*4))*15*time.Second + time.Duration(rng.IntN(2)))
					b := a.Add(time.Duration(rng.Int64N(int64(from.Add(minutes * time.Minute).Sub(a)))).Truncate(15 * time.Second))
					want := o.before(b) - o.before(a)
					if got := c.Open(a, b); got != want {
						t.Fatalf("%s, %v without %v: %v open from %v to %v, want %v", name, week, pauses, got, a, b, want)
					}
					if got := c.Open(b, a); b.After(a) && got != 0 {
						t.Fatalf("%v open backwards", got)
					}
					if want == 0 {
						continue
					}
					// The first instant that reaches want: not after b, with
					// want passed there and less just before.
					at := c.Add(a, want)
					if at.After(b) || o.before(at)-o.before(a) != want || o.before(at.Add(-1))-o.before(a) != want-1 {
						t.Fatalf("%s, %v without %v: %v after %v is %v, want the first instant by which it has passed", name, week, pauses, want, a, at)
					}
				}
			}
		}
	}
}

// randomWeek returns a week with up to three spans a day, in odd minutes.
func randomWeek(rng *rand.Rand) (week [7][]calendar.Span) {
	for d := range week {
		at := 0
		for range rng.IntN(4) {
			from := at + rng.IntN(300)
			to := min(from+1+rng.IntN(700), 24*60)
			if from >= to {
				break
			}
			week[d] = append(week[d], calendar.Span{From: from, To: to})
			at = to
		}
	}
	week[rng.IntN(7)] = []calendar.Span{{From: 0, To: 24 * 60}}
	return week
}

func TestPauses(t *testing.T) {
	day := func(text string) time.Time { return instant(t, "2026-03-"+text+":00Z") }
	pauses := pausesOf([]pause{
		{day("02T09:10"), day("02T09:20")},
		{day("02T16:00"), day("03T10:00")},
		{day("05T02:00"), day("05T04:00")},
	})
	office := parse(t, "Mon-Fri 09:00-17:00 UTC").Without(pauses)
	always := calendar.Always().Without(pauses)
	tests := []struct {
		name string
		c    *calendar.Calendar
		from string
		d    time.Duration
		want string
	}{
		{"over a pause", office, "02T09:00", 30 * time.Minute, "02T09:40"},
		{"ends as the pause begins", office, "02T09:00", 10 * time.Minute, "02T09:10"},
		{"begins in a pause", office, "02T09:15", 10 * time.Minute, "02T09:30"},
		{"over a pause that covers closed time as well", office, "02T15:50", 20 * time.Minute, "03T10:10"},
		{"a pause while closed changes nothing", office, "04T16:50", 20 * time.Minute, "05T09:10"},
		{"without hours", always, "05T01:50", 20 * time.Minute, "05T04:10"},
		{"without hours and beyond every pause", always, "05T12:00", 20 * time.Minute, "05T12:20"},
	}
	for _, tt := range tests {
		if got := tt.c.Add(day(tt.from), tt.d); !got.Equal(day(tt.want)) {
			t.Errorf("%s: over at %v, want %v", tt.name, got, day(tt.want))
		}
	}
	if got := calendar.Always().Open(day("02T00:00"), day("04T00:00")); got != 48*time.Hour {
		t.Errorf("%v of two days count, want all", got)
	}
}

// Pauses can cover all hours that there are; what never comes must not be
// searched for ever.
func TestNeverOpenAgainEnds(t *testing.T) {
	c := parse(t, "Mon-Sun 02:00-04:00 UTC").Without(func(at time.Time) (from, to time.Time, ok bool) {
		from = at.Truncate(24 * time.Hour).Add(2 * time.Hour)
		if !from.Add(2 * time.Hour).After(at) {
			from = from.Add(24 * time.Hour)
		}
		return from, from.Add(2 * time.Hour), true
	})
	from := instant(t, "2026-03-02T00:00:00Z")
	if got := c.Add(from, time.Second); got.Sub(from) < 9*365*24*time.Hour {
		t.Errorf("a second has passed at %v, want an instant far away", got)
	}
	if got := c.Open(from, from.AddDate(1, 0, 0)); got != 0 {
		t.Errorf("%v open within a year, want none", got)
	}
}

func TestWeeklyWithoutHoursIsRefused(t *testing.T) {
	if _, err := calendar.Weekly([7][]calendar.Span{}, time.UTC); !errors.Is(err, calendar.ErrNeverOpen) {
		t.Errorf("error %v, want ErrNeverOpen", err)
	}
}

func TestParseForgives(t *testing.T) {
	want := parse(t, "Mon-Fri 09:00-12:00,13:00-17:00; Sat 10:00-14:00 Europe/Berlin")
	from := instant(t, "2026-03-02T00:00:00Z")
	for _, text := range []string{
		" mon - fri  9:00 - 12:00 , 13:00-17:00 ;  SAT 10:00-14:00   Europe/Berlin ",
		"Mon–Fri 09:00–12:00,13:00–17:00; Sat 10:00–14:00 Europe/Berlin",
		"Sat 10:00-14:00; Mon,Tue,Wed-Fri 13:00-17:00; Mon-Fri 09:00-12:00 Europe/Berlin",
	} {
		c, err := calendar.Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		for h := range 7 * 24 {
			a := from.Add(time.Duration(h) * time.Hour)
			if got, want := c.Open(a, a.Add(time.Hour)), want.Open(a, a.Add(time.Hour)); got != want {
				t.Errorf("%q: %v open in the hour from %v, want %v", text, got, a, want)
			}
		}
	}
	if got := parse(t, "Sat-Mon 10:00-11:00 UTC").Open(from, from.AddDate(0, 0, 7)); got != 3*time.Hour {
		t.Errorf("a range round the end of the week has %v, want 3h", got)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "names no hours"},
		{"UTC", "names no day"},
		{"Mon-Fri 09:00-17:00", "does not end in a time zone"},
		{"Mon-Fri", "does not end in a time zone"},
		{"Mon-Fri 9-17", "does not end in a time zone"},
		{"Mon-Fri UTC", "Mon-Fri: there are no hours"},
		{"Mon-Fri 09:00-17:00 Europe/Berln", `time zone "Europe/Berln" is unknown`},
		{"Mon-Fri 09:00-17:00 Local", `time zone "Local" is unknown`},
		{"Mon-Fri 09:00-17:00 ../../etc/passwd", `time zone "../../etc/passwd" is unknown`},
		{"Mo-Fr 09:00-17:00 UTC", `"Mo-Fr" names no day`},
		{"Mon-Fri,Wed 09:00-17:00 UTC", `"Mon-Fri,Wed" names Wed twice`},
		{"09:00-17:00 UTC", "names no day"},
		{"Mon 09:00 UTC", `Mon: "09:00" has no end`},
		{"Mon 9-17 UTC", `Mon: "9" is no time of day`},
		{"Mon 09:00-17:60 UTC", `"17:60" is no time of day`},
		{"Mon 09:00-24:01 UTC", `"24:01" is no time of day`},
		{"Mon 22:00-06:00 UTC", "Mon 22:00-06:00 does not end after it begins"},
		{"Mon 24:00-24:00 UTC", "does not end after it begins"},
		{"Mon 09:00-12:00,11:00-17:00 UTC", "Mon 11:00-17:00 overlaps 09:00-12:00"},
		{"Mon-Fri 09:00-17:00; Fri 09:00-15:00 UTC", "Fri 09:00-1"},
		{"Mon-Fri 09:00-17:00;; Sat 09:00-10:00 UTC", `"" names no day`},
	}
	for _, tt := range tests {
		if _, err := calendar.Parse(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want one with %q", tt.text, err, tt.want)
		}
	}
}

// Whatever can be written can be counted with, from any instant, and comes to
// an end.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"Mon-Fri 09:00-17:00 Europe/Berlin", "Sat 10:00-14:00; Sun 00:00-24:00 UTC", "Mon 9-17", "; UTC"} {
		f.Add(seed, int64(1772438400))
	}
	f.Fuzz(func(t *testing.T, text string, seconds int64) {
		c, err := calendar.Parse(text)
		if err != nil {
			return
		}
		from := time.Unix(seconds, 0)
		at := c.Add(from, 90*time.Minute)
		if at.Before(from) {
			t.Errorf("%q: 90 minutes after %v is %v", text, from, at)
		}
		if open := c.Open(from, at); open > 90*time.Minute {
			t.Errorf("%q: %v open from %v to %v, want 90m", text, open, from, at)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	c, err := calendar.Parse("Mon-Fri 09:00-17:00 Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	friday := time.Date(2026, 3, 6, 15, 50, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		c.Add(friday, 30*time.Minute)
	}
}
