package ftp

import (
	"errors"
	"strings"
	"sync"

	"xvault/connectors"
	"xvault/connectors/ftp/wire"
	"xvault/connectors/restoring"
	"xvault/internal/entry"
	"xvault/internal/failpoint"
	"xvault/internal/job"
)

// place is a folder on the server that entries are put in. One that is made is the
// user's alone until all that belongs into it is there, where the server sets modes.
//
// A later attempt must know which folders are of an earlier one, for only these get
// the modes and times of the archive where existing ones stay as they are. So the
// topmost folder that is made has an empty folder beside it for as long, its mark.
type place struct {
	folder
	in      *place
	ready   chan struct{} // closed when what follows is known
	err     error         // nothing can be put in it
	fresh   bool          // this attempt made it: what it did not put there is not there
	private bool          // nobody else can look into it
	ours    bool          // this job made it
	attrs   *entry.Header // it gets when all is in it; nil: it stays as it is
	marked  bool
	asked   bool           // the server was asked to make it
	pending sync.WaitGroup // what is being put in it

	looking sync.Mutex
	list    *listing // of what was there before; nil: not looked yet
}

func (p *place) name() string {
	_, name := split(p.path)
	return name
}

func (t *target) top() *place { return t.stack[len(t.stack)-1] }

// putFolder puts an entry that is a folder.
func (t *target) putFolder(item connectors.TargetItem, path string) error {
	dir, _ := split(path)
	if _, err := t.enter(dir); err != nil {
		return err
	}
	return t.push(path, &item)
}

// enter gives a folder to put something in. The folders on the way that are no
// entries are made where they are missing.
func (t *target) enter(dir string) (*place, error) {
	for top := t.top().path; dir != top && !below(dir, top); top = t.top().path {
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
	p := &place{folder: folder{path: path}, in: in, ready: make(chan struct{})}
	if item != nil {
		p.attrs = &item.Header
	}
	in.pending.Add(1)
	t.stack = append(t.stack, p)
	err := t.Task(path, func() error {
		defer close(p.ready)
		p.err = t.settleFolder(p, item != nil && item.Above)
		if item == nil || item.Above {
			return restoring.OnlyFatal(p.err) // it is told of what was to be put in it
		}
		return p.err
	})
	if err != nil {
		p.err = err
		close(p.ready)
	}
	return err
}

// settleFolder finds a folder or makes it.
func (t *target) settleFolder(p *place, above bool) error {
	<-p.in.ready
	if p.in.err != nil {
		return behind(p.path, p.in.err)
	}
	if !t.trusted(p.path) && p.in.real != "" {
		p.real = join(p.in.real, p.name())
	}
	var found bool
	if !p.in.fresh {
		err := t.with(func(s *session) (err error) {
			found, err = t.findFolder(s, p)
			return err
		})
		if err != nil {
			return t.problem(p.path, err)
		}
	}
	if !found {
		return t.problem(p.path, t.with(func(s *session) error { return t.makeFolder(s, p) }))
	}
	if !p.ours && (above || t.opts.Existing != job.ExistingOverwrite) {
		p.attrs = nil
	}
	return nil
}

// findFolder looks whether the folder is there. Below what people chose no link is
// followed.
func (t *target) findFolder(s *session, p *place) (bool, error) {
	if err := t.Going(); err != nil {
		return false, err
	}
	p.ours = p.in.ours
	if t.opts.Again && !p.ours && p.attrs != nil {
		marked, err := t.isMarked(s, p)
		if err != nil {
			return false, err
		}
		p.ours, p.marked = marked, marked
	}
	var err error
	if t.trusted(p.path) {
		p.real, err = s.locate(p.path)
	} else {
		err = s.enter(p.folder)
	}
	switch {
	case err == nil && p.real == "":
		// The server does not tell where it is: its listing has to.
		return true, t.checkKind(s, p)
	case err == nil:
		return true, nil
	case errors.Is(err, wire.ErrElsewhere):
		return false, errLink(p.path)
	case isRefusal(err) && !isTransient(err):
		return false, nil
	}
	return false, err
}

// checkKind makes sure of a folder by the listing of the one that it lies in.
func (t *target) checkKind(s *session, p *place) error {
	if t.trusted(p.path) {
		return nil
	}
	line, err := t.lookUp(s, p.in, p.name())
	if err == nil && line != nil && line.Kind == entry.Symlink {
		return errLink(p.path)
	}
	return err
}

func (t *target) isMarked(s *session, p *place) (bool, error) {
	if err := s.enter(p.in.folder); err != nil {
		return false, err
	}
	s.dir = ""
	err := s.wire.Chdir(join(p.in.path, t.temp(p.name(), purposeDir)))
	if isRefusal(err) {
		return false, nil
	}
	return err == nil, err
}

// makeFolder makes a folder that is not there.
func (t *target) makeFolder(s *session, p *place) error {
	if err := s.writable(p.path, p.name(), true); err != nil {
		return err
	}
	if err := t.Step("restore.mkdir"); err != nil {
		return err
	}
	if err := s.enter(p.in.folder); err != nil {
		return err
	}
	if p.attrs != nil {
		p.ours = true
		if err := t.markFolder(s, p); err != nil {
			return err
		}
	}
	again := p.asked
	p.asked = true
	if err := s.wire.Mkdir(s.newName(p.in, p.name())); err != nil {
		if !isRefusal(err) {
			return err
		}
		return t.notMade(s, p, err, again)
	}
	p.fresh, p.private = true, p.in.private
	if p.attrs != nil {
		t.Count(func(r *connectors.TargetReport) { r.Dirs++ })
		granted, err := t.can.ask(&t.can.modes, func() error { return s.wire.Chmod(p.name(), 0o700) })
		if err != nil {
			return err
		}
		p.private = p.private || granted
	}
	if t.trusted(p.path) {
		var err error
		if p.real, err = s.locate(p.path); err != nil {
			return err
		}
	}
	return failpoint.Hit("restore.mkdir.after")
}

// notMade deals with a folder that the server does not make: somebody else may have
// made it meanwhile, or this attempt over a connection that broke; something else may
// be in its place.
func (t *target) notMade(s *session, p *place, why error, again bool) error {
	ours := p.in.ours
	found, err := t.findFolder(s, p)
	if err != nil {
		return err
	}
	if found && again {
		p.ours = p.attrs != nil
		return nil
	}
	if found {
		p.ours, p.attrs = ours, nil
		return t.unmark(s, p)
	}
	line, err := t.lookUp(s, p.in, p.name())
	switch {
	case err != nil && !isRefusal(err):
		return err
	case err != nil || line == nil:
		return errors.Join(t.unmark(s, p), why)
	}
	if err := t.unmark(s, p); err != nil {
		return err
	}
	switch line.Kind {
	case entry.Symlink:
		return errLink(p.path)
	case entry.Dir:
		return restoring.Refusef(job.PermissionDenied, "the folder %q cannot be entered by %q: %w", p.path, t.config.Username, quoted(why))
	}
	return errOther(p.path, what(line.Kind))
}

// markFolder says for later attempts that the folder is about to be made.
func (t *target) markFolder(s *session, p *place) error {
	if p.in.ours {
		return nil // and so is all in it
	}
	err := s.wire.Mkdir(t.temp(p.name(), purposeDir))
	if isRefusal(err) {
		there, markErr := t.isMarked(s, p)
		if markErr != nil {
			return markErr
		}
		if there { // by an earlier try
			p.marked = true
			return s.enter(p.in.folder)
		}
	}
	p.marked = err == nil
	return err
}

func (t *target) unmark(s *session, p *place) error {
	if !p.marked {
		return nil
	}
	if err := s.enter(p.in.folder); err != nil {
		return err
	}
	err := s.wire.Rmdir(t.temp(p.name(), purposeDir))
	if isRefusal(err) {
		err = nil // it went already, or stays
	}
	p.marked = err != nil
	return err
}

// leave ends the topmost folder: nothing more is put in it.
func (t *target) leave() {
	p := t.top()
	t.stack = t.stack[:len(t.stack)-1]
	// Also when the restore is over already, what was made is brought in order.
	t.Last(p.path, func() error { return t.completeFolder(p) })
}

// completeFolder gives a folder its mode and time once all is in it.
func (t *target) completeFolder(p *place) error {
	defer p.in.pending.Done()
	<-p.ready
	p.pending.Wait()
	p.list = nil
	if p.err != nil || p.attrs == nil || t.lost.Load() {
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
	return t.problem(p.path, t.with(func(s *session) error {
		lost, err := t.dressFolder(s, p)
		if err != nil {
			return err
		}
		if err := failpoint.Hit("restore.folder.after"); err != nil {
			return err
		}
		if err := t.unmark(s, p); err != nil {
			return err
		}
		t.countLost(lost)
		return nil
	}))
}

// dressFolder sets the attributes of a folder from within it, so that no link can
// stand in its place.
func (t *target) dressFolder(s *session, p *place) (loss, error) {
	s.dir = "" // it is looked at once more where it is
	if err := s.enter(p.folder); err != nil {
		return loss{}, err
	}
	timed, err := t.can.ask(&t.can.dirs, func() error { return s.wire.SetModified(".", p.attrs.ModTime) })
	if err != nil {
		return loss{}, err
	}
	mode := p.attrs.Mode & 0o7777
	moded, err := t.can.ask(&t.can.modes, func() error { return s.wire.Chmod(".", mode) })
	if err != nil {
		return loss{}, err
	}
	lost := loss{attribute: !timed || !moded || len(p.attrs.Xattrs) > 0}
	line, err := t.facts(s, ".")
	if isRefusal(err) {
		err = nil // a folder that may not be looked into any more
	}
	t.compare(&lost, line, p.attrs)
	return lost, err
}
