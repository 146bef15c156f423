package archive

import (
	"fmt"

	"xvault/internal/entry"
)

// orderCheck refuses entries that come out of archive order, so that neither a
// broken connector can make a broken index nor a reader be led astray by one.
type orderCheck struct {
	last string
	kind entry.Kind
}

func (o *orderCheck) next(path string, kind entry.Kind) error {
	if o.last != "" && comparePaths(o.last, path) >= 0 {
		return fmt.Errorf("entry %s comes after %s: out of order", Escape(path), Escape(o.last))
	}
	// What is below a path comes directly behind it, so the last one is enough.
	if o.last != "" && o.kind != entry.Dir && isBelow(path, o.last) {
		return fmt.Errorf("entry %s is below %s, which is no directory", Escape(path), Escape(o.last))
	}
	o.last, o.kind = path, kind
	return nil
}
