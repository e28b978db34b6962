package monitor

// Watch lets a test see every picture, failed polls included, and every time
// that Run has nothing to do but to wait. It must be called before Run, and
// the functions must not block.
func (m *Monitor) Watch(published func(*Picture), resting func()) {
	m.published, m.resting = published, resting
}

// MostSettled is how many readings of Settle wait for the end of a poll.
const MostSettled = mostSettled
