package archive

import (
	"context"
	"fmt"
	"strings"

	"xvault/internal/entry"
)

// Children gives up to limit of the entries directly in a folder, "" being the
// topmost, that come behind the path after ("" for the first). A folder that has
// no entry of its own, as those above a source's paths, is made up, without mode
// and time. For what is no folder it gives the entry itself. It fails with
// ErrNotFound where there is nothing at dir. The cost depends on how many there
// are directly in it, not on what is below them.
func (r *Reader) Children(ctx context.Context, dir, after string, limit int) ([]Entry, error) {
	from, prefix := behind(after), ""
	if dir != "" {
		prefix = dir + "/"
	}
	if dir != "" && after == "" {
		e, err := r.first(dir)
		if err != nil {
			return nil, err
		}
		if e.Path == dir && e.Kind != entry.Dir {
			return []Entry{*e}, nil
		}
		from = prefix
	}
	var children []Entry
	for len(children) < limit {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		it, err := r.seek(from)
		if err != nil {
			return nil, err
		}
		e, err := it.next()
		if err != nil {
			return nil, err
		}
		if e == nil || !strings.HasPrefix(e.Path, prefix) {
			break
		}
		name, _, below := strings.Cut(e.Path[len(prefix):], "/")
		if below {
			e = &Entry{Path: prefix + name, Kind: entry.Dir}
		}
		children = append(children, *e)
		from = behind(prefix + name)
	}
	return children, nil
}

// first gives the first entry at or below a path; ErrNotFound without any.
func (r *Reader) first(path string) (*Entry, error) {
	it, err := r.seek(path)
	if err != nil {
		return nil, err
	}
	e, err := it.next()
	if err != nil {
		return nil, err
	}
	if e == nil || (e.Path != path && !isBelow(e.Path, path)) {
		return nil, fmt.Errorf("%s: %w", Escape(path), ErrNotFound)
	}
	return e, nil
}

// behind is the first path that can come behind all that is below a path.
func behind(path string) string {
	if path == "" {
		return ""
	}
	return path + "\x00"
}

// Search gives up to limit entries at or below dir that match, behind the path
// after, looking at no more than scan entries. Next is where to go on; empty at
// the end.
func (r *Reader) Search(ctx context.Context, dir, after string, limit, scan int, match func(*Entry) bool) (found []Entry, next string, err error) {
	from := dir
	if after != "" {
		from = after
	}
	it, err := r.seek(from)
	if err != nil {
		return nil, "", err
	}
	last := after
	for seen := 0; seen < scan && len(found) < limit; {
		if err := context.Cause(ctx); err != nil {
			return nil, "", err
		}
		e, err := it.next()
		if err != nil {
			return nil, "", err
		}
		if e == nil || (dir != "" && e.Path != dir && !isBelow(e.Path, dir)) {
			return found, "", nil
		}
		if e.Path == after && after != "" {
			continue
		}
		seen++
		last = e.Path
		if match(e) {
			found = append(found, *e)
		}
	}
	return found, last, nil
}
