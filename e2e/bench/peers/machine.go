package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine tells where it was measured and with what.
func machine(ctx context.Context) map[string]string {
	m := map[string]string{"cores": fmt.Sprint(runtime.NumCPU()), "go": runtime.Version(), "cpu": "unknown", "memory_gib": "?", "kernel": "?"}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			m["cpu"] = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
		}
	}
	if kb, err := counter("/proc/meminfo", "MemTotal"); err == nil {
		m["memory_gib"] = fmt.Sprint((kb + 1<<19) >> 20)
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		m["kernel"] = unix.ByteSliceToString(name.Release[:])
	}
	for program, args := range map[string][]string{
		"ssh": {"-V"}, "zstd": {"--version"}, "age": {"--version"}, "tar": {"--version"},
		"rclone": {"version"}, "rsync": {"--version"}, "lftp": {"--version"},
	} {
		if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err == nil {
			line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
			m[program] = line
		}
	}
	return m
}
