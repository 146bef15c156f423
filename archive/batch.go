package archive

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

const (
	// maxSmallFile is the content that is handed to the crew; more is written
	// as it is read.
	maxSmallFile = 256 << 10
	// maxBatchFiles and maxBatchBytes are what a batch is handed over with.
	maxBatchFiles = 32
	maxBatchBytes = 512 << 10
)

// batch is small files of one directory, one after the other in the archive.
type batch struct {
	in    *place
	done  func()
	bytes int64 // of content
	files []smallFile
}

// smallFile is one file with its content.
type smallFile struct {
	entry   *Entry
	attr    attributes
	content []byte
	frame   *decoding // that the content is in; nil where it has memory of its own
}

func (b *batch) add(f smallFile) {
	b.files = append(b.files, f)
	b.bytes += f.entry.Size
}

func (b *batch) full() bool { return len(b.files) >= maxBatchFiles || b.bytes >= maxBatchBytes }

// clear gives the contents back.
func (b *batch) clear() {
	for i := range b.files {
		b.files[i].giveBack()
	}
	clear(b.files)
	*b = batch{files: b.files[:0]}
}

// write makes the files. One that fails does not keep the others from being
// made: they are whole, and came before it or stand beside it. It gives the first
// failure.
func (b *batch) write(t *target) (written Content, failed error) {
	for i := range b.files {
		f := &b.files[i]
		err := f.write(b.in, t)
		if err == nil {
			written.count(f.entry)
		} else if failed == nil {
			failed = named(f.entry.Path, err)
		}
	}
	return written, failed
}

// readSmall reads a file, without looking at its hash. Its content stays in the
// frame that it is in, or is copied where it is in several.
func readSmall(m *member) (smallFile, error) {
	f := smallFile{entry: m.e, attr: m.attributes()}
	if f.content, f.frame = m.take(); f.frame != nil {
		return f, nil
	}
	m.sum = nil
	f.content = make([]byte, m.e.Size)
	_, err := io.ReadFull(m, f.content)
	return f, err
}

func (f *smallFile) giveBack() {
	if f.frame != nil {
		f.frame.giveBack()
	}
}

// write makes the file, if the content is what it should be.
func (f *smallFile) write(in *place, t *target) error {
	if sha256.Sum256(f.content) != f.entry.SHA256 {
		return f.entry.wrongHash()
	}
	name := baseOf(f.entry.Path)
	fd, err := in.create(name, t.birthMode(f.attr))
	if err != nil {
		return err
	}
	if err := errors.Join(f.fill(fd, t), closeFile(fd)); err != nil {
		return errors.Join(err, in.remove(name))
	}
	return in.times(name, f.attr.mtime)
}

func (f *smallFile) fill(fd int, t *target) error {
	if err := writeAll(fd, f.content); err != nil {
		return &fs.PathError{Op: "write", Path: baseOf(f.entry.Path), Err: err}
	}
	return t.attach(fd, f.attr)
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n <= 0:
			return io.ErrShortWrite
		}
		b = b[max(n, 0):]
	}
	return nil
}

// closeFile closes what was written to. A signal does not keep it from being
// closed.
func closeFile(fd int) error {
	if err := unix.Close(fd); err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	return nil
}
