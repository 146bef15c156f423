package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"xvault/archive/seal"
	"xvault/internal/entry"
)

// CheckOptions are the options of Check.
type CheckOptions struct {
	// Progress is called now and then with the bytes of the tar stream that have
	// been checked, of TarSize.
	Progress func(tarBytes int64)
}

// CheckReport is what a check found to be in a sound artifact.
type CheckReport struct {
	Content   Content
	SizeBytes int64  // of the artifact
	SHA256    string // of the artifact, lower-case hex
	// Problems are the entries that the artifact itself says are not as they
	// were on the source; the first twenty of Content.Errors.
	Problems []Problem
}

// Check reads the whole artifact once, from the first byte to the last: every
// chunk is authentic, every frame decompresses, every file has its hash, and
// tar stream, index, directory and seek table agree. An error tells the first
// thing that does not hold; without one, everything that the artifact claims to
// hold can be restored.
func (r *Reader) Check(ctx context.Context, opts CheckOptions) (CheckReport, error) {
	sealed := sha256.New()
	section := io.NewSectionReader(r.sealed, 0, r.size)
	plain, err := seal.NewReader(io.TeeReader(section, sealed), r.identities...)
	if err != nil {
		return CheckReport{}, fmt.Errorf("check archive: %w", err)
	}
	layout := newLayoutCheck(r)
	frames := r.newFrameDecoder(ctx, newFrameScanner(plain, 0, streamSize), manyAhead(), layout.frame)
	span := &tarSpan{frames: frames}
	defer span.close()

	c := checker{r: r, span: span, progress: opts.Progress, buf: make([]byte, readSize)}
	c.cursor.table = newSeekTableReader(r.plain, r.tail)
	if err := c.run(ctx); err != nil {
		return CheckReport{}, fmt.Errorf("check archive: %w", err)
	}
	span.close() // the scanner has seen the end: the layout is all checked
	if err := layout.done(); err != nil {
		return CheckReport{}, fmt.Errorf("check archive: %w", err)
	}
	return CheckReport{
		Content: c.summary.Content, Problems: c.summary.Problems,
		SizeBytes: r.size, SHA256: hex.EncodeToString(sealed.Sum(nil)),
	}, nil
}

// checker goes through index and tar stream side by side.
type checker struct {
	r        *Reader
	span     *tarSpan
	progress func(int64)
	cursor   frameCursor
	buf      []byte
	summary  Summary
	entries  int64
}

func (c *checker) run(ctx context.Context) error {
	err := c.r.Walk(ctx, "", func(e *Entry) error {
		c.entries++
		c.count(e)
		if !e.Stored() {
			return nil
		}
		return c.entry(e)
	})
	if err != nil {
		return err
	}
	if c.entries != c.r.dir.entries {
		return fmt.Errorf("%w: %d index entries where %d were announced", ErrCorrupt, c.entries, c.r.dir.entries)
	}
	return c.end()
}

// entry holds one member against its index entry. Nothing may stand between it
// and the one before.
func (c *checker) entry(e *Entry) error {
	if err := c.span.skip(padding(c.span.offset)); err != nil {
		return c.broken(err)
	}
	if err := c.cursor.verify(e.at.frame); err != nil {
		return err
	}
	if e.at.tarOffset() != c.span.offset {
		return fmt.Errorf("%w: %s: the index points elsewhere in the tar stream", ErrCorrupt, Escape(e.Path))
	}
	if e.Kind == entry.Hardlink {
		if _, err := c.r.linked(e); err != nil {
			return err
		}
	}
	m, err := openMember(c.span, e)
	if err != nil {
		return err
	}
	if !e.hasSum() {
		return nil
	}
	_, err = io.CopyBuffer(progressWriter{c}, m, c.buf)
	return err
}

// end checks that nothing but the end of the archive is left.
func (c *checker) end() error {
	if err := c.span.skip(padding(c.span.offset)); err != nil {
		return c.broken(err)
	}
	rest, err := io.ReadAll(io.LimitReader(c.span, int64(len(endOfArchive))+1))
	if err != nil {
		return err
	}
	if !bytes.Equal(rest, endOfArchive[:]) || c.span.offset != c.r.dir.tarSize {
		return fmt.Errorf("%w: the tar stream does not end where it should", ErrCorrupt)
	}
	return nil
}

func (c *checker) broken(err error) error {
	if c.span.err != nil {
		return c.span.err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

func (c *checker) count(e *Entry) {
	n := &c.summary.Content
	switch {
	case e.Flags&entry.Skipped != 0:
		n.Skipped++
	case !e.Stored():
	case e.Kind == entry.File:
		n.Files++
		n.Bytes += e.Size
	case e.Kind == entry.Dir:
		n.Dirs++
	default:
		n.Links++
	}
	if e.Flags&entry.ChangedWhileRead != 0 {
		n.ChangedWhileRead++
	}
	if e.hasCode() {
		c.summary.problem(e.Path, e.Code)
	}
}

// progressWriter takes checked content.
type progressWriter struct{ c *checker }

func (w progressWriter) Write(p []byte) (int, error) {
	if w.c.progress != nil {
		w.c.progress(w.c.span.offset)
	}
	return len(p), nil
}
