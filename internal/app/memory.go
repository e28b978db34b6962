package app

import (
	"math"
	"runtime/debug"
)

// memoryLimit keeps the whole process below 100 MiB with 100,000 open
// conversations. They need 60 MiB while a poll makes a new picture and the old
// one is still shown; the program itself is not part of the limit.
const memoryLimit = 76 << 20

// LimitMemory lets Go collect garbage sooner instead of growing beyond 76 MiB.
// It is for the whole process. Nothing is refused when more is really in use,
// but then the collector works all the time: a helpdesk with far more than
// 100,000 open conversations sets GOMEMLIMIT, which is left as it is.
func LimitMemory() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 { // -1 only asks
		debug.SetMemoryLimit(memoryLimit)
	}
}
