// Package heap says how the heap of a process grows, and out of what pages.
package heap

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// ForHub lets it grow to five times what is in use, instead of twice: little is in
// use, a few megabytes, and each request leaves garbage.
func ForHub() { percent(400) }

// region is how much of the heap is made of large pages, in bytes: what one backup
// takes. The kernel may fill up pages that are used in part, and no more than that.
const region = 128 << 20

// least counts as in use from the beginning, in bytes: half of it may become garbage
// before each collection, on top of half of what is. Without it a process that has only
// begun would collect every other megabyte.
const least = 16 << 20

// floor is that much memory. Nothing touches it, and so it has no pages.
var floor []byte //nolint:unused // that it is there is what it is for

// ForArchives is for a process that writes or reads archives. Its heap grows to one and
// a half times what is in use: every packet of an SSH connection becomes garbage, which
// is quicker where few pages are used again and again, as the kernel has to clear each
// new one. The first of them are large ones where the kernel has such, so that there
// are fewer to clear.
//
// Only the first call does something: later ones would find memory that is in use.
func ForArchives() { once.Do(forArchives) }

var once sync.Once

func forArchives() {
	before := debug.SetGCPercent(-1) // the one collection that follows will do
	floor = make([]byte, least)
	preferLargePages(region)
	runtime.GC() // the region is free, and what is made next lies in it
	debug.SetGCPercent(before)
	percent(50)
}

// percent sets GOGC, which still decides where it is given.
func percent(p int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(p)
	}
}
