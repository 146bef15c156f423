package localfs_test

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"xvault/store/blob"
	"xvault/store/localfs"
)

// An artifact takes no more of the kernel's memory than what is not yet durable.
func TestMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	var disk unix.Statfs_t
	must(t, unix.Statfs(base, &disk))
	if disk.Type == unix.TMPFS_MAGIC {
		if os.Getenv("CI") != "" {
			t.Fatal("the folder for temporary files must be on a disk")
		}
		t.Skip("the folder for temporary files is in memory itself")
	}
	fs, key := open(t, localfs.Config{Base: base}), newKey()
	artifact := make([]byte, 64<<20)
	store(t, fs, key, artifact)
	f, err := os.Open(fs.Location(key) + "/" + blob.Artifact)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	if kept := inMemory(t, f, len(artifact)); kept > 1<<20 {
		t.Errorf("%d of %d MiB are in memory", kept>>20, len(artifact)>>20)
	}
}

// inMemory tells how many bytes of a file the kernel keeps.
func inMemory(t *testing.T, f *os.File, size int) (kept int) {
	t.Helper()
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	defer func() { must(t, unix.Munmap(b)) }()
	pages := make([]byte, size/os.Getpagesize())
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range pages {
		kept += int(p&1) * os.Getpagesize()
	}
	return kept
}
