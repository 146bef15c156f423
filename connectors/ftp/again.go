package ftp

import (
	"errors"
	"sync"

	"xvault/connectors/ftp/lines"
	"xvault/connectors/ftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// recent is the folder that was looked at last because something in it was not as
// listed: where very many files vanish at once, it is not listed for each.
type recent struct {
	mu   sync.Mutex
	path string
	list *listing
	gone string // a folder that is no longer there
}

// verdict is what became of an entry.
type verdict struct {
	line   *lines.Line // nil: it is gone
	refuse *job.Error  // nobody can tell, for the folder may not be looked at
}

// again looks for a name in its folder once more: it is gone if either the folder no
// longer shows it, or the folder itself is gone. Errors are those of the connection.
func (r *reader) again(f folder, name string) (verdict, error) {
	if r.recent.lacks(f.path, name) {
		return verdict{}, nil
	}
	var l *listing
	err := r.pool.with(r.ctx, func(s *session) error {
		var err error
		l, err = s.listAt(f)
		return err
	})
	switch {
	case errors.Is(err, wire.ErrElsewhere):
		return verdict{}, nil
	case isRefusal(err):
		return r.hiddenOrGone(f, err)
	case err != nil:
		return verdict{}, err
	}
	r.recent.keep(f.path, l)
	rec, ok := l.find(name)
	if !ok {
		return verdict{refuse: l.flaw}, nil
	}
	line := l.line(rec)
	return verdict{line: &line}, nil
}

// hiddenOrGone tells a folder that may no longer be looked at from one that is gone.
func (r *reader) hiddenOrGone(f folder, why error) (verdict, error) {
	if f.path == "/" {
		return verdict{refuse: r.unreadable(f.path, why)}, nil
	}
	_, name := split(f.path)
	v, err := r.again(r.parentOf(f), name)
	if err == nil && v.refuse == nil && (v.line == nil || v.line.Kind != entry.Dir) {
		r.recent.lost(f.path)
	}
	if err != nil || v.line == nil || v.line.Kind != entry.Dir {
		return verdict{refuse: v.refuse}, err
	}
	return verdict{refuse: r.unreadable(f.path, why)}, nil
}

// kindByList asks LIST what a name is that MLSD calls a file, though it is none.
func (r *reader) kindByList(f folder, name string) (entry.Kind, error) {
	var kind entry.Kind
	err := r.pool.with(r.ctx, func(s *session) error {
		if err := s.enter(f); err != nil {
			return err
		}
		l, err := s.listLong(f.path)
		if err == nil && l != nil {
			kind, _, _ = l.detail(name)
		}
		return err
	})
	if isRefusal(err) || errors.Is(err, wire.ErrElsewhere) {
		err = nil
	}
	return kind, err
}

// lacks reports whether the folder was listed without the name.
func (r *recent) lacks(path, name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list == nil || r.path != path || r.list.flaw != nil {
		return false
	}
	_, ok := r.list.find(name)
	return !ok
}

// lost notes a folder that is gone.
func (r *recent) lost(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = path
}

// hasLost reports whether a folder is gone. Servers that are asked for what is not
// there again and again answer ever slower.
func (r *recent) hasLost(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone != "" && (path == r.gone || below(path, r.gone))
}

func (r *recent) keep(path string, l *listing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.path, r.list = path, l
}
