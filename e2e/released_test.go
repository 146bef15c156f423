package e2e

import (
	"bytes"
	"debug/elf"
	"os"
	"slices"
	"testing"

	"xvault/e2e/system"
)

// The binary that people get is static, and has nothing of the failpoints in it.
func TestReleasedBinary(t *testing.T) {
	t.Parallel()
	path := system.Binary(t, system.Released)
	b, err := os.ReadFile(path)
	must(t, err)
	for _, trace := range append([]string{"XVAULT_FAILPOINTS", "complete.before_commit", "rekey.batch", "failpoint: injected"}, slices.Concat(commitSteps, deleteSteps)...) {
		if bytes.Contains(b, []byte(trace)) {
			t.Errorf("the released binary contains %q", trace)
		}
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	must(t, err)
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("it is not static: %v %v", libs, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it asks for a dynamic loader")
		}
	}
}
