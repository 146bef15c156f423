package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// target is the folder that an extraction fills. Every directory is entered from
// the one above it, by its name and only if it is no symbolic link, so that none
// is ever followed, whoever made it, and nothing leads out. One goroutine uses it;
// others may work in the places that it hands out.
type target struct {
	root      *os.Root
	top       *place // the same
	keepSetID bool
	owners    bool
	uid, gid  int64 // whose the files are that this process makes
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
	tasks   int            // what was handed out
	pending sync.WaitGroup // what of that is not written yet
}

// holds reports whether dir is the directory or one below it.
func (d *openDir) holds(dir string) bool { return d.path == dir || isBelow(dir, d.path) }

type closingDir struct {
	dir *openDir
	in  *place
}

// maxEntered and maxClosing bound the directories that are held open.
const (
	maxEntered = 32
	maxClosing = 64
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
		mode: m.e.Mode, uid: m.owner.uid, gid: m.owner.gid, mtime: m.e.ModTime, xattrs: m.owner.xattrs,
	}
}

func newTarget(dst *os.Root, opts ExtractOptions) (*target, error) {
	top, err := openPlace(dst)
	if err != nil {
		return nil, err
	}
	return &target{
		root: dst, top: top, keepSetID: opts.KeepSetID, attrs: &attrLoss{},
		owners: !opts.NoOwner && os.Geteuid() == 0, uid: int64(os.Geteuid()), gid: int64(os.Getegid()),
	}, nil
}

// close gives everything free. What was handed out must be written by now.
func (t *target) close() {
	t.leave(0)
	for _, c := range t.closing {
		c.in.release()
	}
	t.closing = nil
	t.top.release()
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
	from := t.top
	if n > 0 {
		from = t.entered[n-1]
	}
	if from.path == dir {
		return from, nil
	}
	p, err := from.descend(dir)
	if err != nil {
		return nil, err
	}
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
	if err := in.mkdir(baseOf(path), 0o700); err != nil && (!errors.Is(err, fs.ErrExist) || !in.isDir(baseOf(path))) {
		return err
	}
	t.open = append(t.open, &openDir{path: path, attr: attr})
	return nil
}

// handOut says that files of the directory dir are written by another goroutine,
// in the place that it gives. The done must be called when that has come to its
// end.
func (t *target) handOut(dir string) (in *place, done func(), err error) {
	in, err = t.enter(dir)
	if err != nil {
		return nil, nil, err
	}
	in.hold()
	n := len(t.open)
	if n == 0 || !t.open[n-1].holds(dir) {
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
	if err := in.ownTimes(d.attr.mtime); err != nil {
		return err
	}
	return t.attach(in.fd, d.attr)
}

// create makes a new file.
func (t *target) create(path string) (*os.File, error) {
	in, err := t.enter(parentOf(path))
	if err != nil {
		return nil, err
	}
	fd, err := in.create(baseOf(path), 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (t *target) remove(path string) error {
	in, err := t.enter(parentOf(path))
	if err != nil {
		return err
	}
	return in.remove(baseOf(path))
}

func (t *target) symlink(path, text string, attr attributes) error {
	in, err := t.enter(parentOf(path))
	if err != nil {
		return err
	}
	if err := in.symlink(text, baseOf(path)); err != nil {
		return err
	}
	t.attrs.count(attr.xattrs, errNoLinkAttr)
	if t.owners {
		if err := attr.checkOwner(); err != nil {
			return err
		}
		if err := in.lchown(baseOf(path), int(attr.uid), int(attr.gid)); err != nil {
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

// birthMode is what a file whose content is known to be right is made with: the
// mode that it will have, if it also is whose it will be. Attributes are set only
// where its owner may write.
//
// Of which group it is made is the directory's to say, and whoever owns that may
// change its mind at any time. So where groups are restored, the mode must not
// tell a group from others: what one could open before the file was taken from it
// would stay open.
func (t *target) birthMode(attr attributes) uint32 {
	mode := attr.mode & 0o777
	others := t.owners && (attr.uid != t.uid || attr.gid != t.gid || mode>>3&7 != mode&7)
	if others || len(attr.xattrs) > 0 {
		return 0o600
	}
	return mode
}

// attach gives an open file or directory its owner, mode and extended
// attributes, as far as it does not have them. The owner comes first, for
// changing it drops the set-ID bits. It may be called from any goroutine.
func (t *target) attach(fd int, attr attributes) error {
	var st unix.Stat_t
	if err := retried(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return fmt.Errorf("look at what was made: %w", err)
	}
	mode, has := attr.bits(t.keepSetID), st.Mode&0o7777
	if t.owners && (attr.uid != int64(st.Uid) || attr.gid != int64(st.Gid)) {
		if err := attr.checkOwner(); err != nil {
			return err
		}
		if err := retried(func() error { return unix.Fchown(fd, int(attr.uid), int(attr.gid)) }); err != nil {
			return fmt.Errorf("change owner: %w", err)
		}
		has = ^mode // whatever the change left of it
	}
	t.attrs.count(attr.xattrs, setXattrs(fd, attr.xattrs))
	if has == mode {
		return nil
	}
	if err := retried(func() error { return unix.Fchmod(fd, mode) }); err != nil {
		return fmt.Errorf("change mode: %w", err)
	}
	return nil
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

// bits are those of the mode that are restored.
func (a attributes) bits(keepSetID bool) uint32 {
	if keepSetID {
		return a.mode & 0o7777
	}
	return a.mode & 0o1777
}

// fileMode is the same as Go has it.
func (a attributes) fileMode(keepSetID bool) fs.FileMode {
	bits := a.bits(keepSetID)
	mode := fs.FileMode(bits & 0o777)
	if bits&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	if bits&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if bits&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	return mode
}
