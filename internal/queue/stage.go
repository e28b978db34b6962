package queue

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"
)

const (
	// opensAfter is how many times in a row a service must be out of reach
	// before its stage waits for it.
	opensAfter = 3

	defaultOpenFor = 10 * time.Second

	// hold is how long a job waits that was already picked up when its stage
	// stopped. River makes longer waits depend on its leader.
	hold = 4 * time.Second
)

// stage is a Stage with its circuit.
type stage struct {
	Stage
	openFor time.Duration
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]

	// The controller's own.
	working int  // workers that River was given; 0: it does not fetch
	closing bool // River was told to stop fetching, and some job is still in hand

	mu      sync.Mutex
	opened  time.Time // the last time; zero: the circuit is closed
	since   time.Time // the first time of this outage
	resting time.Time // the service asked to be left alone until then
	trouble Failure   // the last that was the service's
	closed  bool      // just now: dead letters of the time before may go on
}

// Service is how the service of a stage stands.
type Service struct {
	Stage     string
	DownSince time.Time // zero: it can be used, for all that is known
	RestsTill time.Time // it asked to be left alone until then; zero: it did not
	Last      Failure   // the last that was its own; zero: none since the start
}

// Services returns how the services of all stages stand.
func (q *Queue) Services() []Service {
	list := make([]Service, len(q.stages))
	for i, s := range q.stages {
		list[i] = s.service(time.Now())
	}
	return list
}

func (s *stage) service(now time.Time) Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := Service{Stage: s.Name, DownSince: s.since, Last: s.trouble}
	if now.Before(s.resting) {
		v.RestsTill = s.resting
	}
	return v
}

// newStage returns a stage that calls wake when its circuit opens or closes.
func newStage(s Stage, openFor time.Duration, log *zap.Logger, wake func()) *stage {
	st := &stage{Stage: s, openFor: openFor}
	st.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         s.Name,
		Timeout:      openFor,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= opensAfter },
		IsSuccessful: func(err error) bool { return !isDown(err) },
		IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) }, // we are stopping
		OnStateChange: func(_ string, _, to gobreaker.State) {
			st.mu.Lock()
			defer st.mu.Unlock()
			now := time.Now()
			fields := []zap.Field{zap.String("stage", st.Name), zap.String("last_error", st.trouble.Error)}
			switch to {
			case gobreaker.StateOpen:
				st.opened = now
				if st.since.IsZero() { // otherwise one has found that it is still down
					st.since = now
					log.Warn("a service is out of reach; the jobs of its stage wait for it", fields...)
				}
			case gobreaker.StateClosed:
				log.Info("a service is back; the jobs of its stage go on", append(fields, zap.Duration("down_for", now.Sub(st.since)))...)
				st.opened, st.since, st.closed = time.Time{}, time.Time{}, true
			case gobreaker.StateHalfOpen:
			}
			wake()
		},
	})
	return st
}

// justClosed reports, once, that the circuit has closed.
func (s *stage) justClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	closed := s.closed
	s.closed = false
	return closed
}

// open reports whether the circuit is open: the service is out of reach.
func (s *stage) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.opened.IsZero()
}

// rests reports whether the service asked to be left alone.
func (s *stage) rests(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.resting)
}

// waits reports whether the stage waits for its service.
func (s *stage) waits(now time.Time) bool { return s.open() || s.rests(now) }

// learn keeps what an attempt says of the service.
func (s *stage) learn(f Failure, rest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = f
	if until := f.At.Add(rest); rest > 0 && until.After(s.resting) {
		s.resting = until
	}
}

// wanted returns how many jobs the stage may have in hand now.
func (s *stage) wanted(paused bool, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case paused, now.Before(s.resting):
		return 0
	case s.opened.IsZero():
		return s.Workers
	case now.Sub(s.opened) <= s.openFor:
		return 0
	}
	return 1
}

// control gives River the workers that each stage should have, until ctx ends.
// Stages stop and go here rather than through River's own pauses, which are
// kept in the database: one that a killed process has left would stay.
func (q *Queue) control(ctx context.Context, client *river.Client[*sql.Tx]) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, s := range q.stages { // a client that starts fetches for none of them
		s.working, s.closing = 0, false
	}
	for {
		for _, s := range q.stages {
			q.adjust(ctx, client, s)
		}
		select {
		case <-ctx.Done():
			return
		case <-q.changed:
		case <-tick.C:
		}
	}
}

// adjust brings one stage nearer to what it should be.
func (q *Queue) adjust(ctx context.Context, client *river.Client[*sql.Tx], s *stage) {
	want := s.wanted(q.paused.Load(), time.Now())
	if s.working != want || s.closing {
		if s.working > 0 || s.closing {
			// This stops fetching at once, and fails while a job is in hand;
			// the next round looks again.
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			err := client.Queues().Remove(short, s.Name)
			cancel()
			s.closing = err != nil && !errors.Is(err, &river.QueueNotFoundError{})
			s.working = 0
			if s.closing {
				return
			}
		}
		if want > 0 && ctx.Err() == nil {
			if err := client.Queues().Add(s.Name, river.QueueConfig{MaxWorkers: want}); err != nil {
				_ = client.Queues().Remove(ctx, s.Name) // it is listed even if it could not start
				q.log.Warn("a stage does not start; it is tried again", zap.String("stage", s.Name), zap.Error(err))
				return
			}
			s.working = want
		}
	}
	if s.justClosed() {
		if err := q.revive(ctx, s); err != nil {
			q.log.Warn("dead letters of a service that is back wait for queue retry", zap.String("stage", s.Name), zap.Error(err))
		}
	}
}
