package ftp

import (
	"context"
	"fmt"
	"strings"

	"xvault/connectors/ftp/lines"
	"xvault/connectors/ftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// root is a configured path and what is there.
type root struct {
	path   string
	line   lines.Line // of what is read: behind the link, where the path is one
	folder folder     // of a folder
	isLink bool
	target string     // of the link, where the server tells
	err    *job.Error // why it cannot be read
	writes permission // of a probe
}

// resolve looks at every configured path; what is wrong with one stands in its root.
func (s *source) resolve(ctx context.Context) ([]*root, error) {
	roots := make([]*root, len(s.config.Paths))
	for i, path := range s.config.Paths {
		err := s.pool.with(ctx, func(sess *session) error {
			roots[i] = &root{path: path}
			return sess.look(roots[i])
		})
		if err != nil {
			return nil, s.explain(ctx, err)
		}
	}
	return roots, s.checkNesting(ctx, roots)
}

// look finds out what a configured path is.
func (s *session) look(r *root) error {
	if r.path == "/" {
		return s.lookFolder(r)
	}
	parent, name := split(r.path)
	l, err := s.listAt(folder{path: parent})
	if err != nil && !isRefusal(err) {
		return err
	}
	if err == nil {
		if rec, ok := l.find(name); ok {
			r.line = l.line(rec)
		}
	}
	switch r.line.Kind {
	case entry.Dir:
		return s.lookFolder(r)
	case entry.Symlink:
		r.isLink, r.target = true, r.line.Target
		return s.lookDirectly(r)
	case 0: // not shown
		return s.lookDirectly(r)
	}
	return nil
}

// lookFolder enters a configured folder.
func (s *session) lookFolder(r *root) error {
	place, err := s.locate(r.path)
	if isRefusal(err) {
		r.err = job.Errorf(job.PermissionDenied, "the folder %q cannot be entered by %q: %w", r.path, s.src.config.Username, quoted(err))
		return nil
	}
	r.line.Kind, r.folder = entry.Dir, folder{path: r.path, real: place}
	return err
}

// lookDirectly asks for a path that its folder does not show, or shows as a link: it
// is a folder if it can be entered, and a file if it has a size.
func (s *session) lookDirectly(r *root) error {
	shown := r.line
	r.line = lines.Line{Name: shown.Name}
	place, err := s.locate(r.path)
	if err == nil {
		r.line.Kind, r.folder = entry.Dir, folder{path: r.path, real: place}
		return nil
	}
	if !isRefusal(err) {
		return err
	}
	parent, name := split(r.path)
	if err := s.enter(folder{path: parent}); err != nil {
		return s.refused(r, err)
	}
	size, err := s.wire.Size(wire.Relative(name))
	if err != nil {
		return s.refused(r, err)
	}
	r.line.Kind, r.line.Size, r.line.HasSize = entry.File, size, true
	at, err := s.modified(name)
	if err != nil && !isRefusal(err) {
		return err
	}
	r.line.ModTime, r.line.HasTime, r.line.Precise = at, !at.IsZero(), !at.IsZero()
	return nil
}

// refused tells a path that is not there from one that may not be reached.
func (s *session) refused(r *root, why error) error {
	if !isRefusal(why) {
		return why
	}
	hidden := strings.Contains(strings.ToLower(why.Error()), "permission") && !r.isLink
	for path := r.path; path != "/" && !hidden && !r.isLink; {
		parent, name := split(path)
		l, err := s.listAt(folder{path: parent})
		if err != nil && !isRefusal(err) {
			return err
		}
		if err == nil {
			rec, ok := l.find(name)
			hidden = ok && (rec.kind == entry.Dir || path == r.path)
			break
		}
		path = parent
	}
	if hidden {
		r.err = job.Errorf(job.PermissionDenied, "the path %q cannot be reached: the user %q lacks permission on it, or on a folder above it", r.path, s.src.config.Username)
		return nil
	}
	r.err = job.Errorf(job.PathNotFound, "the path %q is not on the server, or user %q cannot see it: %w", r.path, s.src.config.Username, quoted(why))
	return nil
}

// checkNesting refuses a path that leads through a link inside another path: the
// link and what is behind it cannot both be stored under one name.
func (s *source) checkNesting(ctx context.Context, roots []*root) error {
	for _, inner := range roots {
		outer := innermost(inner, roots)
		parent, _ := split(inner.path)
		if outer == nil || inner.err != nil || outer.folder.real == "" || parent == outer.path {
			continue
		}
		var where string
		err := s.pool.with(ctx, func(sess *session) error {
			var err error
			where, err = sess.locate(parent)
			return err
		})
		if err != nil && !isRefusal(err) {
			return s.explain(ctx, err)
		}
		want := strings.TrimSuffix(outer.folder.real, "/") + parent[len(strings.TrimSuffix(outer.path, "/")):]
		if err == nil && where != "" && !wire.SamePath(want, where) {
			return job.Errorf(job.ConfigInvalid, "the path %q leads through a link that is itself inside the path %q, to %q; name the folder that the link leads to instead", inner.path, outer.path, where)
		}
	}
	return nil
}

// innermost is the longest of the folders that a path lies in.
func innermost(inner *root, roots []*root) *root {
	var found *root
	for _, r := range roots {
		if r.err == nil && r.line.Kind == entry.Dir && below(inner.path, r.path) && (found == nil || len(r.path) > len(found.path)) {
			found = r
		}
	}
	return found
}

// below reports whether one path lies inside another.
func below(inner, outer string) bool {
	return outer == "/" && inner != "/" || strings.HasPrefix(inner, outer+"/")
}

// missing turns the roots that cannot be read into one error, nil if all can.
func missing(roots []*root) error {
	var first *job.Error
	var rest []string
	for _, r := range roots {
		switch {
		case r.err == nil:
		case first == nil:
			first = r.err
		default:
			rest = append(rest, fmt.Sprintf("%q", r.path))
		}
	}
	switch {
	case first == nil:
		return nil
	case len(rest) > 0:
		return job.Errorf(first.Code, "%s; nor can %s", first.Message, strings.Join(rest[:min(len(rest), 10)], ", "))
	default:
		return first
	}
}
