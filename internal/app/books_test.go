package app

import (
	"context"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/health"
	"github.com/hotdash/chatwoot-sla/internal/store"
	"github.com/hotdash/chatwoot-sla/internal/store/storetest"
)

// Probes wait for a database that fails, but not without end: those that come
// while others are being written count as well.
func TestProbesThatWaitAreBounded(t *testing.T) {
	db := storetest.Open(t, store.Options{DataDir: t.TempDir(), Account: storetest.Account})
	b := &books{wake: make(chan struct{}, 1)}
	came := 0
	probes := func(n int) {
		for range n {
			came++
			b.probed(health.Result{Started: monday.Add(time.Duration(came) * time.Minute)})
		}
	}
	writing := false
	b.inMaintenance = func(time.Time) bool {
		if !writing {
			writing = true
			probes(probesKept / 2)
		}
		return false
	}
	probes(probesKept)
	failing, fail := context.WithCancel(t.Context())
	fail()
	if err := b.flushProbes(failing, db); err == nil {
		t.Fatal("the database takes what it is given")
	}
	probes(3)
	if !writing || len(b.probes) != probesKept {
		t.Errorf("%d probes wait, want %d", len(b.probes), probesKept)
	}
	if first, last := b.probes[0].StartedAt, b.probes[len(b.probes)-1].StartedAt; !last.Equal(monday.Add(time.Duration(came)*time.Minute)) ||
		last.Sub(first) != (probesKept-1)*time.Minute {
		t.Errorf("those from %v to %v wait, want the newest", first, last)
	}
}
