package maintenance

import (
	"fmt"
	"sort"
	"sync"
	"time"
)

// Window is a time of maintenance, from Start up to and without End, in UTC.
type Window struct{ Start, End time.Time }

// Schedule is what is planned. Windows of different rules that touch are one. A
// nil Schedule is empty. It is safe for concurrent use.
type Schedule struct {
	duration time.Duration

	mu      sync.Mutex
	windows []Window // those read so far, in order; only the last can still grow
	sources []source
}

// source is a rule that is read on as far as it was needed.
type source struct {
	rule  string
	next  func() (time.Time, bool)
	start time.Time // of its first window that is not read; zero: there is none
}

func (s *source) advance() { s.start, _ = s.next() }

// earliest returns the source of the window that starts next, or nil.
func earliest(sources []source) *source {
	var first *source
	for i := range sources {
		src := &sources[i]
		if !src.start.IsZero() && (first == nil || src.start.Before(first.start)) {
			first = src
		}
	}
	return first
}

// New returns the windows of the given length that the rules open. It refuses
// a rule that never opens one, and windows that are not over before the next
// begins. The error says why. What it accepts, it accepts for ever: nobody
// could start a daemon whose rules had become mistakes by themselves.
func New(rules Rules, duration time.Duration) (*Schedule, error) {
	if duration <= 0 {
		return nil, fmt.Errorf("windows of %v are over before they begin", duration)
	}
	if err := check(rules.sources(), duration); err != nil {
		return nil, err
	}
	return &Schedule{duration: duration, sources: rules.sources()}, nil
}

// planned is as far as anybody plans; windows after it are not compared.
var planned = time.Date(2050, time.January, 1, 0, 0, 0, 0, time.UTC)

// check says why windows of that length cannot be used. It reads the sources.
func check(sources []source, duration time.Duration) error {
	for _, s := range sources {
		if s.start.IsZero() {
			return fmt.Errorf("%s never opens a window", s.rule)
		}
	}
	const most = 20_000 // two rules for each day until then
	var last *source
	var began time.Time // the window of last
	for range most {
		src := earliest(sources)
		if src == nil || !src.start.Before(planned) {
			return nil
		}
		switch start := src.start; {
		case src == last && start.Sub(began) <= duration:
			return fmt.Errorf("%s begins a window at %s and the next at %s, so windows of %v have no time between them",
				src.rule, written(began), written(start), duration)
		case last != nil && start.Before(began.Add(duration)):
			return fmt.Errorf("%s begins a window at %s, before that of %s at %s is over",
				src.rule, written(start), last.rule, written(began))
		}
		last, began = src, src.start
		src.advance()
	}
	return nil
}

// Over returns of each rule that opens no window of that length any more what
// is to be said about it.
func (r Rules) Over(duration time.Duration, now time.Time) []string {
	var list []string
	for _, s := range r.sources() {
		var last time.Time
		for !s.start.IsZero() && !last.Add(duration).After(now) {
			last = s.start
			s.advance()
		}
		if !last.IsZero() && !last.Add(duration).After(now) {
			list = append(list, fmt.Sprintf("%s is over: its last window began at %s", s.rule, written(last)))
		}
	}
	return list
}

func written(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") }

// Active returns the window that t lies in.
func (s *Schedule) Active(t time.Time) (w Window, ok bool) {
	w, ok = s.Ending(t)
	if !ok || t.Before(w.Start) {
		return Window{}, false
	}
	return w, true
}

// Next returns the first window that starts after t.
func (s *Schedule) Next(t time.Time) (w Window, ok bool) {
	w, ok = s.Ending(t)
	if ok && !w.Start.After(t) {
		return s.Ending(w.End)
	}
	return w, ok
}

// Between returns the windows that overlap [since, until), whole and in order.
func (s *Schedule) Between(since, until time.Time) []Window {
	var list []Window
	for w, ok := s.Ending(since); ok && w.Start.Before(until); w, ok = s.Ending(w.End) {
		list = append(list, w)
	}
	return list
}

// Ended returns the last window that ended at t or before.
func (s *Schedule) Ended(t time.Time) (w Window, ok bool) {
	if s == nil {
		return Window{}, false
	}
	s.Ending(t) // reads as far as t
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.windows), func(i int) bool { return s.windows[i].End.After(t) })
	if i == 0 {
		return Window{}, false
	}
	return s.windows[i-1], true
}

// Ending returns the first window that ends after t: the one that t lies in,
// or else the next.
func (s *Schedule) Ending(t time.Time) (w Window, ok bool) {
	if s == nil {
		return Window{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		i := sort.Search(len(s.windows), func(i int) bool { return s.windows[i].End.After(t) })
		if i < len(s.windows)-1 {
			return s.windows[i], true
		}
		if !s.read() {
			if i == len(s.windows) {
				return Window{}, false
			}
			return s.windows[i], true
		}
	}
}

// read takes in the next start of all rules. It reports whether there was one.
func (s *Schedule) read() bool {
	first := earliest(s.sources)
	if first == nil {
		return false
	}
	w := Window{first.start, first.start.Add(s.duration)}
	if last := len(s.windows) - 1; last >= 0 && !w.Start.After(s.windows[last].End) {
		s.windows[last].End = w.End
	} else {
		s.windows = append(s.windows, w)
	}
	first.advance()
	return true
}
