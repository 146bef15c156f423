package archive

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/klauspost/compress/zstd"

	"xvault/internal/entry"
)

// forgery builds the plaintext of artifacts that a Writer would refuse to
// write: any tar, any index.
type forgery struct {
	tar     bytes.Buffer
	entries []Entry
	headers tarEncoder
}

func newForgery() *forgery { return &forgery{} }

// forgedFile is an index entry that fits a file's member.
func forgedFile(path, content string) Entry {
	return Entry{
		Path: path, Kind: entry.File, Mode: 0o644, ModTime: testTime,
		Size: int64(len(content)), SHA256: sha256.Sum256([]byte(content)),
	}
}

func forgedLink(kind entry.Kind, path, target string) Entry {
	it := linkItem(kind, path, target)
	return Entry{Path: path, Kind: kind, Mode: it.Mode, ModTime: testTime, LinkTarget: target}
}

// member adds an index entry and a tar member, which may differ.
func (f *forgery) member(e Entry, it item) {
	f.point(&e)
	f.entries = append(f.entries, e)
	f.tar.Write(f.headers.header(&it.Header, it.Path, int64(len(it.content))))
	f.tar.WriteString(it.content)
	f.tar.Write(zeroBlock[:padding(int64(len(it.content)))])
}

// raw adds an index entry and whatever bytes.
func (f *forgery) raw(e Entry, b []byte) {
	f.point(&e)
	f.entries = append(f.entries, e)
	f.tar.Write(b)
}

func (f *forgery) point(e *Entry) {
	e.at = location{stored: true, within: int64(f.tar.Len())}
}

// bytes gives the plaintext: one data frame, one index block, the rest.
func (f *forgery) bytes(t testing.TB) []byte {
	t.Helper()
	enc, err := newEncoder(zstd.SpeedDefault, 1)
	if err != nil {
		t.Fatal(err)
	}
	data := enc.EncodeAll(f.tar.Bytes(), nil)
	ref := frameRef{length: int64(len(data)), plain: int64(f.tar.Len())}
	var b indexBuilder
	for i := range f.entries {
		b.add(&f.entries[i], 0)
	}
	block := b.take()
	out := bytes.Clone(data)
	var table seekTable
	table.add(len(data), f.tar.Len())
	index := appendIndexFrame(nil, block.count, []frameRef{ref}, enc.EncodeAll(block.raw, nil))
	d := directory{
		blocks:  []blockRef{{offset: int64(len(out)), length: int64(len(index)), count: int64(block.count), first: block.first}},
		tarSize: int64(f.tar.Len() + len(endOfArchive)), entries: int64(block.count),
	}
	end := enc.EncodeAll(endOfArchive[:], nil)
	dir, err := appendDirectory(nil, &d, enc)
	if err != nil {
		t.Fatal(err)
	}
	out = append(append(append(out, index...), end...), dir...)
	table.add(len(index), 0)
	table.add(len(end), len(endOfArchive))
	table.add(len(dir), 0)
	w := bytes.NewBuffer(out)
	if err := table.writeTo(w); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}
