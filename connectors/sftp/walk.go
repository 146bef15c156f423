package sftp

import (
	"context"
	"errors"

	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// place is where the walk stands.
type place struct {
	path  string   // absolute
	comps []string // its components; of a folder that is being walked
	root  string   // the configured path that it belongs to
	node  *node    // in the tree of configured paths, nil where none is below
}

func (p place) below(name string, n *node) place {
	return place{path: join(p.path, name), root: p.root, node: n}
}

// walk makes slots of everything, in the order of the archive.
func (r *reader) walk(roots []*root) error {
	top := plant(roots)
	r.lister.mu.Lock()
	r.lister.offer(&rootDirs{top.outermostDirs()})
	r.lister.pump()
	r.lister.mu.Unlock()
	return r.walkNode(place{path: "/", node: top})
}

// outermostDirs gives the configured directories that lie in no other, in order.
func (n *node) outermostDirs() []dirToList {
	if n.root != nil {
		if kind, _ := kindOf(n.root.attrs, 0); kind != entry.Dir {
			return nil
		}
		return []dirToList{{path: n.root.path, root: n.root.path, comps: components(n.root.path), follow: n.root.link != "", file: n.root.fine.file}}
	}
	var dirs []dirToList
	for _, c := range n.children {
		dirs = append(dirs, c.outermostDirs()...)
	}
	return dirs
}

// walkNode goes down to configured paths without storing what is on the way.
func (r *reader) walkNode(p place) error {
	if p.node.root != nil {
		p.root = p.node.root.path
		return r.walkRoot(p, p.node.root)
	}
	for _, c := range p.node.children {
		if err := r.walkNode(p.below(c.name, c)); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) walkRoot(p place, root *root) error {
	kind, ok := kindOf(root.attrs, 0)
	if !ok {
		return errNoKind(p.path)
	}
	return r.walkEntry(p, kind, root.attrs, root.fine)
}

// walkEntry makes the slot of one entry, and those of all below it.
func (r *reader) walkEntry(p place, kind entry.Kind, a wire.Attrs, fine precise) error {
	if len(p.path) > maxPath {
		sl := newSlot(p, kind, a, fine)
		sl.refuse(job.Errorf(job.PermissionDenied, "a path of %d bytes cannot be read over SFTP; it starts with %.200q", len(p.path), p.path))
		return r.put(sl)
	}
	switch kind {
	case entry.Dir:
		return r.walkDir(p, a, fine.file)
	case entry.File:
		return r.putName(newSlot(p, kind, a, fine))
	case entry.Symlink:
		sl := newSlot(p, kind, a, fine)
		if sl.item.LinkTarget = fine.target; fine.target == "" {
			sl.link = r.s.ReadLink(p.path)
		}
		return r.put(sl)
	default:
		return r.put(newSlot(p, kind, a, fine))
	}
}

func newSlot(p place, kind entry.Kind, a wire.Attrs, fine precise) *slot {
	sl := &slot{path: p.path, root: p.root, listed: a, fine: fine}
	sl.describe(kind, a)
	return sl
}

// put hands a slot on, in order.
func (r *reader) put(sl *slot) error {
	select {
	case r.slots <- sl:
		return nil
	case <-r.ctx.Done():
		r.discard(sl)
		return context.Cause(r.ctx)
	}
}

// walkDir lists a directory and walks what is in it.
func (r *reader) walkDir(p place, a wire.Attrs, file inode) error {
	isRoot := p.path == p.root
	p.comps = components(p.path)
	list, err := r.lister.take(r.ctx, dirToList{path: p.path, root: p.root, comps: p.comps, follow: isRoot && r.followed(p), file: file})
	if err != nil {
		return r.unlisted(p, a, err)
	}
	defer r.lister.release(list)
	if err := r.putDir(p, list); err != nil {
		return err
	}
	var nodes []*node
	if p.node != nil {
		nodes = p.node.children
	}
	for i := range list.count {
		rec := list.entry(i)
		inside := place{path: join(p.path, string(list.name(rec))), root: p.root}
		name := inside.path[len(inside.path)-int(rec.length):]
		// Configured paths that the listing does not show have their place too.
		for len(nodes) > 0 && nodes[0].name < name {
			if err := r.walkNode(p.below(nodes[0].name, nodes[0])); err != nil {
				return err
			}
			nodes = nodes[1:]
		}
		if len(nodes) > 0 && nodes[0].name == name {
			inside.node, nodes = nodes[0], nodes[1:]
		}
		if err := r.walkRecord(p, inside, list, rec); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := r.walkNode(p.below(n.name, n)); err != nil {
			return err
		}
	}
	return nil
}

// putDir hands a folder on, and that there may be more in it than is known.
func (r *reader) putDir(p place, list *listing) error {
	if p.path == "/" {
		return nil // it has no name to be stored under
	}
	if err := r.put(newSlot(p, entry.Dir, list.self, list.fine)); err != nil || !list.blind {
		return err
	}
	sl := newSlot(p, entry.Dir, list.self, list.fine)
	sl.refuse(blind(p.path))
	return r.put(sl)
}

// blind says of a folder that is listed that it may not be listed whole.
func blind(path string) *job.Error {
	return job.Errorf(job.PermissionDenied, "the folder may hold more than was seen: over SFTP nothing is shown whose path has more than %d bytes, and its own has %d. "+
		"Back it up by a source of type ssh whose login may run find, or name a short link to it among the paths. It starts with %.200q", maxPath, len(path), path)
}

func (r *reader) followed(p place) bool {
	return p.node != nil && p.node.root != nil && p.node.root.link != ""
}

// walkRecord walks one name of a listing.
func (r *reader) walkRecord(p, inside place, list *listing, rec *record) error {
	n := inside.node
	if n != nil && n.root != nil {
		return r.walkNode(inside)
	}
	a := rec.attrs()
	kind, ok := kindOf(a, rec.longID)
	if !ok {
		var err error
		if a, err = r.s.Lstat(inside.path).Attrs(); err != nil {
			return r.unlisted(inside, a, err)
		}
		if kind, ok = kindOf(a, 0); !ok {
			return errNoKind(inside.path)
		}
	}
	if r.excludes.Match(p.comps, inside.path[len(inside.path)-int(rec.length):], kind == entry.Dir) {
		if n != nil {
			return r.walkNode(inside)
		}
		return nil
	}
	return r.walkEntry(inside, kind, a, list.precise(rec))
}

// unlisted deals with a directory that could not be listed.
func (r *reader) unlisted(p place, a wire.Attrs, err error) error {
	if !isStatus(err) {
		return r.problem(err)
	}
	if p.path == "/" {
		return unreadable(p.path, r.config.Username, err) // it has no name to be visited under
	}
	sl := newSlot(p, entry.Dir, a, precise{})
	now, state, lookErr := r.look(sl)
	var changed *notDirError
	switch {
	case lookErr != nil:
		return r.problem(lookErr)
	case state == isGone && p.path == p.root:
		return r.pathError(p.path, wire.ErrNotExist)
	case state == isGone:
		r.gone(sl)
		return r.put(sl)
	case errors.As(err, &changed) && state == isThere:
		kind, ok := kindOf(now, 0)
		switch {
		case !ok:
			return errNoKind(p.path)
		case kind != entry.Dir:
			return r.walkEntry(p, kind, now, precise{})
		}
		err = errors.New("it changes all the time")
	}
	sl.refuse(unreadable(p.path, r.config.Username, err))
	return r.put(sl)
}

// problem is the error of the whole reading that a broken connection stands for.
func (r *reader) problem(err error) error {
	if known, ok := errors.AsType[*job.Error](err); ok {
		return known
	}
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return r.s.cause(err)
}

// state is what became of an entry since it was listed.
type state int

const (
	isThere state = iota
	isGone
	isHidden // it cannot be looked at
)

// look tells what is at a path now. A path that leads through something that is
// no longer a directory is gone: what a link there leads to is another file.
func (r *reader) look(sl *slot) (wire.Attrs, state, error) {
	var parents []*wire.Call
	for _, path := range between(sl.root, sl.path) {
		parents = append(parents, r.s.Lstat(path))
	}
	own := r.s.Lstat
	if sl.path == sl.root {
		own = r.s.Stat
	}
	self := own(sl.path)
	result := isThere
	for _, call := range parents {
		a, err := call.Attrs()
		switch {
		case err != nil && !wire.IsStatus(err):
			return a, isGone, err
		case errors.Is(err, wire.ErrNotExist) || err == nil && notDir(a):
			result = isGone
		case err != nil && result == isThere:
			result = isHidden
		}
	}
	a, err := self.Attrs()
	switch {
	case err != nil && !wire.IsStatus(err):
		return a, isGone, err
	case errors.Is(err, wire.ErrNotExist):
		result = isGone
	case err != nil && result == isThere:
		result = isHidden
	}
	return a, result, nil
}
