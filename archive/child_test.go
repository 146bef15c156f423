package archive

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"xvault/archive/seal"
	"xvault/internal/entry"
)

// childEnv has the test binary write one archive in a process of its own, whose
// memory can be measured: "files N" or "bytes N".
const childEnv = "XVAULT_ARCHIVE_TEST_CHILD"

// child writes the archive to nowhere and prints the peak of its memory.
func child() int {
	what, count, _ := strings.Cut(os.Getenv(childEnv), " ")
	n, err := strconv.ParseInt(count, 10, 64)
	if err == nil {
		err = writeMuch(what, n)
	}
	if err == nil {
		err = printPeak()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func writeMuch(what string, n int64) error {
	_, recipient, err := seal.NewIdentity()
	if err != nil {
		return err
	}
	w, err := NewWriter(io.Discard, WriterConfig{Recipients: []string{recipient}})
	if err != nil {
		return err
	}
	defer w.Abort()
	h := entry.Header{Kind: entry.File, Mode: 0o644, ModTime: testTime}
	if what == "bytes" {
		h.Path, h.Size = "huge", n
		// Noise is the worst case for buffers: nothing gets smaller.
		_, err = w.Add(context.Background(), h, io.LimitReader(newNoise(1), n))
	}
	for i := int64(0); what == "files" && i < n && err == nil; i++ {
		h.Path = fmt.Sprintf("home/web/sessions/%03d/sess_%09d", i/1000, i)
		_, err = w.Add(context.Background(), h, nil)
	}
	if err != nil {
		return err
	}
	_, err = w.Close()
	return err
}

func printPeak() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, err := fmt.Fprintln(os.Stdout, strings.Fields(rest)[0])
			return err
		}
	}
	return fmt.Errorf("no VmHWM in /proc/self/status")
}

// peakOf runs a child and gives its peak of resident memory in bytes.
func peakOf(t *testing.T, what string) int64 {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("child %q: %v", what, err)
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		t.Fatalf("child %q printed %q", what, out)
	}
	return kib << 10
}

// maxPeak is what a worker may take in all; an archive is to leave room.
const maxPeak = 160 << 20

func wantPeak(t *testing.T, what string) {
	t.Helper()
	peak := peakOf(t, what)
	t.Logf("%s: peak %d MiB", what, peak>>20)
	if peak > maxPeak {
		t.Errorf("%s took %d MiB of memory, at most %d are allowed", what, peak>>20, maxPeak>>20)
	}
}
