// Package treediff compares two folder trees as a restore should be judged: every
// name, type, mode, owner, modification time, link target, hard link and byte.
package treediff

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Options says what is compared beside names, types, modes, links and content.
type Options struct {
	// Owners compares numeric owners and groups; only root can restore them.
	Owners bool
	// HardLinks compares which names share one file. Without it every name is
	// compared as a file of its own; SFTP does not tell of hard links.
	HardLinks bool
	// Precision is what modification times are cut to; 0 means not at all. SFTP
	// tells whole seconds.
	Precision time.Duration
	// MaxDifferences bounds what is collected; 0 means 20.
	MaxDifferences int
}

// Report is what a comparison found.
type Report struct {
	Files, Dirs, Links, HardLinks int64
	Bytes                         int64
	// Differences names the first ones, in words.
	Differences []string
	// Total counts all of them.
	Total int
}

// Same reports whether nothing differs.
func (r *Report) Same() bool { return r.Total == 0 }

// Add puts another report's findings to this one's.
func (r *Report) Add(other Report) {
	r.Files += other.Files
	r.Dirs += other.Dirs
	r.Links += other.Links
	r.HardLinks += other.HardLinks
	r.Bytes += other.Bytes
	r.Differences = append(r.Differences, other.Differences...)
	r.Total += other.Total
}

type comparison struct {
	want, got string
	opts      Options
	report    Report
	// seen maps an inode with several names to the first of its names, on either
	// side, so that hard links are compared as links.
	seenWant, seenGot map[inode]string
	bufWant, bufGot   []byte
}

type inode struct{ dev, ino uint64 }

// Compare walks both trees. An error means that it could not look; differences
// are in the report.
func Compare(want, got string, opts Options) (Report, error) {
	if opts.MaxDifferences == 0 {
		opts.MaxDifferences = 20
	}
	c := &comparison{
		want: want, got: got, opts: opts,
		seenWant: map[inode]string{}, seenGot: map[inode]string{},
		bufWant: make([]byte, 256<<10), bufGot: make([]byte, 256<<10),
	}
	if err := filepath.WalkDir(want, c.visit); err != nil {
		return c.report, fmt.Errorf("compare trees: %w", err)
	}
	if err := filepath.WalkDir(got, c.visitExtra); err != nil {
		return c.report, fmt.Errorf("compare trees: %w", err)
	}
	return c.report, nil
}

func (c *comparison) differ(path, format string, args ...any) {
	c.report.Total++
	if len(c.report.Differences) < c.opts.MaxDifferences {
		c.report.Differences = append(c.report.Differences, fmt.Sprintf("%q: ", path)+fmt.Sprintf(format, args...))
	}
}

// visitExtra finds what is only in the second tree.
func (c *comparison) visitExtra(path string, _ fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(c.got, path)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(c.want, rel)); errors.Is(err, fs.ErrNotExist) {
		c.differ(rel, "is not in the original")
		return nil
	} else if err != nil {
		return err
	}
	return nil
}

// visit compares one entry of the first tree.
func (c *comparison) visit(path string, _ fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(c.want, path)
	if err != nil {
		return err
	}
	want, err := os.Lstat(path)
	if err != nil {
		return err
	}
	got, err := os.Lstat(filepath.Join(c.got, rel))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.differ(rel, "is missing")
		if want.IsDir() {
			return filepath.SkipDir
		}
		return nil
	case err != nil:
		return err
	}
	c.attributes(rel, want, got)
	if want.Mode().Type() != got.Mode().Type() {
		return nil
	}
	return c.content(rel, want, got)
}

func (c *comparison) attributes(rel string, want, got fs.FileInfo) {
	if want.Mode() != got.Mode() {
		// A symbolic link's own mode means nothing.
		if want.Mode().Type() != got.Mode().Type() || want.Mode().Type() != fs.ModeSymlink {
			c.differ(rel, "mode is %v, was %v", got.Mode(), want.Mode())
		}
	}
	wantTime, gotTime := want.ModTime(), got.ModTime()
	if p := c.opts.Precision; p > 0 {
		wantTime, gotTime = wantTime.Truncate(p), gotTime.Truncate(p)
	}
	if !wantTime.Equal(gotTime) {
		c.differ(rel, "modification time is %v, was %v", gotTime.UTC(), wantTime.UTC())
	}
	if !c.opts.Owners {
		return
	}
	w, wok := want.Sys().(*syscall.Stat_t)
	g, gok := got.Sys().(*syscall.Stat_t)
	if wok && gok && (w.Uid != g.Uid || w.Gid != g.Gid) {
		c.differ(rel, "owner is %d:%d, was %d:%d", g.Uid, g.Gid, w.Uid, w.Gid)
	}
}

func (c *comparison) content(rel string, want, got fs.FileInfo) error {
	switch want.Mode().Type() {
	case fs.ModeDir:
		c.report.Dirs++
		return nil
	case fs.ModeSymlink:
		c.report.Links++
		return c.target(rel)
	case 0:
		if c.hardLink(rel, want, got) {
			c.report.HardLinks++
			return nil
		}
		c.report.Files++
		c.report.Bytes += want.Size()
		return c.bytes(rel, want, got)
	default:
		return nil // devices, pipes and sockets have no content
	}
}

func (c *comparison) target(rel string) error {
	want, err := os.Readlink(filepath.Join(c.want, rel))
	if err != nil {
		return err
	}
	got, err := os.Readlink(filepath.Join(c.got, rel))
	if err != nil {
		return err
	}
	if want != got {
		c.differ(rel, "link leads to %q, did to %q", got, want)
	}
	return nil
}

// hardLink reports whether the file is a further name of one seen before, and
// compares that both sides say so.
func (c *comparison) hardLink(rel string, want, got fs.FileInfo) bool {
	if !c.opts.HardLinks {
		return false
	}
	first, again := seen(c.seenWant, rel, want)
	gotFirst, gotAgain := seen(c.seenGot, rel, got)
	if first != gotFirst {
		c.differ(rel, "is another name of %q, was of %q", gotFirst, first)
		return false
	}
	return again && gotAgain
}

func seen(names map[inode]string, rel string, info fs.FileInfo) (string, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Nlink < 2 {
		return "", false
	}
	key := inode{uint64(st.Dev), st.Ino} //nolint:unconvert // Dev is narrower on other systems
	if name, ok := names[key]; ok {
		return name, true
	}
	names[key] = rel
	return "", false
}

func (c *comparison) bytes(rel string, want, got fs.FileInfo) error {
	if want.Size() != got.Size() {
		c.differ(rel, "has %d bytes, had %d", got.Size(), want.Size())
		return nil
	}
	w, err := os.Open(filepath.Join(c.want, rel))
	if err != nil {
		return err
	}
	defer w.Close() // only read from
	g, err := os.Open(filepath.Join(c.got, rel))
	if err != nil {
		return err
	}
	defer g.Close() // only read from
	for offset := int64(0); ; {
		n, wantErr := io.ReadFull(w, c.bufWant)
		m, gotErr := io.ReadFull(g, c.bufGot)
		if !ended(wantErr) || !ended(gotErr) {
			return errors.Join(wantErr, gotErr)
		}
		if n != m || !bytes.Equal(c.bufWant[:n], c.bufGot[:m]) {
			c.differ(rel, "content differs after byte %d", offset)
			return nil
		}
		if wantErr != nil {
			return nil
		}
		offset += int64(n)
	}
}

// ended reports whether a read went as it should: in full, or to the end.
func ended(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
