package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// ExtractTar restores a tar stream as Export makes it, under dst, with the same
// care as Extract: it writes over nothing, follows no symbolic link, makes
// nothing outside of dst, and takes no member of another kind than an export
// has. The stream is read to its end, so that one that was cut is told. Of a
// file that did not arrive whole nothing remains.
func ExtractTar(ctx context.Context, r io.Reader, dst *os.Root, opts ExtractOptions) (Content, error) {
	target, err := newTarget(dst, opts)
	if err != nil {
		return Content{}, err
	}
	defer target.close()
	x := &tarExtractor{opts: opts, target: target, tar: tar.NewReader(r), buf: make([]byte, readSize)}
	for {
		if err := context.Cause(ctx); err != nil {
			return x.content, err
		}
		hdr, err := x.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return x.content, fmt.Errorf("read tar stream: %w", err)
		}
		if err := x.member(hdr); err != nil {
			return x.content, fmt.Errorf("extract %s: %w", Escape(hdr.Name), err)
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return x.content, fmt.Errorf("read tar stream: %w", err)
	}
	return x.content, x.target.finish("")
}

type tarExtractor struct {
	opts    ExtractOptions
	target  *target
	tar     *tar.Reader
	buf     []byte
	content Content
}

func (x *tarExtractor) member(hdr *tar.Header) error {
	path := hdr.Name
	if hdr.Typeflag == tar.TypeDir {
		path = strings.TrimSuffix(path, "/")
	}
	if err := checkPath(path); err != nil {
		return err
	}
	if isSparse(hdr) || hdr.Size < 0 {
		return errors.New("a member of a kind that no export has")
	}
	if err := x.target.finish(path); err != nil {
		return err
	}
	attr := attributes{mode: uint32(hdr.Mode & 0o7777), uid: int64(hdr.Uid), gid: int64(hdr.Gid), mtime: hdr.ModTime}
	switch hdr.Typeflag {
	case tar.TypeReg:
		return x.file(path, attr)
	case tar.TypeDir:
		x.content.Dirs++
		return x.target.dir(path, attr)
	case tar.TypeSymlink:
		if err := checkSymlinkTarget(hdr.Linkname); err != nil {
			return err
		}
		x.content.Links++
		return x.target.symlink(path, hdr.Linkname, attr)
	case tar.TypeLink:
		if err := checkPath(hdr.Linkname); err != nil {
			return fmt.Errorf("hard link: %w", err)
		}
		x.content.Links++
		return x.target.link(hdr.Linkname, path)
	default:
		return errors.New("a member of a kind that no export has")
	}
}

func (x *tarExtractor) file(path string, attr attributes) error {
	f, err := x.target.create(path)
	if err != nil {
		return err
	}
	err = x.copy(f)
	if err == nil {
		err = x.target.attach(int(f.Fd()), attr)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, x.target.remove(path))
	}
	x.content.Files++
	return x.target.times(path, attr.mtime)
}

func (x *tarExtractor) copy(f *os.File) error {
	for {
		n, err := x.tar.Read(x.buf)
		if n > 0 {
			x.content.Bytes += int64(n)
			if x.opts.MaxBytes > 0 && x.content.Bytes > x.opts.MaxBytes {
				return ErrTooLarge
			}
			if _, err := f.Write(x.buf[:n]); err != nil {
				return err
			}
			if x.opts.Progress != nil {
				x.opts.Progress(x.content.Bytes)
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
