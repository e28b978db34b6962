package sla

import "time"

// Instant is a time.Time in a third of the space, for whoever keeps many:
// microseconds since 1970, which is what Chatwoot has, and 0 for the zero Time.
type Instant int64

// At returns t as an Instant.
func At(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMicro())
}

// Time returns i in UTC.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(i)).UTC()
}
