package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// statTick is the unit of /proc/stat: USER_HZ is 100 on every Linux.
const statTick = 10 * time.Millisecond

// machineCPU is for how long the processors have worked since the machine was started,
// whoever for.
func machineCPU() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	ticks, err := busyTicks(string(b))
	if err != nil {
		return 0, fmt.Errorf("read /proc/stat: %w", err)
	}
	return time.Duration(ticks) * statTick, nil
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
