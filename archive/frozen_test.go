package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// One archive of every released version of the format lies in testdata, with
// its key and the tree that it holds. They are never made anew: what could be
// restored once must be restored for ever. A new version's is made once, with
//
//	go test ./archive -run TestFrozen -freeze
var freeze = flag.Bool("freeze", false, "make the frozen archive of this format version, if there is none yet")

func TestFrozen(t *testing.T) {
	t.Parallel()
	if *freeze {
		freezeArchive(t, filepath.Join("testdata", strings.ReplaceAll(Format, "/", "-")))
	}
	dirs, err := filepath.Glob("testdata/xvault-*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no frozen archives: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			s := loadFrozen(t, dir)
			want := readLines(t, filepath.Join(dir, "tree.txt"))

			got, report, err := s.extract(t, ExtractOptions{KeepSetID: true, NoOwner: true})
			if err != nil {
				t.Fatal(err)
			}
			sameTree(t, "Reader", unowned(tree(t, got)), want)
			if report.Content.Errors != s.summary.Content.Errors {
				t.Errorf("report %+v", report.Content)
			}
			checked, err := s.check(t)
			if err != nil || checked.Content != s.summary.Content || checked.SHA256 != s.summary.SHA256 {
				t.Errorf("check: %+v, %v; the manifest has %+v", checked, err, s.summary)
			}

			out := s.stock(t)
			joinParts(t, out)
			sameTree(t, "stock tools", unowned(tree(t, out)), want)
		})
	}
}

// loadFrozen reads an archive with its key and manifest.
func loadFrozen(t *testing.T, dir string) sealed {
	t.Helper()
	key, err := os.Open(filepath.Join(dir, "key.txt"))
	if err != nil {
		t.Fatal(err)
	}
	ids, err := seal.ParseIdentities(key)
	if err := key.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := DecodeManifest(readFile(t, filepath.Join(dir, ManifestName)))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := DecodeMeta(readFile(t, filepath.Join(dir, MetaName)))
	if err != nil || *meta != m.Meta() {
		t.Fatalf("meta and manifest differ: %+v, %v", meta, err)
	}
	return sealed{
		keys:    keys{identity: ids[0]},
		bytes:   readFile(t, filepath.Join(dir, ArtifactName)),
		summary: Summary{Content: m.Content, SizeBytes: m.Artifact.SizeBytes, SHA256: m.Artifact.SHA256},
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readLines reads a tree: quoted path, a space, the description.
func readLines(t *testing.T, path string) map[string]string {
	t.Helper()
	nodes := make(map[string]string)
	for line := range strings.Lines(string(readFile(t, path))) {
		var name, rest string
		if _, err := fmt.Sscanf(line, "%q %q\n", &name, &rest); err != nil {
			t.Fatalf("%s: %q: %v", path, line, err)
		}
		nodes[name] = rest
	}
	return nodes
}

// unowned takes owners and the permissions of symbolic links, which depend on
// who restores and where, out of a tree.
func unowned(nodes map[string]string) map[string]string {
	for path, line := range nodes {
		fields := strings.SplitN(line, " ", 3)
		nodes[path] = fields[0] + " " + fields[2]
	}
	return nodes
}

// joinParts does by hand what docs/format.md tells a person to do.
func joinParts(t *testing.T, dir string) {
	t.Helper()
	parts, err := filepath.Glob(filepath.Join(dir, "dump.part-*"))
	if err != nil || len(parts) != 2 {
		t.Fatalf("parts %v, %v", parts, err)
	}
	info := lstat(t, dir, filepath.Base(parts[0]))
	var whole bytes.Buffer
	for _, part := range parts {
		whole.Write(readFile(t, part))
		if err := os.Remove(part); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "dump")
	writeFile(t, path, whole.Bytes())
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, info.Mode()); err != nil {
		t.Fatal(err)
	}
}

func frozenItems() []item {
	long := strings.Repeat("n", 255)
	nano := fileItem("nano", "")
	nano.ModTime = testTime.Add(123_456_789)
	sticky := dirItem("sticky")
	sticky.Mode = 0o1777
	setuid := fileItem("setuid", "x")
	setuid.Mode = 0o4755
	items := []item{
		dirItem("dir"), dirItem("dir/empty"), fileItem("dir/file", "content\n"), fileItem("dir/zero", ""),
		linkItem(entry.Hardlink, "dir/hard", "dir/file"), linkItem(entry.Symlink, "symlink", "dir/file"),
		linkItem(entry.Symlink, "dangling", "/no/such/file"),
		fileItem("bytes-\xff\xfe", "not UTF-8"), fileItem("newline\n", "x"), fileItem("umlaut-ü", "x"),
		dirItem(long), fileItem(long+"/"+long, "long"), nano, sticky, setuid,
		fileItem("noise", noiseString(5, 20_000)), fileItem("text", strings.Repeat(textOf(1000), 5000)),
		{Header: entry.Header{Path: "fifo", Kind: entry.FIFO}},
		{Header: entry.Header{Path: "dump", Kind: entry.File, Mode: 0o600, ModTime: testTime, Size: entry.SizeUnknown}},
	}
	return sortItems(items)
}

func freezeArchive(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("%s is frozen already: %v", dir, err)
	}
	k := newKeys(t)
	var buf bytes.Buffer
	w, err := NewWriter(&buf, WriterConfig{Recipients: []string{k.recipient}})
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range frozenItems() {
		if it.Path == "dump" {
			if _, err := w.Add(context.Background(), it.Header, io.LimitReader(zeros{}, MaxPart+1000)); err != nil {
				t.Fatal(err)
			}
			if err := w.Unreadable(fileItem("dump.secret", "").Header, job.PermissionDenied, os.ErrPermission); err != nil {
				t.Fatal(err)
			}
		} else if err := addItem(w, it); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	s := sealed{k, buf.Bytes(), summary}
	m := testManifest(k.recipient, summary)
	writeFile(t, filepath.Join(dir, ArtifactName), s.bytes)
	writeFile(t, filepath.Join(dir, ManifestName), encoded(t, m.Encode))
	meta := m.Meta()
	writeFile(t, filepath.Join(dir, MetaName), encoded(t, meta.Encode))
	writeFile(t, filepath.Join(dir, "key.txt"), []byte("# Opens the frozen test archive and nothing else.\n"+k.identity.Reveal()+"\n"))
	writeFile(t, filepath.Join(dir, "tree.txt"), []byte(frozenTree()))
}

func frozenTree() string {
	var b strings.Builder
	nodes := unowned(wanted(frozenItems()))
	zeroSum := sha256.Sum256(make([]byte, MaxPart+1000))
	nodes["dump"] = fmt.Sprintf("-rw------- %d.%09d %d %s", testTime.Unix(), 0, MaxPart+1000, hex.EncodeToString(zeroSum[:]))
	for _, path := range slices.Sorted(maps.Keys(nodes)) {
		fmt.Fprintf(&b, "%q %q\n", path, nodes[path])
	}
	return b.String()
}

func encoded(t *testing.T, encode func() ([]byte, error)) []byte {
	t.Helper()
	b, err := encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testManifest(recipient string, s Summary) *Manifest {
	id := func(n byte) uuid.UUID { return uuid.UUID{0x01, 0x93, 6: 0x70, 8: 0x80, 15: n} }
	return &Manifest{
		Format: Format, TenantID: id(1), SourceID: id(2), SnapshotID: id(3), JobID: id(4), WorkerID: "worker-1",
		CreatedAt: testTime, Artifact: Artifact{ArtifactName, s.SizeBytes, s.SHA256}, Content: s.Content,
		Compression: Compression{"zstd", DefaultLevel},
		Encryption:  Encryption{seal.Algorithm, []string{recipient}, id(5)},
		Source:      SourceInfo{Type: "sftp", ConnectorVersion: "1"}, DurationMS: 1234, Tool: Tool{"xvault", "test"},
	}
}
