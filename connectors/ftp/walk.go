package ftp

import (
	"context"
	"errors"
	"slices"
	"strings"

	"xvault/connectors/ftp/lines"
	"xvault/connectors/ftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// node is a component of the configured paths. Nodes that are no roots are the way
// to one: they are not stored, unless they lie in another root.
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
			n = n.child(c)
		}
		n.root = r
	}
	return top
}

// child finds a child, and makes it where it is missing.
func (n *node) child(name string) *node {
	i, ok := slices.BinarySearchFunc(n.children, name, func(c *node, name string) int { return strings.Compare(c.name, name) })
	if !ok {
		n.children = slices.Insert(n.children, i, &node{name: name})
	}
	return n.children[i]
}

func components(path string) []string {
	if path == "/" {
		return nil
	}
	return strings.Split(path[1:], "/")
}

// walkNode goes down to configured paths without storing what is on the way.
func (r *reader) walkNode(n *node) error {
	if n.root != nil {
		return r.walkRoot(n)
	}
	return r.walkNodes(n.children)
}

func (r *reader) walkRoot(n *node) error {
	root := n.root
	if root.line.Kind == entry.Dir {
		return r.walkDir(root.folder, root.line, n)
	}
	parent, name := split(root.path)
	root.line.Name = name
	sl := newSlot(folder{path: parent}, root.line)
	sl.direct = root.isLink
	return r.put(sl)
}

// walkEntry makes the slot of one entry of a folder, and those of all below it.
func (r *reader) walkEntry(in folder, line lines.Line, n *node) error {
	sl := newSlot(in, line)
	if err := unsendable(sl.path); err != nil {
		sl.item.Err = err
		return r.put(sl)
	}
	switch line.Kind {
	case entry.Dir:
		return r.walkDir(in.below(line.Name), line, n)
	case entry.Symlink:
		if line.Target == "" {
			sl.item.Err = job.Errorf(job.PermissionDenied, "%q is a link, and the server does not tell where it leads", sl.path)
		}
		return r.put(sl)
	case 0:
		sl.item.Err = job.Errorf(job.PermissionDenied, "the server does not tell what %q is: a file, a folder, a link", sl.path)
		sl.item.Kind = entry.File
		return r.put(sl)
	default:
		return r.put(sl)
	}
}

// walkDir lists a folder and walks what is in it.
func (r *reader) walkDir(f folder, line lines.Line, n *node) error {
	l, err := r.lister.take(f)
	if err != nil {
		return r.unlisted(f, line, n, err)
	}
	if l.hasSelf && l.self.Precise {
		self := l.self
		line.ModTime, line.HasTime = self.ModTime, true
		if self.HasMode {
			line.Mode, line.HasMode, line.UID, line.GID, line.User, line.Group = self.Mode, true, self.UID, self.GID, self.User, self.Group
		}
	} else if l.hasSelf && !line.HasTime {
		line.ModTime, line.HasTime, line.Mode, line.HasMode = l.self.ModTime, l.self.HasTime, l.self.Mode, l.self.HasMode
		line.UID, line.GID, line.User, line.Group = l.self.UID, l.self.GID, l.self.User, l.self.Group
	}
	if f.path == "/" && l.flaw != nil {
		return l.flaw // it has no name to be visited under
	}
	if f.path != "/" {
		sl := newFolderSlot(f, line)
		sl.item.Err = l.flaw
		if err := r.put(sl); err != nil {
			return err
		}
	}
	return r.walkListing(f, l, n)
}

// walkListing walks the names of a listing, and configured paths that it does not
// show at their place.
func (r *reader) walkListing(f folder, l *listing, n *node) error {
	var nodes []*node
	if n != nil {
		nodes = n.children
	}
	ahead := r.lister.enter(f, l)
	defer r.lister.leave()
	dir := components(f.path)
	for i := range l.records {
		name := string(l.name(&l.records[i]))
		before := 0
		for before < len(nodes) && nodes[before].name < name {
			before++
		}
		if err := r.walkNodes(nodes[:before]); err != nil {
			return err
		}
		var own *node
		if nodes = nodes[before:]; len(nodes) > 0 && nodes[0].name == name {
			own, nodes = nodes[0], nodes[1:]
		}
		ahead.reached(i)
		if err := r.walkRecord(f, dir, l, &l.records[i], own); err != nil {
			return err
		}
	}
	return r.walkNodes(nodes)
}

func (r *reader) walkNodes(nodes []*node) error {
	for _, n := range nodes {
		if err := r.walkNode(n); err != nil {
			return err
		}
	}
	return nil
}

// walkRecord walks one name of a listing; own is its place in the tree of configured
// paths, if it has one.
func (r *reader) walkRecord(f folder, dir []string, l *listing, rec *record, own *node) error {
	configured := own != nil && own.root != nil
	excluded := !configured && r.excludes.Match(dir, string(l.name(rec)), rec.kind == entry.Dir)
	switch {
	case configured, excluded && own != nil:
		return r.walkNode(own)
	case excluded:
		return nil
	default:
		return r.walkEntry(f, l.line(rec), own)
	}
}

// unlisted deals with a folder that could not be listed.
func (r *reader) unlisted(f folder, line lines.Line, n *node, why error) error {
	if !isRefusal(why) && !errors.Is(why, wire.ErrElsewhere) {
		return r.explain(r.ctx, why)
	}
	if f.path == "/" || n != nil && n.root != nil {
		if n != nil && n.root != nil && f.path != "/" && !errors.Is(why, wire.ErrElsewhere) {
			sl := newFolderSlot(f, line)
			sl.item.Err = r.unreadable(f.path, why)
			return r.put(sl)
		}
		return r.unreadable(f.path, why)
	}
	parent := r.parentOf(f)
	now, err := r.again(parent, line.Name)
	sl := newSlot(parent, line)
	switch {
	case err != nil:
		return r.explain(r.ctx, err)
	case now.refuse != nil:
		sl.item.Err = now.refuse
		return r.put(sl)
	case now.line == nil:
		r.gone(sl)
		return r.put(sl)
	case now.line.Kind != entry.Dir:
		return r.walkEntry(parent, *now.line, nil)
	case errors.Is(why, wire.ErrElsewhere):
		// It is a folder, and leads elsewhere: so it is with a file system that is
		// mounted twice, or a server that names places in its own way.
		sl.item.Err = job.Errorf(job.PermissionDenied, "%q is listed as a folder, but entering it leads elsewhere; it is not read, for what is there is not what its name says", f.path)
		return r.put(sl)
	}
	sl.item.Err = r.unreadable(f.path, why)
	return r.put(sl)
}

// parentOf is the folder that a folder lies in.
func (r *reader) parentOf(f folder) folder {
	parent, _ := split(f.path)
	up := folder{path: parent}
	if f.real != "" && f.real != "/" {
		up.real, _ = split(f.real)
	}
	return up
}

// put hands a slot on, in order.
func (r *reader) put(sl *slot) error {
	if sl.item.Kind == entry.File && sl.item.Err == nil && !sl.item.Vanished {
		if err := r.order(sl); err != nil {
			return err
		}
	}
	select {
	case r.slots <- sl:
		return nil
	case <-r.ctx.Done():
		r.discard(sl)
		return context.Cause(r.ctx)
	}
}

// order has a file's content fetched ahead of its turn, if it is small.
func (r *reader) order(sl *slot) error {
	if sl.line.HasSize && sl.line.Size > r.options.SmallFile {
		sl.large = true
		return nil
	}
	charge := max(sl.line.Size, leastCharge)
	if err := r.ahead.Acquire(r.ctx, charge); err != nil {
		return context.Cause(r.ctx)
	}
	sl.charge, sl.ready = charge, make(chan struct{})
	select {
	case r.wanted <- sl:
		return nil
	case <-r.ctx.Done():
		close(sl.ready)
		r.discard(sl)
		return context.Cause(r.ctx)
	}
}
