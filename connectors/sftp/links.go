package sftp

import (
	"xvault/internal/entry"
)

// links knows the files that have several names, by the first name that was
// walked. Later ones are stored as links to it, if the first one came out as it was
// listed. Where there are too many the rest is stored as files.
type links struct {
	first map[inode]*firstName
	bytes int
}

// firstName is the name that holds the content.
type firstName struct {
	path string // absolute
	// good says, once it was visited, that the content of this very file is stored.
	good bool
}

const (
	maxLinked     = 200_000
	maxLinkedSize = 16 << 20
)

// putName puts a file, or a link to an earlier name of it.
func (r *reader) putName(sl *slot) error {
	if sl.fine.file == (inode{}) {
		return r.putFile(sl)
	}
	first := r.links.first[sl.fine.file]
	if first != nil {
		sl.other = first
		sl.item.Kind, sl.item.LinkTarget, sl.item.Size = entry.Hardlink, first.path[1:], 0
		return r.put(sl)
	}
	if len(r.links.first) < maxLinked && r.links.bytes+len(sl.path) < maxLinkedSize {
		sl.first = &firstName{path: sl.path}
		r.links.first[sl.fine.file] = sl.first
		r.links.bytes += len(sl.path)
	}
	return r.putFile(sl)
}

// settleName reads a file after all where the name that should hold its content
// does not.
func (r *reader) settleName(sl *slot) {
	if sl.other == nil || sl.other.good {
		return
	}
	sl.describe(entry.File, sl.listed)
	r.fetchCarefully(sl)
}

// noteName notes how a first name came out, after it was visited.
func (r *reader) noteName(sl *slot) {
	if sl.first == nil || sl.item.Err != nil || sl.item.Vanished || sl.item.Kind != entry.File {
		return
	}
	moved := sl.stream != nil && sl.stream.tries > 0 // it was opened once more
	sl.first.good = !moved && sl.item.Size == int64(sl.listed.Size) && uint32(sl.item.ModTime.Unix()) == sl.listed.ModTime
}
