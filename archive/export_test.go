package archive

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xvault/internal/entry"
)

// exportTree is an artifact with everything that an export treats on its own:
// files over several frames, parts, hard links, awkward names.
func exportTree(t testing.TB) sealed {
	t.Helper()
	stream := fileItem("db/big.dump", noiseString(5, MaxPart+1000))
	stream.Size = entry.SizeUnknown
	small := fileItem("db/small.sql", "SELECT 1;")
	small.Size = entry.SizeUnknown
	owned := fileItem("home/a/data.bin", noiseString(1, 5<<20))
	owned.UID, owned.GID, owned.User = 3_000_000, 12, "jörg"
	second := linkItem(entry.Hardlink, "home/b/link1", "home/a/data.bin")
	second.UID, second.GID, second.User = 3_000_000, 12, "jörg"
	third := linkItem(entry.Hardlink, "home/b/link2", "home/a/data.bin")
	third.UID, third.GID, third.User = 3_000_000, 12, "jörg"
	items := []item{
		dirItem("db"), stream, small, dirItem("home"), dirItem("home/a"), owned, fileItem("home/a/empty", ""), fileItem("home/a/text", strings.Repeat("text ", 1<<20)),
		dirItem("home/b"), second, third, linkItem(entry.Hardlink, "home/b/none", "home/a/empty"),
		fileItem("home/b/own", "own"), linkItem(entry.Symlink, "home/b/sym", "../a/text"), fileItem("home/b/\xff\xfe", "not UTF-8"),
		{Header: entry.Header{Path: "home/pipe", Kind: entry.FIFO, Mode: 0o600, ModTime: testTime}},
		fileItem("home/z", "z"),
	}
	for i := range 300 {
		items = append(items, fileItem(fmt.Sprintf("many/%04d", i), noiseString(uint64(i), i*97)))
	}
	return newKeys(t).write(t, WriterConfig{}, items...)
}

func exported(t testing.TB, r *Reader, zstd bool, paths ...string) (*Export, []byte) {
	t.Helper()
	x, err := r.Export(context.Background(), paths, ExportOptions{Zstd: zstd})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := x.WriteRange(context.Background(), &out, 0, x.Size()); err != nil {
		t.Fatal(err)
	}
	if int64(out.Len()) != x.Size() {
		t.Fatalf("%d bytes written, %d announced", out.Len(), x.Size())
	}
	return x, out.Bytes()
}

// untar has stock tar restore a stream.
func untar(t testing.TB, stream []byte, zstd bool) string {
	t.Helper()
	out := t.TempDir()
	decode := "cat"
	if zstd {
		decode = "zstd -dq"
	}
	cmd := exec.Command("bash", "-c", "set -o pipefail; "+decode+` | tar -x -p --warning=no-timestamp -C "$1"`, "-", out)
	cmd.Stdin = bytes.NewReader(stream)
	if output, err := cmd.CombinedOutput(); err != nil || len(output) > 0 {
		t.Fatalf("tar: %v\n%s", err, output)
	}
	return out
}

// sameSelected compares trees but for the folders above the selection, which tar
// makes with today's time.
func sameSelected(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for path, line := range want {
		if strings.HasPrefix(line, "d") && got[path] != line && strings.HasPrefix(got[path], "d") {
			if fresh, err := exec.Command("date", "+%s").Output(); err != nil || !strings.Contains(line, string(fresh[:6])) {
				continue
			}
			got[path] = line
		}
	}
	for path := range got {
		if strings.HasPrefix(got[path], "d") && strings.HasPrefix(want[path], "d") {
			got[path] = want[path]
		}
	}
	sameTree(t, what, got, want)
}

// Without files in parts a whole export is the artifact's own tar stream.
func TestWholeExportIsTheTarStream(t *testing.T) {
	t.Parallel()
	s := newKeys(t).write(t, WriterConfig{}, dirItem("d"), fileItem("d/a", noiseString(1, 10<<20)), fileItem("d/b", "b"),
		linkItem(entry.Hardlink, "d/c", "d/b"))
	r := s.open(t)
	var want bytes.Buffer
	if err := r.WriteTarRange(t.Context(), &want, 0, r.TarSize()); err != nil {
		t.Fatal(err)
	}
	if _, got := exported(t, r, false); !bytes.Equal(got, want.Bytes()) {
		t.Error("it is another stream")
	}
	// Stored frames are passed on: no more is sent than is stored.
	if x, _ := exported(t, r, true); x.Size() > int64(len(s.bytes)) {
		t.Errorf("%d bytes as zstd, %d stored", x.Size(), len(s.bytes))
	}
}

func TestExportOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	r := exportTree(t).open(t)
	for path, want := range map[string]error{"nothing": ErrNotFound, "home/a/data": ErrNotFound, "home/pipe": ErrNotStored, "home/z/z": ErrNotFound, "/home": ErrNotFound} {
		if _, err := r.Export(t.Context(), []string{"home/a", path}, ExportOptions{}); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
		if err := r.WriteZip(t.Context(), io.Discard, []string{path}); !errors.Is(err, want) {
			t.Errorf("zip of %s: %v", path, err)
		}
	}
}

// A wrong hash breaks every form of an export before its end, wherever a range
// begins, and a flipped byte under the seal does as well.
func TestExportBreaksOnDamage(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	f := newForgery()
	f.member(forgedFile("a", strings.Repeat("a", 5000)), fileItem("a", strings.Repeat("a", 5000)))
	f.member(forgedFile("b", strings.Repeat("b", 5000)), fileItem("b", strings.Repeat("b", 4999)+"X"))
	f.member(forgedFile("c", "c"), fileItem("c", "c"))
	r := k.reseal(t, f.bytes(t)).open(t)
	for _, zstd := range []bool{false, true} {
		x, err := r.Export(t.Context(), nil, ExportOptions{Zstd: zstd})
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int64{0, 1, 512, 6000, 8000} {
			off = min(off, x.segments[0].size-1) // what is behind it is not damaged
			var got bytes.Buffer
			err := x.WriteRange(t.Context(), &got, off, x.Size()-off)
			if !errors.Is(err, ErrCorrupt) || int64(got.Len()) >= x.Size()-off {
				t.Errorf("zstd %v from %d: %d of %d bytes, error %v", zstd, off, got.Len(), x.Size()-off, err)
			}
		}
	}
	if err := r.WriteZip(t.Context(), io.Discard, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("zip: %v", err)
	}
	if _, got := exported(t, r, false, "a"); len(got) != 512+5120+1024 {
		t.Errorf("a sound file has %d bytes", len(got))
	}

	s := exportTree(t)
	for _, at := range []int{100, len(s.bytes) / 3, len(s.bytes) / 2, len(s.bytes) - 1} {
		damaged := bytes.Clone(s.bytes)
		damaged[at] ^= 1
		if err := exportAll(sealed{s.keys, damaged, s.summary}); err == nil {
			t.Errorf("byte %d of %d flipped: unnoticed", at, len(damaged))
		}
	}
	for _, length := range []int{100, len(s.bytes) / 2, len(s.bytes) - 1} {
		if err := exportAll(sealed{s.keys, s.bytes[:length], s.summary}); err == nil {
			t.Errorf("cut to %d of %d: unnoticed", length, len(s.bytes))
		}
	}
}

func exportAll(s sealed) error {
	r, err := Open(bytes.NewReader(s.bytes), int64(len(s.bytes)), s.identity)
	if err != nil {
		return err
	}
	x, err := r.Export(context.Background(), nil, ExportOptions{})
	if err != nil {
		return err
	}
	return x.WriteRange(context.Background(), io.Discard, 0, x.Size())
}

// A small file costs a few megabytes of reading however large the artifact is.
func TestExportOfOneFileReadsLittle(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	items := []item{fileItem("a", noiseString(1, 60<<20)), fileItem("small", noiseString(2, 10<<10)), fileItem("z", noiseString(3, 60<<20))}
	s := k.write(t, WriterConfig{}, items...)
	counted := &countingReaderAt{r: bytes.NewReader(s.bytes)}
	r, err := Open(counted, int64(len(s.bytes)), s.identity)
	if err != nil {
		t.Fatal(err)
	}
	_, got := exported(t, r, false, "small")
	if !bytes.Contains(got, []byte(items[1].content)) {
		t.Error("the content is not in it")
	}
	if counted.bytes.Load() > 8<<20 {
		t.Errorf("%d bytes were read", counted.bytes.Load())
	}
}

func TestZip(t *testing.T) {
	t.Parallel()
	s := exportTree(t)
	r := s.open(t)
	file := filepath.Join(t.TempDir(), "out.zip")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.WriteZip(t.Context(), f, []string{"home/b", "db"}), f.Close()); err != nil {
		t.Fatal(err)
	}
	got := unzip(t, file)
	data := noiseString(1, 5<<20)
	for path, want := range map[string]string{
		"home/b/": "", "home/b/link1": data, "home/b/link2": data, "home/b/none": "", "home/b/own": "own", "home/b/sym": "../a/text",
		"home/b/\xff\xfe": "not UTF-8", "db/": "", "db/small.sql": "SELECT 1;", "db/big.dump": noiseString(5, MaxPart+1000),
	} {
		if content, ok := got[path]; !ok || content != sha256.Sum256([]byte(want)) {
			t.Errorf("%q: there %v, not what it was", path, ok)
		}
		delete(got, path)
	}
	if len(got) > 0 {
		t.Errorf("more than was chosen: %d", len(got))
	}
}

func unzip(t *testing.T, file string) map[string][32]byte {
	t.Helper()
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	}()
	got := make(map[string][32]byte)
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, in); err != nil {
			t.Fatal(err)
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		got[f.Name] = [32]byte(sum.Sum(nil))
	}
	return got
}
