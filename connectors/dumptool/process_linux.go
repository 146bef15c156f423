package dumptool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running program in a process group of its own.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it and all of its group are gone
	err  error         // how it ended; set before done is closed
	left bool          // it did not take all that was in its standard input; likewise

	stdin *os.File // kept open, to see that; may be nil

	mu   sync.Mutex
	gone bool // its number may be another's from now on
}

// start runs a program, and takes over the reading end of its standard input, unless
// it fails. The kernel kills a child when the thread that started it
// ends, so that thread is kept until the child is gone.
func (c *Command) start(stdin, stdout *os.File, stderr io.Writer) (*process, error) {
	cmd := exec.Command(c.Path, c.Args...) //nolint:noctx // the group is killed, not the program alone
	cmd.Dir, cmd.Env, cmd.ExtraFiles = c.Dir, c.environment(), c.files()
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	if stdin != nil { // a nil *os.File is no nil io.Reader
		cmd.Stdin = stdin
	}
	if stdout != nil {
		cmd.Stdout = stdout
	}
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 10 * time.Second // somebody outside the group may hold stderr open
	p := &process{cmd: cmd, done: make(chan struct{}), stdin: stdin}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(c.Path), err)
	}
	return p, nil
}

// wait waits for the end, removes what the program left behind, and only then lets
// go of its number: until that it cannot be another's.
func (p *process) wait() {
	defer close(p.done)
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	p.killGroup()
	p.gone = true
	p.mu.Unlock()
	p.err = p.cmd.Wait()
	if p.stdin != nil {
		p.left = unread(p.stdin)
		closeQuietly(p.stdin) // whoever still writes learns of it
	}
}

// unread reports whether a pipe still holds something.
func unread(pipe *os.File) bool {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return true
	}
	n := 0
	if failed := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); failed != nil {
		return true
	}
	return err != nil || n > 0
}

// kill ends the program and everything that it started.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		p.killGroup()
	}
}

func (p *process) killGroup() {
	// There is nothing to be done about a failure: it is gone, or not ours.
	_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
}
