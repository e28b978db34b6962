package app

import (
	"math"
	"runtime/debug"
)

// memoryLimit keeps the whole process below 100 MiB with 100,000 open
// conversations. They need 50 MiB while a poll makes a new picture and the old
// one is still shown. Not part of the limit are the program itself, which is 26
// MiB in memory, and SQLite's own memory, which is about 8.
const memoryLimit = 62 << 20

// LimitMemory lets Go collect garbage sooner instead of growing beyond 62 MiB.
// It is for the whole process. Nothing is refused when more is really in use,
// but then the collector works all the time: a helpdesk with far more than
// 100,000 open conversations sets GOMEMLIMIT, which is left as it is.
func LimitMemory() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 { // -1 only asks
		debug.SetMemoryLimit(memoryLimit)
	}
}
