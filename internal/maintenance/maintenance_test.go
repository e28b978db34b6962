package maintenance_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/maintenance"
)

// monthly is the rule of the runbook: the second Tuesday at 02:00.
const monthly = "FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2;BYMINUTE=0;BYSECOND=0"

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func schedule(t *testing.T, text string, duration time.Duration) *maintenance.Schedule {
	t.Helper()
	rules, err := maintenance.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := maintenance.New(rules, duration)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// The second Tuesday is the one from the 8th to the 14th.
func TestNextHundredSecondTuesdays(t *testing.T) {
	s := schedule(t, monthly, 2*time.Hour)
	at := now
	month := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for range 100 {
		want := month.AddDate(0, 0, 7).Add(2 * time.Hour)
		for want.Weekday() != time.Tuesday {
			want = want.AddDate(0, 0, 1)
		}
		w, ok := s.Next(at)
		if !ok || !w.Start.Equal(want) || w.End.Sub(w.Start) != 2*time.Hour {
			t.Fatalf("after %v comes %v (%v), want two hours from %v", at, w, ok, want)
		}
		at, month = w.Start, month.AddDate(0, 1, 0)
	}
}

func TestRules(t *testing.T) {
	tests := []struct {
		name, text string
		from       string
		want       []string
	}{
		{"the last day of each month", "FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=3", "2028-01-15 00:00", []string{"2028-01-31 03:00", "2028-02-29 03:00", "2028-03-31 03:00", "2028-04-30 03:00"}},
		{"the 31st skips short months", "FREQ=MONTHLY;BYMONTHDAY=31;BYHOUR=3", "2026-03-02 00:00", []string{"2026-03-31 03:00", "2026-05-31 03:00", "2026-07-31 03:00"}},
		{"29 February", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "2026-03-02 00:00", []string{"2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"}},
		{"the last Sunday of a quarter", "FREQ=MONTHLY;INTERVAL=3;BYDAY=-1SU", "2026-03-02 00:00", []string{"2026-04-26 00:00", "2026-07-26 00:00"}},
		{"what is left open is midnight", "FREQ=DAILY", "2026-03-02 12:00", []string{"2026-03-03 00:00", "2026-03-04 00:00"}},
		{"what is left open is Monday", "FREQ=WEEKLY", "2026-03-02 00:00", []string{"2026-03-09 00:00", "2026-03-16 00:00"}},
		{"what is left open is the first", "FREQ=MONTHLY", "2026-03-02 00:00", []string{"2026-04-01 00:00", "2026-05-01 00:00"}},
		{"every other week counts from 1 January 2024", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU", "2026-03-02 00:00", []string{"2026-03-10 00:00", "2026-03-24 00:00"}},
		{"or from DTSTART", "DTSTART=20260303T220000Z;FREQ=WEEKLY;INTERVAL=2;BYDAY=TU", "2026-03-02 00:00", []string{"2026-03-03 22:00", "2026-03-17 22:00"}},
		{"several rules", "FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2 | FREQ=MONTHLY;BYDAY=4TU;BYHOUR=4", "2026-03-02 00:00", []string{"2026-03-10 02:00", "2026-03-24 04:00", "2026-04-14 02:00"}},
		{"on lines, in small letters and with its name", "rrule:freq=monthly;byday=2tu;byhour=2\nFREQ=MONTHLY;BYDAY=4TU;BYHOUR=4\n", "2026-03-02 00:00", []string{"2026-03-10 02:00", "2026-03-24 04:00"}},
		{"a set of positions", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;BYHOUR=20", "2026-03-02 00:00", []string{"2026-03-31 20:00", "2026-04-30 20:00", "2026-05-29 20:00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := schedule(t, tt.text, time.Hour)
			at := instant(t, tt.from)
			for _, want := range tt.want {
				w, ok := s.Next(at)
				if !ok || !w.Start.Equal(instant(t, want)) {
					t.Fatalf("after %v comes %v (%v), want %s", at, w.Start, ok, want)
				}
				at = w.Start
			}
		})
	}
}

// Berlin: clocks go from 02:00 to 03:00 on 29 March 2026, and from 03:00 to
// 02:00 on 25 October. New York: on 8 March, and on 1 November.
func TestRulesOfAZone(t *testing.T) {
	tests := []struct {
		name, text string
		from       string
		want       []string // UTC
	}{
		{"the hour of the zone stays, that of UTC moves", "TZID=Europe/Berlin;FREQ=WEEKLY;BYDAY=SU;BYHOUR=4", "2026-03-20 00:00", []string{"2026-03-22 03:00", "2026-03-29 02:00", "2026-04-05 02:00"}},
		{"and back", "TZID=Europe/Berlin;FREQ=WEEKLY;BYDAY=SU;BYHOUR=4", "2026-10-16 00:00", []string{"2026-10-18 02:00", "2026-10-25 03:00", "2026-11-01 03:00"}},
		{"a time that is skipped comes an hour later", "TZID=Europe/Berlin;FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "2026-03-28 00:00", []string{"2026-03-28 01:30", "2026-03-29 01:30", "2026-03-30 00:30"}},
		{"west of Greenwich, too", "TZID=America/New_York;FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "2026-03-07 00:00", []string{"2026-03-07 07:30", "2026-03-08 07:30", "2026-03-09 06:30"}},
		{"a time that comes twice is the first", "TZID=Europe/Berlin;FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "2026-10-24 00:00", []string{"2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"}},
		{"west of Greenwich, too, and once", "TZID=America/New_York;FREQ=DAILY;BYHOUR=1;BYMINUTE=30", "2026-10-31 00:00", []string{"2026-10-31 05:30", "2026-11-01 05:30", "2026-11-02 06:30"}},
		{"the last day of the zone's month", "TZID=Pacific/Auckland;FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=1", "2026-02-01 00:00", []string{"2026-02-27 12:00", "2026-03-30 12:00", "2026-04-29 13:00"}},
		{"what is left open is midnight in the zone", "tzid=Asia/Kolkata;freq=daily", "2026-03-02 00:00", []string{"2026-03-02 18:30"}},
		{"DTSTART is in the zone", "DTSTART=20260303T220000;TZID=America/New_York;FREQ=WEEKLY;INTERVAL=2", "2026-03-02 00:00", []string{"2026-03-04 03:00", "2026-03-18 02:00"}},
		{"unless it is in UTC", "DTSTART=20260304T030000Z;TZID=America/New_York;FREQ=WEEKLY;INTERVAL=2", "2026-03-02 00:00", []string{"2026-03-04 03:00", "2026-03-18 02:00"}},
		{"UNTIL is part of it", "TZID=Europe/Berlin;FREQ=DAILY;BYHOUR=4;UNTIL=20260329T020000Z", "2026-03-28 00:00", []string{"2026-03-28 03:00", "2026-03-29 02:00", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := schedule(t, tt.text, time.Hour)
			at := instant(t, tt.from)
			for _, want := range tt.want {
				w, ok := s.Next(at)
				if want == "" {
					if ok {
						t.Errorf("after the last window comes %v", w)
					}
					return
				}
				if !ok || !w.Start.Equal(instant(t, want)) || w.Start.Location() != time.UTC {
					t.Fatalf("after %v comes %v (%v), want %s", at, w.Start, ok, want)
				}
				at = w.Start
			}
		})
	}
}

func TestRulesThatEnd(t *testing.T) {
	for name, text := range map[string]string{
		"after a number of times":            "DTSTART=20260303T220000Z;FREQ=DAILY;COUNT=2",
		"with an instant that is part of it": "FREQ=DAILY;BYHOUR=22;UNTIL=20260304T220000Z",
	} {
		s := schedule(t, text, time.Hour)
		w, ok := s.Next(instant(t, "2026-03-03 22:00"))
		if !ok || !w.Start.Equal(instant(t, "2026-03-04 22:00")) {
			t.Errorf("%s: the last window is %v (%v)", name, w, ok)
		}
		if w, ok := s.Next(w.Start); ok {
			t.Errorf("%s: after the last window comes %v", name, w)
		}
	}
}

func TestEdgesOfAWindow(t *testing.T) {
	s := schedule(t, monthly, 2*time.Hour)
	start, end := instant(t, "2026-03-10 02:00"), instant(t, "2026-03-10 04:00")
	for at, want := range map[time.Time]bool{start.Add(-1): false, start: true, end.Add(-1): true, end: false} {
		if w, ok := s.Active(at); ok != want || ok && (!w.Start.Equal(start) || !w.End.Equal(end)) {
			t.Errorf("at %v: active %v, %v; want %v", at, ok, w, want)
		}
	}
	if w, _ := s.Next(start.Add(-1)); !w.Start.Equal(start) {
		t.Errorf("just before a window the next is %v", w)
	}
	if w, _ := s.Next(start); !w.Start.Equal(instant(t, "2026-04-14 02:00")) {
		t.Errorf("at the start of a window the next is %v", w)
	}
	// Told in another zone, an instant is the same.
	if _, ok := s.Active(start.In(time.FixedZone("", -5*3600))); !ok {
		t.Error("not active at the same instant in another zone")
	}
}

func TestWindowsThatTouchAreOne(t *testing.T) {
	s := schedule(t, "FREQ=WEEKLY;BYDAY=TU;BYHOUR=2 | FREQ=WEEKLY;BYDAY=TU;BYHOUR=4 | FREQ=WEEKLY;BYDAY=TU;BYHOUR=9", 2*time.Hour)
	got := s.Between(instant(t, "2026-03-03 05:59"), instant(t, "2026-03-10 02:01"))
	want := []maintenance.Window{
		{Start: instant(t, "2026-03-03 02:00"), End: instant(t, "2026-03-03 06:00")},
		{Start: instant(t, "2026-03-03 09:00"), End: instant(t, "2026-03-03 11:00")},
		{Start: instant(t, "2026-03-10 02:00"), End: instant(t, "2026-03-10 06:00")},
	}
	if !slices.Equal(got, want) {
		t.Errorf("windows %v, want %v", got, want)
	}
	if got := s.Between(instant(t, "2026-03-03 06:00"), instant(t, "2026-03-03 09:00")); len(got) != 0 {
		t.Errorf("windows %v between two, want none", got)
	}
	for at, want := range map[string]string{"2026-03-03 05:59": "2026-02-24 11:00", "2026-03-03 06:00": "2026-03-03 06:00", "2026-03-03 10:00": "2026-03-03 06:00"} {
		if w, ok := s.Ended(instant(t, at)); !ok || !w.End.Equal(instant(t, want)) {
			t.Errorf("at %s the last window to end is %v, want one that ended at %s", at, w, want)
		}
	}
	if w, ok := s.Ended(instant(t, "2023-12-31 00:00")); ok {
		t.Errorf("before the first window, %v has ended", w)
	}
}

// A Schedule reads its rules as far as it is asked, so the order of questions
// must not matter.
func TestAnswersDoNotDependOnTheOrderOfQuestions(t *testing.T) {
	const text = monthly + "|FREQ=WEEKLY;BYDAY=TU;BYHOUR=4|FREQ=DAILY;INTERVAL=5;BYHOUR=6,20"
	shared := schedule(t, text, 2*time.Hour)
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 2))
			for range 20 {
				at := now.Add(time.Duration(rng.IntN(5*365*24)-2*365*24) * time.Hour)
				fresh := schedule(t, text, 2*time.Hour)
				w, ok := fresh.Next(at)
				if got, gotOK := shared.Next(at); got != w || gotOK != ok {
					t.Errorf("after %v comes %v, want %v", at, got, w)
				}
				w, ok = fresh.Active(at)
				if got, gotOK := shared.Active(at); got != w || gotOK != ok {
					t.Errorf("at %v: %v, want %v", at, got, w)
				}
			}
		})
	}
	wg.Wait()
}

func TestOffIsEmpty(t *testing.T) {
	for name, s := range map[string]*maintenance.Schedule{"off": schedule(t, "off", 2*time.Hour), "nil": nil} {
		if _, ok := s.Active(now); ok {
			t.Errorf("%s: in maintenance", name)
		}
		if _, ok := s.Next(now); ok {
			t.Errorf("%s: maintenance is planned", name)
		}
		if got := s.Between(now, now.AddDate(1, 0, 0)); len(got) != 0 {
			t.Errorf("%s: windows %v", name, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, text string
		duration   time.Duration
		want       string
	}{
		{"nothing", "", time.Hour, "there is no rule"},
		{"nothing between separators", " | \n", time.Hour, "there is no rule"},
		{"no rule", "every Tuesday", time.Hour, `"EVERY TUESDAY" is no part of a recurrence rule`},
		{"a bad second rule", monthly + "|often", time.Hour, `"OFTEN" is no part`},
		{"no frequency", "BYDAY=TU", time.Hour, "FREQ is missing"},
		{"an unknown frequency", "FREQ=FORTNIGHTLY", time.Hour, "no recurrence rule"},
		{"an unknown part", "FREQ=DAILY;BYEASTER=1", time.Hour, `"BYEASTER=1" is no part`},
		{"a part without value", "FREQ=DAILY;BYHOUR=", time.Hour, "BYHOUR has no value"},
		{"a part twice", "FREQ=DAILY;BYHOUR=2;BYHOUR=3", time.Hour, "BYHOUR comes twice"},
		{"a day that is none", "FREQ=WEEKLY;BYDAY=DI", time.Hour, "undefined weekday"},
		{"an hour that is none", "FREQ=DAILY;BYHOUR=24", time.Hour, "byhour must be between 0 and 23"},
		{"a second Tuesday of a week", "FREQ=WEEKLY;BYDAY=2TU", time.Hour, "BYDAY=2TU counts days, which means nothing with FREQ=WEEKLY"},
		{"a week number in a month", "FREQ=MONTHLY;BYWEEKNO=20", time.Hour, "BYWEEKNO means nothing with FREQ=MONTHLY"},
		{"an interval of nothing", "FREQ=DAILY;INTERVAL=0", time.Hour, "INTERVAL=0 is not a number from 1 to 1000"},
		{"a zeroth day", "FREQ=MONTHLY;BYDAY=MO,0TU", time.Hour, "BYDAY=MO,0TU names a zeroth day"},
		{"every hour", "FREQ=HOURLY;INTERVAL=24;BYHOUR=3", time.Hour, "FREQ=HOURLY is too often"},
		{"a count from nowhere", "FREQ=DAILY;COUNT=3", time.Hour, "COUNT has nothing to count from"},
		{"count and until", "DTSTART=20260303T000000Z;FREQ=DAILY;COUNT=3;UNTIL=20270101T000000Z", time.Hour, "exclude each other"},
		{"a start in another century", "DTSTART=19260303T000000Z;FREQ=DAILY", time.Hour, "not in this century"},
		{"never", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", time.Hour, "never opens a window"},
		{"never, day by day", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", time.Hour, "never opens a window"},
		{"never, by an interval that misses", "FREQ=MONTHLY;INTERVAL=12;BYMONTH=5", time.Hour, "never opens a window"},
		{"windows longer than their period", "FREQ=DAILY;BYHOUR=2", 25 * time.Hour, "have no time between them"},
		{"windows as long as their period", "FREQ=DAILY;BYHOUR=2", 24 * time.Hour, "have no time between them"},
		{"windows that overlap now and then", "FREQ=MONTHLY;BYMONTHDAY=1,31", 30 * time.Hour, "begins a window at 2024-01-31 00:00:00 UTC and the next at 2024-02-01 00:00:00 UTC"},
		{"windows of no length", monthly, 0, "over before they begin"},
		{
			"rules that overlap", "FREQ=WEEKLY;BYDAY=TU;BYHOUR=2|FREQ=WEEKLY;BYDAY=TU;BYHOUR=3", 2 * time.Hour,
			"FREQ=WEEKLY;BYDAY=TU;BYHOUR=3 begins a window at 2024-01-02 03:00:00 UTC, before that of FREQ=WEEKLY;BYDAY=TU;BYHOUR=2 at 2024-01-02 02:00:00 UTC is over",
		},
		{"rules that overlap once in years", monthly + "|DTSTART=20260101T030000Z;FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=8", 2 * time.Hour, "2031-04-08 03:00:00 UTC, before that of"},
		{"rules that overlap in twenty years", monthly + "|DTSTART=20450814T030000Z;FREQ=DAILY;COUNT=1|DTSTART=20450815T030000Z;FREQ=DAILY;COUNT=1|DTSTART=20450808T030000Z;FREQ=DAILY;COUNT=1", 2 * time.Hour, "2045-08-08 03:00:00 UTC, before that of"},
		{"the same rule twice", monthly + "|" + monthly, 2 * time.Hour, "before that of"},
		{"an unknown zone", "TZID=Europe/Berlyn;FREQ=DAILY", time.Hour, "TZID=Europe/Berlyn is no time zone; write a name"},
		{"the zone of whatever machine", "TZID=Local;FREQ=DAILY", time.Hour, "TZID=Local is no time zone"},
		{"no zone", "TZID=;FREQ=DAILY", time.Hour, "TZID has no value"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := maintenance.Parse(tt.text)
			if err == nil {
				_, err = maintenance.New(rules, tt.duration)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// A daemon that started yesterday has to start today: what has become of a rule
// is told, and refused is nothing.
func TestRulesThatAreOver(t *testing.T) {
	tests := []struct {
		name, text string
		duration   time.Duration
		want       []string
	}{
		{"one that goes on", monthly, time.Hour, nil},
		{"none", "off", time.Hour, nil},
		{"one that is still to come", "DTSTART=20260601T000000Z;FREQ=DAILY;COUNT=1", time.Hour, nil},
		{"until long ago", "FREQ=DAILY;UNTIL=20260105T000000Z", time.Hour, []string{"FREQ=DAILY;UNTIL=20260105T000000Z is over: its last window began at 2026-01-05 00:00:00 UTC"}},
		{"a count that is used up", "DTSTART=20260105T000000Z;FREQ=DAILY;COUNT=3", time.Hour, []string{"DTSTART=20260105T000000Z;FREQ=DAILY;COUNT=3 is over: its last window began at 2026-01-07 00:00:00 UTC"}},
		{"one of two", monthly + "|FREQ=DAILY;BYHOUR=5;UNTIL=20260105T060000Z", time.Hour, []string{"FREQ=DAILY;BYHOUR=5;UNTIL=20260105T060000Z is over: its last window began at 2026-01-05 05:00:00 UTC"}},
		{"in its last window", "FREQ=DAILY;UNTIL=20260302T000000Z", 10 * time.Hour, nil},
		{"at the end of that", "FREQ=DAILY;UNTIL=20260302T000000Z", 9 * time.Hour, []string{"FREQ=DAILY;UNTIL=20260302T000000Z is over: its last window began at 2026-03-02 00:00:00 UTC"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			schedule(t, tt.text, tt.duration) // they can be used
			rules, err := maintenance.Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := rules.Over(tt.duration, now); !slices.Equal(got, tt.want) {
				t.Errorf("over are %q, want %q", got, tt.want)
			}
		})
	}
	if _, ok := schedule(t, monthly+"|FREQ=DAILY;BYHOUR=5;UNTIL=20260105T060000Z", time.Hour).Next(now); !ok {
		t.Error("after one rule is over, the other opens no window")
	}
}

// Whatever can be written comes to an end, and what is accepted can be asked.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{monthly, "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "FREQ=DAILY;INTERVAL=3|off", "DTSTART=20260303T220000Z;FREQ=WEEKLY;COUNT=2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := maintenance.Parse(text)
		if err != nil {
			return
		}
		s, err := maintenance.New(rules, time.Hour)
		if err != nil {
			return
		}
		rules.Over(time.Hour, now)
		w, ok := s.Next(now)
		if ok && (!w.Start.After(now) || w.End.Sub(w.Start) < time.Hour) {
			t.Errorf("%q: after %v comes %v", text, now, w)
		}
	})
}

func BenchmarkEnding(b *testing.B) {
	rules, err := maintenance.Parse(monthly)
	if err != nil {
		b.Fatal(err)
	}
	s, err := maintenance.New(rules, 2*time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Ending(now)
	}
}
