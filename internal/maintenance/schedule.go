package maintenance

import (
	"fmt"
	"slices"
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
	next  func() (time.Time, bool)
	start time.Time // of its first window that is not read
}

// New returns the windows of the given length that the rules open. It refuses
// a rule that opens none after now, one whose windows are not over before the
// next begins, and rules whose windows overlap. The error says why.
func New(rules Rules, duration time.Duration, now time.Time) (*Schedule, error) {
	if duration <= 0 {
		return nil, fmt.Errorf("windows of %v are over before they begin", duration)
	}
	s := &Schedule{duration: duration}
	for _, r := range rules.list {
		if err := r.check(duration, now); err != nil {
			return nil, err
		}
		src := source{next: r.starts()}
		src.start, _ = src.next()
		s.sources = append(s.sources, src)
	}
	return s, rules.overlap(duration, now)
}

// overlap says which windows of different rules would be under way at once, in
// the years that anybody plans for.
func (r Rules) overlap(duration time.Duration, now time.Time) error {
	const (
		years = 10
		most  = 10_000 // starts of each rule
	)
	if len(r.list) < 2 {
		return nil
	}
	type begun struct {
		at   time.Time
		rule string
	}
	var all []begun
	for _, each := range r.list {
		next, n := each.starts(), 0
		for start, ok := next(); ok && n < most && start.Before(now.AddDate(years, 0, 0)); start, ok = next() {
			if start.Add(duration).After(now) {
				all = append(all, begun{start, each.text})
				n++
			}
		}
	}
	slices.SortStableFunc(all, func(a, b begun) int { return a.at.Compare(b.at) })
	for i := 1; i < len(all); i++ {
		if first, second := all[i-1], all[i]; second.at.Before(first.at.Add(duration)) {
			return fmt.Errorf("%s begins a window at %s, before that of %s at %s is over",
				second.rule, written(second.at), first.rule, written(first.at))
		}
	}
	return nil
}

// check says why r cannot be used with windows of that length.
func (r rule) check(duration time.Duration, now time.Time) error {
	const compared = 400 // distances that are looked at, more than a year of days
	var last time.Time
	next := r.starts()
	for n := 0; n < compared || !last.After(now); n++ {
		start, ok := next()
		if !ok {
			break
		}
		if n > 0 && start.Sub(last) <= duration {
			return fmt.Errorf("%s begins a window at %s and the next at %s, so windows of %v have no time between them",
				r.text, written(last), written(start), duration)
		}
		last = start
	}
	switch {
	case last.IsZero():
		return fmt.Errorf("%s never opens a window", r.text)
	case !last.Add(duration).After(now):
		return fmt.Errorf("%s is over: its last window began at %s", r.text, written(last))
	}
	return nil
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
	var first *source
	for i := range s.sources {
		src := &s.sources[i]
		if !src.start.IsZero() && (first == nil || src.start.Before(first.start)) {
			first = src
		}
	}
	if first == nil {
		return false
	}
	w := Window{first.start, first.start.Add(s.duration)}
	if last := len(s.windows) - 1; last >= 0 && !w.Start.After(s.windows[last].End) {
		s.windows[last].End = w.End
	} else {
		s.windows = append(s.windows, w)
	}
	first.start, _ = first.next() // zero at the end
	return true
}
