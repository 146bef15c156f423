package heap

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// advised is how much of this process's memory may lie in large pages, and how much of
// that is in use, in bytes.
func advised(t *testing.T) (size, used int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	var area, resident int
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		switch kib, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB")); name {
		case "Size":
			area = kib << 10
		case "Rss":
			resident = kib << 10
		case "VmFlags":
			if strings.Contains(rest, " hg") {
				size += area
				used += resident
			}
		}
	}
	return size, used
}

func TestHeapPrefersLargePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("this kernel has no large pages:", err)
		}
		t.Skip("this kernel has no large pages:", err)
	}
	if size, _ := advised(t); size > 0 {
		t.Skip("it was done in this process before, and is for fresh memory")
	}
	ForArchives()
	size, used := advised(t)
	if size < region {
		t.Errorf("%d MiB may lie in large pages", size>>20)
	}
	if used > region/4 {
		t.Errorf("%d MiB of them were taken", used>>20)
	}
	block := make([]byte, 16<<20)
	for i := range block {
		block[i] = 1
	}
	if _, after := advised(t); after < used+len(block)/2 {
		t.Errorf("of %d MiB that were made then, %d MiB lie there", len(block)>>20, (after-used)>>20)
	}
	runtime.KeepAlive(block)
	collectsLate(t)
}

// collectsLate is where next to nothing is in use.
func collectsLate(t *testing.T) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 96 {
		garbage = make([]byte, 64<<10)
	}
	runtime.ReadMemStats(&after)
	if n := after.NumGC - before.NumGC; n > 0 {
		t.Errorf("6 MiB of garbage were collected %d times", n)
	}
}

var garbage []byte // so that it is made on the heap
