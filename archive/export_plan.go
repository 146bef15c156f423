package archive

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"xvault/internal/entry"
)

// maxSegments bounds what an export remembers: a segment or two for each path
// that was chosen, each file in parts and each hard link to follow.
const maxSegments = 400_000

// ExportOptions are the options of Export.
type ExportOptions struct {
	// Zstd compresses the stream: tar.zst.
	Zstd bool
}

// Export prepares the paths given, and all that is below them, for being sent as
// a tar stream; without paths, everything. It reads the index of what is
// selected. Errors: ErrNotFound for a path that is not there, ErrNotStored for
// one of which nothing was stored.
func (r *Reader) Export(ctx context.Context, paths []string, opts ExportOptions) (*Export, error) {
	roots, err := r.Select(paths)
	if err != nil {
		return nil, err
	}
	p := &exportPlan{
		x: &Export{r: r, zstd: opts.Zstd}, roots: roots,
		members: memberCursor{r: r, ctx: ctx}, followed: make(map[string]string),
	}
	defer p.members.close()
	for _, root := range roots {
		if err := p.root(ctx, root); err != nil {
			return nil, err
		}
	}
	if err := p.add(segment{bytes: endOfArchive[:]}); err != nil {
		return nil, err
	}
	return p.x, nil
}

// Select sorts paths and drops those inside of others, once each of them is known to
// be there; the error is ErrNotFound otherwise. The empty path is everything, and so
// are no paths.
func (r *Reader) Select(paths []string) ([]string, error) {
	if slices.Contains(paths, "") {
		paths = nil
	}
	for _, path := range paths { // also those that others include
		if _, err := r.first(path); err != nil {
			return nil, err
		}
	}
	return r.selection(paths)
}

// exportPlan lays out an export.
type exportPlan struct {
	x       *Export
	roots   []string // sorted, none inside of another
	members memberCursor
	headers tarEncoder
	// followed are the places in the export of contents that hard links share
	// while the path that holds the content was not selected.
	followed map[string]string
	at       int64 // in the tar stream: entries only ever go forward
}

// root lays out one path and all that is below it.
func (p *exportPlan) root(ctx context.Context, root string) error {
	it, err := p.x.r.seek(root)
	if err != nil {
		return err
	}
	l := rootLayout{p: p, root: root}
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		e, err := it.next()
		if err != nil {
			return err
		}
		if done, err := l.entry(e); done || err != nil {
			return err
		}
	}
}

// rootLayout is what is known of a root while it is laid out.
type rootLayout struct {
	p      *exportPlan
	root   string
	run    *segment // the range that is being extended
	stored bool     // something is in the tar stream
}

// entry lays out the next entry; nil is the end of the index. The first one
// behind the root shows where the last one in it ends: then it is done.
func (l *rootLayout) entry(e *Entry) (done bool, err error) {
	outside := e == nil || (l.root != "" && e.Path != l.root && !isBelow(e.Path, l.root))
	if !outside {
		l.p.count(e)
	}
	if e != nil && !e.Stored() {
		return false, nil
	}
	offset, err := l.p.offset(e)
	if err != nil {
		return false, err
	}
	special := !outside && l.p.special(e)
	if l.run != nil && (outside || special) {
		l.run.to = offset
		if err := l.p.add(*l.run); err != nil {
			return false, err
		}
		l.run = nil
	}
	switch {
	case outside && !l.stored && l.root != "":
		return true, fmt.Errorf("%s: %w", Escape(l.root), ErrNotStored)
	case outside:
		return true, nil
	case special:
		err = l.p.rewrite(e)
	case l.run == nil:
		l.run = &segment{first: e, from: offset}
	}
	l.stored = true
	return false, err
}

// offset is where a stored entry, or what comes behind the last one, begins in
// the tar stream.
func (p *exportPlan) offset(e *Entry) (int64, error) {
	offset := p.x.r.dir.tarSize - int64(len(endOfArchive))
	if e != nil {
		offset = e.at.tarOffset()
	}
	if offset < p.at {
		return 0, fmt.Errorf("%w: the index goes backwards in the tar stream", ErrCorrupt)
	}
	p.at = offset
	return offset, nil
}

// special tells what cannot be passed on as it stands.
func (p *exportPlan) special(e *Entry) bool {
	return e.Flags&entry.Parts != 0 || (e.Kind == entry.Hardlink && !isWithin(p.roots, e.LinkTarget))
}

// isWithin reports whether a path is one of the roots or below one.
func isWithin(roots []string, path string) bool {
	i := sort.Search(len(roots), func(i int) bool { return comparePaths(roots[i], path) > 0 }) - 1
	return i >= 0 && (roots[i] == "" || roots[i] == path || isBelow(path, roots[i]))
}

// rewrite lays out a file in parts as one file, and a hard link to what is not
// selected as a file, or as a link to the first such one.
func (p *exportPlan) rewrite(e *Entry) error {
	m, err := p.members.open(e)
	if err != nil {
		return err
	}
	h := m.header()
	content := e
	if e.Kind == entry.Hardlink {
		if content, err = p.x.r.linked(e); err != nil {
			return err
		}
		h.Kind, h.LinkTarget = entry.File, ""
		if place := p.followed[content.Path]; place != "" {
			h.Kind, h.LinkTarget = entry.Hardlink, place
			return p.add(segment{bytes: slices.Clone(p.headers.header(&h, h.Path, 0))})
		}
		p.followed[content.Path] = e.Path
		p.x.Content.Links--
		p.x.Content.Files++
		p.x.Content.Bytes += content.Size
	}
	if err := p.add(segment{bytes: slices.Clone(p.headers.header(&h, h.Path, content.Size))}); err != nil {
		return err
	}
	if content.Size == 0 {
		return nil
	}
	if err := p.add(segment{file: content}); err != nil {
		return err
	}
	if n := padding(content.Size); n > 0 {
		return p.add(segment{bytes: zeroBlock[:n]})
	}
	return nil
}

// add puts a segment at the end of the output. Ranges that touch become one.
func (p *exportPlan) add(s segment) error {
	x := p.x
	if s.first != nil && s.from >= s.to {
		return fmt.Errorf("%w: an entry without a place in the tar stream", ErrCorrupt)
	}
	if n := len(x.segments); n > 0 && s.first != nil && x.segments[n-1].first != nil && x.segments[n-1].to == s.from {
		before := x.segments[n-1]
		x.segments = x.segments[:n-1]
		x.size -= before.size
		s.first, s.from = before.first, before.from
	}
	if len(x.segments) >= maxSegments {
		return fmt.Errorf("the selection falls into more than %d pieces: choose folders instead of single files", maxSegments)
	}
	size, err := x.sizeOf(&s)
	if err != nil {
		return err
	}
	s.out, s.size = x.size, size
	x.size += size
	x.segments = append(x.segments, s)
	return nil
}

func (x *Export) sizeOf(s *segment) (int64, error) {
	n := int64(len(s.bytes))
	switch {
	case s.first != nil:
		n = s.to - s.from
	case s.file != nil:
		n = s.file.Size
	}
	if !x.zstd {
		return n, nil
	}
	if s.first == nil {
		return storedSize(n), nil
	}
	// Most single files are within one frame, of which the index knows enough.
	if f := s.first.at.frame; s.to < f.tar+f.plain {
		return storedSize(n), nil
	}
	var size int64
	err := x.r.eachFrame(s.from, s.to, func(at frameMark, f seekFrame) bool {
		size += pieceSize(at, f, s.from, s.to)
		return true
	})
	return size, err
}

func (p *exportPlan) count(e *Entry) {
	n := &p.x.Content
	switch {
	case e.Flags&entry.Skipped != 0:
		n.Skipped++
	case !e.Stored():
		n.Errors++
		return
	case e.Kind == entry.File:
		n.Files++
		n.Bytes += e.Size
	case e.Kind == entry.Dir:
		n.Dirs++
	default:
		n.Links++
	}
	if e.hasCode() {
		n.Errors++
	}
	if e.Flags&entry.ChangedWhileRead != 0 {
		n.ChangedWhileRead++
	}
}

// memberCursor opens members, in archive order for the best part.
type memberCursor struct {
	r    *Reader
	ctx  context.Context
	span *tarSpan
}

// open opens a member. What lies a little ahead is reached by reading on.
func (c *memberCursor) open(e *Entry) (*member, error) {
	const near = 4 * MaxFrame
	if c.span != nil {
		gap := e.at.tarOffset() - c.span.offset
		if gap >= 0 && gap <= near && c.span.skip(gap) == nil {
			return openMember(c.span, e)
		}
		c.close()
	}
	ahead := fewAhead
	if e.Size > MaxFrame {
		ahead = manyAhead()
	}
	c.span = c.r.span(c.ctx, e.at.frame.offset, e.at.frame.tar, ahead)
	if err := c.span.skip(e.at.within); err != nil {
		return nil, err
	}
	return openMember(c.span, e)
}

func (c *memberCursor) close() {
	if c.span != nil {
		c.span.close()
		c.span = nil
	}
}
