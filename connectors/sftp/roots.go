package sftp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// root is a configured path and what is there.
type root struct {
	path  string
	attrs wire.Attrs // of what is read: behind the link, where the path is one
	fine  precise    // the same, where find told it
	link  string     // where it leads, if it is a link
	err   error      // why it cannot be read
}

// node is a component of the configured paths. Nodes that are no roots are the
// way to one: they are not stored, unless they lie in another root.
type node struct {
	name     string
	root     *root
	children []*node // sorted by name
}

// plant makes the tree of the configured paths.
func plant(roots []*root) *node {
	top := &node{}
	for _, r := range roots {
		n := top
		for _, c := range components(r.path) {
			n = n.child(c, true)
		}
		n.root = r
	}
	return top
}

// child finds a child, and makes it where asked to.
func (n *node) child(name string, create bool) *node {
	if n == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(n.children, name, func(c *node, name string) int { return strings.Compare(c.name, name) })
	switch {
	case ok:
		return n.children[i]
	case !create:
		return nil
	}
	c := &node{name: name}
	n.children = slices.Insert(n.children, i, c)
	return c
}

func components(path string) []string {
	if path == "/" {
		return nil
	}
	return strings.Split(path[1:], "/")
}

// questions are what is asked about some paths.
type questions struct {
	paths         []string
	lstats, stats []*wire.Call
}

func questionsAbout(c *wire.Client, paths []string) *questions {
	q := &questions{paths: slices.Clone(paths)}
	for _, path := range paths {
		q.lstats, q.stats = append(q.lstats, c.Lstat(path)), append(q.stats, c.Stat(path))
	}
	return q
}

// questions gives those about the configured paths, that went out already if they
// are still the same paths.
func (s *source) questions(sess *session) *questions {
	s.mu.Lock()
	early := s.asked
	s.asked = nil
	s.mu.Unlock()
	if early != nil && slices.Equal(early.paths, s.config.Paths) {
		return early
	}
	return questionsAbout(sess.Client, s.config.Paths)
}

// resolve looks at every configured path; what is wrong with one stands in its
// root. Other errors end the session.
func (s *source) resolve(sess *session) ([]*root, error) {
	roots := make([]*root, len(s.config.Paths))
	for i, path := range s.config.Paths {
		roots[i] = &root{path: path}
	}
	q := s.questions(sess)
	links := make([]*wire.Call, len(roots))
	for i, r := range roots {
		own, err := q.lstats[i].Attrs()
		behind, statErr := q.stats[i].Attrs()
		for _, e := range []error{err, statErr} {
			if e != nil && !wire.IsStatus(e) {
				return nil, sess.cause(e)
			}
		}
		r.attrs = own
		switch kind, ok := kindOf(own, 0); {
		case err != nil:
			r.err = s.pathError(r.path, err)
		case !ok:
			return nil, errNoKind(r.path)
		case kind == entry.Symlink && statErr != nil:
			r.err = s.pathError(r.path, statErr)
		case kind == entry.Symlink:
			r.attrs = behind
			links[i] = sess.ReadLink(r.path)
		}
	}
	for i, r := range roots {
		if links[i] == nil {
			continue
		}
		target, err := links[i].Target()
		if err != nil && !wire.IsStatus(err) {
			return nil, sess.cause(err)
		}
		r.link = target
	}
	return roots, s.checkNesting(sess, roots)
}

// pathError explains why a configured path cannot be read.
func (s *source) pathError(path string, err error) *job.Error {
	switch {
	case errors.Is(err, wire.ErrNotExist):
		return job.Errorf(job.PathNotFound, "the path %q is not on the server, or user %q cannot see it", path, s.config.Username)
	case errors.Is(err, wire.ErrPermission):
		return job.Errorf(job.PermissionDenied, "the path %q cannot be reached: the user %q lacks permission on a folder above it", path, s.config.Username)
	default:
		return job.Errorf(job.PathNotFound, "the path %q cannot be reached: %w", path, quoted(err))
	}
}

// checkNesting refuses a path that leads through a link inside another path: the
// link and what is behind it cannot both be stored under one name.
func (s *source) checkNesting(sess *session, roots []*root) error {
	type between struct {
		inner, outer, link string
		call               *wire.Call
	}
	var asked []between
	known := map[string]bool{}
	for _, inner := range roots {
		outer := outermost(inner, roots)
		if outer == nil || inner.err != nil {
			continue
		}
		for i := len(outer.path) + 1; i < len(inner.path); i++ {
			if link := inner.path[:i]; inner.path[i] == '/' && !known[link] {
				known[link] = true // a thousand paths may lie in each other
				asked = append(asked, between{inner.path, outer.path, link, sess.Lstat(link)})
			}
		}
	}
	var fault error
	for _, b := range asked {
		a, err := b.call.Attrs()
		if err != nil && !wire.IsStatus(err) {
			return sess.cause(err)
		}
		if kind, ok := kindOf(a, 0); err == nil && ok && kind == entry.Symlink && !s.isRoot(b.link) && fault == nil {
			fault = job.Errorf(job.ConfigInvalid, "the path %q leads through the link %q, which is itself inside the path %q; name the folder that the link leads to instead",
				b.inner, b.link, b.outer)
		}
	}
	return fault
}

// outermost is the shortest of the paths that this one lies in: between the two
// is all that lies between it and any other.
func outermost(inner *root, roots []*root) *root {
	var found *root
	for _, r := range roots {
		if r.err == nil && below(inner.path, r.path) && (found == nil || len(r.path) < len(found.path)) {
			found = r
		}
	}
	return found
}

func (s *source) isRoot(path string) bool { return slices.Contains(s.config.Paths, path) }

// below reports whether one path lies inside another.
func below(inner, outer string) bool {
	return outer == "/" && inner != "/" || strings.HasPrefix(inner, outer+"/")
}

// missing turns the roots that cannot be read into one error, nil if all can.
func missing(roots []*root) error {
	var first *job.Error
	var rest []string
	for _, r := range roots {
		var e *job.Error
		switch {
		case !errors.As(r.err, &e):
		case first == nil:
			first = e
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

func errNoKind(path string) error {
	return job.Errorf(job.Internal, "the server does not tell what %q is: a file, a folder, a link; it cannot be backed up over SFTP", path)
}

// probeRoots looks whether every configured path is there and opens.
func (s *source) probeRoots(ctx context.Context, sess *session) ([]*root, error) {
	defer sess.endWith(ctx)()
	roots, err := s.resolve(sess)
	if err != nil {
		return roots, err
	}
	// Whether a folder lists, or a file opens, is half of being reachable.
	for _, r := range roots {
		if r.err != nil {
			continue
		}
		open := sess.Open
		if kind, _ := kindOf(r.attrs, 0); kind == entry.Dir {
			open = sess.OpenDir
		} else if kind != entry.File {
			continue
		}
		handle, err := open(r.path).Handle()
		switch {
		case err == nil:
			err = sess.CloseHandle(handle).Status()
			if err != nil && !wire.IsStatus(err) {
				return roots, sess.cause(err)
			}
		case !wire.IsStatus(err):
			return roots, sess.cause(err)
		default:
			r.err = unreadable(r.path, s.config.Username, err)
		}
	}
	return roots, nil
}
