package sftp

import (
	"errors"

	"xvault/connectors/sftp/wire"
)

var errOtherRoot = errors.New("its shell shows other files than SFTP does, or they change all the time")

// sameRoots finds out whether the shell sees the files that SFTP sees, which may be
// locked into a folder. The precise times of find go to the roots.
func (t *tree) sameRoots(s *session, roots []*root) error {
	for _, r := range roots {
		start, ok := t.starts[r.path]
		switch {
		case !ok:
			continue // it lies in another
		case start.attrs != r.attrs && !t.sameFolder(s, start.attrs, r):
			return errOtherRoot
		}
		r.fine = start.fine
	}
	return nil
}

// sameFolder is for a folder that has changed in between: what is in it tells.
func (t *tree) sameFolder(s *session, start wire.Attrs, r *root) bool {
	list := t.lists[r.path]
	if list == nil || start.Mode != r.attrs.Mode || start.UID != r.attrs.UID || start.GID != r.attrs.GID {
		return false
	}
	seen := make(map[string]wire.Attrs, list.count)
	for i := range list.count {
		rec := list.entry(i)
		seen[string(list.name(rec))] = rec.attrs()
	}
	same, other := 0, 0
	handle, err := s.OpenDir(r.path).Handle()
	if err != nil {
		return false
	}
	defer s.CloseHandle(handle) // nothing depends on it
	err = s.ReadDir(handle).Names(func(name, _ []byte, a wire.Attrs) error {
		known, ok := seen[string(name)]
		switch {
		case isDots(name):
		case ok && a == known:
			same++
		default:
			other++
		}
		return nil
	})
	return err == nil && same > other
}
