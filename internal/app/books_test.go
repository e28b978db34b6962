package app

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/hotdash/chatwoot-sla/internal/config"
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

// It is tried every 30 seconds for three hours; after half of them something
// else is wrong with it.
func TestADatabaseThatCannotBeOpenedIsComplainedOfOncePerHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.ErrorLevel)
		b := newBooks(config.Config{}, Options{Logger: zap.New(core), Now: time.Now, After: time.After}, nil, time.Now)
		began := time.Now()
		tries := 0
		b.open = func(context.Context) (*store.Store, error) {
			tries++
			if time.Since(began) >= 90*time.Minute {
				return nil, errors.New("the disk is full")
			}
			return nil, errors.New("the folder is read-only")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		if err := b.run(ctx); err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, l := range logs.All() {
			said = append(said, l.Time.Sub(began).String()+" "+l.ContextMap()["error"].(string))
		}
		want := []string{"0s the folder is read-only", "1h0m0s the folder is read-only", "1h30m0s the disk is full", "2h30m0s the disk is full"}
		if !slices.Equal(said, want) || tries < 300 {
			t.Errorf("in %d attempts, it said\n%q\nwant\n%q", tries, said, want)
		}
	})
}
