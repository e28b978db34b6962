package chatwoot

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Class ranks requests that compete for the budget; lower goes first.
type Class uint8

const (
	Probe  Class = iota // spends the budget but never waits for it: latency stays honest
	Poll                // the regular reading of what changed
	Sync                // the reading of everything
	Lookup              // single conversations and their messages
	classes
)

// budget is a rate limit that the classes share. Chatwoot counts requests per
// client address, and agents behind the same address need most of them.
type budget struct {
	limiter *rate.Limiter
	now     func() time.Time

	mu      sync.Mutex
	waiting [classes]int
	until   time.Time // nothing is sent before; set by a 429
}

func newBudget(perMinute int) *budget {
	return &budget{
		limiter: rate.NewLimiter(rate.Limit(float64(perMinute)/60), perMinute),
		now:     time.Now,
	}
}

// wait blocks until a request of the given class may be sent.
func (b *budget) wait(ctx context.Context, class Class) error {
	if class == Probe {
		b.limiter.ReserveN(b.now(), 1)
		return ctx.Err()
	}
	b.mu.Lock()
	b.waiting[class]++
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.waiting[class]--
		b.mu.Unlock()
	}()
	for {
		pause, ok := b.take(class)
		if ok {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// take spends a request, or says how long to wait before trying again.
func (b *budget) take(class Class) (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if pause := b.until.Sub(now); pause > 0 {
		return pause, false
	}
	token := time.Duration(float64(time.Second) / float64(b.limiter.Limit()))
	for ahead := range class {
		if b.waiting[ahead] > 0 && b.limiter.TokensAt(now) < float64(b.waiting[ahead]+1) {
			return token, false
		}
	}
	if !b.limiter.AllowN(now, 1) {
		return token, false
	}
	return 0, true
}

// throttled stops all requests until the server takes them again, and returns
// how long that is.
func (b *budget) throttled(retryAfter time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if retryAfter <= 0 {
		retryAfter = untilNext(time.Minute, now)
	}
	if until := now.Add(retryAfter); until.After(b.until) {
		b.until = until
	}
	return b.until.Sub(now)
}

// untilNext returns how long to wait for the next window of a limit that sent
// no Retry-After. Chatwoot's windows start at multiples of their length by its
// clock; the jitter keeps replicas apart.
func untilNext(window time.Duration, now time.Time) time.Duration {
	return now.Truncate(window).Add(window).Sub(now) + time.Second + rand.N(2*time.Second)
}
