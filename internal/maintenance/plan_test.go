package maintenance_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/maintenance"
)

func TestPlan(t *testing.T) {
	window := func(start, end string) maintenance.Window {
		return maintenance.Window{Start: instant(t, start), End: instant(t, end)}
	}
	planned := schedule(t, monthly, 2*time.Hour) // 2026-03-10 and 2026-04-14, 02:00 to 04:00
	tests := []struct {
		name   string
		single []maintenance.Window
		at     string
		active string // start and end; empty: not active
		next   string // start
		ended  string // end
	}{
		{"nothing by hand", nil, "2026-03-05 00:00", "", "2026-03-10 02:00", "2026-02-10 04:00"},
		{"one by hand", []maintenance.Window{window("2026-03-05 10:00", "2026-03-05 12:00")}, "2026-03-05 10:00", "2026-03-05 10:00 2026-03-05 12:00", "2026-03-10 02:00", "2026-02-10 04:00"},
		{"it is over", []maintenance.Window{window("2026-03-05 10:00", "2026-03-05 12:00")}, "2026-03-05 12:00", "", "2026-03-10 02:00", "2026-03-05 12:00"},
		{"it is to come", []maintenance.Window{window("2026-03-05 10:00", "2026-03-05 12:00")}, "2026-03-05 09:59", "", "2026-03-05 10:00", "2026-02-10 04:00"},
		{"it prolongs a planned one", []maintenance.Window{window("2026-03-10 03:50", "2026-03-10 05:00")}, "2026-03-10 04:30", "2026-03-10 02:00 2026-03-10 05:00", "2026-04-14 02:00", "2026-02-10 04:00"},
		{"it touches a planned one", []maintenance.Window{window("2026-03-10 04:00", "2026-03-10 05:00")}, "2026-03-10 03:00", "2026-03-10 02:00 2026-03-10 05:00", "2026-04-14 02:00", "2026-02-10 04:00"},
		{"it begins before a planned one", []maintenance.Window{window("2026-03-10 01:00", "2026-03-10 03:00")}, "2026-03-10 03:30", "2026-03-10 01:00 2026-03-10 04:00", "2026-04-14 02:00", "2026-02-10 04:00"},
		{"it has a planned one inside", []maintenance.Window{window("2026-03-09 00:00", "2026-03-11 00:00")}, "2026-03-10 05:00", "2026-03-09 00:00 2026-03-11 00:00", "2026-04-14 02:00", "2026-02-10 04:00"},
		{"several make one", []maintenance.Window{window("2026-03-10 05:00", "2026-03-10 07:00"), window("2026-03-10 03:00", "2026-03-10 05:30")}, "2026-03-10 06:59", "2026-03-10 02:00 2026-03-10 07:00", "2026-04-14 02:00", "2026-02-10 04:00"},
		{"none that is over before it begins", []maintenance.Window{window("2026-03-05 10:00", "2026-03-05 10:00")}, "2026-03-05 10:00", "", "2026-03-10 02:00", "2026-02-10 04:00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, at := maintenance.NewPlan(planned, tt.single), instant(t, tt.at)
			got := ""
			if w, ok := p.Active(at); ok {
				got = w.Start.Format("2006-01-02 15:04") + " " + w.End.Format("2006-01-02 15:04")
			}
			if got != tt.active {
				t.Errorf("active %q, want %q", got, tt.active)
			}
			if w, ok := p.Next(at); !ok || !w.Start.Equal(instant(t, tt.next)) {
				t.Errorf("next %v, want %s", w, tt.next)
			}
			if w, ok := p.Ended(at); !ok || !w.End.Equal(instant(t, tt.ended)) {
				t.Errorf("last %v, want one that ended at %s", w, tt.ended)
			}
		})
	}
}

// A Plan is only arithmetic on its parts: minute by minute, it is maintenance
// when any part says so.
func TestPlanAgreesWithItsParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	planned := schedule(t, "FREQ=DAILY;BYHOUR=1,4,9|FREQ=DAILY;BYHOUR=5", time.Hour)
	for range 300 {
		var single []maintenance.Window
		for range rng.IntN(5) {
			start := now.Truncate(24 * time.Hour).Add(time.Duration(rng.IntN(30*60)) * time.Minute)
			single = append(single, maintenance.Window{Start: start, End: start.Add(time.Duration(rng.IntN(6*60)) * time.Minute)})
		}
		p := maintenance.NewPlan(planned, single)
		inside := func(at time.Time) bool {
			if _, ok := planned.Active(at); ok {
				return true
			}
			for _, w := range single {
				if !at.Before(w.Start) && at.Before(w.End) {
					return true
				}
			}
			return false
		}
		for range 50 {
			at := now.Truncate(24 * time.Hour).Add(time.Duration(rng.IntN(30*60)) * time.Minute)
			w, ok := p.Active(at)
			if ok != inside(at) {
				t.Fatalf("at %v active is %v; by hand %v", at, ok, single)
			}
			if ok && (inside(w.Start.Add(-1)) || inside(w.End) || !inside(w.Start) || !inside(w.End.Add(-1))) {
				t.Fatalf("%v is not a whole window; by hand %v", w, single)
			}
			if e, ok := p.Ended(at); !ok || e.End.After(at) || inside(e.End) || !inside(e.End.Add(-1)) || inside(e.Start.Add(-1)) {
				t.Fatalf("%v is not the last to end at %v; by hand %v", e, at, single)
			} else if n, _ := p.Next(e.Start); !n.End.After(at) {
				t.Fatalf("%v ended later than %v, by %v; by hand %v", n, e, at, single)
			}
		}
	}
}
