package sftp

import (
	"context"
	"errors"

	"xvault/connectors"
	"xvault/connectors/restoring"
	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/failpoint"
	"xvault/internal/job"
)

// putSymlink puts a symbolic link, wherever it leads: nobody here follows it.
func (t *target) putSymlink(item connectors.TargetItem, in *folder, path string) error {
	h, done := item.Header, t.announce(in, path)
	err := t.Task(path, func() error {
		defer done()
		return t.writeSymlink(&h, in, path)
	})
	if err != nil {
		done()
	}
	return err
}

func (t *target) writeSymlink(h *entry.Header, in *folder, path string) error {
	v, err := t.judge(path, h, in)
	if err != nil || v == keep {
		return err
	}
	if !t.can.OfOpenSSH() {
		return restoring.Refusef(job.ConfigInvalid, "%q is a symbolic link, and this server does not tell in which order it takes the two paths of one; make it by hand", path)
	}
	if err := t.Step("restore.create"); err != nil {
		return err
	}
	temp := t.temp(path, "new")
	err = t.sess.Symlink(h.LinkTarget, temp).Status()
	if errors.As(err, new(*wire.StatusError)) {
		_ = t.sess.Remove(temp).Status() // the next try tells
		err = t.sess.Symlink(h.LinkTarget, temp).Status()
	}
	if err != nil {
		return t.problem(path, err)
	}
	if err = t.dressLink(h, temp); err == nil {
		err = t.publish(temp, path, v)
	}
	if err != nil {
		if t.MayTidy() == nil {
			_ = t.sess.Remove(temp).Status() // the failure counts
		}
		return err
	}
	t.countLink(v)
	return nil
}

func (t *target) countLink(v verdict) {
	t.Count(func(r *connectors.TargetReport) {
		r.Links++
		if v == replace {
			r.Overwritten++
		}
	})
}

// dressLink gives a link its owner and time, where the server can.
func (t *target) dressLink(h *entry.Header, temp string) error {
	times, known := timesOf(h)
	if !t.can.Lsetstat || !known {
		t.lost(!t.can.Lsetstat, true)
		return nil
	}
	owner, at := t.sess.Lsetstat(temp, ownerOf(h)), t.sess.Lsetstat(temp, times)
	ownerErr, timeErr := owner.Status(), at.Status()
	for _, err := range []error{ownerErr, timeErr} {
		if err != nil && !wire.IsStatus(err) {
			return t.sess.cause(err)
		}
	}
	t.lost(ownerErr != nil, timeErr != nil)
	return nil
}

// putHardlink puts a further name of a file.
func (t *target) putHardlink(item connectors.TargetItem, in *folder, path string) error {
	first := join(t.base(), item.LinkTarget)
	t.mu.Lock()
	before := t.inFlight[first]
	t.mu.Unlock()
	done := t.announce(in, path)
	err := t.Task(path, func() error {
		defer done()
		if before != nil {
			<-before
		}
		return t.writeHardlink(&item, in, path, first)
	})
	if err != nil {
		done()
	}
	return err
}

func (t *target) writeHardlink(item *connectors.TargetItem, in *folder, path, first string) error {
	v, err := t.judge(path, &item.Header, in)
	if err != nil || v == keep {
		return err
	}
	linked, err := t.link(item, in, path, first, v)
	if err != nil {
		return err
	}
	if linked {
		t.countLink(v)
		return failpoint.Hit("restore.rename.after")
	}
	return t.copyLinked(item, path, v)
}

// link gives the first file another name; false where that cannot be, or where
// what stands under the first name is not the archive's.
func (t *target) link(item *connectors.TargetItem, in *folder, path, first string, v verdict) (bool, error) {
	if !t.can.Hardlink || checkTarget(item.LinkTarget, first) != nil {
		return false, nil //nolint:nilerr // then it becomes a file of its own
	}
	direct, err := t.direct(parent(first), in)
	if err != nil || !direct {
		return false, err
	}
	a, err := t.sess.Lstat(first).Attrs()
	if err != nil || a.Mode&wire.ModeType != wire.ModeRegular || !alike(a, &item.Header) {
		if err != nil && !wire.IsStatus(err) {
			return false, t.sess.cause(err)
		}
		return false, nil // skipped, refused, or changed since
	}
	if err := t.Step("restore.rename"); err != nil {
		return false, err
	}
	name := path
	if v == replace {
		name = t.temp(path, "new")
		_ = t.sess.Remove(name).Status() // the next step tells
	}
	err = t.sess.Link(first, name).Status()
	if err == nil && v == replace {
		err = t.replaceBy(name, path)
		// Where both names were the same file already, nothing was renamed.
		_ = t.sess.Remove(name).Status()
	}
	if err != nil && !wire.IsStatus(err) {
		return false, t.sess.cause(err)
	}
	return err == nil, nil
}

// direct reports whether no link leads to a folder below what people chose.
func (t *target) direct(dir string, known *folder) (bool, error) {
	for f := known; f != nil; f = f.in {
		if f.path == dir {
			return true, nil // it was looked at
		}
	}
	var calls []*wire.Call
	for at := dir; !t.trusted(at); at = parent(at) {
		calls = append(calls, t.sess.Lstat(at))
	}
	direct := true
	for _, call := range calls {
		a, err := call.Attrs()
		if err != nil && !wire.IsStatus(err) {
			return false, t.sess.cause(err)
		}
		direct = direct && err == nil && a.Mode&wire.ModeType == wire.ModeDir
	}
	return direct, nil
}

// copyLinked writes a further name as a file of its own. One at a time is read
// from the archive.
func (t *target) copyLinked(item *connectors.TargetItem, path string, v verdict) (err error) {
	if item.Content == nil {
		return restoring.Refusef(job.ArtifactCorrupt, "%q is a link to a file that is not in the archive", path)
	}
	t.copying.Lock()
	defer t.copying.Unlock()
	if err := t.Going(); err != nil {
		return err
	}
	content, err := item.Content(context.WithoutCancel(t.Context()))
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := content.Close(); err == nil {
			err = closeErr
		}
	}()
	u, err := t.begin(&item.Header, path)
	if err != nil {
		return err
	}
	if err = u.copy(content, item.Size); err == nil {
		err = u.end(v)
	}
	return u.over(err)
}
