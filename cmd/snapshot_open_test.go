package cmd

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// openLab is a snapshot's folder with the key that opens it.
type openLab struct {
	dir, key string
}

func newOpenLab(t *testing.T, problem bool) openLab {
	t.Helper()
	identity, recipient, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	lab := openLab{dir: t.TempDir(), key: filepath.Join(t.TempDir(), "kit.txt")}
	put(t, lab.key, []byte("# a recovery kit\n"+identity.Reveal()+"\n"))
	var buf bytes.Buffer
	w, err := archive.NewWriter(&buf, archive.WriterConfig{Recipients: []string{recipient}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	add := func(kind entry.Kind, path, content, target string) {
		h := entry.Header{Path: path, Kind: kind, Mode: 0o644, ModTime: at, Size: int64(len(content)), LinkTarget: target}
		if _, err := w.Add(context.Background(), h, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	add(entry.File, "bytes-\xff", "not UTF-8", "")
	add(entry.File, "evil\x1b[31m\n", "escapes", "")
	h := entry.Header{Path: "home", Kind: entry.Dir, Mode: 0o755, ModTime: at}
	if _, err := w.Add(context.Background(), h, nil); err != nil {
		t.Fatal(err)
	}
	add(entry.File, "home/index.html", "<html>", "")
	add(entry.Symlink, "home/link", "", "index.html")
	if problem {
		h := entry.Header{Path: "home/secret", Kind: entry.File}
		if err := w.Unreadable(h, job.PermissionDenied, os.ErrPermission); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	put(t, lab.artifact(), buf.Bytes())
	lab.manifest(t, recipient, summary)
	return lab
}

func (l openLab) artifact() string { return filepath.Join(l.dir, archive.ArtifactName) }

func (l openLab) manifest(t *testing.T, recipient string, s archive.Summary) {
	t.Helper()
	m := archive.Manifest{
		Format: archive.Format, TenantID: uuid.New(), SourceID: uuid.New(), SnapshotID: uuid.New(), JobID: uuid.New(),
		WorkerID: "w", CreatedAt: time.Now(),
		Artifact: archive.Artifact{Name: archive.ArtifactName, SizeBytes: s.SizeBytes, SHA256: s.SHA256},
		Content:  s.Content, Compression: archive.Compression{Algorithm: "zstd", Level: 3},
		Encryption: archive.Encryption{Algorithm: seal.Algorithm, Recipients: []string{recipient}, KeyID: uuid.New()},
		Source:     archive.SourceInfo{Type: "sftp"}, Tool: archive.Tool{Name: "xvault"},
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(l.dir, archive.ManifestName), b)
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// open runs "snapshot open" and gives what it printed.
func (l openLab) open(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := NewRoot()
	root.SetArgs(append([]string{"snapshot", "open", "--identity", l.key}, args...))
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(context.Background())
	return out.String(), err
}

func TestSnapshotOpenList(t *testing.T) {
	t.Parallel()
	lab := newOpenLab(t, false)
	for _, file := range []string{lab.dir, lab.artifact()} {
		out, err := lab.open(t, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"home/index.html", "home/link -> index.html", `bytes-\xff`, `evil\x1b[31m\n`, "drwxr-xr-x"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in:\n%s", want, out)
			}
		}
		if strings.Contains(out, "\x1b") || strings.Count(out, "\n") != 5 {
			t.Errorf("names reach the terminal as they are:\n%q", out)
		}
	}
	for _, path := range []string{"/home", "home", "home/"} {
		out, err := lab.open(t, lab.dir, path)
		if err != nil || strings.Count(out, "\n") != 3 {
			t.Errorf("list %s: %v\n%s", path, err, out)
		}
	}
	if _, err := lab.open(t, lab.dir, "/nowhere"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("a path that is not there: %v", err)
	}
}

func TestSnapshotOpenListJSON(t *testing.T) {
	t.Parallel()
	lab := newOpenLab(t, true)
	out, err := lab.open(t, lab.dir, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Items []entryJSON }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v in:\n%s", err, out)
	}
	if len(list.Items) != 6 {
		t.Fatalf("%d items:\n%s", len(list.Items), out)
	}
	first, last := list.Items[0], list.Items[5]
	if raw, err := base64.StdEncoding.DecodeString(first.PathBase64); err != nil || string(raw) != "bytes-\xff" || first.Path != "bytes-\ufffd" {
		t.Errorf("a path that is not UTF-8: %+v", first)
	}
	if list.Items[1].PathBase64 != "" || len(first.SHA256) != 64 || first.Mode != "0644" || first.Type != "file" {
		t.Errorf("items %+v, %+v", first, list.Items[1])
	}
	if last.Code != job.PermissionDenied || len(last.Flags) != 1 || last.Flags[0] != "unreadable" {
		t.Errorf("an unreadable entry: %+v", last)
	}
	out, err = lab.open(t, lab.artifact(), "-o", "json", "home/link")
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Items) != 1 {
		t.Errorf("one entry: %v\n%s", err, out)
	}
	out, err = lab.open(t, lab.artifact(), "-o", "json", "home/link", "home", "home/link")
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || strings.Count(out, `"home/link"`) != 1 {
		t.Errorf("one path inside of another: %v\n%s", err, out)
	}
	if out, err = lab.open(t, lab.artifact(), "-o", "json", "home", "nowhere"); err == nil || strings.Contains(out, "items") {
		t.Errorf("a path that is not there: %v\n%s", err, out)
	}
}

func TestSnapshotOpenCheck(t *testing.T) {
	t.Parallel()
	lab := newOpenLab(t, false)
	out, err := lab.open(t, lab.dir, "--check")
	if err != nil || !strings.Contains(out, "the backup is whole") {
		t.Errorf("check: %v\n%s", err, out)
	}
	var r openResult
	out, err = lab.open(t, lab.dir, "--check", "-o", "json")
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || !r.OK || r.Content.Files != 3 {
		t.Errorf("check: %v\n%s", err, out)
	}
	partial := newOpenLab(t, true)
	out, err = partial.open(t, partial.dir, "--check", "-o", "json")
	if err == nil || json.Unmarshal([]byte(out), &r) != nil || r.OK || len(r.Problems) != 1 || r.Error == "" {
		t.Errorf("check of an incomplete backup: %v\n%s", err, out)
	}
	// Another snapshot's manifest.
	b, readErr := os.ReadFile(filepath.Join(partial.dir, archive.ManifestName))
	if readErr != nil {
		t.Fatal(readErr)
	}
	put(t, filepath.Join(lab.dir, archive.ManifestName), b)
	if _, err := lab.open(t, lab.dir, "--check"); err == nil || !strings.Contains(err.Error(), "manifest") {
		t.Errorf("check against another manifest: %v", err)
	}
}

func TestSnapshotOpenExtract(t *testing.T) {
	t.Parallel()
	lab := newOpenLab(t, false)
	target := filepath.Join(t.TempDir(), "new", "folder")
	if out, err := lab.open(t, lab.dir, "--extract", target, "/home/index.html"); err != nil || !strings.Contains(out, "restored") {
		t.Fatalf("extract: %v\n%s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(target, "home/index.html")); err != nil || string(b) != "<html>" {
		t.Errorf("restored %q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(target, "home/link")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a path that was not asked for: %v", err)
	}
	if _, err := lab.open(t, lab.dir, "--extract", target); err == nil {
		t.Error("a file was written over")
	}
	all := filepath.Join(t.TempDir(), "all")
	if out, err := lab.open(t, lab.dir, "--extract", all, "/"); err != nil {
		t.Errorf("extract everything: %v\n%s", err, out)
	}
	if names, err := os.ReadDir(all); err != nil || len(names) != 3 {
		t.Errorf("restored %v, %v", names, err)
	}
	partial := newOpenLab(t, true)
	out, err := partial.open(t, partial.dir, "--extract", t.TempDir())
	if err == nil || !strings.Contains(out, "permission_denied: home/secret") {
		t.Errorf("extract of an incomplete backup: %v\n%s", err, out)
	}
}

// TestSnapshotOpenErrors: each thing that can be wrong with a file has words of
// its own.
func TestSnapshotOpenErrors(t *testing.T) {
	t.Parallel()
	lab, other := newOpenLab(t, false), newOpenLab(t, false)
	sealed, err := os.ReadFile(lab.artifact())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)/2] ^= 1
	for name, content := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "cut": sealed[:len(sealed)-10], "beheaded": sealed[:30], "damaged": damaged,
	} {
		put(t, filepath.Join(dir, name), content)
	}
	for name, c := range map[string]struct {
		lab  openLab
		file string
		args []string
		want string
	}{
		"not there":        {lab, filepath.Join(dir, "none"), nil, "no such file"},
		"not a backup":     {lab, filepath.Join(dir, "text"), nil, "is not a backup of xVault"},
		"empty":            {lab, filepath.Join(dir, "empty"), nil, "is not a backup of xVault"},
		"cut short":        {lab, filepath.Join(dir, "cut"), nil, "damaged or cut short"},
		"header cut":       {lab, filepath.Join(dir, "beheaded"), nil, "damaged or cut short"},
		"damaged":          {lab, filepath.Join(dir, "damaged"), []string{"--check"}, "damaged"},
		"wrong key":        {other, lab.artifact(), nil, "does not open with this key"},
		"wrong key, named": {other, lab.dir, nil, "sealed to another tenant's (age1"},
		"no snapshot":      {lab, dir, nil, "is not the folder of a snapshot"},
		"no key":           {openLab{key: filepath.Join(dir, "none")}, lab.dir, nil, "read the key"},
		"not a key":        {openLab{key: filepath.Join(dir, "text")}, lab.dir, nil, "read the key"},
		"check and path":   {lab, lab.dir, []string{"--check", "home"}, "takes no PATH"},
		"check and list":   {lab, lab.dir, []string{"--check", "--list"}, "none of the others can be"},
		"stray flag":       {lab, lab.dir, []string{"--keep-setid"}, "--extract"},
		"output":           {lab, lab.dir, []string{"-o", "xml"}, "table or json"},
	} {
		_, err := c.lab.open(t, append([]string{c.file}, c.args...)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q in it", name, err, c.want)
		}
	}
}
