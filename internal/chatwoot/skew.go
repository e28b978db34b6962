package chatwoot

import (
	"slices"
	"sync"
	"time"
)

// skew estimates how far the server's clock is ahead of ours.
type skew struct {
	mu     sync.Mutex
	offset [20]time.Duration
	n      int // samples ever taken
}

// add takes the Date header of an answer to a request that was out between
// sent and got. The header is truncated to a second, so the server's clock
// stood half a second further on average.
func (s *skew) add(date, sent, got time.Time) {
	if date.IsZero() {
		return
	}
	middle := sent.Add(got.Sub(sent) / 2)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset[s.n%len(s.offset)] = date.Add(500 * time.Millisecond).Sub(middle)
	s.n++
}

func (s *skew) known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n > 0
}

func (s *skew) median() time.Duration {
	s.mu.Lock()
	samples := slices.Clone(s.offset[:min(s.n, len(s.offset))])
	s.mu.Unlock()
	if len(samples) == 0 {
		return 0
	}
	slices.Sort(samples)
	if m := samples[len(samples)/2]; m.Abs() >= 2*time.Second {
		return m
	}
	return 0
}
