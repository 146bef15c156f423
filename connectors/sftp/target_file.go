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

// verdict says what is to be done about an entry.
type verdict int

const (
	create  verdict = iota // nothing is there
	replace                // something is there that the rule gives up
	keep                   // what is there stays, and was counted
)

// judge looks at what is at a path and decides by the rule. In a folder that this
// attempt made nothing is.
func (t *target) judge(path string, h *entry.Header, in *folder) (verdict, error) {
	<-in.ready
	if in.err != nil {
		return keep, behind(path, in.err)
	}
	if in.fresh {
		return create, nil
	}
	if err := t.sweep(path); err != nil {
		return keep, err
	}
	a, err := t.sess.Lstat(path).Attrs()
	switch {
	case errors.Is(err, wire.ErrNotExist):
		return create, nil
	case err != nil:
		return keep, t.problem(path, err)
	}
	kind, _ := kindOf(a, 0)
	if kind != entry.File && kind != entry.Symlink {
		return keep, errOther(path, what(kind))
	}
	if t.opts.Existing != job.ExistingOverwrite {
		same, err := t.same(path, h, kind, a)
		if err != nil {
			return keep, err
		}
		if same {
			t.Count(func(r *connectors.TargetReport) { r.Unchanged++ })
			return keep, nil
		}
	}
	switch {
	case t.opts.Existing == job.ExistingOverwrite,
		t.opts.Existing == job.ExistingNewer && a.HasTimes && h.ModTime.Unix() > int64(a.ModTime):
		return replace, nil
	}
	t.Count(func(r *connectors.TargetReport) { r.Skipped++ })
	return keep, nil
}

// behind is why nothing can be put into a folder.
func behind(path string, err error) error {
	one, ok := errors.AsType[restoring.EntryError](err)
	if !ok {
		return err
	}
	return restoring.Refusef(one.Why.Code, "%q was not written: %s", path, one.Why.Message)
}

// sweep removes what an earlier attempt left of a path.
func (t *target) sweep(path string) error {
	if !t.opts.Again {
		return nil
	}
	if err := t.Allowed(); err != nil {
		return err
	}
	t.sess.Remove(t.temp(path, "new")) // whether it went shows when it is made anew
	if t.can.PosixRename {
		return nil
	}
	aside := t.temp(path, "old")
	look, old := t.sess.Lstat(path), t.sess.Lstat(aside)
	_, hereErr := look.Attrs()
	_, oldErr := old.Attrs()
	var err error
	switch {
	case oldErr != nil:
		err = onlyLost(oldErr)
	case errors.Is(hereErr, wire.ErrNotExist):
		// It died while the old file was out of the way.
		err = t.sess.Rename(aside, path).Status()
	default:
		err = onlyLost(t.sess.Remove(aside).Status())
	}
	return t.problem(path, err)
}

// onlyLost passes over what a server refuses.
func onlyLost(err error) error {
	if wire.IsStatus(err) {
		return nil
	}
	return err
}

// same reports whether what is there is the entry, as far as a look tells.
func (t *target) same(path string, h *entry.Header, kind entry.Kind, a wire.Attrs) (bool, error) {
	if kind == entry.Symlink {
		if h.Kind != entry.Symlink {
			return false, nil
		}
		text, err := t.sess.ReadLink(path).Target()
		if err != nil && !wire.IsStatus(err) {
			return false, t.sess.cause(err)
		}
		return err == nil && text == h.LinkTarget, nil
	}
	return h.Kind != entry.Symlink && alike(a, h), nil
}

// alike reports whether a file has the size and the time of an entry.
func alike(a wire.Attrs, h *entry.Header) bool {
	return a.HasSize && a.HasTimes && int64(a.Size) == h.Size && int64(a.ModTime) == h.ModTime.Unix()
}

// putContent puts an entry that is a file.
func (t *target) putContent(item connectors.TargetItem, in *folder, path string) error {
	if item.Size > writeSmall {
		return t.putLarge(item, in, path)
	}
	charge := item.Size + leastCharge
	if err := t.ahead.Acquire(t.Context(), charge); err != nil {
		return t.Going()
	}
	data := make([]byte, item.Size)
	if err := restoring.ReadWhole(item.Body, data); err != nil {
		t.ahead.Release(charge)
		return err
	}
	h, done := item.Header, t.announce(in, path)
	err := t.Task(path, func() error {
		defer done()
		defer t.ahead.Release(charge)
		return t.writeFile(&h, in, path, data)
	})
	if err != nil {
		t.ahead.Release(charge)
		done()
	}
	return err
}

// announce says that a file is on its way to a path in a folder, until done is
// called.
func (t *target) announce(in *folder, path string) (done func()) {
	in.pending.Add(1)
	ended := make(chan struct{})
	t.mu.Lock()
	t.inFlight[path] = ended
	t.mu.Unlock()
	return func() {
		t.mu.Lock()
		delete(t.inFlight, path)
		t.mu.Unlock()
		close(ended)
		in.pending.Done()
	}
}

func (t *target) writeFile(h *entry.Header, in *folder, path string, data []byte) error {
	v, err := t.judge(path, h, in)
	if err != nil || v == keep {
		return err
	}
	u, err := t.begin(h, path)
	if err != nil {
		return err
	}
	if err = u.write(data); err == nil {
		err = u.end(v)
	}
	return u.over(err)
}

// putLarge writes a file while it is read. Its end is left to a task.
func (t *target) putLarge(item connectors.TargetItem, in *folder, path string) error {
	h := item.Header
	room, err := t.Hold()
	if err != nil {
		return err
	}
	done := t.announce(in, path)
	free := func() { room(); done() }
	u, v, err := t.stream(&h, in, path, item.Body)
	if u == nil || err != nil {
		defer free()
		if one, ok := errors.AsType[restoring.BodyError](err); ok {
			return one.Err
		}
		t.Settle(path, err)
		return t.Going()
	}
	t.Go(path, func() error {
		defer free()
		return u.over(u.end(v))
	})
	return nil
}

// stream sends a body; the upload is nil where what is there stays.
func (t *target) stream(h *entry.Header, in *folder, path string, body io.Reader) (*upload, verdict, error) {
	v, err := t.judge(path, h, in)
	if err != nil || v == keep {
		return nil, v, err
	}
	u, err := t.begin(h, path)
	if err != nil {
		return nil, v, err
	}
	if err := u.copy(body, h.Size); err != nil {
		return nil, v, u.over(err)
	}
	return u, v, nil
}

// publish gives what is whole its name.
func (t *target) publish(temp, path string, v verdict) error {
	if err := t.Step("restore.rename"); err != nil {
		return err
	}
	var err error
	if v == create {
		err = t.sess.Rename(temp, path).Status()
	} else {
		err = t.replaceBy(temp, path)
	}
	if errors.As(err, new(*wire.StatusError)) && v == create {
		if _, lookErr := t.sess.Lstat(path).Attrs(); lookErr == nil {
			return restoring.Refusef(job.SourceChanged, "%q was made by someone else just now, and was not replaced", path)
		}
	}
	if err != nil {
		return t.problem(path, err)
	}
	return failpoint.Hit("restore.rename.after")
}

// replaceBy gives a name that is taken to another file. Where the server cannot do
// that at one stroke the old file stands aside for a moment, and comes back if the
// new one cannot have the name.
func (t *target) replaceBy(temp, path string) error {
	if t.can.PosixRename {
		return t.sess.Replace(temp, path).Status()
	}
	aside := t.temp(path, "old")
	if err := t.sess.Rename(path, aside).Status(); err != nil {
		return err
	}
	if err := t.sess.Rename(temp, path).Status(); err != nil {
		return errors.Join(err, t.sess.Rename(aside, path).Status())
	}
	return t.sess.Remove(aside).Status()
}
