package scratch

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running program.
type process struct {
	name   string
	cmd    *exec.Cmd
	signal syscall.Signal // that ends it
	alone  bool           // it has process numbers of its own, so that its end is that of all below it
	said   tail
	done   chan struct{} // closed when it is gone
	err    error         // how it ended; set before done is closed

	mu   sync.Mutex
	gone bool // its number may be another's from now on
}

// maxMemory bounds the memory that each process of a room may map, in bytes.
const maxMemory = 4 << 30

// confinement is what programs are kept in.
type confinement struct {
	flags   uintptr // of clone(2)
	refused error   // by the kernel
}

// strict is all that there is: no network, process numbers and shared memory of their
// own. Who is not root needs a user namespace for the others.
func strict(a account) confinement {
	flags := uintptr(unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC)
	if a.same {
		flags |= unix.CLONE_NEWUSER
	}
	return confinement{flags: flags}
}

func (c confinement) notes(a account) []string {
	var notes []string
	if c.refused != nil {
		notes = append(notes, fmt.Sprintf("the kernel refused the scratch server a network and process numbers of its own (%v): it listens on a socket only, but is not kept from making connections", c.refused))
	}
	if a.name == sharedUser {
		notes = append(notes, "the scratch server ran as "+sharedUser+", as other programs of the machine may: a user of its own is better (useradd --system --shell /usr/sbin/nologin xvault-drill)")
	}
	if a.same {
		notes = append(notes, "the worker is not root, so the scratch server ran as the worker's own user")
	}
	return notes
}

// launch starts a program as confined as the kernel permits. The caller holds the lock.
func (r *Room) launch(p Program) (*process, error) {
	proc, err := r.fork(p)
	if err != nil && r.limits.flags != 0 && refusal(err) {
		r.limits = confinement{refused: err}
		r.cfg.Log.Warn("the scratch server is less confined than it could be", slog.Any("notes", r.limits.notes(r.account)))
		proc, err = r.fork(p)
	}
	return proc, err
}

// refusal reports whether it was the kernel that did not want namespaces.
func refusal(err error) bool {
	for _, e := range []error{unix.EPERM, unix.EINVAL, unix.ENOSPC, unix.ENOSYS, unix.EACCES, unix.EUSERS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// fork starts it. The kernel kills a child when the thread that started it ends, so that
// thread is kept until the child is gone, and then thrown away: it can gain no rights any
// more, and neither can what it starts.
func (r *Room) fork(p Program) (*process, error) {
	proc := &process{name: filepath.Base(p.Path), signal: p.Stop, alone: r.limits.flags != 0, done: make(chan struct{})}
	cmd := exec.Command(p.Path, p.Args...) //nolint:noctx // stop ends it
	cmd.Dir, cmd.Env, cmd.ExtraFiles = "/", p.environment(), []*os.File{r.dir}
	cmd.Stdout, cmd.Stderr = &proc.said, &proc.said
	cmd.SysProcAttr = r.attributes()
	cmd.WaitDelay = stopPatience // somebody may hold its output open
	proc.cmd = cmd
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil && r.place != "" {
			err = mountAt(r.folder, r.place)
		}
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			proc.limit()
		}
		started <- err
		if err == nil {
			proc.wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return proc, nil
}

func (r *Room) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: r.limits.flags}
	if !r.account.same {
		a.Credential = &syscall.Credential{Uid: uint32(r.account.uid), Gid: uint32(r.account.gid)}
	} else if r.limits.flags != 0 {
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: r.account.uid, HostID: r.account.uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: r.account.gid, HostID: r.account.gid, Size: 1}}
	}
	return a
}

// limit bounds what the program and all that it starts may use.
func (p *process) limit() {
	for resource, most := range map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_AS: maxMemory} {
		// It has ended already, or a limit that is lower is in force.
		_ = unix.Prlimit(p.cmd.Process.Pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil)
	}
}

// wait waits for the end, removes what is left of its group, and only then lets go of
// its number.
func (p *process) wait() {
	defer close(p.done)
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL) // it is gone, mostly
	p.gone = true
	p.mu.Unlock()
	p.err = p.cmd.Wait()
}

// stop ends it and all that it started, and waits for that. The end of the first process
// of a process namespace is that of all others; elsewhere the program is asked, for its
// children may have left its group.
func (p *process) stop() {
	if !p.alone && p.signal != 0 {
		p.send(p.cmd.Process.Pid, p.signal)
		timer := time.NewTimer(stopPatience)
		defer timer.Stop()
		select {
		case <-p.done:
			return
		case <-timer.C:
		}
	}
	p.send(-p.cmd.Process.Pid, unix.SIGKILL)
	<-p.done
}

func (p *process) send(pid int, signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		_ = unix.Kill(pid, signal) // it is gone, or not ours
	}
}

// free is how many bytes the room's file system has left for its user.
func (r *Room) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(r.dir.Fd()), &st); err != nil {
		return 0, fmt.Errorf("look at the file system of WORKER_TEMP_DIR: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// listens reports whether a socket's other end is the account's.
func (a account) listens(conn net.Conn) bool {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	own := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		own = err == nil && int(cred.Uid) == a.uid
	})
	return err == nil && own
}
