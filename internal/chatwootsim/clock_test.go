package chatwootsim_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

func TestClockRunsFast(t *testing.T) {
	for _, tt := range []struct {
		name  string
		speed float64
		want  time.Duration // after ten seconds of real time
	}{
		{"sixty times", 60, 10 * time.Minute},
		{"in slow motion", 0.5, 5 * time.Second},
		{"no speed is real time", 0, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := chatwootsim.NewClock(noon, tt.speed)
				fired := c.After(tt.want)
				time.Sleep(10*time.Second - time.Nanosecond)
				select {
				case <-fired:
					t.Error("After fired early")
				default:
				}
				time.Sleep(time.Nanosecond)
				if got := c.Now().Sub(noon); got != tt.want {
					t.Errorf("ten seconds are %s, want %s", got, tt.want)
				}
				<-fired
			})
		})
	}
}

func TestManualClockStandsStill(t *testing.T) {
	c := chatwootsim.NewManualClock(noon)
	c.Advance(time.Minute)
	c.Advance(time.Second)
	if got := c.Now(); !got.Equal(noon.Add(61 * time.Second)) {
		t.Errorf("advanced to %s", got)
	}
	c.Set(noon.Add(-time.Hour))
	if got := c.Now(); !got.Equal(noon.Add(-time.Hour)) {
		t.Errorf("set to %s", got)
	}
}

func TestManualClockRingsWhatItIsMovedPast(t *testing.T) {
	c := chatwootsim.NewManualClock(noon)
	rang := func(ch <-chan time.Time) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	now, soon, later := c.After(0), c.After(time.Second), c.After(3*time.Second)
	if !rang(now) || rang(soon) {
		t.Error("before any move, what is due at once rings and nothing else")
	}
	c.Advance(2 * time.Second)
	if !rang(soon) || rang(later) {
		t.Error("after two seconds, what was due after one rings and nothing else")
	}
}
