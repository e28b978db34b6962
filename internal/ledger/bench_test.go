package ledger_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/ledger"
	"github.com/hotdash/chatwoot-sla/internal/pgtest"
	"github.com/hotdash/chatwoot-sla/internal/sla"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/store/storetest"
)

func benchLedger(b *testing.B, o store.Options) (*ledger.Ledger, *store.Store) {
	b.Helper()
	o.Account = storetest.Account
	s := storetest.Open(b, o)
	l, err := ledger.New(ledger.Options{Store: s, Now: func() time.Time { return noon.Add(time.Hour) }})
	if err != nil {
		b.Fatal(err)
	}
	return l, s
}

// busy returns what is seen of n conversations, one in four still waiting.
func busy(first, n int, at time.Time) []ledger.Observation {
	batch := make([]ledger.Observation, n)
	for i := range batch {
		id := int64(first + i)
		start := noon.Add(time.Duration(id) * time.Millisecond)
		batch[i] = ledger.Observation{
			Conversation: id, Inbox: id % 20, Team: fmt.Sprint("team ", id%5), Assignee: fmt.Sprint("agent ", id%50),
			Clock:  sla.Clock{State: sla.Waiting, Start: start, Deadline: start.Add(30 * time.Minute)},
			Status: ledger.Open, ObservedAt: at,
		}
		if id%4 > 0 {
			batch[i].Clock.State, batch[i].Clock.AnsweredAt = sla.Answered, start.Add(time.Duration(id%40)*time.Minute)
		}
	}
	return batch
}

// BenchmarkRecord writes 100,000 conversations that were never seen before, and
// then sees them again. The bytes are what the ledger holds on to.
func BenchmarkRecord(b *testing.B) {
	const conversations = 100_000
	for engine, options := range map[string]func(*testing.B) store.Options{
		"SQLite":   func(b *testing.B) store.Options { return store.Options{DataDir: b.TempDir()} },
		"Postgres": func(b *testing.B) store.Options { return store.Options{DatabaseURL: pgtest.Database(b)} },
	} {
		for _, size := range []int{25, 1000} {
			b.Run(fmt.Sprintf("%s/batch=%d", engine, size), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					l, _ := benchLedger(b, options(b))
					before := heap()
					b.StartTimer()
					for first := 1; first <= conversations; first += size {
						if err := l.Record(b.Context(), busy(first, size, noon)); err != nil {
							b.Fatal(err)
						}
					}
					b.StopTimer()
					b.ReportMetric(float64(heap()-before)/conversations, "held-B/conversation")
					batch := busy(1, conversations, noon)
					start := time.Now()
					l.Observe(batch)
					b.ReportMetric(float64(time.Since(start).Milliseconds()), "again-ms")
					if n := l.Unwritten(); n > 0 {
						b.Fatalf("%d conversations changed by being seen again", n)
					}
					b.StartTimer()
				}
			})
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkRead has 30 days of 10,000 decisions: a day is streamed as for the
// report, and the windows are counted.
func BenchmarkRead(b *testing.B) {
	const days, perDay = 30, 10_000
	l, s := benchLedger(b, store.Options{DataDir: b.TempDir()})
	for day := range days {
		batch := busy(1+day*perDay, perDay, noon)
		for i := range batch {
			k := &batch[i].Clock
			k.Start = noon.Add(-time.Duration(day) * 24 * time.Hour).Add(-time.Duration(i) * 8 * time.Second)
			k.Deadline = k.Start.Add(30 * time.Minute)
			k.State, k.AnsweredAt = sla.Answered, k.Start.Add(time.Duration(i%40)*time.Minute)
		}
		if err := l.Record(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("Decided", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			err := s.Decided(b.Context(), noon.Add(-24*time.Hour), noon, func(ledger.Entry) error { n++; return nil })
			if err != nil || n == 0 {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("Refresh", func(b *testing.B) {
		for b.Loop() {
			if err := l.Refresh(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
