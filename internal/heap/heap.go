// Package heap says how large the heap of a process may grow before it is collected.
package heap

import (
	"os"
	"runtime/debug"
)

// ForHub lets it grow to five times what is in use, instead of twice: little is in
// use, a few megabytes, and each request leaves garbage.
func ForHub() { percent(400) }

// ForWorker lets it grow to one and a half times what is in use. Every packet of an
// SSH connection becomes garbage, which is quicker where few pages are used again and
// again: the kernel has to clear each new one.
func ForWorker() { percent(50) }

// percent sets GOGC, which still decides where it is given.
func percent(p int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(p)
	}
}
