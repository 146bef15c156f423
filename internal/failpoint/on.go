//go:build failpoints

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Enabled tells whether this binary has failpoints at all.
const Enabled = true

// ErrInjected is what a step with the action "error" returns.
var ErrInjected = errors.New("failpoint: injected error")

var mu sync.Mutex

// Hit marks a step. XVAULT_FAILPOINTS is a comma-separated list of
// "name=action", where action is kill (SIGKILL to this process), stop (SIGSTOP)
// or error; "log" only records. Each hit of a listed step is appended as a line
// to the file named by XVAULT_FAILPOINTS_LOG before the action, so that a test
// knows that the step was reached. A step acts once a process.
func Hit(name string) error {
	mu.Lock()
	defer mu.Unlock()
	action, ok := lookup(name)
	if !ok {
		return nil
	}
	record(name)
	switch action {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	case "stop":
		done[name] = true
		stop()
	case "error":
		return fmt.Errorf("%w at %s", ErrInjected, name)
	}
	return nil
}

var done = map[string]bool{}

// stop stops the process before it returns. A signal to the process as a whole
// may be taken by another thread, while this one runs on for a while; one to
// the calling thread takes effect on its way back from the kernel.
func stop() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP); err != nil {
		panic(err)
	}
}

func lookup(name string) (string, bool) {
	if done[name] {
		return "", false
	}
	for _, spec := range strings.Split(os.Getenv("XVAULT_FAILPOINTS"), ",") {
		if n, action, ok := strings.Cut(strings.TrimSpace(spec), "="); ok && n == name {
			return action, true
		}
	}
	return "", false
}

func record(name string) {
	path := os.Getenv("XVAULT_FAILPOINTS_LOG")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err) // a test harness that cannot record must not look like a pass
	}
	if _, err := fmt.Fprintln(f, name); err != nil {
		panic(err)
	}
	if err := f.Close(); err != nil {
		panic(err)
	}
}
