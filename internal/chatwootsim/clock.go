package chatwootsim

import (
	"slices"
	"sync"
	"time"
)

// Clock runs at a constant multiple of real time. It is safe for concurrent
// use.
type Clock struct {
	start time.Time
	speed float64
	began time.Time
	now   func() time.Time
}

// NewClock returns a Clock that shows start now and then runs speed times as
// fast as real time. A speed that is not positive counts as 1.
func NewClock(start time.Time, speed float64) *Clock {
	if speed <= 0 {
		speed = 1
	}
	c := &Clock{start: start.Round(0), speed: speed}
	c.now = time.Now
	c.began = c.now()
	return c
}

// Now returns the simulated time.
func (c *Clock) Now() time.Time {
	return c.start.Add(time.Duration(float64(c.now().Sub(c.began)) * c.speed))
}

// After is time.After for a simulated duration: at sixty times real time a
// minute takes a second.
func (c *Clock) After(d time.Duration) <-chan time.Time {
	return time.After(time.Duration(float64(d) / c.speed))
}

// ManualClock stands still until it is told to move. It is safe for concurrent
// use.
type ManualClock struct {
	mu     sync.Mutex
	now    time.Time
	alarms []alarm
}

type alarm struct {
	at time.Time
	ch chan<- time.Time
}

// NewManualClock returns a clock that shows start.
func NewManualClock(start time.Time) *ManualClock {
	return &ManualClock{now: start.Round(0)}
}

// Now returns the instant that was set last.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// After is time.After by this clock.
func (c *ManualClock) After(d time.Duration) <-chan time.Time {
	ch := make(chan time.Time, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alarms = append(c.alarms, alarm{c.now.Add(d), ch})
	c.ring()
	return ch
}

// Set moves the clock to t, which may lie in the past.
func (c *ManualClock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t.Round(0)
	c.ring()
}

// Advance moves the clock by d.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.ring()
}

// ring lets the alarms go off that are due. The lock is held.
func (c *ManualClock) ring() {
	c.alarms = slices.DeleteFunc(c.alarms, func(a alarm) bool {
		due := !a.at.After(c.now)
		if due {
			a.ch <- c.now
		}
		return due
	})
}
