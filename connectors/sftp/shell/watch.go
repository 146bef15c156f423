package shell

import (
	"sync"
	"time"
)

// Watch tells for how long commands that list have been silent.
type Watch struct {
	mu    sync.Mutex
	owing map[int]func() time.Duration
	next  int
}

// add takes a command that is to be watched until it is taken out again.
func (w *Watch) add(silent func() time.Duration) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owing == nil {
		w.owing = map[int]func() time.Duration{}
	}
	id := w.next
	w.next++
	w.owing[id] = silent
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.owing, id)
	}
}

// Stalled is for how long the most silent of them has been so; 0 where none owes
// anything.
func (w *Watch) Stalled() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var longest time.Duration
	for _, silent := range w.owing {
		longest = max(longest, silent())
	}
	return longest
}
