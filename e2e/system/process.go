package system

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"xvault/internal/devenv"
)

// Process is a child whose output goes to a file and that the kernel kills
// when the test process dies.
type Process struct {
	Name    string
	LogPath string
	child   *devenv.Process
}

// Spawn starts a child. env is its whole environment.
func Spawn(t testing.TB, name, logDir string, env []string, argv ...string) *Process {
	t.Helper()
	p := &Process{Name: name, LogPath: filepath.Join(logDir, name+".log")}
	log, err := os.OpenFile(p.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the child has its own copy
	p.child, err = devenv.Start(devenv.Command{
		Path: argv[0], Args: argv[1:], Dir: logDir, Env: env, Output: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill() })
	return p
}

// PID of the child.
func (p *Process) PID() int { return p.child.PID() }

// Kill ends it at once, as a crash would, and waits until it is gone.
func (p *Process) Kill() { _ = p.child.Kill() } // it may be gone already

// Signal sends sig.
func (p *Process) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.child.Signal(sig); err != nil {
		t.Fatalf("signal %s to %s: %v", sig, p.Name, err)
	}
}

// Alive tells whether it still runs (or is stopped).
func (p *Process) Alive() bool {
	select {
	case <-p.child.Done():
		return false
	default:
		return true
	}
}

// Done is closed once the process is gone.
func (p *Process) Done() <-chan struct{} { return p.child.Done() }

// WaitExit waits for its end and gives the exit code; -1 for a signal.
func (p *Process) WaitExit(t testing.TB, timeout time.Duration) int {
	t.Helper()
	select {
	case <-p.child.Done():
		return exitCode(p.child.Err())
	case <-time.After(timeout):
		t.Fatalf("%s did not end within %s\n%s", p.Name, timeout, p.Tail(40))
		return 0
	}
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -1
}

// Terminate sends SIGTERM and waits for a clean end.
func (p *Process) Terminate(t testing.TB, timeout time.Duration) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if code := p.WaitExit(t, timeout); code != 0 {
		t.Errorf("%s ended with code %d after SIGTERM\n%s", p.Name, code, p.Tail(40))
	}
}

// Log is all that it wrote so far, earlier processes of the same name included.
func (p *Process) Log() []byte {
	b, err := os.ReadFile(p.LogPath)
	if err != nil {
		return fmt.Appendf(nil, "(no log: %v)", err)
	}
	return b
}

// Tail is the end of the log.
func (p *Process) Tail(lines int) string {
	all := strings.Split(strings.TrimRight(string(p.Log()), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// status reads a numeric field of /proc/PID/status in kB, such as VmHWM.
func (p *Process) status(field string) (int64, error) { return statusOf(p.PID(), field) }

func statusOf(pid int, field string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(field+":")); ok {
			var kb int64
			_, err := fmt.Sscanf(strings.TrimSpace(string(rest)), "%d kB", &kb)
			return kb, err
		}
	}
	return 0, fmt.Errorf("no field %s", field)
}

// PeakMemory is VmHWM in bytes: the most memory it ever held.
func (p *Process) PeakMemory(t testing.TB) int64 {
	t.Helper()
	kb, err := p.status("VmHWM")
	if err != nil {
		t.Fatalf("peak memory of %s: %v", p.Name, err)
	}
	return kb << 10
}

// PeaksOfPrograms notes the most memory in kB that each program which the process has
// running held so far, by its name. Those that ended between two calls are missed.
func (p *Process) PeaksOfPrograms(t testing.TB, peaks map[string]int64) {
	t.Helper()
	for _, pid := range family(t, p.PID())[1:] {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			continue // it ended meanwhile
		}
		kb, err := statusOf(pid, "VmHWM")
		if err != nil {
			continue // likewise
		}
		program := strings.TrimSpace(string(name))
		peaks[program] = max(peaks[program], kb)
	}
}

// CPU is the time that the process spent on processors so far.
func (p *Process) CPU(t testing.TB) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest) // from the third on: utime is the 14th, stime the 15th
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}
