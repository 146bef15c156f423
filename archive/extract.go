package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"xvault/internal/entry"
)

// ErrTooLarge says that the selected files hold more than
// ExtractOptions.MaxBytes.
var ErrTooLarge = errors.New("the content is larger than allowed")

// ExtractOptions are the options of Extract.
type ExtractOptions struct {
	// KeepSetID restores the set-user-ID and set-group-ID bits. By default they
	// are dropped: a program out of a backup is not to gain rights unasked.
	KeepSetID bool
	// NoOwner leaves owners alone. By default root restores them by number, and
	// others cannot anyway.
	NoOwner bool
	// MaxBytes ends the extraction with ErrTooLarge when there is more content.
	// Default: no limit.
	MaxBytes int64
	// Progress is called now and then, from one goroutine, with the bytes of
	// content that were read and are written or about to be.
	Progress func(bytes int64)
}

// ExtractReport is what an extraction did.
type ExtractReport struct {
	Content Content
	// Problems are entries selected that are not as they were on the source:
	// the first twenty of Content.Errors.
	Problems []Problem
	// LostXattrs counts the entries whose extended attributes could not be
	// restored, all or some; LostXattrsReason is why not of the first.
	LostXattrs       int64
	LostXattrsReason error
}

// Extract restores the entries of the paths given, and all that is below them,
// under dst; without paths, everything. It never writes over what is there
// (directories are merged), never follows a symbolic link, and makes nothing
// outside of dst. Of a file whose hash is wrong nothing remains. Extended
// attributes are restored as far as they are the users' own ("user.") and the
// file system takes them. The first error ends it. Entries that were skipped or unreadable at backup are no
// error; the report counts and names them.
func (r *Reader) Extract(ctx context.Context, dst *os.Root, paths []string, opts ExtractOptions) (ExtractReport, error) {
	roots, err := r.selection(paths)
	if err != nil {
		return ExtractReport{}, err
	}
	target, err := newTarget(dst, opts)
	if err != nil {
		return ExtractReport{}, err
	}
	x := &extractor{
		members: members{r: r, ctx: ctx, roots: roots}, opts: opts,
		target: target, crew: newCrew(target),
	}
	x.waits = x.handOver
	err = x.run()
	if failed := x.close(); failed != nil && !errors.Is(err, failed) {
		err = failed // it came first, or was not seen any more
	}
	return x.report(), err
}

func (x *extractor) run() error {
	for _, root := range x.roots {
		if err := x.r.Walk(x.ctx, root, x.entry); err != nil {
			return err
		}
	}
	x.settle()
	if err := x.crew.failure(); err != nil {
		return err
	}
	return x.target.finish("")
}

// selection sorts the paths, drops those inside of others, and makes sure that
// each is there before anything is written.
func (r *Reader) selection(paths []string) ([]string, error) {
	var roots []string
	paths = slices.Clone(paths)
	slices.SortFunc(paths, comparePaths)
	for _, path := range paths {
		if n := len(roots); n > 0 && (roots[n-1] == path || isBelow(path, roots[n-1])) {
			continue
		}
		it, err := r.seek(path)
		if err != nil {
			return nil, err
		}
		e, err := it.next()
		if err != nil {
			return nil, err
		}
		if e == nil || (e.Path != path && !isBelow(e.Path, path)) {
			return nil, fmt.Errorf("%s: %w", Escape(path), ErrNotFound)
		}
		roots = append(roots, path)
	}
	if len(roots) == 0 {
		return []string{""}, nil
	}
	return roots, nil
}

// extractor goes through the selected entries in archive order.
type extractor struct {
	members
	opts   ExtractOptions
	target *target
	crew   *crew
	small  *batch // small files that are not handed over yet; nil: none

	summary Summary
	written int64
	// followed are the places of contents that hard links share while the
	// path that holds the content was not selected.
	followed map[string]string
}

// maxFollowed bounds followed; behind it such links become copies.
const maxFollowed = 100_000

func (x *extractor) report() ExtractReport {
	report := ExtractReport{Content: x.summary.Content, Problems: x.summary.Problems}
	report.LostXattrs, report.LostXattrsReason = x.target.attrs.entries, x.target.attrs.reason
	report.Content.Files += x.crew.content.Files
	report.Content.Bytes += x.crew.content.Bytes
	report.Content.ChangedWhileRead += x.crew.content.ChangedWhileRead
	return report
}

// close stops everything and gives the crew's first failure.
func (x *extractor) close() error {
	x.settle()
	x.members.close()
	x.crew.stop()
	x.target.close()
	return x.crew.failure()
}

func (x *extractor) entry(e *Entry) error {
	if err := x.crew.failure(); err != nil {
		return err
	}
	if e.hasCode() {
		x.summary.problem(e.Path, e.Code)
	}
	if !e.Stored() {
		if e.Flags&entry.Skipped != 0 {
			x.summary.Content.Skipped++
		}
		return nil
	}
	if x.small != nil && x.small.in.path != parentOf(e.Path) {
		x.handOver() // finish may wait for it
	}
	if err := x.target.finish(e.Path); err != nil {
		return err
	}
	return named(e.Path, x.restore(e))
}

func (x *extractor) restore(e *Entry) error {
	if e.Kind == entry.Hardlink {
		return x.hardlink(e)
	}
	m, err := x.member(e)
	if err != nil {
		return err
	}
	switch e.Kind {
	case entry.Dir:
		x.summary.Content.Dirs++
		return x.target.dir(e.Path, m.attributes())
	case entry.Symlink:
		x.summary.Content.Links++
		return x.target.symlink(e.Path, e.LinkTarget, m.attributes())
	default:
	}
	if e.Size <= maxSmallFile {
		return x.smallFile(m)
	}
	return x.file(e.Path, m)
}

// smallFile reads a file and leaves checking and writing it to the crew.
func (x *extractor) smallFile(m *member) error {
	if err := x.count(int(m.e.Size)); err != nil {
		return err
	}
	f, err := readSmall(m) // which may hand over those before it
	if err != nil {
		return err
	}
	if x.small == nil {
		b := x.crew.batch()
		if b.in, b.done, err = x.target.handOut(parentOf(m.e.Path)); err != nil {
			f.giveBack()
			return err
		}
		x.small = b
	}
	x.small.add(f)
	if x.small.full() {
		x.handOver()
	}
	return nil
}

// handOver leaves the small files that were read to the crew.
func (x *extractor) handOver() {
	if x.small != nil {
		x.crew.write(x.small)
		x.small = nil
	}
}

// settle waits until all small files that were read are written.
func (x *extractor) settle() {
	x.handOver()
	x.crew.settle()
}

// count takes n bytes of content into account.
func (x *extractor) count(n int) error {
	x.written += int64(n)
	if x.opts.MaxBytes > 0 && x.written > x.opts.MaxBytes {
		return ErrTooLarge
	}
	if x.opts.Progress != nil {
		x.opts.Progress(x.written)
	}
	return nil
}

// file restores a file's content at path, which is not e.Path where a hard
// link is followed.
func (x *extractor) file(path string, m *member) error {
	f, err := x.target.create(path)
	if err != nil {
		return err
	}
	err = x.copy(f, m)
	if err == nil {
		err = x.target.attach(int(f.Fd()), m.attributes())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, x.target.remove(path))
	}
	x.summary.Content.count(m.e)
	return x.target.times(path, m.e.ModTime)
}

// copy writes a file's content while another goroutine hashes it: the two take
// about as long as each other.
func (x *extractor) copy(f *os.File, m *member) error {
	sum := startSum()
	err := x.transfer(f, m, sum)
	if got := sum.finish(); err == nil && got != m.e.SHA256 {
		err = m.e.wrongHash()
	}
	return err
}

func (x *extractor) transfer(f *os.File, m *member, sum *asyncSum) error {
	for {
		b, err := m.piece(readSize)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := x.count(len(b)); err != nil {
			return err
		}
		sum.add(b, m.span.frames.current)
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
}

// hardlink restores a hard link: as one where the path that holds the content
// is among those restored, and else as a file of its own.
func (x *extractor) hardlink(e *Entry) error {
	target, err := x.r.linked(e)
	if err != nil {
		return err
	}
	place := x.followed[target.Path]
	if x.selected(target.Path) {
		place = target.Path
	}
	if place != "" {
		x.summary.Content.Links++
		x.settle() // it may be among what is being written
		return x.target.link(place, e.Path)
	}
	f, err := x.r.openEntry(x.ctx, target)
	if err != nil {
		return err
	}
	if len(x.followed) < maxFollowed {
		if x.followed == nil {
			x.followed = make(map[string]string)
		}
		x.followed[target.Path] = e.Path
	}
	return errors.Join(x.file(e.Path, f.m), f.Close())
}
