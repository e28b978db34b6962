package app_test

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/app"
)

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	tests := []struct {
		name     string
		of, want int64
	}{
		{"without a limit there is one", math.MaxInt64, 62 << 20},
		{"the operator's own limit stays", 500 << 20, 500 << 20},
		{"a smaller one, too", 50 << 20, 50 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			debug.SetMemoryLimit(tt.of)
			app.LimitMemory()
			if got := debug.SetMemoryLimit(-1); got != tt.want {
				t.Errorf("limit %d, want %d", got, tt.want)
			}
		})
	}
}
