package ledger

// Known returns of how many conversations is remembered what the store has.
func (l *Ledger) Known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.known)
}

// Facts returns how many observations are kept in memory.
func (l *Ledger) Facts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, queue := range l.pending {
		n += len(queue)
	}
	return n
}
