package devenv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Command is a program to start.
type Command struct {
	Path string
	Args []string // without the program's own name
	Dir  string
	// Env is the whole environment; nil means a small one without secrets.
	Env []string
	// User is who it runs as; nil means this process's own user.
	User *Account
	// Output takes stdout and stderr; nil throws them away.
	Output io.Writer
	// DeathSignal is what the program gets when this process dies; 0 means
	// SIGKILL.
	DeathSignal syscall.Signal
}

// Process is a running program that dies with this process.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; set before done is closed
}

// Start runs a program. The kernel sends a child's death signal when the thread
// that started it ends, so that thread is kept until the child is gone.
func Start(c Command) (*Process, error) {
	cmd := exec.Command(c.Path, c.Args...) //nolint:noctx // Stop ends it
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, c.Output, c.Output
	cmd.Env = c.Env
	if cmd.Env == nil {
		cmd.Env = plainEnv()
	}
	signal := c.DeathSignal
	if signal == 0 {
		signal = syscall.SIGKILL
	}
	cmd.SysProcAttr = deathSignal(signal)
	// A group of its own: an interrupt typed at a terminal reaches this process
	// alone, which then stops its children in order.
	cmd.SysProcAttr.Setpgid = true
	if c.User != nil {
		cmd.SysProcAttr.Credential = c.User.credential()
	}
	// Grandchildren may hold the output open; do not wait for them for ever.
	cmd.WaitDelay = 5 * time.Second

	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return p, nil
}

// plainEnv gives a child what programs need to find their way, and no setting
// of ours: those may hold secrets.
func plainEnv() []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	for _, name := range []string{"HOME", "TZ", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err tells how it ended; only valid after Done.
func (p *Process) Err() error { return p.err }

// Signal sends a signal; a program that has ended is no error.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !isFinished(err) {
		return fmt.Errorf("signal %s: %w", p.cmd.Path, err)
	}
	return nil
}

// Kill ends it at once and waits.
func (p *Process) Kill() error { return p.Stop(syscall.SIGKILL, 0) }

// Stop sends a signal, waits up to grace, then kills, and waits for the end.
func (p *Process) Stop(s os.Signal, grace time.Duration) error {
	if err := p.Signal(s); err != nil {
		return err
	}
	if s != syscall.SIGKILL {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.done:
			return nil
		case <-timer.C:
			if err := p.Signal(syscall.SIGKILL); err != nil {
				return err
			}
		}
	}
	<-p.done
	return nil
}

func isFinished(err error) bool {
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH)
}
