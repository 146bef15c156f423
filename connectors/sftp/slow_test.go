package sftp_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/internal/testenv"
)

// smallFiles makes files of 4 KiB in folders.
func smallFiles(t testing.TB, root string, files, folders int) {
	t.Helper()
	content := make([]byte, 4096)
	for i := range files {
		dir := filepath.Join(root, fmt.Sprintf("%03d", i%folders/10), fmt.Sprintf("%04d", i%folders))
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d", i)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll reads a path to its end and tells how many files and bytes came.
func readAll(t testing.TB, src connectors.Source) (files, bytes int64) {
	t.Helper()
	buf := make([]byte, 128<<10)
	err := src.Read(t.Context(), func(item connectors.Item) error {
		if item.Err != nil {
			return item.Err
		}
		if item.Body == nil {
			return nil
		}
		files++
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, item.Body, buf)
		bytes += n
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, bytes
}

// Round trips are what costs on a real line: 3,000 files of 4 KiB, read one after
// the other with 20 ms for each of three requests, would take three minutes.
func TestManySmallFilesOverASlowLink(t *testing.T) {
	const files = 3000
	s := testenv.SSHD(t, testenv.SSHOptions{})
	for _, folders := range []int{1, 300} {
		root := filepath.Join(s.Root, fmt.Sprint(folders))
		smallFiles(t, root, files, folders)
		// The machine may be busy with other tests: the best of several counts.
		best := time.Hour
		for range 5 {
			link := testenv.SlowLink(t, s.Addr(), 10*time.Millisecond)
			begin := time.Now()
			src, err := sourceWith(t, sftp.Options{}, link.Config(s, root), connectors.Env{Credential: keyOf(s)})
			if err != nil {
				t.Fatal(err)
			}
			n, bytes := readAll(t, src)
			took := time.Since(begin)
			best = min(best, took)
			t.Logf("%d files in %d folders: %v, connecting included", n, folders, took.Round(time.Millisecond))
			if n != files || bytes != files*4096 {
				t.Fatalf("%d files with %d bytes", n, bytes)
			}
			if best < limit {
				break
			}
		}
		if best > limit {
			t.Errorf("%d files in %d folders took %v, want at most %v", files, folders, best, limit)
		}
	}
}

func BenchmarkLoopback(b *testing.B) {
	s := testenv.SSHD(b, testenv.SSHOptions{})
	smallFiles(b, filepath.Join(s.Root, "small"), 5000, 100)
	large := filepath.Join(s.Root, "large")
	if err := os.WriteFile(large, make([]byte, 256<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"small", "large"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				src, err := sourceWith(b, sftp.Options{}, s.Config(filepath.Join(s.Root, name)), connectors.Env{Credential: keyOf(s)})
				if err != nil {
					b.Fatal(err)
				}
				_, n := readAll(b, src)
				b.SetBytes(n)
			}
		})
	}
}
