package localfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"xvault/store/blob"
	"xvault/store/localfs"
)

// faultEnv makes this test binary a child that stores one snapshot on a disk
// whose system calls fail where its parent says so.
// The value is how large it is.
const faultEnv = "XVAULT_LOCALFS_TEST_FAULT"

// Exit codes of the child.
const (
	storedAll   = 0
	storeFailed = 7
)

// TestFailingSystemCalls lets each fsync, rename and close of a commit fail in
// its turn, once: a store that says that it succeeded must have, and one that
// says that it failed must have left nothing that looks like a snapshot.
func TestFailingSystemCalls(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ from, to, atLeast int }{
		// Three files, the folder that holds them, and six above it in the end.
		"fsync":     {1, 13, 10},
		"fdatasync": {1, 2, 1}, // of what is large
		"renameat2": {1, 2, 1},
		// Behind the program's own start, up to the rename.
		"close": {14, 40, 3},
	}
	sizes := map[string]int{"fdatasync": 5 << 20} // which is made durable while it grows
	for call, tt := range tests {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			failures := 0
			for nth := tt.from; nth <= tt.to; nth++ {
				base := t.TempDir()
				must(t, newStorage(base))
				code := storeUnderFault(t, base, fmt.Sprintf("inject=%s:error=EIO:when=%d", call, nth), sizes[call])
				fs := open(t, localfs.Config{Base: base})
				kept := list(t, fs)
				switch code {
				case storedAll:
					if len(kept) != 1 {
						t.Errorf("%s no. %d: success, but %d snapshots", call, nth, len(kept))
					}
				case storeFailed:
					failures++
					if len(kept) != 0 {
						t.Errorf("%s no. %d: failure, but a snapshot is there", call, nth)
					}
				}
				must(t, fs.Close())
			}
			t.Logf("%d times a failing %s failed the store", failures, call)
			if failures < tt.atLeast {
				t.Errorf("%s failed the store %d times, of at least %d", call, failures, tt.atLeast)
			}
		})
	}
}

func newStorage(base string) error {
	fs, err := localfs.Open(localfs.Config{Base: base})
	if err != nil {
		return err
	}
	return fs.Close()
}

func storeUnderFault(t *testing.T, base, inject string, repeat int) int {
	t.Helper()
	cmd := exec.Command("strace", "-f", "-qq", "-o", filepath.Join(t.TempDir(), "trace"), "-e", inject, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+base, faultEnv+"="+strconv.Itoa(max(1, repeat)), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return storedAll
	case errors.As(err, &exit) && exit.ExitCode() == storeFailed:
		return storeFailed
	case errors.As(err, &exit):
		t.Logf("%s: the child did not come to storing: %s", inject, out)
		return exit.ExitCode()
	default:
		t.Fatalf("run a child under strace: %v", err)
		return -1
	}
}

// faultMain stores one snapshot.
func faultMain() int {
	runtime.LockOSThread() // calls are counted for each thread
	fs, err := localfs.Open(localfs.Config{Base: os.Getenv(childEnv)})
	if err != nil {
		return storeFailed
	}
	repeat, err := strconv.Atoi(os.Getenv(faultEnv))
	if err != nil {
		return 9
	}
	artifact := bytes.Repeat([]byte("sealed "), repeat)
	s, err := fs.Stage(newKey())
	if err != nil {
		return storeFailed
	}
	_, err = s.Write(artifact)
	if err == nil {
		err = s.Commit(context.Background(), files(artifact))
	}
	if err == nil {
		return storedAll
	}
	if _, ok := errors.AsType[*blob.Error](err); !ok {
		return 9 // an error that nobody would know as the storage's
	}
	if err := s.Discard(); err != nil {
		return storeFailed // the next start sweeps
	}
	return storeFailed
}
