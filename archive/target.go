package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// target is the folder that an extraction fills. All access goes through an
// os.Root, and every directory on the way is looked at before it is entered,
// so that no symbolic link is ever followed, whoever made it.
type target struct {
	root      *os.Root
	keepSetID bool
	owners    bool

	// The directory worked in last: most entries are in the same one.
	at     string
	in     *os.Root
	handle *os.File

	// open are the directories whose contents are still coming, outermost
	// first. A directory gets its mode and time when they are done: before
	// that, it might refuse them and would change its time.
	open []openDir
}

type openDir struct {
	path string
	attr attributes
}

// attributes are what an entry has besides its content.
type attributes struct {
	mode     uint32
	uid, gid int64
	mtime    time.Time
}

func (m *member) attributes() attributes {
	return attributes{
		mode: m.e.Mode, uid: int64(m.first.Uid), gid: int64(m.first.Gid), mtime: m.e.ModTime,
	}
}

func newTarget(dst *os.Root, opts ExtractOptions) *target {
	return &target{root: dst, keepSetID: opts.KeepSetID, owners: !opts.NoOwner && os.Geteuid() == 0}
}

func (t *target) close() {
	if t.handle != nil {
		_ = t.handle.Close() // opened for reading only
		t.handle = nil
	}
	if t.in != nil && t.in != t.root {
		_ = t.in.Close()
	}
	t.in = nil
}

// enter makes the directory dir, "" being the target itself, the one worked in.
func (t *target) enter(dir string) error {
	if t.in != nil && t.at == dir {
		return nil
	}
	from, rest := t.root, dir
	if t.in != nil && isBelow(dir, t.at) {
		from, rest = t.in, dir[len(t.at)+1:]
		t.in = nil // from here on descend closes it
	}
	t.close()
	in, err := descend(t.root, from, rest)
	if err != nil {
		return err
	}
	t.at, t.in = dir, in
	t.handle, err = in.Open(".")
	return err
}

// descend goes down from a directory, making what is missing. It closes every
// directory that it leaves, but top.
func descend(top, from *os.Root, path string) (*os.Root, error) {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			break
		}
		next, err := step(from, name)
		if from != top {
			_ = from.Close()
		}
		if err != nil {
			return nil, err
		}
		from = next
	}
	return from, nil
}

func step(in *os.Root, name string) (*os.Root, error) {
	err := in.Mkdir(name, 0o755)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	info, err := in.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is there already and is no directory", Escape(name))
	}
	return in.OpenRoot(name)
}

// dir makes a directory, or takes the one that is there.
func (t *target) dir(path string, attr attributes) error {
	if err := t.enter(parentOf(path)); err != nil {
		return err
	}
	err := t.in.Mkdir(baseOf(path), 0o700)
	if errors.Is(err, fs.ErrExist) {
		info, statErr := t.in.Lstat(baseOf(path))
		if statErr == nil && info.IsDir() {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	t.open = append(t.open, openDir{path, attr})
	return nil
}

// finish completes the directories that are behind us once path is next.
func (t *target) finish(path string) error {
	for n := len(t.open); n > 0 && !isBelow(path, t.open[n-1].path); n = len(t.open) {
		d := t.open[n-1]
		t.open = t.open[:n-1]
		if err := t.finishDir(d); err != nil {
			return fmt.Errorf("extract %s: %w", Escape(d.path), err)
		}
	}
	return nil
}

func (t *target) finishDir(d openDir) error {
	if err := t.enter(parentOf(d.path)); err != nil {
		return err
	}
	f, err := t.in.Open(baseOf(d.path))
	if err != nil {
		return err
	}
	if err := errors.Join(t.attach(f, d.attr), f.Close()); err != nil {
		return err
	}
	return t.times(d.path, d.attr.mtime)
}

// create makes a new file.
func (t *target) create(path string) (*os.File, error) {
	if err := t.enter(parentOf(path)); err != nil {
		return nil, err
	}
	return t.in.OpenFile(baseOf(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (t *target) remove(path string) error {
	if err := t.enter(parentOf(path)); err != nil {
		return err
	}
	return t.in.Remove(baseOf(path))
}

func (t *target) symlink(path, text string, attr attributes) error {
	if err := t.enter(parentOf(path)); err != nil {
		return err
	}
	if err := t.in.Symlink(text, baseOf(path)); err != nil {
		return err
	}
	if t.owners {
		if err := attr.checkOwner(); err != nil {
			return err
		}
		if err := t.in.Lchown(baseOf(path), int(attr.uid), int(attr.gid)); err != nil {
			return err
		}
	}
	return t.times(path, attr.mtime)
}

// link makes path a hard link to what was restored at place before.
func (t *target) link(place, path string) error {
	if err := t.enter(parentOf(path)); err != nil {
		return err
	}
	if err := t.checkPlace(place); err != nil {
		return err
	}
	return t.root.Link(place, path)
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

// attach gives an open file or directory its owner and mode. The owner comes
// first, for changing it drops the set-ID bits.
func (t *target) attach(f *os.File, attr attributes) error {
	if t.owners {
		if err := attr.checkOwner(); err != nil {
			return err
		}
		if err := f.Chown(int(attr.uid), int(attr.gid)); err != nil {
			return err
		}
	}
	return f.Chmod(attr.fileMode(t.keepSetID))
}

// times sets the modification time of the entry itself, be it a link.
func (t *target) times(path string, mtime time.Time) error {
	if err := t.enter(parentOf(path)); err != nil {
		return err
	}
	ts := unix.Timespec{Sec: mtime.Unix(), Nsec: int64(mtime.Nanosecond())}
	err := unix.UtimesNanoAt(int(t.handle.Fd()), baseOf(path), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "set time", Path: baseOf(path), Err: err}
	}
	return nil
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
