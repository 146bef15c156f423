package archive

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"

	"xvault/internal/entry"
)

// WriteZip writes the paths given, and all that is below them, as a zip file;
// without paths, everything. A zip knows neither owners nor hard links: linked
// files come as files of their own. It is not said beforehand how long it will
// be; after an error it has no end, and no program takes it for whole. Errors as
// those of Export.
func (r *Reader) WriteZip(ctx context.Context, w io.Writer, paths []string) error {
	roots, err := r.Select(paths)
	if err != nil {
		return err
	}
	z := &zipWriter{ctx: ctx, members: memberCursor{r: r, ctx: ctx}, zip: zip.NewWriter(w), buf: make([]byte, readSize)}
	z.zip.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	defer z.members.close()
	for _, root := range roots {
		before := z.stored
		if err := r.Walk(ctx, root, z.entry); err != nil {
			return err
		}
		if z.stored == before && root != "" {
			return fmt.Errorf("%s: %w", Escape(root), ErrNotStored)
		}
	}
	return z.zip.Close()
}

type zipWriter struct {
	ctx     context.Context
	members memberCursor
	zip     *zip.Writer
	buf     []byte
	stored  int64
}

func (z *zipWriter) entry(e *Entry) (err error) {
	if !e.Stored() {
		return nil
	}
	z.stored++
	if e.Kind == entry.Hardlink {
		target, err := z.members.r.linked(e)
		if err != nil {
			return err
		}
		f, err := z.members.r.openEntry(z.ctx, target)
		if err != nil {
			return err
		}
		linked := *target
		linked.Path = e.Path
		return errors.Join(z.add(&linked, f), f.Close())
	}
	m, err := z.members.open(e)
	if err != nil {
		return err
	}
	return z.add(e, m)
}

// add writes an entry whose content, if it is a file, comes from body.
func (z *zipWriter) add(e *Entry, body io.Reader) error {
	h := &zip.FileHeader{Name: e.Path, Method: zip.Deflate, NonUTF8: !utf8.ValidString(e.Path)}
	h.Modified = zipTime(e.ModTime)
	mode := attributes{mode: e.Mode}.fileMode(false)
	switch e.Kind {
	case entry.Dir:
		h.Name += "/"
		h.Method = zip.Store
		mode |= fs.ModeDir
	case entry.Symlink:
		h.Method = zip.Store
		mode |= fs.ModeSymlink
	}
	h.SetMode(mode)
	w, err := z.zip.CreateHeader(h)
	if err != nil {
		return fmt.Errorf("zip %s: %w", Escape(e.Path), err)
	}
	switch e.Kind {
	case entry.Dir:
		return nil
	case entry.Symlink:
		_, err := io.WriteString(w, e.LinkTarget)
		return err
	}
	for {
		n, err := body.Read(z.buf)
		if n > 0 {
			if _, err := w.Write(z.buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// zipTime keeps to the years that a zip can say.
func zipTime(t time.Time) time.Time {
	first := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	last := time.Date(2107, 12, 31, 23, 59, 58, 0, time.UTC)
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	default:
		return t
	}
}
