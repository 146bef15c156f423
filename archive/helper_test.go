package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xvault/archive/seal"
	"xvault/internal/entry"
	"xvault/internal/secret"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// keys is a key pair for a test.
type keys struct {
	identity  secret.Text
	recipient string
}

func newKeys(t testing.TB) keys {
	t.Helper()
	identity, recipient, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return keys{identity, recipient}
}

// item is an entry with its content, as a test puts it into an archive.
type item struct {
	entry.Header
	content string
}

var testTime = time.Date(2026, 11, 25, 12, 30, 0, 0, time.UTC)

func dirItem(path string) item {
	return item{Header: entry.Header{Path: path, Kind: entry.Dir, Mode: 0o755, ModTime: testTime}}
}

func fileItem(path, content string) item {
	return item{entry.Header{
		Path: path, Kind: entry.File, Mode: 0o644, ModTime: testTime, Size: int64(len(content)),
	}, content}
}

func linkItem(kind entry.Kind, path, target string) item {
	mode := uint32(0o777)
	if kind == entry.Hardlink {
		mode = 0o644
	}
	return item{Header: entry.Header{Path: path, Kind: kind, Mode: mode, ModTime: testTime, LinkTarget: target}}
}

// sealed is a finished artifact.
type sealed struct {
	keys
	bytes   []byte
	summary Summary
}

func (k keys) write(t testing.TB, cfg WriterConfig, items ...item) sealed {
	t.Helper()
	var buf bytes.Buffer
	cfg.Recipients = []string{k.recipient}
	w, err := NewWriter(&buf, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, it := range items {
		if err := addItem(w, it); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return sealed{k, buf.Bytes(), summary}
}

func addItem(w *Writer, it item) error {
	switch it.Kind {
	case entry.Device, entry.FIFO, entry.Socket:
		return w.Skip(it.Header)
	}
	var body io.Reader
	if it.Kind == entry.File {
		body = strings.NewReader(it.content)
	}
	_, err := w.Add(context.Background(), it.Header, body)
	return err
}

func (s sealed) open(t testing.TB) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(s.bytes), int64(len(s.bytes)), s.identity)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// plaintext is what is under the seal.
func (s sealed) plaintext(t testing.TB) []byte {
	t.Helper()
	b, err := seal.OpenMessage(s.identity, s.bytes, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reseal seals altered plaintext: what a hostile holder of the recipient can do.
func (k keys) reseal(t testing.TB, plaintext []byte) sealed {
	t.Helper()
	b, err := seal.Message(k.recipient, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return sealed{keys: k, bytes: b}
}

// stock has age, zstd and tar restore an artifact into a new folder.
func (s sealed) stock(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, artifact, out := filepath.Join(dir, "key.txt"), filepath.Join(dir, ArtifactName), filepath.Join(dir, "out")
	writeFile(t, key, []byte(s.identity.Reveal()+"\n"))
	writeFile(t, artifact, s.bytes)
	stockRestore(t, key, artifact, out)
	return out
}

func stockRestore(t *testing.T, key, artifact, out string) {
	t.Helper()
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c",
		`set -o pipefail; age -d -i "$1" "$2" | zstd -dq | tar -x -p --xattrs --warning=no-timestamp -C "$3"`, "-", key, artifact, out)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	if output, err := cmd.CombinedOutput(); err != nil || len(output) > 0 {
		t.Fatalf("stock restore: %v\n%s", err, output)
	}
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// extract restores with a Reader into a new folder.
func (s sealed) extract(t *testing.T, opts ExtractOptions, paths ...string) (string, ExtractReport, error) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRoot(t, root)
	report, err := s.open(t).Extract(context.Background(), root, paths, opts)
	return dir, report, err
}

func closeRoot(t *testing.T, root *os.Root) {
	t.Helper()
	if err := root.Close(); err != nil {
		t.Error(err)
	}
}

func (s sealed) check(t testing.TB) (CheckReport, error) {
	t.Helper()
	r, err := Open(bytes.NewReader(s.bytes), int64(len(s.bytes)), s.identity)
	if err != nil {
		return CheckReport{}, err
	}
	return r.Check(context.Background(), CheckOptions{})
}

// tree describes a folder: one line for each path, with all that a restore has
// to bring back.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	nodes := make(map[string]string)
	inodes := make(map[uint64]string)
	err := walkTree(dir, "", func(path string, info fs.FileInfo, in *os.Root) error {
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: no inode known", path)
		}
		line := fmt.Sprintf("%v %s %d.%09d", info.Mode(), owner(int64(st.Uid), int64(st.Gid)), st.Mtim.Sec, st.Mtim.Nsec)
		switch {
		case info.Mode().IsRegular():
			if first, ok := inodes[st.Ino]; ok {
				line += " = " + first
				break
			}
			inodes[st.Ino] = path
			content, err := in.ReadFile(info.Name())
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", len(content), sha256.Sum256(content))
		case info.Mode()&fs.ModeSymlink != 0:
			text, err := in.Readlink(info.Name())
			if err != nil {
				return err
			}
			line += " -> " + text
		}
		nodes[path] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return nodes
}

// owner describes an owner where a restore can bring it back.
func owner(uid, gid int64) string {
	if os.Geteuid() != 0 {
		return "-"
	}
	return fmt.Sprintf("%d:%d", uid, gid)
}

// walkTree goes down step by step, so that no path is too long for it.
func walkTree(dir, prefix string, visit func(string, fs.FileInfo, *os.Root) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return walkRoot(root, prefix, visit)
}

func walkRoot(root *os.Root, prefix string, visit func(string, fs.FileInfo, *os.Root) error) (err error) {
	defer func() {
		if closeErr := root.Close(); err == nil {
			err = closeErr
		}
	}()
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		info, err := root.Lstat(name)
		if err != nil {
			return err
		}
		if err := visit(prefix+name, info, root); err != nil {
			return err
		}
		if info.IsDir() {
			sub, err := root.OpenRoot(name)
			if err != nil {
				return err
			}
			if err := walkRoot(sub, prefix+name+"/", visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func sameTree(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			t.Errorf("%s: %q:\n got %s\nwant %s", what, clip(path), clip(got[path]), clip(want[path]))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: %q should not be there", what, clip(path))
		}
	}
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:100] + "..." + s[len(s)-100:]
	}
	return s
}

// zeros yields zero bytes without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// noise yields incompressible bytes, the same for the same seed.
type noise struct{ x uint64 }

func newNoise(seed uint64) *noise { return &noise{seed*2 + 1} }

func (n *noise) Read(p []byte) (int, error) {
	var b [8]byte
	for done := 0; done < len(p); done += len(b) {
		n.x ^= n.x << 13
		n.x ^= n.x >> 7
		n.x ^= n.x << 17
		binary.LittleEndian.PutUint64(b[:], n.x*0x9e3779b97f4a7c15)
		copy(p[done:], b[:])
	}
	return len(p), nil
}

func noiseString(seed uint64, n int) string {
	b := make([]byte, n)
	_, _ = newNoise(seed).Read(b)
	return string(b)
}
