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

// place is an open directory of a target. It is closed when the last of those
// who hold it lets go; they may be different goroutines.
type place struct {
	path   string
	root   *os.Root
	handle *os.File // the same directory
	top    bool     // root is the target's own
	users  atomic.Int32
}

// leadsTo reports whether the place is the directory dir or one above it.
func (p *place) leadsTo(dir string) bool {
	return p.path == "" || p.path == dir || isBelow(dir, p.path)
}

func (p *place) hold() { p.users.Add(1) }

func (p *place) release() {
	if p.users.Add(-1) > 0 {
		return
	}
	_ = p.handle.Close() // opened for reading only
	if !p.top {
		_ = p.root.Close()
	}
}

// descend goes down from a directory, making what is missing.
func descend(from *os.Root, path string) (_ *place, err error) {
	at := from
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			break
		}
		next, err := step(at, name)
		if at != from {
			_ = at.Close()
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	handle, err := at.Open(".")
	if err != nil {
		if at != from {
			_ = at.Close()
		}
		return nil, err
	}
	p := &place{root: at, handle: handle, top: at == from}
	p.users.Store(1)
	return p, nil
}

// step enters a directory, and makes it if need be. Mostly it is there.
func step(in *os.Root, name string) (*os.Root, error) {
	info, err := in.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := in.Mkdir(name, 0o755); err != nil {
			return nil, err
		}
		info, err = in.Lstat(name)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is there already and is no directory", Escape(name))
	}
	return in.OpenRoot(name)
}

// create makes a new file. A single name that must not exist cannot lead
// anywhere else, so that the way through the os.Root, which costs twice as many
// system calls, is not needed.
func (p *place) create(name string) (*os.File, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrInvalid}
	}
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	for {
		fd, err := unix.Openat(int(p.handle.Fd()), name, flags, 0o600)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "create", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// times sets the modification time of what has this name, be it a link.
func (p *place) times(name string, mtime time.Time) error {
	ts := unix.Timespec{Sec: mtime.Unix(), Nsec: int64(mtime.Nanosecond())}
	err := unix.UtimesNanoAt(int(p.handle.Fd()), name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "set time", Path: name, Err: err}
	}
	return nil
}
