package sftp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"sync"

	"xvault/connectors"
	"xvault/connectors/restoring"
	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/failpoint"
	"xvault/internal/job"
)

// folder is a folder on the server that entries are put in. One that is made is
// the user's alone until all that belongs into it is there: so nobody else can put
// a link in the way meanwhile.
//
// A later attempt must know which folders are of an earlier one, for only these
// get the modes and times of the archive where existing ones stay as they are. So
// the topmost folder that is made has a file beside it for as long, its mark.
type folder struct {
	path    string
	in      *folder
	ready   chan struct{} // closed when what follows is known
	err     error         // nothing can be put in it
	fresh   bool          // this attempt made it: what it did not put there is not there
	ours    bool          // this job made it
	attrs   *entry.Header // it gets when all is in it; nil: it stays as it is
	mark    string
	pending sync.WaitGroup // what is being put in it
}

func (t *target) top() *folder { return t.stack[len(t.stack)-1] }

// putFolder puts an entry that is a folder.
func (t *target) putFolder(item connectors.TargetItem, path string) error {
	if _, err := t.enter(parent(path)); err != nil {
		return err
	}
	return t.push(path, &item)
}

// enter gives a folder to put something in. The folders on the way that are no
// entries are made where they are missing.
func (t *target) enter(dir string) (*folder, error) {
	for !within(dir, t.top().path) {
		t.leave()
	}
	for t.top().path != dir {
		rest := strings.TrimPrefix(dir[len(t.top().path):], "/")
		name, _, _ := strings.Cut(rest, "/")
		if err := t.push(join(t.top().path, name), nil); err != nil {
			return nil, err
		}
	}
	return t.top(), nil
}

// push begins a folder in the topmost one. item is nil where it is no entry.
func (t *target) push(path string, item *connectors.TargetItem) error {
	in := t.top()
	f := &folder{path: path, in: in, ready: make(chan struct{})}
	if item != nil {
		f.attrs = &item.Header
	}
	in.pending.Add(1)
	t.stack = append(t.stack, f)
	err := t.Task(path, func() error {
		defer close(f.ready)
		f.err = t.settleFolder(f, item != nil && item.Above)
		if item == nil || item.Above {
			return restoring.OnlyFatal(f.err) // it is told of what was to be put in it
		}
		return f.err
	})
	if err != nil {
		f.err = err
		close(f.ready)
	}
	return err
}

// settleFolder finds a folder or makes it.
func (t *target) settleFolder(f *folder, above bool) error {
	<-f.in.ready
	if f.in.err != nil {
		return f.in.err
	}
	if !f.in.fresh {
		found, err := t.findFolder(f)
		if err != nil {
			return err
		}
		if found {
			if !f.ours && (above || t.opts.Existing != job.ExistingOverwrite) {
				f.attrs = nil
			}
			return nil
		}
	}
	return t.makeFolder(f)
}

// findFolder looks whether the folder is there. Below what people chose a link is
// none.
func (t *target) findFolder(f *folder) (bool, error) {
	look := t.sess.Lstat
	if t.trusted(f.path) {
		look = t.sess.Stat
	}
	f.ours = f.in.ours
	var marked *wire.Call
	if t.opts.Again && !f.ours && f.attrs != nil {
		f.mark = t.temp(f.path, "dir")
		marked = t.sess.Lstat(f.mark)
	}
	a, err := look(f.path).Attrs()
	if marked != nil {
		_, markErr := marked.Attrs()
		if markErr != nil && !wire.IsStatus(markErr) {
			return false, t.sess.cause(markErr)
		}
		if f.ours = markErr == nil; !f.ours {
			f.mark = ""
		}
	}
	switch kind, _ := kindOf(a, 0); {
	case errors.Is(err, wire.ErrNotExist):
		return false, nil
	case err != nil:
		return false, t.problem(f.path, err)
	case kind == entry.Symlink:
		return false, errLink(f.path)
	case kind != entry.Dir:
		return false, errOther(f.path, what(kind))
	}
	return true, nil
}

// makeFolder makes a folder that is not there.
func (t *target) makeFolder(f *folder) error {
	if err := t.Step("restore.mkdir"); err != nil {
		return err
	}
	mode := uint32(0o755)
	if f.attrs != nil {
		mode, f.ours = 0o700, true
		if err := t.markFolder(f); err != nil {
			return err
		}
	}
	err := t.sess.Mkdir(f.path, mode).Status()
	if err != nil {
		// Someone else may have made it meanwhile.
		found, findErr := t.findFolder(f)
		if findErr != nil {
			return findErr
		}
		if found {
			f.ours, f.attrs = f.in.ours, nil
			return t.unmark(f)
		}
		return t.problem(f.path, err)
	}
	f.fresh = true
	if f.attrs != nil {
		t.Count(func(r *connectors.TargetReport) { r.Dirs++ })
	}
	return failpoint.Hit("restore.mkdir.after")
}

// markFolder says for later attempts that the folder is about to be made.
func (t *target) markFolder(f *folder) error {
	if f.in.ours {
		return nil // and so is all in it
	}
	f.mark = t.temp(f.path, "dir")
	handle, err := t.sess.Create(f.mark, 0o600).Handle()
	switch {
	case err == nil:
		err = t.sess.CloseHandle(handle).Status()
	case t.opts.Again:
		if _, there := t.sess.Lstat(f.mark).Attrs(); there == nil {
			return nil
		}
	}
	if err != nil {
		f.mark = ""
	}
	return t.problem(f.path, err)
}

func (t *target) unmark(f *folder) error {
	if f.mark == "" {
		return nil
	}
	err := t.sess.Remove(f.mark).Status()
	f.mark = ""
	if err != nil && !wire.IsStatus(err) {
		return t.sess.cause(err)
	}
	return nil
}

// leave ends the topmost folder: nothing more is put in it.
func (t *target) leave() {
	f := t.top()
	t.stack = t.stack[:len(t.stack)-1]
	// Also when the restore is over already, what was made is brought in order.
	t.Last(f.path, func() error { return t.completeFolder(f) })
}

// completeFolder gives a folder its owner, mode and time once all is in it.
func (t *target) completeFolder(f *folder) error {
	defer f.in.pending.Done()
	<-f.ready
	f.pending.Wait()
	if f.err != nil || f.attrs == nil {
		return nil
	}
	if why := t.Going(); why != nil && t.opts.Resumes != nil && t.opts.Resumes(why) {
		return nil
	}
	if err := t.MayTidy(); err != nil {
		return err
	}
	if err := failpoint.Hit("restore.folder"); err != nil {
		return err
	}
	if err := t.dress(f.path, f.attrs); err != nil {
		return err
	}
	if err := failpoint.Hit("restore.folder.after"); err != nil {
		return err
	}
	return t.unmark(f)
}

// dress sets the attributes of a folder.
func (t *target) dress(path string, h *entry.Header) error {
	set := t.sess.Setstat
	if noFollow := t.can.Lsetstat && !t.trusted(path); noFollow {
		set = t.sess.Lsetstat
	}
	calls := []*wire.Call{set(path, ownerOf(h)), set(path, modeOf(h.Mode))}
	times, known := timesOf(h)
	if known {
		calls = append(calls, set(path, times))
	}
	errs := make([]error, len(calls))
	for i, call := range calls {
		if errs[i] = call.Status(); errs[i] != nil && !wire.IsStatus(errs[i]) {
			return t.sess.cause(errs[i])
		}
	}
	if errs[1] != nil && t.can.Lsetstat {
		// Where a system cannot change the mode of what may be a link, it must be
		// looked at first.
		if a, err := t.sess.Lstat(path).Attrs(); err == nil && a.Mode&wire.ModeType == wire.ModeDir {
			errs[1] = t.sess.Setstat(path, modeOf(h.Mode)).Status()
		}
	}
	t.lost(errs[0] != nil, errs[1] != nil || !known || errs[len(errs)-1] != nil || len(h.Xattrs) > 0)
	return nil //nolint:nilerr // what is lost is counted
}

// lost counts an entry that did not get all that it had.
func (t *target) lost(owner, attribute bool) {
	if !owner && !attribute {
		return
	}
	t.Count(func(r *connectors.TargetReport) {
		if owner {
			r.OwnersLost++
		}
		if attribute {
			r.AttributesLost++
		}
	})
}

func ownerOf(h *entry.Header) wire.Attrs {
	return wire.Attrs{HasOwner: true, UID: uint32(h.UID), GID: uint32(h.GID)}
}

func modeOf(mode uint32) wire.Attrs {
	return wire.Attrs{HasMode: true, Mode: mode & 0o7777}
}

// timesOf gives the time that can be said over SFTP: whole seconds from 1970 on.
func timesOf(h *entry.Header) (wire.Attrs, bool) {
	seconds := h.ModTime.Unix()
	if seconds < 0 || seconds > math.MaxUint32 {
		return wire.Attrs{}, false
	}
	return wire.Attrs{HasTimes: true, ModTime: uint32(seconds)}, true
}

// temp is the name beside a path for what is not whole yet. The same path always
// has the same one within a job, so that a later attempt finds it.
func (t *target) temp(path, purpose string) string {
	sum := sha256.Sum256([]byte(path[strings.LastIndexByte(path, '/')+1:]))
	return join(parent(path), connectors.TempPrefix+t.opts.JobID+"-"+hex.EncodeToString(sum[:8])+"-"+purpose)
}
