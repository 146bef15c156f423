// Package scratch runs database servers that exist for one restore drill: programs
// that load what is not trusted, in a room of their own.
//
// # What a room promises
//
// Its programs run as a user of their own where the worker is root, and else as the
// worker's. Where the kernel permits it they have no network, process numbers of their
// own, by which they reach no process but their own, and share no memory with others;
// /proc still lists the others. A room says what it could not have. Programs inherit
// no environment, can gain no rights, leave no core, and reach the worker over a socket
// in the room alone. All of them, and what they started, are gone with Close, and when
// the worker is killed.
//
// A room is a folder below the job's own, which the worker removes on every way out. The
// folders above it stay closed to its programs: they see it at another place, where
// nothing in it can be run as a program, or else by a descriptor.
package scratch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"xvault/internal/job"
)

// Config says where a room is, and whose.
type Config struct {
	// TempDir gives the job's private folder. Required.
	TempDir func() (string, error)
	// User is who programs run as where the worker is root; empty: the first of
	// Users that there is. A worker that is not root has no choice.
	User string
	// Needs is how many bytes have to be free to begin with.
	Needs int64
	// Reserve is how many bytes have to stay free. Default 256 MiB.
	Reserve int64
	// Log is told what the kernel did not permit. Default: nobody.
	Log *slog.Logger
}

// defaultReserve is left for other jobs, and for the server to end in order.
const defaultReserve = 256 << 20

// roomFile is the descriptor by which programs know the room.
const roomFile = 3

// Room is where a scratch server lives. It may be used from many goroutines.
type Room struct {
	cfg     Config
	account account
	folder  string
	dir     *os.File
	place   string // where programs see it; empty: by descriptor only

	mu      sync.Mutex
	limits  confinement // what programs are kept in; less where the kernel refused
	running []*process
	closed  bool
}

// Open makes a room. Its errors are *job.Error: unprovable, where there is nobody to run
// a server as, and storage_full.
func Open(c Config) (*Room, error) {
	if c.Reserve <= 0 {
		c.Reserve = defaultReserve
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	account, err := whoRuns(c.User)
	if err != nil {
		return nil, err
	}
	r := &Room{cfg: c, account: account, limits: strict(account)}
	if err := r.open(); err != nil {
		return nil, &job.Error{Code: job.Internal, Err: err, Message: fmt.Sprintf("A folder for the scratch server could not be made in WORKER_TEMP_DIR: %v", err)}
	}
	free, err := r.free()
	if err == nil && free < c.Needs+c.Reserve {
		err = job.Errorf(job.StorageFull, "The drill needs about %d MiB in WORKER_TEMP_DIR, beside %d MiB that stay free, and %d MiB are free there. Make room, or set WORKER_TEMP_DIR to a larger disk.",
			c.Needs>>20, c.Reserve>>20, free>>20)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Room) open() error {
	parent, err := r.cfg.TempDir()
	if err != nil {
		return err
	}
	if r.folder, err = os.MkdirTemp(parent, "drill"); err != nil {
		return err
	}
	if r.dir, err = os.Open(r.folder); err != nil {
		return errors.Join(err, os.Remove(r.folder))
	}
	if err := r.account.own(r.folder); err != nil {
		return errors.Join(err, r.Close())
	}
	r.place = r.settle()
	return nil
}

// Path is the name by which programs of the room find what is in it.
func (r *Room) Path(name string) string {
	if r.place == "" {
		return filepath.Join(descriptor(roomFile), name)
	}
	return filepath.Join(r.place, name)
}

// Walkable reports whether programs can come to the room folder by folder, as some
// insist on.
func (r *Room) Walkable() bool { return r.place != "" || r.account.same }

func descriptor(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// own is the name by which this process does, which is short wherever the room is: the
// path of a socket may have no more than 107 bytes.
func (r *Room) own(name string) string { return filepath.Join(descriptor(int(r.dir.Fd())), name) }

// Write makes a file that the programs can read, before the first of them runs.
func (r *Room) Write(name string, content []byte) error {
	f, err := os.OpenFile(r.own(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return r.account.own(r.own(name))
}

// Mkdir makes an empty folder that no program of the room can write to, unless the
// worker is not root.
func (r *Room) Mkdir(name string) error { return os.Mkdir(r.own(name), 0o755) } //nolint:gosec // the room around it is closed

// Remove removes a file.
func (r *Room) Remove(name string) error { return os.Remove(r.own(name)) }

// Dial connects with a socket of the room. Whoever listens has to be the room's user:
// what is in a room is what its programs made of it.
func (r *Room) Dial(ctx context.Context, name string) (net.Conn, error) {
	path := r.own(name)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s is no socket", name)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if !r.account.listens(conn) {
		return nil, errors.Join(fmt.Errorf("%s is another user's", name), conn.Close())
	}
	return conn, nil
}

// Notes say what protection the kernel did not give.
func (r *Room) Notes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits.notes(r.account)
}

// Watch gives a context that ends with storage_full before the disk is full. The
// returned function has to be called.
func (r *Room) Watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if free, err := r.free(); err == nil && free < r.cfg.Reserve/2 {
					cancel(job.Errorf(job.StorageFull, "The drill was given up: it has nearly filled the disk of WORKER_TEMP_DIR (%d MiB are free). Make room, or set WORKER_TEMP_DIR to a larger disk.", free>>20))
					return
				}
			}
		}
	})
	return ctx, func() { cancel(nil); watching.Wait() }
}

// Low reports whether so little is free that a program may have failed for that.
func (r *Room) Low() bool {
	free, err := r.free()
	return err != nil || free < r.cfg.Reserve
}

// watchEvery is how often the disk is looked at.
const watchEvery = 500 * time.Millisecond

// Close ends everything that runs, waits for that, and removes the folder.
func (r *Room) Close() error {
	r.mu.Lock()
	running := r.running
	r.running, r.closed = nil, true
	r.mu.Unlock()
	for _, p := range running {
		p.stop()
	}
	err := r.dir.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	if err = errors.Join(err, os.RemoveAll(r.folder)); err != nil {
		return fmt.Errorf("remove the scratch server: %w", err)
	}
	return nil
}
