package sftp

import (
	"errors"
	"io"

	"xvault/connectors"
	"xvault/connectors/restoring"
	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/failpoint"
	"xvault/internal/job"
)

// upload is a file that is being written under a name of its own. It gets the
// name that it is meant for when all of it is there.
type upload struct {
	t      *target
	h      *entry.Header
	path   string
	temp   string // "" once it is gone, or has its name
	handle string
	open   bool
	offset int64
	calls  []*wire.Call // writes that were not answered yet
}

// begin makes the file, which nobody else can read.
func (t *target) begin(h *entry.Header, path string) (*upload, error) {
	if err := t.Step("restore.create"); err != nil {
		return nil, err
	}
	u := &upload{t: t, h: h, path: path, temp: t.temp(path, "new")}
	handle, err := t.sess.Create(u.temp, 0o600).Handle()
	if errors.As(err, new(*wire.StatusError)) {
		// A folder that two names of one file system lead to may hold one already.
		_ = t.sess.Remove(u.temp).Status() // the next try tells
		handle, err = t.sess.Create(u.temp, 0o600).Handle()
	}
	if err != nil {
		return nil, t.problem(path, err)
	}
	u.handle, u.open = handle, true
	return u, failpoint.Hit("restore.write")
}

// write sends data, within the window.
func (u *upload) write(data []byte) error {
	for len(data) > 0 {
		n := min(len(data), writeChunk)
		u.calls = append(u.calls, u.t.sess.Write(u.handle, u.offset, data[:n]))
		data, u.offset = data[n:], u.offset+int64(n)
		if err := u.settle(writeWindow / writeChunk); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until no more than left writes are on their way.
func (u *upload) settle(left int) error {
	for len(u.calls) > left {
		err := u.calls[0].Status()
		u.calls = u.calls[1:]
		if err != nil {
			return u.t.writeProblem(u.path, err)
		}
	}
	return nil
}

// copy sends a body of a known size, to its end. The body's errors are bodyError.
func (u *upload) copy(body io.Reader, size int64) error {
	buf := make([]byte, writeChunk)
	for size > 0 {
		n, err := io.ReadFull(body, buf[:min(size, writeChunk)])
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return restoring.BodyError{Err: err}
		}
		if err := u.t.Going(); err != nil {
			return err
		}
		if err := u.write(buf[:n]); err != nil {
			return err
		}
		size -= int64(n)
	}
	if err := restoring.AtEnd(body); err != nil {
		return restoring.BodyError{Err: err}
	}
	return nil
}

// end completes the file and gives it its name.
func (u *upload) end(v verdict) error {
	if err := u.complete(); err != nil {
		return err
	}
	if err := u.t.publish(u.temp, u.path, v); err != nil {
		return err
	}
	u.temp = ""
	u.t.Count(func(r *connectors.TargetReport) {
		r.Files++
		r.Bytes += u.offset
		if v == replace {
			r.Overwritten++
		}
	})
	return nil
}

// complete sets attributes, looks whether all is there, and closes.
func (u *upload) complete() error {
	s := u.t.sess
	var synced *wire.Call
	if u.t.can.Fsync && u.offset > writeSmall {
		synced = s.Fsync(u.handle)
	}
	owner := s.Fsetstat(u.handle, ownerOf(u.h))
	mode, err := u.mode(owner)
	if err != nil {
		return err
	}
	calls := []*wire.Call{owner, s.Fsetstat(u.handle, modeOf(mode))}
	if err := u.settle(0); err != nil {
		return err
	}
	// Behind the last write, on servers too that do several things at once.
	times, known := timesOf(u.h)
	if known {
		calls = append(calls, s.Fsetstat(u.handle, times))
	}
	look := s.Fstat(u.handle)
	closed := s.CloseHandle(u.handle)
	u.open = false
	errs := make([]error, len(calls))
	for i, call := range calls {
		if errs[i] = call.Status(); errs[i] != nil && !wire.IsStatus(errs[i]) {
			return s.cause(errs[i])
		}
	}
	a, lookErr := look.Attrs()
	if synced != nil {
		err = synced.Status()
	}
	if err = errors.Join(err, closed.Status()); err != nil {
		return u.t.writeProblem(u.path, err)
	}
	if lookErr == nil && a.HasSize && int64(a.Size) != u.offset {
		return job.Errorf(job.Internal, "the server has %d bytes of %q where %d were written; nothing it says can be relied on", a.Size, u.path, u.offset)
	}
	u.t.lost(errs[0] != nil, errs[1] != nil || !known || errs[len(errs)-1] != nil || mode != u.h.Mode || len(u.h.Xattrs) > 0)
	return nil //nolint:nilerr // what is lost is counted
}

// mode is the file's, without the bits that would lend the rights of an owner whom
// it does not have.
func (u *upload) mode(owner *wire.Call) (uint32, error) {
	const setID = 0o6000
	if u.h.Mode&setID == 0 {
		return u.h.Mode, nil
	}
	err := owner.Status()
	switch {
	case err == nil:
		return u.h.Mode, nil
	case wire.IsStatus(err):
		return u.h.Mode &^ setID, nil
	default:
		return 0, u.t.sess.cause(err)
	}
}

// over removes what did not get its name, if it may.
func (u *upload) over(err error) error {
	if err == nil || u.temp == "" || u.t.MayTidy() != nil {
		return err
	}
	if u.open {
		u.t.sess.CloseHandle(u.handle) // before it is removed, for servers that insist
	}
	_ = u.t.sess.Remove(u.temp).Status() // a later attempt does, if the connection is gone
	u.temp = ""
	return err
}
