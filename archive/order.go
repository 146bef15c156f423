package archive

import (
	"fmt"

	"xvault/internal/entry"
)

// orderCheck refuses entries that come out of archive order, so that a broken
// connector cannot make a broken index.
type orderCheck struct {
	last   string
	leaf   bool // the last entry was no directory, so nothing can be below it
	leafAt string
}

func (o *orderCheck) next(h *entry.Header) error {
	if o.last != "" && comparePaths(o.last, h.Path) >= 0 {
		return fmt.Errorf("entry %s comes after %s: out of order", Escape(h.Path), Escape(o.last))
	}
	// What is below a path comes directly behind it, so the last leaf is enough.
	if o.leaf && isBelow(h.Path, o.leafAt) {
		return fmt.Errorf("entry %s is below %s, which is no directory", Escape(h.Path), Escape(o.leafAt))
	}
	o.last = h.Path
	o.leaf = h.Kind != entry.Dir
	if o.leaf {
		o.leafAt = h.Path
	}
	return nil
}
