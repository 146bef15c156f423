package sftp

import (
	"errors"

	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// kindOf says what a file is; false where the server does not tell. longID is
// the first letter of its line in the manner of ls, if there is one: some servers
// put the type only there.
func kindOf(a wire.Attrs, longID byte) (entry.Kind, bool) {
	if a.HasMode {
		switch a.Mode & wire.ModeType {
		case wire.ModeRegular:
			return entry.File, true
		case wire.ModeDir:
			return entry.Dir, true
		case wire.ModeSymlink:
			return entry.Symlink, true
		case wire.ModeFIFO:
			return entry.FIFO, true
		case wire.ModeSocket:
			return entry.Socket, true
		case wire.ModeChar, wire.ModeBlock:
			return entry.Device, true
		}
	}
	switch longID {
	case '-':
		return entry.File, true
	case 'd':
		return entry.Dir, true
	case 'l':
		return entry.Symlink, true
	case 'p':
		return entry.FIFO, true
	case 's':
		return entry.Socket, true
	case 'c', 'b':
		return entry.Device, true
	}
	return 0, false
}

// describe sets a slot's header; the size of a file is as announced. The names of
// its owners follow when it is visited.
func (sl *slot) describe(kind entry.Kind, a wire.Attrs) {
	h := entry.Header{Path: sl.path[1:], Kind: kind, Mode: a.Mode & 0o7777}
	if a.HasOwner {
		h.UID, h.GID = int(a.UID), int(a.GID)
	}
	if a.HasTimes {
		h.ModTime = sl.fine.timeOf(a)
	}
	if kind == entry.File && a.HasSize {
		h.Size = int64(min(a.Size, maxSize+1))
	}
	sl.item.Header, sl.owned = h, a.HasOwner
}

// unreadable explains why one entry cannot be read while the server is fine.
func unreadable(path, user string, err error) *job.Error {
	switch {
	case errors.Is(err, wire.ErrPermission):
		return job.Errorf(job.PermissionDenied, "%q cannot be read: the user %q lacks permission", path, user)
	default:
		return job.Errorf(job.PermissionDenied, "%q cannot be read: %w", path, quoted(err))
	}
}
