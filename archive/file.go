package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"xvault/internal/entry"
)

// File is one file's content, read from the middle of an artifact.
type File struct {
	// Entry is the file's; for a hard link, the one that holds the content.
	Entry Entry

	m    *member
	span *tarSpan
}

// OpenFile opens the file of that path; a hard link is followed to its content,
// a symbolic link is not. It costs as much as the file is large, whatever the
// artifact's size. Reading to io.EOF proves length and hash; the caller closes.
func (r *Reader) OpenFile(ctx context.Context, path string) (*File, error) {
	e, err := r.Lookup(path)
	if err != nil {
		return nil, err
	}
	if e.Kind == entry.Hardlink {
		if e, err = r.linked(e); err != nil {
			return nil, err
		}
	}
	return r.openEntry(ctx, e)
}

// linked gives the file that a hard link stands for.
func (r *Reader) linked(e *Entry) (*Entry, error) {
	target, err := r.Lookup(e.LinkTarget)
	if errors.Is(err, ErrNotFound) || (err == nil && (target.Kind != entry.File || !target.Stored())) {
		return nil, fmt.Errorf("%w: hard link %s: %s holds no content",
			ErrCorrupt, Escape(e.Path), Escape(e.LinkTarget))
	}
	return target, err
}

func (r *Reader) openEntry(ctx context.Context, e *Entry) (*File, error) {
	if e.Kind != entry.File {
		return nil, fmt.Errorf("%s is not a file", Escape(e.Path))
	}
	if !e.Stored() {
		return nil, fmt.Errorf("%s: %w (%s)", Escape(e.Path), ErrNotStored, e.Code)
	}
	ahead := fewAhead
	if e.Size > 4*MaxFrame {
		ahead = manyAhead()
	}
	span := r.span(ctx, e.at.frame.offset, e.at.frame.tar, ahead)
	f := &File{Entry: *e, span: span}
	err := span.skip(e.at.within)
	if err == nil {
		f.m, err = openMember(span, e)
	}
	if err != nil {
		span.close()
		return nil, err
	}
	return f, nil
}

// Read implements io.Reader. io.EOF comes only if the content is right.
func (f *File) Read(p []byte) (int, error) { return f.m.Read(p) }

// Close releases what reading ahead holds.
func (f *File) Close() error {
	f.span.close()
	return nil
}

// ReadFile reads a whole file of at most limit bytes.
func (r *Reader) ReadFile(ctx context.Context, path string, limit int64) (content []byte, err error) {
	f, err := r.OpenFile(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if f.Entry.Size > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", Escape(path), f.Entry.Size, limit)
	}
	return io.ReadAll(f)
}
