package ftp

import (
	"errors"
	"sync/atomic"

	"xvault/connectors"
	"xvault/connectors/ftp/lines"
	"xvault/connectors/ftp/wire"
	"xvault/connectors/restoring"
	"xvault/internal/entry"
	"xvault/internal/failpoint"
	"xvault/internal/job"
)

// upload is a file that is being written under a name of its own. It gets the name
// that it is meant for when the server confirmed that all of it is there. Its steps
// may be done again over another connection; the fields say which are done.
type upload struct {
	t    *target
	h    entry.Header
	in   *place
	path string
	name string // in the folder
	temp string

	judged   bool
	decision decision
	begun    atomic.Bool // there may be something under temp
	hidden   bool
	sent     bool // all is there
	dressed  bool // and has what it is to have
	renaming bool // it may have its name
	aside    bool // the file that it replaces may stand aside
	lost     loss
	window   window // what was sent last of a large one
}

func (t *target) newUpload(h entry.Header, in *place, path string) *upload {
	_, name := split(path)
	return &upload{t: t, h: h, in: in, path: path, name: name, temp: t.tempNew()}
}

// whole writes a file that is held as a whole, or ends one whose content was sent.
func (u *upload) whole(data []byte) error {
	if err := u.await(); err != nil {
		return err
	}
	err := u.t.with(func(s *session) error {
		if err := u.judge(s); err != nil || u.decision == keep {
			return err
		}
		if err := u.store(s, data); err != nil {
			return err
		}
		if err := u.dress(s); err != nil {
			return err
		}
		return u.publish(s)
	})
	if err != nil {
		return u.over(u.t.writeProblem(u.path, err))
	}
	return nil
}

// await waits for the folder.
func (u *upload) await() error {
	<-u.in.ready
	if u.in.err != nil {
		return behind(u.path, u.in.err)
	}
	return u.t.Going()
}

func (u *upload) judge(s *session) (err error) {
	if !u.judged {
		u.decision, err = u.t.judge(s, u.in, u.path, &u.h)
		u.judged = err == nil
	}
	return err
}

// open makes the file, or goes on with it at an offset.
func (u *upload) open(s *session, offset int64) (*wire.Transfer, error) {
	if err := u.t.Step("restore.create"); err != nil {
		return nil, err
	}
	if err := s.enter(u.in.folder); err != nil {
		return nil, err
	}
	if err := u.hide(s); err != nil {
		return nil, err
	}
	u.begun.Store(true)
	return s.wire.Start(s.ctx, "STOR", wire.Relative(u.temp), offset)
}

// hide takes what only its owner may read from all others before there is content: in
// FTP a file begins with the mode that the server gives it.
func (u *upload) hide(s *session) error {
	if u.in.private || u.h.Mode&0o077 != 0 || u.hidden {
		return nil
	}
	u.begun.Store(true)
	t, err := s.wire.Start(s.ctx, "STOR", wire.Relative(u.temp), 0)
	if err != nil {
		return err
	}
	if _, err := t.Finish(); err != nil {
		return err
	}
	_, err = u.t.can.ask(&u.t.can.modes, func() error { return s.wire.Chmod(u.temp, 0o600) })
	u.hidden = err == nil
	return err
}

// store sends what is held.
func (u *upload) store(s *session, data []byte) error {
	if u.sent {
		return nil
	}
	t, err := u.open(s, 0)
	if err != nil {
		return err
	}
	if err := failpoint.Hit("restore.write"); err != nil {
		t.Abort()
		return err
	}
	if _, err := t.Write(data); err != nil {
		return t.Broke(err)
	}
	if _, err := t.Finish(); err != nil {
		return err
	}
	u.sent = true
	return nil
}

// dress sets mode and time, and looks whether all is there.
func (u *upload) dress(s *session) error {
	if u.dressed {
		return nil
	}
	if err := s.enter(u.in.folder); err != nil {
		return err
	}
	// The bits that lend the owner's rights wait until it is known whose it is.
	const setID = 0o6000
	mode := u.h.Mode & 0o7777 &^ setID
	moded, err := u.t.can.ask(&u.t.can.modes, func() error { return s.wire.Chmod(u.temp, mode) })
	if err != nil {
		return err
	}
	timed, err := u.t.can.ask(&u.t.can.file, func() error { return s.wire.SetModified(u.temp, u.h.ModTime) })
	if err != nil {
		return err
	}
	line, err := u.measure(s)
	if err != nil {
		return err
	}
	if err := u.t.learnOwner(s, u.temp); err != nil {
		return err
	}
	u.lost = loss{attribute: !moded || !timed || len(u.h.Xattrs) > 0}
	plain := u.h
	plain.Mode = mode
	u.t.compare(&u.lost, line, &plain)
	if timed && !line.HasTime {
		is, err := s.timeIs(u.temp, u.h.ModTime)
		if err != nil {
			return err
		}
		u.lost.attribute = u.lost.attribute || !is
	}
	if mode != u.h.Mode&0o7777 {
		granted := false
		if !u.lost.owner {
			granted, err = u.t.can.ask(&u.t.can.modes, func() error { return s.wire.Chmod(u.temp, u.h.Mode&0o7777) })
		}
		u.lost.attribute = u.lost.attribute || !granted
	}
	u.dressed = err == nil
	return err
}

// measure requires that the server has as many bytes as it was sent.
func (u *upload) measure(s *session) (lines.Line, error) {
	line, err := u.t.facts(s, u.temp)
	if err != nil && !isRefusal(err) {
		return line, err
	}
	if !line.HasSize {
		size, err := s.wire.Size(u.temp)
		switch code := wire.CodeOf(err); {
		case code == 500 || code == 502:
			return line, nil // a server that knows no SIZE; its word that all came has to do
		case err != nil:
			return line, err
		}
		line.Size = size
	}
	if line.Size != u.h.Size {
		return line, job.Errorf(job.Internal, "the server has %d bytes of %q where %d were written, and called that complete; nothing it says can be relied on", line.Size, u.path, u.h.Size)
	}
	return line, nil
}

// publish gives what is whole its name.
func (u *upload) publish(s *session) error {
	if err := s.enter(u.in.folder); err != nil {
		return err
	}
	if u.renaming {
		done, err := u.isPublished(s)
		if err == nil && done {
			return u.removeOld(s)
		}
		if err != nil {
			return err
		}
	}
	if err := u.t.Step("restore.rename"); err != nil {
		return err
	}
	if u.decision == create && !u.in.fresh {
		// FTP knows no renaming that replaces nothing.
		if taken, err := u.isTaken(s); err != nil || taken {
			return errors.Join(err, restoring.Refusef(job.SourceChanged, "%q was made by someone else just now, and was not replaced", u.path))
		}
	}
	u.renaming = true
	err := s.wire.Rename(u.temp, s.newName(u.in, u.name))
	if isRefusal(err) && u.decision == replace {
		err = u.replaceAside(s, err)
	}
	if err == nil {
		err = u.removeOld(s)
	}
	if err != nil {
		return err
	}
	u.published()
	return failpoint.Hit("restore.rename.after")
}

func (u *upload) published() {
	u.begun.Store(false)
	u.t.Count(func(r *connectors.TargetReport) {
		r.Files++
		r.Bytes += u.h.Size
		if u.decision == replace {
			r.Overwritten++
		}
	})
	u.t.countLost(u.lost)
}

// isPublished finds out whether a renaming was done whose answer did not come.
func (u *upload) isPublished(s *session) (bool, error) {
	_, err := s.wire.Size(u.temp)
	if err == nil || !isRefusal(err) {
		return false, err
	}
	size, err := s.wire.Size(wire.Relative(u.name))
	if isRefusal(err) {
		return false, nil
	}
	if err == nil && size == u.h.Size {
		u.published()
		return true, nil
	}
	return false, err
}

// isTaken looks once more right before a name is taken.
func (u *upload) isTaken(s *session) (bool, error) {
	var err error
	if s.usesMLST() {
		_, err = s.wire.Facts(u.name)
	} else {
		_, err = s.wire.Size(wire.Relative(u.name))
	}
	if isRefusal(err) {
		return false, nil
	}
	return err == nil, err
}

// replaceAside replaces a file on servers whose renaming replaces nothing: the old one
// stands aside for a moment, and comes back if the new one cannot have the name.
func (u *upload) replaceAside(s *session, why error) error {
	aside, again := u.t.temp(u.name, purposeOld), u.aside
	u.aside = true
	err := s.wire.Rename(u.name, aside)
	if isRefusal(err) {
		// It may stand there since a connection broke.
		if u.aside = false; again {
			err = s.wire.Rename(aside, u.name)
		}
		if err == nil || isRefusal(err) {
			err = why
		}
	}
	if err != nil {
		return err
	}
	if err := s.wire.Rename(u.temp, s.newName(u.in, u.name)); err != nil {
		back := s.wire.Rename(aside, u.name)
		if back == nil {
			u.aside = false
		}
		return errors.Join(err, back)
	}
	return nil
}

// removeOld removes the file that was replaced, where it stood aside.
func (u *upload) removeOld(s *session) error {
	if !u.aside {
		return nil
	}
	if err := s.wire.Remove(u.t.temp(u.name, purposeOld)); err != nil && !isRefusal(err) {
		return err
	}
	u.aside = false
	return nil
}

// over removes what did not get its name, if it may.
func (u *upload) over(err error) error {
	if err == nil || !u.begun.Load() || u.t.lost.Load() || job.CodeOf(err) == job.ConnectFailed || u.t.MayTidy() != nil {
		return err
	}
	u.begun.Store(false)
	_ = u.t.with(func(s *session) error { // a later attempt does, if the connection is gone
		if err := s.enter(u.in.folder); err != nil {
			return err
		}
		return s.wire.Remove(u.temp)
	})
	return err
}
