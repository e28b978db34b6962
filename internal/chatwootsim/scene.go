package chatwootsim

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// Scene is a Server, or what stands before one, with a script: things happen at
// their very instant, which is before the first answer that is given after it.
type Scene struct {
	chatwoot http.Handler
	now      func() time.Time

	mu     sync.Mutex
	script []act // soonest first
}

type act struct {
	at time.Time
	do func(at time.Time)
}

// NewScene returns a Scene without a script. The clock is the server's.
func NewScene(chatwoot http.Handler, now func() time.Time) *Scene {
	return &Scene{chatwoot: chatwoot, now: now}
}

// At plans that do is called, with the instant that was planned. What is
// planned for one instant happens in the order in which it was planned.
func (s *Scene) At(at time.Time, do func(at time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	after, _ := slices.BinarySearchFunc(s.script, at, func(a act, at time.Time) int {
		if a.at.After(at) {
			return 1
		}
		return -1
	})
	s.script = slices.Insert(s.script, after, act{at, do})
}

// Advance lets everything happen that is due by to. Every request does so.
func (s *Scene) Advance(to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.script) > 0 && !s.script[0].at.After(to) {
		s.script[0].do(s.script[0].at)
		s.script = s.script[1:]
	}
}

// ServeHTTP implements http.Handler.
func (s *Scene) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Advance(s.now())
	s.chatwoot.ServeHTTP(w, r)
}
