package sftp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"xvault/connectors/sftp/shell"
	"xvault/connectors/sftp/wire"
)

// tree is what one find listed: every folder below the configured paths.
type tree struct {
	starts map[string]treeStart
	lists  map[string]*listing
	size   int64 // of all lists
	limit  int64
	here   bool // only what is in the configured folders themselves

	devices  *devices
	doubtful map[string]bool // folders that are not complete
	stack    []*openFolder   // the folders that find is in
	spare    []*openFolder
}

// treeStart is what find showed of a path that it started from.
type treeStart struct {
	attrs wire.Attrs
	fine  precise
}

// openFolder is a folder that find has not left yet.
type openFolder struct {
	listing
	path    string
	order   []uint32
	skipped bool // there is too much in it
}

// maxDepth is more than a path of maxPath bytes has.
const maxDepth = 2048

// errTooMuch ends a listing of everything that does not fit.
var errTooMuch = errors.New("there is too much to list it at once")

func newTree(starts []string, limit int64, d *devices) *tree {
	t := &tree{starts: map[string]treeStart{}, lists: map[string]*listing{}, limit: limit, devices: d, doubtful: map[string]bool{}}
	for _, s := range starts {
		t.starts[s] = treeStart{}
	}
	return t
}

// add takes one record of find.
func (t *tree) add(r *shell.Record) error {
	attrs, err := attrsOf(r)
	if err != nil {
		return err
	}
	if r.Depth == 0 {
		return t.start(r, attrs)
	}
	for len(t.stack) > r.Depth {
		t.leave()
	}
	if len(t.stack) < r.Depth || r.Depth > maxDepth {
		return fmt.Errorf("find is %d folders deep in %d: %w", r.Depth, len(t.stack), shell.ErrIncomplete)
	}
	folder := t.stack[r.Depth-1]
	if isDots(r.Name) {
		return fmt.Errorf("find shows dots: %w", shell.ErrIncomplete)
	}
	if err := checkName(folder.path, r.Name); err != nil {
		return err
	}
	rec := t.devices.recordOf(r, attrs)
	t.size += folder.addFound(rec, r)
	if r.Type == 'd' && !t.here {
		t.size += t.enter(join(folder.path, string(r.Name)), r, attrs)
	}
	switch {
	case t.size <= t.limit:
		return nil
	case t.here:
		t.skip(folder)
		return nil
	default:
		return errTooMuch
	}
}

// begun finds out whether find showed all that it was to start from.
func (t *tree) begun() error {
	for path, start := range t.starts {
		if !start.attrs.HasMode {
			return fmt.Errorf("find does not show %.300q: %w", path, shell.ErrIncomplete)
		}
	}
	return nil
}

// skip gives up a folder alone.
func (t *tree) skip(f *openFolder) {
	for i := range f.flat {
		t.size -= recordSize + int64(f.flat[i].length) + int64(f.flat[i].target)
	}
	f.flat, f.arena[0], f.skipped = nil, nil, true
}

// start takes a path that find starts from.
func (t *tree) start(r *shell.Record, attrs wire.Attrs) error {
	t.leaveAll()
	path := string(r.Start)
	if known, ok := t.starts[path]; !ok || known.attrs.HasMode {
		return fmt.Errorf("find shows %.300q, which was not asked for: %w", path, shell.ErrIncomplete)
	}
	t.starts[path] = treeStart{attrs, t.devices.preciseOf(r)}
	if r.Type == 'd' {
		t.size += t.enter(path, r, attrs)
	}
	return nil
}

// folderSize is what a listing takes besides its names.
const folderSize = 300

// enter begins a folder and tells what it takes.
func (t *tree) enter(path string, r *shell.Record, attrs wire.Attrs) int64 {
	var f *openFolder
	if n := len(t.spare); n > 0 {
		f, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		f = &openFolder{listing: listing{arena: [][]byte{nil}}}
	}
	f.path, f.self, f.fine, f.skipped = path, attrs, t.devices.preciseOf(r), false
	t.stack = append(t.stack, f)
	return folderSize + int64(len(path))
}

func (t *tree) leaveAll() {
	for len(t.stack) > 0 {
		t.leave()
	}
}

// leave makes the listing of the innermost folder.
func (t *tree) leave() {
	n := len(t.stack)
	f := t.stack[n-1]
	t.stack = t.stack[:n-1]
	if !f.skipped {
		t.lists[f.path] = f.settle()
	}
	f.flat, f.arena[0] = f.flat[:0], f.arena[0][:0]
	if cap(f.flat) <= blockLength {
		t.spare = append(t.spare, f)
	}
}

// forget drops what is not complete.
func (t *tree) forget(doubtful []string) {
	for _, path := range doubtful {
		for _, p := range [2]string{path, parent(path)} {
			delete(t.lists, p)
			t.doubtful[p] = true
		}
	}
}

func parent(path string) string {
	path = strings.TrimSuffix(path, "/")
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// addFound takes one record into a listing and tells what it takes.
func (l *listing) addFound(rec record, r *shell.Record) int64 {
	rec.offset, rec.length = uint32(len(l.arena[0])), uint16(len(r.Name))
	l.arena[0] = append(l.arena[0], r.Name...)
	if r.Type == 'l' {
		rec.target = uint16(len(r.Target))
		l.arena[0] = append(l.arena[0], r.Target...)
	}
	l.flat = append(l.flat, rec)
	return recordSize + int64(len(r.Name)+int(rec.target))
}

// settle gives a listing of its own, sorted and of the right size.
func (f *openFolder) settle() *listing {
	f.order = f.order[:0]
	names := f.arena[0]
	for i := range f.flat {
		f.order = append(f.order, uint32(i))
	}
	name := func(i uint32) []byte { r := &f.flat[i]; return names[r.offset:][:r.length] }
	slices.SortFunc(f.order, func(a, b uint32) int { return bytes.Compare(name(a), name(b)) })
	f.order = slices.CompactFunc(f.order, func(a, b uint32) bool { return bytes.Equal(name(a), name(b)) })
	l := &listing{self: f.self, fine: f.fine, count: len(f.order)}
	l.flat = make([]record, len(f.order))
	arena := make([]byte, 0, len(names))
	for i, at := range f.order {
		r := f.flat[at]
		start := len(arena)
		arena = append(arena, names[r.offset:][:int(r.length)+int(r.target)]...)
		r.offset = uint32(start)
		l.flat[i] = r
	}
	l.arena = [][]byte{arena}
	l.size = folderSize + int64(len(f.path)+len(arena)+len(l.flat)*recordSize)
	return l
}
