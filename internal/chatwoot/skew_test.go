package chatwoot_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwoot"
)

func TestClockSkew(t *testing.T) {
	const none = -1 << 62 // an answer without a Date header
	s := func(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
	repeat := func(n int, d ...time.Duration) []time.Duration { return slices.Repeat(d, n) }

	tests := []struct {
		name    string
		answers []time.Duration // the Date header of each, less our clock
		want    time.Duration
	}{
		{"nothing asked yet", nil, 0},
		{"no Date header", repeat(3, none), 0},
		// The header drops a fraction that is half a second on average.
		{"in step", repeat(20, 0, -1), 0},
		{"just under two seconds ahead is noise", []time.Duration{s(1.499)}, 0},
		{"two seconds ahead", []time.Duration{s(1.5)}, s(2)},
		{"just under two seconds behind is noise", []time.Duration{s(-2.499)}, 0},
		{"two seconds behind", []time.Duration{s(-2.5)}, s(-2)},
		{"five hours ahead", repeat(20, 5*time.Hour), 5*time.Hour + s(0.5)},
		{"five hours behind", repeat(20, -5*time.Hour), -5*time.Hour + s(0.5)},
		{"one answer is enough to notice hours", repeat(1, time.Hour), time.Hour + s(0.5)},
		{"one odd answer is outvoted", append(repeat(19, 0), time.Hour), 0},
		{"nine odd answers are outvoted", append(repeat(9, time.Hour), repeat(11, 0)...), 0},
		{"the middle one decides, in any order", []time.Duration{s(9), s(3), s(30), s(5), s(4)}, s(5.5)},
		{"the last twenty decide", append(repeat(1000, time.Hour), repeat(20, s(10))...), s(10.5)},
		{"the twentieth last still weighs", append(repeat(10, time.Hour), repeat(10, s(10))...), time.Hour + s(0.5)},
		{"answers without a date do not count", append(repeat(1, s(10)), repeat(30, none)...), s(10.5)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ours, date time.Time
			c := dial(t, parse(t, "http://chatwoot.example.com"), func(o *chatwoot.Options) {
				o.Now = func() time.Time { return ours }
				o.RequestsPerMinute = 2000
				o.Transport = inMemory(func(w http.ResponseWriter, r *http.Request) {
					if !date.IsZero() {
						w.Header().Set("Date", date.Format(http.TimeFormat))
					}
					index(w, r)
				})
			})
			for _, ahead := range tt.answers {
				date, ours = time.Time{}, at(9, 0, 0, 0)
				if ahead != none {
					// The header has whole seconds; our clock takes the fraction.
					date = ours.Add(ahead).Truncate(time.Second)
					ours = date.Add(-ahead)
				}
				ask(t, c)
			}
			if got := c.ClockSkew(); got.Round(time.Millisecond) != tt.want {
				t.Errorf("ClockSkew() = %v, want %v", got, tt.want)
			}
		})
	}
}

// A slow answer is dated somewhere in the middle of the wait.
func TestClockSkewAllowsForTheWait(t *testing.T) {
	ours := at(9, 0, 0, 0)
	c := dial(t, parse(t, "http://chatwoot.example.com"), func(o *chatwoot.Options) {
		o.Now = func() time.Time { return ours }
		o.Transport = inMemory(func(w http.ResponseWriter, r *http.Request) {
			ours = ours.Add(10 * time.Second)
			w.Header().Set("Date", ours.Add(-5*time.Second).Format(http.TimeFormat))
			index(w, r)
		})
	})
	ask(t, c)
	if got := c.ClockSkew(); got != 0 {
		t.Errorf("ClockSkew() = %v after an answer that took 10s", got)
	}
}

func TestErrorsTellTheTimeToo(t *testing.T) {
	ours := at(9, 0, 0, 0)
	c := dial(t, parse(t, "http://chatwoot.example.com"), func(o *chatwoot.Options) {
		o.Now = func() time.Time { return ours }
		o.Transport = inMemory(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", ours.Add(time.Hour).Format(http.TimeFormat))
			says(503, "text/html", "<h1>maintenance</h1>")(w, r)
		})
	})
	if _, err := c.Index(t.Context()); err == nil {
		t.Error("no error")
	}
	if got, want := c.ClockSkew(), time.Hour+500*time.Millisecond; got != want {
		t.Errorf("ClockSkew() = %v, want %v", got, want)
	}
}
