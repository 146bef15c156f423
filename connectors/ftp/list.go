package ftp

import (
	"errors"
	"io"
	"strings"
	"time"

	"xvault/connectors/ftp/lines"
	"xvault/connectors/ftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// cutAt is how many names servers are known to list at most, without always saying
// that there were more.
const cutAt = 10_000

// errTooMuch: the listing does not fit into what is left for listings ahead.
var errTooMuch = errors.New("the listing is too large to be held ahead of its turn")

// list lists the folder that the session is in. What is wrong with the listing stands
// in it; an error is one of the session, or a *wire.ReplyError that refuses.
func (s *session) list(dir string, limit int64) (*listing, error) {
	if !s.usesMLST() {
		return s.listLines(dir, limit)
	}
	l, err := s.transfer(dir, "MLSD", "", limit)
	if code := wire.CodeOf(err); isRefusal(err) && (code == 500 || code == 502) {
		return s.listLines(dir, limit)
	}
	if err != nil {
		return nil, err // half a listing is none
	}
	if s.hidesLinks() || l.wantsMore() {
		return l, s.addDetails(dir, l)
	}
	return l, nil
}

// crashesAt is from which length of a folder's path on ProFTPD 1.3.8 dies of MLSD and
// MLST, with names of usual length; it does fine with LIST and SIZE.
const crashesAt = 1700

// usesMLST reports whether MLSD and MLST are there, and may be asked for in the folder
// that the session is in.
func (s *session) usesMLST() bool {
	return s.wire.Has("MLST") && (!s.hidesLinks() || len(s.dir) < crashesAt)
}

// hidesLinks tells ProFTPD by facts that it alone has: its MLSD leaves out links that
// lead nowhere.
func (s *session) hidesLinks() bool {
	return strings.Contains(strings.ToUpper(s.wire.Feature("MLST")), "UNIX.OWNER")
}

// transfer takes one listing from the server. With the error of a server that refuses
// at the end stands what it had listed by then.
func (s *session) transfer(dir, verb, arg string, limit int64) (*listing, error) {
	t, err := s.wire.Start(s.ctx, verb, arg, 0)
	if err != nil {
		return nil, err
	}
	l := &listing{mlsd: verb == "MLSD"}
	if err := l.fill(t, dir, limit, s.src.options.Now()); err != nil {
		t.Abort()
		if errors.Is(err, errTooMuch) && limit == s.src.options.ListingMemory {
			l.flaw = flaw("the folder %q holds more names than fit into %d MiB; the rest is not in the backup", dir, limit>>20)
			l.settle()
			return l, nil
		}
		return nil, err
	}
	r, err := t.Finish()
	if err != nil {
		return l, err
	}
	if !t.Clean() {
		return nil, wire.ErrCut
	}
	if l.hasSelf && l.self.Kind == entry.Symlink {
		// It became a link since it was entered, for servers that go by the path.
		s.dir = ""
		return nil, wire.ErrElsewhere
	}
	l.judge(dir, r.Text(), s)
	l.settle()
	return l, nil
}

// fill reads the lines.
func (l *listing) fill(data io.Reader, dir string, limit int64, now time.Time) error {
	in := lines.NewReader(data)
	for {
		text, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return wire.ErrCut
		case errors.Is(err, lines.ErrTooLong):
			return job.Errorf(job.Internal, "the server lists a line of more than %d bytes in %q; it is broken or hostile, and nothing it says can be relied on", lines.MaxLine, dir)
		case err != nil:
			return err
		}
		if err := l.take(text, dir, now); err != nil {
			return err
		}
		if l.bytes() > limit {
			return errTooMuch
		}
	}
}

// take reads one line.
func (l *listing) take(text, dir string, now time.Time) error {
	var line lines.Line
	var err error
	ok := true
	if l.mlsd {
		line, err = lines.MLSD(text)
	} else {
		line, ok, err = lines.List(text, now)
	}
	switch {
	case err != nil:
		if l.flaw == nil {
			l.flaw = flaw("the folder %q is listed with a line that is not understood, so that what it tells of is not in the backup: %.300q", dir, text)
		}
		return nil
	case !ok:
		return nil
	}
	l.count++
	if line.Self || line.Parent {
		l.dots++
	}
	return l.add(dir, &line)
}

// judge looks for signs that a listing is not whole.
func (l *listing) judge(dir, said string, s *session) {
	lower := strings.ToLower(said)
	names := l.count - l.dots
	switch {
	case l.flaw != nil:
	case strings.Contains(lower, "truncat") || strings.Contains(lower, "too many"):
		l.flaw = flaw("the server cut the listing of %q after %d names (%q); raise its limit (pure-ftpd: LimitRecursion, ProFTPD: ListOptions maxfiles)", dir, names, said)
	case strings.Contains(lower, "fail") || strings.Contains(lower, "error") || strings.Contains(lower, "denied"):
		l.flaw = flaw("the folder %q cannot be listed; the server says %q", dir, said)
	case l.count == cutAt || names == cutAt:
		l.flaw = flaw("the server lists exactly %d names in %q, at which many servers cut; raise its limit (pure-ftpd: LimitRecursion, ProFTPD: ListOptions maxfiles), or put another file there if it is right", cutAt, dir)
	case l.dots > 0:
		s.src.showsDots.Store(true)
	case l.count == 0 && s.src.showsDots.Load():
		// Elsewhere the server shows the folder itself, which cannot vanish from it.
		l.flaw = flaw("the folder %q cannot be listed: the server shows nothing in it, not even itself, as it does where the user %q may not look", dir, s.src.config.Username)
	}
}

// wantsMore reports whether MLSD left out what LIST may tell: where links lead, and
// what is no file.
func (l *listing) wantsMore() bool {
	for i := range l.records {
		if r := &l.records[i]; r.kind == 0 || r.kind == entry.Symlink && r.target == 0 {
			return true
		}
	}
	return false
}

// addDetails takes what LIST tells besides. Where the server has none, the first
// listing stays as it is.
func (s *session) addDetails(dir string, l *listing) error {
	more, err := s.listLong(dir)
	if err != nil || more == nil {
		return err
	}
	if l.flaw == nil {
		l.flaw = more.flaw
	}
	taken := map[string]bool{} // links of LIST, by its name for them
	for i := range l.records {
		r := &l.records[i]
		if r.kind != 0 && (r.kind != entry.Symlink || r.target > 0) {
			continue
		}
		name := string(l.name(r))
		kind, target, by := more.detail(name)
		taken[by] = true
		if r.kind == 0 {
			r.kind = kind
		}
		if r.kind == entry.Symlink && kind == entry.Symlink && target != "" {
			r.offset, r.target = uint32(len(l.names)), uint16(len(target))
			l.names = append(append(l.names, name...), target...)
		}
	}
	var hidden []lines.Line
	for i := range more.records {
		r := &more.records[i]
		name := string(more.name(r))
		if _, ok := l.find(name); ok || taken[name] || r.kind == entry.File || r.kind == entry.Dir {
			continue // what is new since then is none of this backup
		}
		hidden = append(hidden, more.line(r))
	}
	for i := range hidden {
		if err := l.add(dir, &hidden[i]); err != nil {
			return err
		}
	}
	if len(hidden) > 0 {
		l.settle()
	}
	return nil
}

// listLong lists with LIST; nil where the server does not.
func (s *session) listLong(dir string) (*listing, error) {
	l, err := s.listLines(dir, s.src.options.ListingMemory)
	if isRefusal(err) && wire.CodeOf(err) >= 500 {
		return nil, nil
	}
	return l, err
}

// detail gives kind and target of a name that MLSD told, and the name by which LIST
// has it: it cuts names of links at the first arrow, which may be part of the name.
func (l *listing) detail(name string) (kind entry.Kind, target, by string) {
	if r, ok := l.find(name); ok {
		return r.kind, l.targetOf(r), name
	}
	const arrow = " -> "
	for i := 0; ; i += len(arrow) {
		at := strings.Index(name[i:], arrow)
		if at < 0 {
			return 0, "", ""
		}
		i += at
		if r, ok := l.find(name[:i]); ok && r.kind == entry.Symlink {
			if target, ok := strings.CutPrefix(l.targetOf(r), name[i+len(arrow):]+arrow); ok {
				return entry.Symlink, target, name[:i]
			}
		}
	}
}

// isRefusal: the server answered, so that only this entry is concerned. An error that
// was explained already is one of the connection.
func isRefusal(err error) bool {
	var reply *wire.ReplyError
	var broken *wire.BrokenError
	var data *wire.DataError
	var explained *job.Error
	return errors.As(err, &reply) && !errors.As(err, &broken) && !errors.As(err, &data) && !errors.As(err, &explained)
}
