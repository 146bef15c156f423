package archive

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/archive/seal"
	"xvault/internal/entry"
)

func TestSmoke(t *testing.T) {
	id, rec, _ := seal.NewIdentity()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, WriterConfig{Recipients: []string{rec}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	add := func(h entry.Header, body io.Reader) {
		t.Helper()
		if _, err := w.Add(ctx, h, body); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	add(entry.Header{Path: "a", Kind: entry.Dir, Mode: 0o755, ModTime: now}, nil)
	add(entry.Header{Path: "a/f", Kind: entry.File, Size: 5, Mode: 0o644, ModTime: now}, strings.NewReader("hello"))
	add(entry.Header{Path: "b", Kind: entry.File, Size: 10 << 20, Mode: 0o644, ModTime: now.Truncate(time.Second)}, io.LimitReader(zeroReader{}, 10<<20))
	add(entry.Header{Path: "c", Kind: entry.File, Size: -1, Mode: 0o644, ModTime: now}, io.LimitReader(zeroReader{}, 40<<20))
	s, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", s)
	d := t.TempDir()
	os.WriteFile(filepath.Join(d, "k"), []byte(id.Reveal()), 0o600)
	os.WriteFile(filepath.Join(d, "x.age"), buf.Bytes(), 0o600)
	out, err := exec.Command("sh", "-c", "cd "+d+"; age -d -i k x.age > x.zst; zstd -dc x.zst | tar tvf -; zstd -lv x.zst").CombinedOutput()
	t.Logf("%s %v", out, err)
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }
