package archive

import (
	"context"
	"io"
	"strings"

	"xvault/internal/entry"
)

// Unpacked is one entry as it comes out of an archive.
type Unpacked struct {
	// Header is the entry's. Of a hard link, Size and ModTime are those of the file
	// that it shares, and LinkTarget is the path under which that came before.
	entry.Header
	// Body is the content of a file; io.EOF comes only if it is right. It is valid
	// until the visit returns, and need not be read.
	Body io.Reader
	// Above says that the entry was not selected, but is a folder above one that
	// was.
	Above bool
	// Content opens the content that a hard link shares. Nil for everything else.
	// It may be called as long as the Reader is open.
	Content func(ctx context.Context) (io.ReadCloser, error)
}

// Unpack visits the entries of the paths given and all that is below them, in
// archive order and with their contents; without paths, everything. Folders above
// the paths come too, as far as the archive has them. Of a file with several
// names, the first that comes has the content. That each path is there is found
// out before the first visit. An error of visit ends it and is returned as it is.
//
// The summary tells of what was selected; its Problems are entries that the
// archive has by name only, or not as they were on the source.
func (r *Reader) Unpack(ctx context.Context, paths []string, visit func(Unpacked) error) (Summary, error) {
	roots, err := r.selection(paths)
	if err != nil {
		return Summary{}, err
	}
	u := &unpacker{members: members{r: r, ctx: ctx, roots: roots}, visit: visit, above: map[string]bool{}}
	defer u.close()
	for _, root := range roots {
		if err := u.ways(root); err != nil {
			return u.summary, err
		}
		if err := r.Walk(ctx, root, u.entry); err != nil {
			return u.summary, err
		}
	}
	return u.summary, nil
}

type unpacker struct {
	members
	visit   func(Unpacked) error
	above   map[string]bool // folders above the roots that were visited
	summary Summary
	// followed are where contents came that hard links share while the path that
	// holds the content was not selected.
	followed map[string]string
}

// ways visits the folders above a root.
func (u *unpacker) ways(root string) error {
	for i, c := range []byte(root) {
		path := root[:i]
		if c != '/' || u.above[path] {
			continue
		}
		u.above[strings.Clone(path)] = true
		it, err := u.r.seek(path)
		if err != nil {
			return err
		}
		e, err := it.next()
		if err != nil {
			return err
		}
		if e == nil || e.Path != path || e.Kind != entry.Dir || !e.Stored() {
			continue
		}
		m, err := u.member(e)
		if err != nil {
			return err
		}
		if err := u.visit(Unpacked{Header: m.header(), Above: true}); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) entry(e *Entry) error {
	if e.hasCode() {
		u.summary.problem(e.Path, e.Code)
	}
	if !e.Stored() {
		if e.Flags&entry.Skipped != 0 {
			u.summary.Content.Skipped++
		}
		return nil
	}
	if e.Kind == entry.Hardlink {
		return u.hardlink(e)
	}
	m, err := u.member(e)
	if err != nil {
		return err
	}
	out := Unpacked{Header: m.header()}
	switch e.Kind {
	case entry.Dir:
		u.summary.Content.Dirs++
	case entry.Symlink:
		u.summary.Content.Links++
	default:
		u.file(e)
		out.Body = m
	}
	return u.visit(out)
}

func (u *unpacker) file(e *Entry) {
	u.summary.Content.Files++
	u.summary.Content.Bytes += e.Size
}

// hardlink visits a further name of a file: as a link where a name before it was
// visited, and else as the file.
func (u *unpacker) hardlink(e *Entry) error {
	target, err := u.r.linked(e)
	if err != nil {
		return err
	}
	place := u.followed[target.Path]
	if u.selected(target.Path) {
		place = target.Path
	}
	if place == "" {
		return u.follow(e, target)
	}
	m, err := u.member(e)
	if err != nil {
		return err
	}
	u.summary.Content.Links++
	out := Unpacked{Header: m.header(), Content: func(ctx context.Context) (io.ReadCloser, error) {
		return u.r.openEntry(ctx, target)
	}}
	out.LinkTarget, out.Size, out.ModTime = place, target.Size, target.ModTime
	return u.visit(out)
}

// follow visits a hard link as the file that it shares.
func (u *unpacker) follow(e, target *Entry) (err error) {
	f, err := u.r.openEntry(u.ctx, target)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	if len(u.followed) < maxFollowed {
		if u.followed == nil {
			u.followed = make(map[string]string)
		}
		u.followed[target.Path] = e.Path
	}
	u.file(target)
	out := Unpacked{Header: f.m.header(), Body: f}
	out.Path = e.Path
	return u.visit(out)
}
