package connectors

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// maxWarnings is how many are kept, and maxWarning of how many bytes each is.
const (
	maxWarnings = 20
	maxWarning  = 1 << 10
)

// Warnings collects what a result that is good does not show by itself: what a backup
// leaves out, and why. It may be used from any goroutine; a nil one keeps nothing.
type Warnings struct {
	mu   sync.Mutex
	list []string
	more int // that were not kept
}

// Add keeps a sentence for people, once.
func (w *Warnings) Add(text string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(text) > maxWarning {
		text = strings.ToValidUTF8(text[:maxWarning], "") + "…"
	}
	switch {
	case slices.Contains(w.list, text):
	case len(w.list) < maxWarnings:
		w.list = append(w.list, text)
	default:
		w.more++
	}
}

// List gives them in the order in which they came.
func (w *Warnings) List() []string {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.more == 0 {
		return slices.Clone(w.list)
	}
	return append(slices.Clone(w.list), fmt.Sprintf("and %d more, which the worker's log has", w.more))
}

// Warn tells, in the job's log and in its result, of something that the backup lacks.
func (e Env) Warn(text string) {
	e.Log.Warn("there is something that the backup lacks", slog.String("warning", text))
	e.Warnings.Add(text)
}
