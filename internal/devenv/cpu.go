package devenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of /proc/stat and /proc/PID/stat: USER_HZ is 100 on every Linux.
const clockTick = 10 * time.Millisecond

// CPU is the time that the process spent on processors so far, together with
// all processes below it, those that have ended included. It needs /proc.
func (p *Process) CPU() (time.Duration, error) {
	below, err := descendants(p.PID())
	if err != nil {
		return 0, fmt.Errorf("find the processes below %d: %w", p.PID(), err)
	}
	sum, err := cpuOf(p.PID())
	if err != nil {
		return 0, err
	}
	for _, pid := range below {
		if spent, err := cpuOf(pid); err == nil { // else it ended, and counts with its parent
			sum += spent
		}
	}
	return sum, nil
}

// CPU is what all processes of the server have used.
func (p *Postgres) CPU() (time.Duration, error) { return p.process.CPU() }

// CPU is what the server has used.
func (r *Redis) CPU() (time.Duration, error) { return r.process.CPU() }

// cpuOf is one process with its children that were waited for.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const utime, cstime = 11, 14 // counted from the state, which is the third field
	if len(fields) <= cstime {
		return 0, fmt.Errorf("read the times of process %d: %d fields", pid, len(fields))
	}
	var ticks int64
	for _, field := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the times of process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// CPU is what the server and all its sessions have used.
func (s *SSHD) CPU() (time.Duration, error) { return s.process.CPU() }

// MachineCPU is for how long the processors have worked since the machine was started,
// whoever for. It needs /proc.
func MachineCPU() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	ticks, err := busyTicks(string(b))
	if err != nil {
		return 0, fmt.Errorf("read /proc/stat: %w", err)
	}
	return time.Duration(ticks) * clockTick, nil
}

// busyTicks adds up the first line of /proc/stat (proc_stat(5)) but for those in which no
// processor of this machine worked. Guests are counted as users already.
func busyTicks(stat string) (ticks int64, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	const user, nice, system, irq, softirq = 1, 2, 3, 6, 7 // between them idle and waiting, behind them stolen
	if len(fields) <= softirq || fields[0] != "cpu" {
		return 0, fmt.Errorf("it starts with %.80q", line)
	}
	for _, i := range []int{user, nice, system, irq, softirq} {
		n, numberErr := strconv.ParseInt(fields[i], 10, 64)
		err = errors.Join(err, numberErr)
		ticks += n
	}
	return ticks, err
}
