package archive

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"xvault/internal/entry"
)

// TestRandomTrees writes random trees and reads them back every way there is.
func TestRandomTrees(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	rapid.Check(t, func(rt *rapid.T) {
		items := drawTree(rt)
		var buf bytes.Buffer
		w, err := NewWriter(&buf, WriterConfig{Recipients: []string{k.recipient}})
		if err != nil {
			rt.Fatal(err)
		}
		defer w.Abort()
		for _, it := range items {
			if err := addItem(w, it); err != nil {
				rt.Fatal(err)
			}
		}
		summary, err := w.Close()
		if err != nil {
			rt.Fatal(err)
		}
		r, err := Open(bytes.NewReader(buf.Bytes()), int64(buf.Len()), k.identity)
		if err != nil {
			rt.Fatal(err)
		}
		report, err := r.Check(context.Background(), CheckOptions{})
		if err != nil || report.Content != summary.Content {
			rt.Fatalf("check: %+v, %v; the writer has %+v", report.Content, err, summary.Content)
		}
		i := 0
		err = r.Walk(context.Background(), "", func(e *Entry) error {
			i++
			return sameEntry(r, e, items[i-1])
		})
		if err != nil || i != len(items) {
			rt.Fatalf("%d of %d entries: %v", i, len(items), err)
		}
	})
}

func sameEntry(r *Reader, e *Entry, it item) error {
	if e.Path != it.Path || e.Kind != it.Kind || e.Mode != it.Mode || !e.ModTime.Equal(it.ModTime) || e.LinkTarget != it.LinkTarget {
		return fmt.Errorf("entry %+v, want %+v", e, it.Header)
	}
	if it.Kind != entry.File {
		return nil
	}
	f, err := r.OpenFile(context.Background(), e.Path)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(iotest.OneByteReader(f))
	if err := f.Close(); err != nil {
		return err
	}
	if err == nil && string(got) != it.content {
		err = fmt.Errorf("%d bytes, want %d", len(got), len(it.content))
	}
	if err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	return nil
}

// drawTree draws a valid list of entries in archive order.
func drawTree(t *rapid.T) []item {
	component := rapid.Custom(func(t *rapid.T) string {
		// Bytes close to the slash, bytes that are not UTF-8, long runs.
		b := rapid.SliceOfN(rapid.SampledFrom([]byte("ab .-\x01\n/0\x7f\x80\xff=%")), 1, 6).Draw(t, "component")
		name := strings.ReplaceAll(string(b), "/", "_")
		if name == "." || name == ".." {
			return "dots"
		}
		return strings.Repeat(name, rapid.SampledFrom([]int{1, 1, 1, 40}).Draw(t, "repeat"))
	})
	paths := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(component, 1, 4).Draw(t, "path"), "/")
	}), 0, 30).Draw(t, "paths")
	slices.SortFunc(paths, comparePaths)
	paths = slices.Compact(paths)
	var items []item
	var files []string
	for i, path := range paths {
		it := drawEntry(t, path, files)
		if i+1 < len(paths) && isBelow(paths[i+1], path) {
			it.Kind, it.content, it.Size, it.LinkTarget = entry.Dir, "", 0, ""
		}
		if it.Kind == entry.File {
			files = append(files, path)
		}
		items = append(items, it)
	}
	return items
}

func drawEntry(t *rapid.T, path string, files []string) item {
	it := item{Header: entry.Header{
		Path: path, Mode: rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
		UID: rapid.IntRange(0, 1<<32-2).Draw(t, "uid"),
		ModTime: time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "seconds"),
			rapid.SampledFrom([]int64{0, 0, 1, 500_000_000, 999_999_999}).Draw(t, "nanoseconds")).UTC(),
	}}
	it.Kind = rapid.SampledFrom([]entry.Kind{entry.File, entry.File, entry.Dir, entry.Symlink, entry.Hardlink, entry.Socket}).Draw(t, "kind")
	switch {
	case it.Kind == entry.Hardlink && len(files) > 0:
		it.LinkTarget = rapid.SampledFrom(files).Draw(t, "target")
	case it.Kind == entry.Symlink:
		it.LinkTarget = rapid.StringN(1, 300, 300).Filter(func(s string) bool { return !strings.Contains(s, "\x00") }).Draw(t, "text")
	case it.Kind == entry.File || it.Kind == entry.Hardlink:
		it.Kind = entry.File
		it.content = rapid.SampledFrom([]string{"", "x", "some content", noiseString(1, 511), noiseString(1, 512), noiseString(1, 70_000)}).Draw(t, "content")
		it.Size = int64(len(it.content))
	}
	return it
}

// TestOrder holds comparePaths against comparing component by component.
func TestOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		draw := rapid.SliceOfN(rapid.SampledFrom([]byte("a/.\x01\xff ")), 1, 8)
		a, b := string(draw.Draw(rt, "a")), string(draw.Draw(rt, "b"))
		if checkPath(a) != nil || checkPath(b) != nil {
			return
		}
		want := slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
		if got := comparePaths(a, b); (got < 0) != (want < 0) || (got == 0) != (want == 0) {
			rt.Fatalf("%q and %q compare as %d, want %d", a, b, got, want)
		}
	})
}
