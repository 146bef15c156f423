package ftp

import (
	"errors"
	"strings"
	"time"

	"xvault/connectors"
	"xvault/connectors/ftp/lines"
	"xvault/connectors/ftp/wire"
	"xvault/connectors/restoring"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// decision says what is to be done about an entry.
type decision int

const (
	create  decision = iota // nothing is there
	replace                 // something is there that the rule gives up
	keep                    // what is there stays, and was counted
)

// judge looks at what is at a path and decides by the rule. In a folder that this
// attempt made nothing is.
func (t *target) judge(s *session, in *place, path string, h *entry.Header) (decision, error) {
	_, name := split(path)
	if err := s.writable(path, name, false); err != nil {
		return keep, err
	}
	if in.fresh {
		return create, nil
	}
	line, err := t.lookUp(s, in, name)
	if err != nil {
		return keep, err
	}
	if t.opts.Again && in.list != nil {
		if line, err = t.putBack(s, in, name, line); err != nil {
			return keep, err
		}
	}
	if line == nil {
		return create, nil
	}
	if line.Kind != entry.File && line.Kind != entry.Symlink {
		return keep, errOther(path, what(line.Kind))
	}
	return t.byRule(s, in, name, line, h)
}

// byRule decides about what may be replaced.
func (t *target) byRule(s *session, in *place, name string, line *lines.Line, h *entry.Header) (decision, error) {
	// An intact link stays also where all is replaced: FTP could not make it anew.
	intact := h.Kind == entry.Symlink && same(line, h)
	if t.opts.Existing == job.ExistingOverwrite && !intact {
		return replace, nil
	}
	if line.Kind == entry.File && h.Kind != entry.Symlink && !line.Precise && (line.Size == h.Size || t.opts.Existing == job.ExistingNewer) {
		if err := s.enter(in.folder); err != nil {
			return keep, err
		}
		at, err := s.modified(name)
		if err != nil && !isRefusal(err) {
			return keep, err
		}
		line.ModTime, line.Precise = at, err == nil && !at.IsZero()
	}
	if same(line, h) {
		t.Count(func(r *connectors.TargetReport) { r.Unchanged++ })
		return keep, nil
	}
	// The time of a link is not known well enough.
	if t.opts.Existing == job.ExistingNewer && line.Kind == entry.File && line.Precise && h.ModTime.Unix() > line.ModTime.Unix() {
		return replace, nil
	}
	t.Count(func(r *connectors.TargetReport) { r.Skipped++ })
	return keep, nil
}

// same reports whether what is there is the entry, as far as a look tells.
func same(line *lines.Line, h *entry.Header) bool {
	if line.Kind == entry.Symlink {
		return h.Kind == entry.Symlink && line.Target == h.LinkTarget
	}
	return h.Kind != entry.Symlink && line.HasSize && line.Size == h.Size && line.Precise && line.ModTime.Unix() == h.ModTime.Unix()
}

// lookUp tells what has a name in a folder that was there before; nil: nothing has.
func (t *target) lookUp(s *session, in *place, name string) (*lines.Line, error) {
	l, err := t.look(s, in)
	if err != nil {
		return nil, err
	}
	if rec, ok := l.find(name); ok {
		line := l.line(rec)
		return &line, nil
	}
	if l.flaw == nil {
		return nil, nil
	}
	return t.askFor(s, in, name)
}

// askFor asks for a name where a listing cannot be relied on.
func (t *target) askFor(s *session, in *place, name string) (*lines.Line, error) {
	if err := s.enter(in.folder); err != nil {
		return nil, err
	}
	line := &lines.Line{Name: name, Kind: entry.File}
	size, err := s.wire.Size(wire.Relative(name))
	if err == nil {
		line.Size, line.HasSize = size, true
		return line, nil
	}
	if !isRefusal(err) {
		return nil, err
	}
	s.dir = ""
	if err = s.wire.Chdir(join(in.path, name)); err == nil {
		line.Kind = entry.Dir
		return line, nil
	}
	if isRefusal(err) {
		return nil, nil
	}
	return nil, err
}

// look lists a folder, once, and removes what an earlier attempt left there.
func (t *target) look(s *session, in *place) (*listing, error) {
	in.looking.Lock()
	defer in.looking.Unlock()
	if in.list != nil {
		return in.list, nil
	}
	l, err := s.listAt(in.folder)
	if isRefusal(err) && !isTransient(err) {
		// It may be one that can be written to, but not looked into.
		l, err = &listing{flaw: flaw("the folder %q cannot be listed", in.path)}, nil
	}
	if err != nil {
		return nil, err
	}
	if t.opts.Again {
		if err := t.sweep(s, in, l); err != nil {
			return nil, err
		}
	}
	in.list = l
	return l, nil
}

// sweep removes files that an earlier attempt did not bring to an end.
func (t *target) sweep(s *session, in *place, l *listing) error {
	for i := range l.records {
		name := string(l.name(&l.records[i]))
		rest, ok := strings.CutPrefix(name, t.tempPrefix())
		if !ok || !strings.HasSuffix(rest, "-"+purposeNew) || strings.HasPrefix(rest, t.nonce) || !wire.Sendable(name) {
			continue
		}
		if err := t.Allowed(); err != nil {
			return err
		}
		if err := s.enter(in.folder); err != nil {
			return err
		}
		if err := s.wire.Remove(name); err != nil && !isRefusal(err) {
			return err
		}
	}
	return nil
}

// putBack gives a file its name back that stood aside for another one when an earlier
// attempt died, or removes it where the other one has the name.
func (t *target) putBack(s *session, in *place, name string, line *lines.Line) (*lines.Line, error) {
	aside := t.temp(name, purposeOld)
	rec, ok := in.list.find(aside)
	if !ok {
		return line, nil
	}
	if err := t.Allowed(); err != nil {
		return nil, err
	}
	if err := s.enter(in.folder); err != nil {
		return nil, err
	}
	if line != nil {
		if err := s.wire.Remove(aside); err != nil && !isRefusal(err) {
			return nil, err
		}
		return line, nil
	}
	old := in.list.line(rec)
	if err := s.wire.Rename(aside, name); err != nil {
		return nil, err
	}
	return &old, nil
}

// facts are what the server tells of a name in the folder that the session is in;
// nothing where it has no MLST.
func (t *target) facts(s *session, name string) (lines.Line, error) {
	if !s.usesMLST() {
		return lines.Line{}, nil
	}
	text, err := s.wire.Facts(name)
	if err != nil {
		return lines.Line{}, err
	}
	line, err := lines.MLSD(text)
	if err != nil {
		return lines.Line{}, nil //nolint:nilerr // then it tells nothing
	}
	return line, nil
}

// loss is what an entry does not have of what it had.
type loss struct{ owner, attribute bool }

// compare holds what the server tells of an entry against what it should be.
func (t *target) compare(lost *loss, line lines.Line, h *entry.Header) {
	if line.HasMode && line.Mode&0o7777 != h.Mode&0o7777 || line.Precise && line.ModTime.Unix() != h.ModTime.Unix() {
		lost.attribute = true
	}
	if !line.HasMode {
		t.mu.Lock()
		line = t.written
		t.mu.Unlock()
	}
	lost.owner = line.UID != h.UID || line.GID != h.GID || line.UID == 0 && line.GID == 0 && (line.User != h.User || line.Group != h.Group)
}

// learnOwner asks a server without MLST, once, whose a file is that was written.
func (t *target) learnOwner(s *session, name string) error {
	if s.usesMLST() {
		return nil
	}
	t.learning.Lock()
	defer t.learning.Unlock()
	if t.learned {
		return nil
	}
	data, err := s.wire.Start(s.ctx, "LIST", wire.Relative(name), 0)
	if isRefusal(err) {
		t.learned = true
		return nil
	}
	if err != nil {
		return err
	}
	text, err := lines.NewReader(data).Next()
	if err != nil {
		data.Abort()
		t.learned = !isLost(err)
		return nil // then the server tells nothing
	}
	if _, err := data.Finish(); err != nil && !isRefusal(err) {
		return err
	}
	if line, ok, err := lines.List(text, t.options.Now()); err == nil && ok {
		t.mu.Lock()
		t.written = line
		t.mu.Unlock()
	}
	t.learned = true
	return nil
}

// countLost counts an entry that did not get all that it had.
func (t *target) countLost(lost loss) {
	t.Count(func(r *connectors.TargetReport) {
		if lost.owner {
			r.OwnersLost++
		}
		if lost.attribute {
			r.AttributesLost++
		}
	})
}

// timeIs reports whether a file has a time, where the server can be asked.
func (s *session) timeIs(name string, want time.Time) (bool, error) {
	at, err := s.modified(name)
	if isRefusal(err) {
		return true, nil // nobody can tell
	}
	return at.IsZero() || at.Unix() == want.Unix(), err
}

// writable refuses names that pure-ftpd, which is known by its own commands, changes
// without a word, so that they might even be another file's.
func (s *session) writable(path, name string, folder bool) error {
	control := strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
	if s.wire.Has("ESTP") && (control || !folder && strings.HasSuffix(name, " ")) {
		return restoring.Refusef(job.ConfigInvalid, "%q cannot be written: this server (pure-ftpd) changes control characters in new names, and spaces at their end; download it, or restore it over SFTP", path)
	}
	return nil
}

// newName is how something new in a folder is called. pure-ftpd changes a space at the
// beginning of what it is told.
func (s *session) newName(in *place, name string) string {
	if s.wire.Has("ESTP") && strings.HasPrefix(name, " ") {
		return join(in.path, name)
	}
	return name
}

func errLink(path string) error {
	return restoring.Refusef(job.SourceChanged, "%q is a symbolic link on the server now, and nothing is written through it; remove it, or restore to another folder", path)
}

func errOther(path, what string) error {
	return restoring.Refusef(job.SourceChanged, "%q is %s on the server now, which is not replaced; move it away, or restore to another folder", path, what)
}

// what names a kind for people.
func what(kind entry.Kind) string {
	switch kind {
	case entry.File:
		return "a file"
	case entry.Dir:
		return "a folder"
	case entry.Symlink:
		return "a symbolic link"
	default:
		return "a device, a pipe or a socket"
	}
}

// behind is why nothing can be put into a folder.
func behind(path string, err error) error {
	one, ok := errors.AsType[restoring.EntryError](err)
	if !ok {
		return err
	}
	return restoring.Refusef(one.Why.Code, "%q was not written: %s", path, one.Why.Message)
}
