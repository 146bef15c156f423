package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"

	"xvault/internal/entry"
)

func benchWriter(b *testing.B) *Writer {
	b.Helper()
	w, err := NewWriter(io.Discard, WriterConfig{Recipients: []string{newKeys(b).recipient}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Abort)
	return w
}

func benchAdd(b *testing.B, content []byte) {
	b.Helper()
	w := benchWriter(b)
	h := entry.Header{Kind: entry.File, Mode: 0o644, ModTime: testTime, Size: int64(len(content))}
	body := bytes.NewReader(content)
	b.SetBytes(max(h.Size, 1))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.Path = fmt.Sprintf("d/%012d", i)
		body.Reset(content)
		if _, err := w.Add(context.Background(), h, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriterEmptyFiles(b *testing.B) { benchAdd(b, nil) }
func BenchmarkWriterSmallFiles(b *testing.B) { benchAdd(b, []byte(textOf(4<<10))) }
func BenchmarkWriterText(b *testing.B)       { benchAdd(b, []byte(textOf(64<<20))) }
func BenchmarkWriterNoise(b *testing.B)      { benchAdd(b, []byte(noiseString(1, 64<<20))) }
func BenchmarkWriterZeros(b *testing.B)      { benchAdd(b, make([]byte, 64<<20)) }
func BenchmarkWriterUnknownLen(b *testing.B) {
	w := benchWriter(b)
	content := []byte(textOf(64 << 20))
	h := entry.Header{Kind: entry.File, Mode: 0o644, ModTime: testTime, Size: entry.SizeUnknown}
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.Path = fmt.Sprintf("d/%012d", i)
		if _, err := w.Add(context.Background(), h, bytes.NewReader(content)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTarHeader(b *testing.B) {
	var e tarEncoder
	h := fileItem("usr/share/doc/package/changelog.Debian.gz", "").Header
	b.ReportAllocs()
	for b.Loop() {
		e.header(&h, h.Path, 1234)
	}
}

func BenchmarkIndexEncode(b *testing.B) {
	var builder indexBuilder
	e := forgedFile("usr/share/doc/package/changelog.Debian.gz", "content")
	b.ReportAllocs()
	for b.Loop() {
		builder.add(&e, 0)
		if builder.size() > flushIndexAt {
			builder.block.raw, builder.block.count = builder.block.raw[:0], 0
		}
	}
}

func benchArchive(b *testing.B) (sealed, *Reader) {
	b.Helper()
	s := newKeys(b).write(b, WriterConfig{}, append(manyFiles(20, 500), fileItem("text", textOf(64<<20)))...)
	return s, s.open(b)
}

func BenchmarkIndexWalk(b *testing.B) {
	_, r := benchArchive(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := count(r, ""); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(r.Entries())*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkCheck(b *testing.B) {
	_, r := benchArchive(b)
	b.SetBytes(r.TarSize())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Check(context.Background(), CheckOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOneFile(b *testing.B) {
	_, r := benchArchive(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ReadFile(context.Background(), "dir0010/file0100", 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriterGzip is data that is compressed already, but not noise.
func BenchmarkWriterGzip(b *testing.B) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := io.WriteString(w, textOf(64<<20)); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	benchAdd(b, z.Bytes())
}

func BenchmarkProbe(b *testing.B) {
	enc, err := newEncoder(zstd.SpeedDefault, 1)
	if err != nil {
		b.Fatal(err)
	}
	for name, content := range map[string][]byte{"noise": noiseBytes(1, 16*MaxFrame), "text": []byte(textOf(16 * MaxFrame))} {
		b.Run(name, func(b *testing.B) {
			look := new(prober)
			b.SetBytes(MaxFrame)
			b.ReportAllocs()
			for at := 0; b.Loop(); at = (at + MaxFrame) % len(content) { // none is in a cache
				look.incompressible(content[at:at+MaxFrame], enc)
			}
		})
	}
}

func BenchmarkIndexDecode(b *testing.B) {
	_, r := benchArchive(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.readIndexBlock(r.dir.blocks[0]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(r.dir.blocks[0].count)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkLookup(b *testing.B) {
	_, r := benchArchive(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Lookup("dir0010/file0100"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExtract restores 10,000 small files and one of 64 MiB.
func BenchmarkExtract(b *testing.B) {
	_, r := benchArchive(b)
	b.SetBytes(r.TarSize())
	b.ReportAllocs()
	for b.Loop() {
		root, err := os.OpenRoot(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Extract(context.Background(), root, nil, ExtractOptions{}); err != nil {
			b.Fatal(err)
		}
		if err := root.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
