package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// place is an open directory of a target. What is done in it is done by single
// names, none of which is followed if it is a symbolic link: it cannot lead
// anywhere else, and costs one system call where the way through an os.Root
// costs several. A place is closed when the last of those who hold it lets go;
// they may be different goroutines.
type place struct {
	path  string
	fd    int
	users atomic.Int32

	// The crew's: what is waiting to be written here, and whether somebody is
	// writing.
	waiting []*batch
	busy    bool
}

// newPlace takes an open directory over.
func newPlace(fd int, path string) *place {
	p := &place{path: path, fd: fd}
	p.users.Store(1)
	return p
}

// openPlace gives the directory that a root stands for.
func openPlace(root *os.Root) (*place, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	fd, err := unix.FcntlInt(dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err := errors.Join(err, dir.Close()); err != nil {
		return nil, fmt.Errorf("open the target: %w", err)
	}
	return newPlace(fd, ""), nil
}

// leadsTo reports whether the place is the directory dir or one above it.
func (p *place) leadsTo(dir string) bool {
	return p.path == "" || p.path == dir || isBelow(dir, p.path)
}

func (p *place) hold() { p.users.Add(1) }

func (p *place) release() {
	if p.users.Add(-1) == 0 {
		_ = unix.Close(p.fd) // opened for reading only
	}
}

// call does something with a single name.
func (p *place) call(op, name string, do func() error) error {
	err := fs.ErrInvalid
	if isSingle(name) {
		err = retried(do)
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// isSingle reports whether a name is one of something in a directory.
func isSingle(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// retried does it again for as long as signals interrupt it.
func retried(do func() error) error {
	for {
		if err := do(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// descend goes down to a directory, making what is missing on the way.
func (p *place) descend(path string) (*place, error) {
	at := p
	rest := strings.TrimPrefix(path[len(p.path):], "/")
	for name := range strings.SplitSeq(rest, "/") {
		fd, err := at.step(name)
		if at != p {
			at.release()
		}
		if err != nil {
			return nil, err
		}
		at = newPlace(fd, path)
	}
	return at, nil
}

// step enters a directory, and makes it if need be. Mostly it is there.
func (p *place) step(name string) (fd int, err error) {
	enter := func() error {
		const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err = unix.Openat(p.fd, name, flags, 0)
		return err
	}
	err = p.call("open", name, enter)
	if errors.Is(err, fs.ErrNotExist) {
		if err := p.mkdir(name, 0o755); err != nil {
			return 0, err
		}
		err = p.call("open", name, enter)
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return 0, fmt.Errorf("%s is there already and is no directory", Escape(name))
	}
	return fd, err
}

func (p *place) mkdir(name string, mode uint32) error {
	return p.call("mkdir", name, func() error { return unix.Mkdirat(p.fd, name, mode) })
}

// isDir reports whether there is a directory of that name.
func (p *place) isDir(name string) bool {
	var st unix.Stat_t
	err := p.call("lstat", name, func() error { return unix.Fstatat(p.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// create makes a new file.
func (p *place) create(name string, mode uint32) (fd int, err error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	err = p.call("create", name, func() error {
		fd, err = unix.Openat(p.fd, name, flags, mode)
		return err
	})
	return fd, err
}

func (p *place) symlink(text, name string) error {
	return p.call("symlink", name, func() error { return unix.Symlinkat(text, p.fd, name) })
}

func (p *place) lchown(name string, uid, gid int) error {
	return p.call("chown", name, func() error { return unix.Fchownat(p.fd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW) })
}

func (p *place) remove(name string) error {
	return p.call("remove", name, func() error { return unix.Unlinkat(p.fd, name, 0) })
}

// times sets the modification time of what has this name, be it a link.
func (p *place) times(name string, mtime time.Time) error {
	return p.call("set time", name, func() error { return setTimes(p.fd, name, mtime) })
}

// ownTimes sets that of the directory itself.
func (p *place) ownTimes(mtime time.Time) error {
	return retried(func() error { return setTimes(p.fd, ".", mtime) })
}

func setTimes(dir int, name string, mtime time.Time) error {
	ts := unix.Timespec{Sec: mtime.Unix(), Nsec: int64(mtime.Nanosecond())}
	return unix.UtimesNanoAt(dir, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}
