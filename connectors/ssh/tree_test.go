package ssh_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/testenv"
)

// plant makes a tree of some hundred files with every awkward name, link and mode.
func plant(t *testing.T, root string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	source := rand.NewChaCha8([32]byte{1})
	write := func(name string, size int) {
		t.Helper()
		b := make([]byte, size)
		_, _ = source.Read(b) // never fails
		path := filepath.Join(root, name)
		check(os.MkdirAll(filepath.Dir(path), 0o755))
		check(os.WriteFile(path, b, 0o644))
		at := time.Unix(1_500_000_000+int64(size), 123_456_789)
		check(os.Chtimes(path, at, at))
	}
	for _, name := range []string{
		"new\nline", "cr\rreturn", "quote'single", `quote"double`, "$(reboot)", "`id`", "-rf", "--help", " space ", "tab\t", `back\slash`, `oct\101al`,
		"semi;colon", "star*", "percent%00", "\x01\x1b[31m", "bad-utf8-\xff\xfe", "\xc3\x28", "ümläut", "日本語", "...", ".hidden", "~", "tar: x: Cannot open: y",
		strings.Repeat("n", 255), "-T", "--checkpoint-action=exec=sh", "@", "#hash", "trailing:", "E0",
	} {
		write("names/"+name, 10)
		write("dirs/"+name+"/inside", 11)
	}
	for i := range 300 {
		write(fmt.Sprintf("many/%03d", i), i*37)
	}
	for _, size := range []int{0, 1, 511, 512, 513, 32 << 10, 65536, 65537, 255<<10 + 1, 1 << 20, 1<<20 + 1, 3 << 20} {
		write(fmt.Sprintf("sizes/%08d", size), size)
	}
	// What a tar of a test sends is another content for this one.
	check(os.WriteFile(filepath.Join(root, "padded"), []byte("padded-content"), 0o644))
	deep := "deep"
	for len(root)+len(deep) < 3600 {
		deep = filepath.Join(deep, strings.Repeat("d", 200))
	}
	write(filepath.Join(deep, "leaf"), 7)
	check(os.MkdirAll(filepath.Join(root, "empty/dir"), 0o755))
	for name, target := range map[string]string{"relative": "sizes", "dangling": "no where", "odd": "bad-\xff\n$(x)", "long": strings.Repeat("t", 2000), "self": "self"} {
		check(os.Symlink(target, filepath.Join(root, name)))
	}
	check(syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	for _, name := range []string{"link-a", "names/link-b", "zz-link"} {
		check(os.Link(filepath.Join(root, "sizes/00000513"), filepath.Join(root, name)))
	}
	for _, mode := range []uint32{0o600, 0o4755, 0o2755, 0o1644, 0o7777, 0o444, 0} {
		write(fmt.Sprintf("modes/%04o", mode), 3)
		check(syscall.Chmod(filepath.Join(root, fmt.Sprintf("modes/%04o", mode)), mode))
	}
	for _, mode := range []uint32{0o700, 0o1777, 0o2755, 0o7777, 0o500, 0} {
		write(fmt.Sprintf("folders/%04o/inside", mode), 4)
		check(syscall.Chmod(filepath.Join(root, fmt.Sprintf("folders/%04o", mode)), mode))
	}
	plantForeign(t, root)
}

// plantForeign adds what belongs to others, what is no file, and what is older than
// the time that SFTP counts from.
func plantForeign(t *testing.T, root string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("run the tests as root: this one makes files of other users")
	}
	dir := filepath.Join(root, "foreign")
	err := os.MkdirAll(filepath.Join(dir, "folder"), 0o755)
	for i, name := range []string{"file", "folder/file", "other", "old", "folder/older"} {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644)
		}
		if err == nil {
			err = os.Lchown(filepath.Join(dir, name), 12_345+i, 4_000_000_000-i)
		}
	}
	old := time.Unix(-1_000_000, 500_000_000)
	err = errors.Join(err,
		os.Symlink("file", filepath.Join(dir, "link")), os.Lchown(filepath.Join(dir, "link"), 65534, 7),
		syscall.Mknod(filepath.Join(dir, "socket"), syscall.S_IFSOCK|0o640, 0),
		os.Chtimes(filepath.Join(dir, "old"), old, old), os.Chtimes(filepath.Join(dir, "folder", "older"), time.Time{}, time.Unix(-1, 0)),
		os.Lchown(filepath.Join(dir, "folder"), 0, 99), os.Chtimes(filepath.Join(dir, "folder"), old, old))
	if err != nil {
		t.Fatal(err)
	}
}

// words collects what a source logs.
type words struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// open opens a source and collects what it logs.
func open(t *testing.T, kind connectors.Type, s *testenv.SSHServer, raw map[string]any) (connectors.Source, *words) {
	t.Helper()
	return openBy(t, kind, s, raw, connectors.NewDialer(connectors.DialerConfig{}))
}

func openBy(t *testing.T, kind connectors.Type, s *testenv.SSHServer, raw map[string]any, dial connectors.Dialer) (connectors.Source, *words) {
	t.Helper()
	b, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	config, faults := kind.Validate(b)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	log := &words{}
	src, err := kind.Open(config, connectors.Env{
		Credential: keyOf(s), Dial: dial, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src, log
}

// pack reads a source into a tar as SFTP would show it: times have whole seconds from
// 1970 on, owners no names, and every name of a file is a file.
func pack(t *testing.T, src connectors.Source, onFile func()) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	content := map[string][]byte{}
	err := src.Read(t.Context(), func(item connectors.Item) error {
		if item.Err != nil {
			return w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%q %s", item.Path, item.Err.Code)})
		}
		h := &tar.Header{Name: item.Path, Mode: int64(item.Mode), Uid: item.UID, Gid: item.GID, ModTime: time.Unix(int64(uint32(item.ModTime.Unix())), 0), Format: tar.FormatPAX}
		var body []byte
		var err error
		switch item.Kind {
		case entry.Dir:
			h.Typeflag = tar.TypeDir
		case entry.Symlink:
			h.Typeflag, h.Linkname = tar.TypeSymlink, item.LinkTarget
		case entry.FIFO:
			h.Typeflag = tar.TypeFifo
		case entry.Socket:
			h.Typeflag = tar.TypeChar // a tar has no sockets
		case entry.Hardlink:
			body = content[item.LinkTarget]
		case entry.File:
			if onFile != nil {
				onFile()
			}
			if body, err = io.ReadAll(item.Body); err != nil {
				return fmt.Errorf("%q: %w", item.Path, err)
			}
			if len(body) < 1<<10 {
				content[item.Path] = body
			}
		default:
			return fmt.Errorf("%q is of kind %d", item.Path, item.Kind)
		}
		// The library takes no zero byte and no name that is not UTF-8 in a PAX
		// header; the bytes count, not how they are packed.
		h.Name, h.Linkname = fmt.Sprintf("%q", h.Name), fmt.Sprintf("%q", h.Linkname)
		h.Size = int64(len(body))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
