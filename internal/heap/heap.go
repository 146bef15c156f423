// Package heap says how the heap of a process grows, and out of what pages.
package heap

import (
	"os"
	"runtime"
	"runtime/debug"
)

// ForHub lets it grow to five times what is in use, instead of twice: little is in
// use, a few megabytes, and each request leaves garbage.
func ForHub() { percent(400) }

// region is how much of the heap is made of large pages, in bytes: what one backup
// takes. It bounds as well what the kernel may add to make a page large.
const region = 128 << 20

// ForArchives is for a process that writes or reads archives. Its heap grows to one and
// a half times what is in use: every packet of an SSH connection becomes garbage, which
// is quicker where few pages are used again and again, as the kernel has to clear each
// new one. The first of them are large ones where the kernel has such, so that there
// are fewer to clear.
func ForArchives() {
	before := debug.SetGCPercent(-1) // one collection will do
	preferLargePages(region)
	debug.SetGCPercent(before)
	percent(50)
	runtime.GC() // the region is free, and what is made next lies in it
}

// percent sets GOGC, which still decides where it is given.
func percent(p int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(p)
	}
}
