package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"
	"time"
)

// target is the folder that an extraction fills. All access goes through an
// os.Root, and every directory on the way is looked at before it is entered,
// so that no symbolic link is ever followed, whoever made it. One goroutine uses
// it; others may work in the places that it hands out.
type target struct {
	root      *os.Root
	keepSetID bool
	owners    bool
	attrs     *attrLoss

	// entered are the directory worked in last and some of those above it, the
	// innermost last: the next entry is mostly in one of them.
	entered []*place

	// open are the directories whose contents are still coming, outermost
	// first. A directory gets its mode and time when they are done: before
	// that, it might refuse them and would change its time.
	open []*openDir
	// closing are directories of which everything was handed out, but not
	// everything is written yet.
	closing []closingDir
}

type openDir struct {
	path    string
	attr    attributes
	tasks   int            // files handed out
	pending sync.WaitGroup // those not yet written
}

type closingDir struct {
	dir *openDir
	in  *place
}

// maxEntered and maxClosing bound the directories that are held open.
const (
	maxEntered = 32
	maxClosing = 32
)

// attributes are what an entry has besides its content.
type attributes struct {
	mode     uint32
	uid, gid int64
	mtime    time.Time
	xattrs   map[string]string
}

func (m *member) attributes() attributes {
	return attributes{
		mode: m.e.Mode, uid: int64(m.first.Uid), gid: int64(m.first.Gid), mtime: m.e.ModTime,
		xattrs: xattrsOf(m.first),
	}
}

func newTarget(dst *os.Root, opts ExtractOptions) *target {
	return &target{
		root: dst, keepSetID: opts.KeepSetID, owners: !opts.NoOwner && os.Geteuid() == 0, attrs: &attrLoss{},
	}
}

// close gives everything free. What was handed out must be written by now.
func (t *target) close() {
	t.leave(0)
	for _, c := range t.closing {
		c.in.release()
	}
	t.closing = nil
}

// leave lets go of all but the first n of the directories entered.
func (t *target) leave(n int) {
	for _, p := range t.entered[n:] {
		p.release()
	}
	t.entered = t.entered[:n]
}

// enter gives the directory dir, "" being the target itself, and makes it where
// it is missing.
func (t *target) enter(dir string) (*place, error) {
	n := len(t.entered)
	for n > 0 && !t.entered[n-1].leadsTo(dir) {
		n--
	}
	t.leave(n)
	from, rest := t.root, dir
	if n > 0 {
		in := t.entered[n-1]
		if in.path == dir {
			return in, nil
		}
		from, rest = in.root, strings.TrimPrefix(dir[len(in.path):], "/")
	}
	p, err := descend(from, rest)
	if err != nil {
		return nil, err
	}
	p.path = dir
	if n == maxEntered {
		t.entered[0].release()
		t.entered = append(t.entered[:0], t.entered[1:]...)
	}
	t.entered = append(t.entered, p)
	return p, nil
}

// dir makes a directory, or takes the one that is there.
func (t *target) dir(path string, attr attributes) error {
	in, err := t.enter(parentOf(path))
	if err != nil {
		return err
	}
	err = in.root.Mkdir(baseOf(path), 0o700)
	if errors.Is(err, fs.ErrExist) {
		info, statErr := in.root.Lstat(baseOf(path))
		if statErr == nil && info.IsDir() {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	t.open = append(t.open, &openDir{path: path, attr: attr})
	return nil
}

// handOut says that a file is written by another goroutine, in the place that
// it gives. The done must be called when that has come to its end.
func (t *target) handOut(path string) (in *place, done func(), err error) {
	in, err = t.enter(parentOf(path))
	if err != nil {
		return nil, nil, err
	}
	in.hold()
	n := len(t.open)
	if n == 0 || !isBelow(path, t.open[n-1].path) {
		return in, in.release, nil
	}
	d := t.open[n-1]
	d.tasks++
	d.pending.Add(1)
	return in, func() { d.pending.Done(); in.release() }, nil
}

// finish completes the directories that are behind us once path is next; ""
// stands for the end, at which everything handed out is waited for.
func (t *target) finish(path string) error {
	for n := len(t.open); n > 0 && !isBelow(path, t.open[n-1].path); n = len(t.open) {
		d := t.open[n-1]
		t.open = t.open[:n-1]
		if err := t.finishDir(d); err != nil {
			return fmt.Errorf("extract %s: %w", Escape(d.path), err)
		}
	}
	for path == "" && len(t.closing) > 0 {
		if err := t.settleFirst(); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) finishDir(d *openDir) error {
	in, err := t.enter(d.path)
	if err != nil {
		return err
	}
	if d.tasks == 0 {
		return t.complete(in, d)
	}
	in.hold()
	t.closing = append(t.closing, closingDir{d, in})
	if len(t.closing) > maxClosing {
		return t.settleFirst()
	}
	return nil
}

// settleFirst completes the directory that has been closing for longest.
func (t *target) settleFirst() error {
	c := t.closing[0]
	t.closing = append(t.closing[:0], t.closing[1:]...)
	defer c.in.release()
	c.dir.pending.Wait()
	if err := t.complete(c.in, c.dir); err != nil {
		return fmt.Errorf("extract %s: %w", Escape(c.dir.path), err)
	}
	return nil
}

// complete gives a directory its time and then its mode, which might forbid to
// look at it.
func (t *target) complete(in *place, d *openDir) error {
	if err := in.times(".", d.attr.mtime); err != nil {
		return err
	}
	return t.attach(in.handle, d.attr)
}

// create makes a new file.
func (t *target) create(path string) (*os.File, error) {
	in, err := t.enter(parentOf(path))
	if err != nil {
		return nil, err
	}
	return in.create(baseOf(path))
}

func (t *target) remove(path string) error {
	in, err := t.enter(parentOf(path))
	if err != nil {
		return err
	}
	return in.root.Remove(baseOf(path))
}

func (t *target) symlink(path, text string, attr attributes) error {
	in, err := t.enter(parentOf(path))
	if err != nil {
		return err
	}
	if err := in.root.Symlink(text, baseOf(path)); err != nil {
		return err
	}
	t.attrs.count(attr.xattrs, errNoLinkAttr)
	if t.owners {
		if err := attr.checkOwner(); err != nil {
			return err
		}
		if err := in.root.Lchown(baseOf(path), int(attr.uid), int(attr.gid)); err != nil {
			return err
		}
	}
	return in.times(baseOf(path), attr.mtime)
}

// link makes path a hard link to what was restored at first before.
func (t *target) link(first, path string) error {
	if _, err := t.enter(parentOf(path)); err != nil {
		return err
	}
	if err := t.checkPlace(first); err != nil {
		return err
	}
	return t.root.Link(first, path)
}

// checkPlace makes sure that a path leads to a file without any link between.
func (t *target) checkPlace(place string) error {
	for i, c := range place + "/" {
		if c != '/' {
			continue
		}
		info, err := t.root.Lstat(place[:i])
		if err != nil {
			return err
		}
		if whole := i == len(place); whole != info.Mode().IsRegular() || whole == info.IsDir() {
			return fmt.Errorf("%s is not what was restored there", Escape(place[:i]))
		}
	}
	return nil
}

// attach gives an open file or directory its owner, mode and extended
// attributes. The owner comes first, for changing it drops the set-ID bits. It
// may be called from any goroutine.
func (t *target) attach(f *os.File, attr attributes) error {
	if t.owners {
		if err := attr.checkOwner(); err != nil {
			return err
		}
		if err := f.Chown(int(attr.uid), int(attr.gid)); err != nil {
			return err
		}
	}
	t.attrs.count(attr.xattrs, setXattrs(f, attr.xattrs))
	return f.Chmod(attr.fileMode(t.keepSetID))
}

// times sets the modification time of the entry itself, be it a link.
func (t *target) times(path string, mtime time.Time) error {
	in, err := t.enter(parentOf(path))
	if err != nil {
		return err
	}
	return in.times(baseOf(path), mtime)
}

func (a attributes) checkOwner() error {
	if a.uid < 0 || a.uid >= math.MaxUint32 || a.gid < 0 || a.gid >= math.MaxUint32 {
		return fmt.Errorf("%w: owner %d:%d", ErrCorrupt, a.uid, a.gid)
	}
	return nil
}

func (a attributes) fileMode(keepSetID bool) fs.FileMode {
	mode := fs.FileMode(a.mode & 0o777)
	if a.mode&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	if keepSetID && a.mode&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if keepSetID && a.mode&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	return mode
}
