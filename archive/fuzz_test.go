package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"xvault/internal/entry"
)

// seedPlaintexts are sound archives, without their seal, for the fuzz targets
// to start from. A target that cannot read them is not testing anything.
func seedPlaintexts(f *testing.F) [][]byte {
	f.Helper()
	k := newKeys(f)
	forged := newForgery()
	forged.member(forgedFile("a", "content"), fileItem("a", "content"))
	forged.member(forgedDir("b"), dirItem("b"))
	seeds := [][]byte{
		k.write(f, WriterConfig{}).plaintext(f),
		k.write(f, WriterConfig{}, dirItem("d"), fileItem("d/a", "some content"), linkItem(entry.Symlink, "l", "d/a"),
			linkItem(entry.Hardlink, "m", "d/a"), item{Header: entry.Header{Path: "p", Kind: entry.FIFO}}).plaintext(f),
		forged.bytes(f),
	}
	for i, seed := range seeds {
		if _, err := k.reseal(f, seed).check(f); err != nil {
			f.Fatalf("seed %d: %v", i, err)
		}
	}
	return seeds
}

// partsOf takes index blocks and directory out of a plaintext.
func partsOf(f *testing.F, plain []byte) (index [][]byte, directory []byte, at int64) {
	f.Helper()
	t, err := readTail(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		f.Fatal(err)
	}
	scanner := newFrameScanner(bytes.NewReader(plain), 0, readSize)
	for {
		info, _, err := scanner.next(nil)
		if errors.Is(err, io.EOF) {
			return index, plain[t.directory:t.table], t.directory
		}
		if err != nil {
			f.Fatal(err)
		}
		if info.magic == magicIndex {
			index = append(index, plain[info.offset:info.offset+info.length])
		}
	}
}

func FuzzIndexBlock(f *testing.F) {
	dec, err := newDecoder(1)
	if err != nil {
		f.Fatal(err)
	}
	loaded := 0
	for _, plain := range seedPlaintexts(f) {
		blocks, _, _ := partsOf(f, plain)
		for _, block := range blocks {
			if entries, err := decodeIndex(dec, block, int64(len(plain))); err != nil || len(entries) == 0 {
				f.Fatalf("a seed does not decode: %v", err)
			}
			f.Add(block)
			loaded++
		}
	}
	if loaded < 2 {
		f.Fatalf("%d seeds loaded", loaded)
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		entries, err := decodeIndex(dec, block, math.MaxInt32)
		if (err == nil) == (len(entries) == 0) {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
	})
}

// FuzzIndexEntries: what decodes, encodes to something that decodes the same.
func FuzzIndexEntries(f *testing.F) {
	frames := []frameRef{{length: 100, plain: MaxFrame}, {offset: 100, tar: MaxFrame, length: 100, plain: 1000}}
	var b indexBuilder
	link, special := forgedLink(entry.Symlink, "b/c", "target"), Entry{Path: "c", Kind: entry.FIFO, Flags: entry.Skipped}
	unreadable := Entry{Path: "d", Kind: entry.File, Flags: entry.Unreadable, Code: "permission_denied"}
	file := forgedFile("a", "content")
	file.at.stored, link.at.stored = true, true
	for _, e := range []Entry{file, link, special, unreadable} {
		b.add(&e, 0)
	}
	seed := b.take()
	if _, err := decodeEntries(seed.raw, uint32(seed.count), frames); err != nil || seed.count != 4 {
		f.Fatalf("the seed does not decode: %v", err)
	}
	f.Add(seed.raw, uint32(seed.count))
	f.Fuzz(func(t *testing.T, raw []byte, count uint32) {
		entries, err := decodeEntries(raw, count, frames)
		if err != nil {
			return
		}
		prev := ""
		for _, e := range entries {
			ref := 1
			if e.at.frame == frames[1] {
				ref = 2
			}
			again, err := decodeEntry(appendEntry(nil, prev, &e, ref), prev, frames)
			if err != nil || again != e {
				t.Fatalf("%+v became %+v, %v", e, again, err)
			}
			prev = e.Path
		}
	})
}

func FuzzDirectory(f *testing.F) {
	dec, err := newDecoder(1)
	if err != nil {
		f.Fatal(err)
	}
	loaded := 0
	for _, plain := range seedPlaintexts(f) {
		_, frame, at := partsOf(f, plain)
		if _, err := decodeDirectory(dec, frame, at); err != nil {
			f.Fatalf("a seed does not decode: %v", err)
		}
		f.Add(frame, at)
		loaded++
	}
	if loaded < 3 {
		f.Fatalf("%d seeds loaded", loaded)
	}
	f.Fuzz(func(t *testing.T, frame []byte, at int64) {
		if at < 0 {
			return
		}
		d, err := decodeDirectory(dec, frame, at)
		if err != nil {
			return
		}
		for _, b := range d.blocks {
			if b.offset < 0 || b.length <= 0 || b.offset+b.length > at || d.find(b.first) < 0 {
				t.Fatalf("a block that cannot be: %+v", b)
			}
		}
	})
}

func FuzzSeekTable(f *testing.F) {
	for _, plain := range seedPlaintexts(f) {
		if _, err := readTail(bytes.NewReader(plain), int64(len(plain))); err != nil {
			f.Fatalf("a seed does not decode: %v", err)
		}
		f.Add(plain)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		size := int64(len(plain))
		tl, err := readTail(bytes.NewReader(plain), size)
		if err != nil {
			return
		}
		if tl.directory <= 0 || tl.directory > tl.table || tl.table+seekTableSize(tl.frames) != size {
			t.Fatalf("a tail that cannot be: %+v of %d", tl, size)
		}
		table := newSeekTableReader(bytes.NewReader(plain), tl)
		for range tl.frames {
			if _, err := table.next(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := table.next(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	})
}

// FuzzReader does everything to an archive that anybody can. What Check accepts
// must also be extracted.
func FuzzReader(f *testing.F) {
	seeds := seedPlaintexts(f)
	for _, plain := range seeds {
		f.Add(plain)
	}
	if len(seeds) < 3 {
		f.Fatalf("%d seeds loaded", len(seeds))
	}
	k := newKeys(f)
	f.Fuzz(func(t *testing.T, plain []byte) {
		s := k.reseal(t, plain)
		r, err := Open(bytes.NewReader(s.bytes), int64(len(s.bytes)), s.identity)
		if err != nil {
			return
		}
		ctx := context.Background()
		_, checkErr := r.Check(ctx, CheckOptions{})
		_ = r.WriteTarRange(ctx, io.Discard, 0, min(r.TarSize(), 1<<20))
		_ = r.Walk(ctx, "", func(e *Entry) error {
			_, _ = r.ReadFile(ctx, e.Path, 1<<20)
			return nil
		})
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer closeRoot(t, root)
		_, err = r.Extract(ctx, root, nil, ExtractOptions{MaxBytes: 64 << 20})
		if checkErr == nil && err != nil && !tooLong(r) {
			t.Errorf("passed the check, but: %v", err)
		}
	})
}

// tooLong reports whether an archive has a name that no file system takes.
func tooLong(r *Reader) bool {
	found := false
	_ = r.Walk(context.Background(), "", func(e *Entry) error {
		for component := range strings.SplitSeq(e.Path, "/") {
			found = found || len(component) > 255
		}
		found = found || len(e.LinkTarget) > 4095 || e.ModTime.Unix() > 1<<40 || e.ModTime.Unix() < -1<<40
		return nil
	})
	return found
}

// FuzzTarHeader: whatever a header says, the standard library reads it back.
func FuzzTarHeader(f *testing.F) {
	f.Add("a/b", "c", "root", uint32(0o644), 0, int64(1_700_000_000), int64(5), int64(10))
	f.Add(strings.Repeat("d/", 70)+"f", strings.Repeat("l", 200), "björn", uint32(0o4755), 1<<31, int64(-5), int64(999_999_999), int64(1)<<40)
	f.Fuzz(func(t *testing.T, path, link, user string, mode uint32, uid int, sec, nsec, size int64) {
		h := entry.Header{
			Path: path, Kind: entry.File, Mode: mode & 0o7777, UID: uid, User: user,
			ModTime: time.Unix(sec%(1<<50), nsec&(1<<29-1)), Size: size,
		}
		if link != "" {
			h.Kind, h.LinkTarget, h.Size = entry.Symlink, link, 0
		}
		if checkHeader(&h) != nil || h.Size < 0 {
			return
		}
		var e tarEncoder
		b := e.header(&h, h.Path, h.Size)
		if len(b)%tarBlock != 0 {
			t.Fatalf("a header of %d bytes", len(b))
		}
		hdr, err := tar.NewReader(bytes.NewReader(b)).Next()
		if err != nil {
			t.Fatal(err)
		}
		if hdr.Name != path || hdr.Linkname != h.LinkTarget || hdr.Uname != ownerName(user) || hdr.Uid != uid ||
			hdr.Mode != int64(h.Mode) || hdr.Size != h.Size || !hdr.ModTime.Equal(h.ModTime) {
			t.Fatalf("read back as %+v, was %+v", hdr, h)
		}
	})
}

func TestPAXRecordLength(t *testing.T) {
	t.Parallel()
	for n := range 2000 {
		r := appendPAX(nil, paxRecord{"k", strings.Repeat("v", n)})
		digits, _, _ := bytes.Cut(r, []byte(" "))
		want := 0
		for _, c := range digits {
			want = want*10 + int(c-'0')
		}
		if want != len(r) {
			t.Fatalf("a record of %d bytes says %d", len(r), want)
		}
	}
	if binary.LittleEndian.Uint32(appendSkippable(nil, magicIndex, 7)) != magicIndex {
		t.Fatal("byte order")
	}
}
