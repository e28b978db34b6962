package maintenance

import (
	"slices"
	"time"
)

// Plan is a Schedule together with the windows that somebody opened by hand.
// Those that overlap or touch are one. The zero Plan is empty, and a Plan never
// changes.
type Plan struct {
	schedule *Schedule
	single   []Window // in order, with time between them
}

// NewPlan returns a Plan. Windows that are over before they begin are left out.
func NewPlan(s *Schedule, single []Window) Plan {
	p := Plan{schedule: s}
	single = slices.DeleteFunc(slices.Clone(single), func(w Window) bool { return !w.End.After(w.Start) })
	slices.SortFunc(single, func(a, b Window) int { return a.Start.Compare(b.Start) })
	for _, w := range single {
		w.Start, w.End = w.Start.UTC(), w.End.UTC()
		if last := len(p.single) - 1; last >= 0 && !w.Start.After(p.single[last].End) {
			p.single[last].End = later(p.single[last].End, w.End)
			continue
		}
		p.single = append(p.single, w)
	}
	return p
}

// Active returns the window that t lies in.
func (p Plan) Active(t time.Time) (w Window, ok bool) {
	w, ok = p.Ending(t)
	if !ok || t.Before(w.Start) {
		return Window{}, false
	}
	return w, true
}

// Next returns the first window that starts after t.
func (p Plan) Next(t time.Time) (w Window, ok bool) {
	w, ok = p.Ending(t)
	if ok && !w.Start.After(t) {
		return p.Ending(w.End)
	}
	return w, ok
}

// Ending returns the first window that ends after t: the one that t lies in,
// or else the next.
func (p Plan) Ending(t time.Time) (w Window, ok bool) {
	w, ok = p.schedule.Ending(t)
	if i := p.endingAfter(t); i < len(p.single) && (!ok || p.single[i].Start.Before(w.Start)) {
		w, ok = p.single[i], true
	}
	if !ok {
		return Window{}, false
	}
	return p.whole(w), true
}

// Ended returns the last window that ended at t or before.
func (p Plan) Ended(t time.Time) (w Window, ok bool) {
	for {
		w, ok = p.schedule.Ended(t)
		if i := p.endingAfter(t) - 1; i >= 0 && (!ok || p.single[i].End.After(w.End)) {
			w, ok = p.single[i], true
		}
		if !ok {
			return Window{}, false
		}
		if w = p.whole(w); !w.End.After(t) {
			return w, true
		}
		t = w.Start.Add(-1) // it goes on; the one before it
	}
}

// endingAfter returns the place of the first single window that ends after t.
func (p Plan) endingAfter(t time.Time) int {
	i, _ := slices.BinarySearchFunc(p.single, t, func(w Window, t time.Time) int {
		if w.End.After(t) {
			return 1
		}
		return -1
	})
	return i
}

// whole returns w with everything that overlaps or touches it.
func (p Plan) whole(w Window) Window {
	for {
		was := w
		at := w.Start.Add(-1) // the first that ends at w's start or later
		if v, ok := p.schedule.Ending(at); ok {
			w = w.joined(v)
		}
		for _, v := range p.single[p.endingAfter(at):] {
			if v.Start.After(w.End) {
				break
			}
			w = w.joined(v)
		}
		if v, ok := p.schedule.Ending(w.End.Add(-1)); ok {
			w = w.joined(v)
		}
		if v, ok := p.schedule.Ending(w.End); ok {
			w = w.joined(v)
		}
		if w == was {
			return w
		}
	}
}

// joined returns w with v, if they overlap or touch.
func (w Window) joined(v Window) Window {
	if v.Start.After(w.End) || w.Start.After(v.End) {
		return w
	}
	if v.Start.Before(w.Start) {
		w.Start = v.Start
	}
	w.End = later(w.End, v.End)
	return w
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
