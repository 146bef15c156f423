package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"xvault/internal/devenv"
)

// usage is what a command and all below it took.
type usage struct {
	Wall time.Duration `json:"wall_ns"`
	CPU  time.Duration `json:"cpu_ns"` // of the command and what it started
	// Server is what sshd spent meanwhile.
	Server time.Duration `json:"server_cpu_ns"`
	// Machine is what all processors spent meanwhile, whoever for: also for what ends
	// without being counted, as an SFTP server whose session has ended before it.
	Machine time.Duration `json:"machine_cpu_ns"`
	// Read is how many bytes were asked of the kernel, from files and pipes and
	// connections alike.
	Read int64 `json:"read_bytes"`
	// Size is that of the result: an artifact.
	Size int64 `json:"size,omitempty"`
	// Peak and Written are what the worker says of itself: the most memory it
	// held, and how many bytes it made the kernel write to disks.
	Peak    int64 `json:"peak_bytes,omitempty"`
	Written int64 `json:"written_bytes,omitempty"`

	output []byte
}

// command describes a program to measure.
type command struct {
	argv  []string
	dir   string // its folder, and its home
	stdin []byte
	// reads: nothing to speak of is written, so that the disk need not be quiet.
	reads bool
}

// script is a command of the shell, whose arguments never become part of it. A
// program that fails in the middle of a pipe fails all of it.
func script(text, dir string, args ...string) command {
	return command{argv: append([]string{"bash", "-c", "set -euo pipefail; " + text, "bench"}, args...), dir: dir}
}

// measure runs a command to its end. Disks have nothing left to write when it begins.
func (l *lab) measure(ctx context.Context, c command) (usage, error) {
	if !c.reads {
		unix.Sync()
	}
	before := l.serverCPU()
	machine, err := devenv.MachineCPU()
	if err != nil {
		return usage{}, err
	}
	var errs devenv.Tail
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.dir, bytes.NewReader(c.stdin), &out, &errs
	cmd.Env = l.environment(c.dir)
	// All of a pipe ends together, whatever this process dies of.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second

	began := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	if err := waitForEnd(cmd.Process.Pid); err != nil {
		return usage{}, fmt.Errorf("wait for %s: %w", c.argv[0], err)
	}
	u := usage{Wall: time.Since(began), Read: bytesRead(cmd.Process.Pid)}
	if err := cmd.Wait(); err != nil {
		return usage{}, fmt.Errorf("%s: %w: %s", strings.Join(c.argv[:min(3, len(c.argv))], " "), err, errs.String())
	}
	u.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	u.Server = l.serverCPU() - before
	after, err := devenv.MachineCPU()
	if err != nil {
		return usage{}, err
	}
	u.Machine = after - machine
	u.output = out.Bytes()
	if os.Getenv("BENCH_VERBOSE") != "" && errs.String() != "" {
		l.say("%s", errs.String())
	}
	return u, nil
}

// environment is small: neither settings nor keys of whoever runs it take part.
func (l *lab) environment(home string) []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C.UTF-8", "HOME=" + home, "RCLONE_CONFIG=/dev/null", "TMPDIR=" + l.scratch,
	}
}

// waitForEnd comes back when the process has ended, and leaves it to be looked
// at and waited for.
func waitForEnd(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// bytesRead is 0 where the kernel does not count.
func bytesRead(pid int) int64 {
	n, err := counter(fmt.Sprintf("/proc/%d/io", pid), "rchar")
	if err != nil {
		return 0
	}
	return n
}

// counter reads one number of a file of /proc that has one on each line.
func counter(file, field string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: %w: no %s", file, io.ErrUnexpectedEOF, field)
}

// serverCPU is 0 where it cannot be told.
func (l *lab) serverCPU() time.Duration {
	spent, err := l.sshd.CPU()
	if err != nil {
		return 0
	}
	return spent
}
