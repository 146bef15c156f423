//go:build long

package ssh_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/internal/testenv"
)

// A million names in one folder, which find lists, are read within the memory that a
// worker has.
func TestAMillionNamesInOneFolder(t *testing.T) {
	s := testenv.SSHD(t, testenv.SSHOptions{})
	const many = 1_000_000
	dir := filepath.Join(s.Root, "many")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for i := range many {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("file-%07d", i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	src, log := open(t, ssh.New(sftp.Options{}), s, s.Config(dir))
	begin := time.Now()
	var stats runtime.MemStats
	var heap, sys uint64
	n := 0
	err := src.Read(t.Context(), func(item connectors.Item) error {
		if n++; n%10_000 == 0 {
			runtime.ReadMemStats(&stats)
			heap, sys = max(heap, stats.HeapAlloc), max(sys, stats.Sys)
		}
		return nil
	})
	if err != nil || n != many+1 {
		t.Fatalf("%d entries, error %v", n, err)
	}
	t.Log(log)
	t.Logf("%v; heap at most %d MiB, %d MiB from the system", time.Since(begin).Round(time.Millisecond), heap>>20, sys>>20)
	if sys > 220<<20 {
		t.Errorf("%d MiB were taken from the system", sys>>20)
	}
}
