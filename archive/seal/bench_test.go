package seal

import (
	"bytes"
	"io"
	"testing"

	"xvault/internal/secret"
)

const benchSize = 16 << 20

func benchKeys(b *testing.B) (identity secret.Text, recipient string) {
	b.Helper()
	identity, recipient, err := NewIdentity()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchSize)
	b.ReportAllocs()
	return identity, recipient
}

func benchSealed(b *testing.B) (secret.Text, []byte) {
	b.Helper()
	identity, recipient := benchKeys(b)
	sealed, err := Message(recipient, make([]byte, benchSize))
	if err != nil {
		b.Fatal(err)
	}
	return identity, sealed
}

// BenchmarkSeal seals a stream as an artifact's writer does: a few megabytes at once.
func BenchmarkSeal(b *testing.B) {
	_, recipient := benchKeys(b)
	plain := make([]byte, benchSize/4)
	for b.Loop() {
		w, err := NewWriter(io.Discard, recipient)
		if err != nil {
			b.Fatal(err)
		}
		for range 4 {
			if _, err := w.Write(plain); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnseal reads a sealed stream from front to back.
func BenchmarkUnseal(b *testing.B) {
	identity, sealed := benchSealed(b)
	buf := make([]byte, 256<<10)
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(sealed), identity)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnsealAt reads it in pieces, as one who may begin anywhere.
func BenchmarkUnsealAt(b *testing.B) {
	identity, sealed := benchSealed(b)
	r, size, err := NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), identity)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 256<<10)
	for b.Loop() {
		for off := int64(0); off < size; off += int64(len(buf)) {
			if _, err := r.ReadAt(buf, off); err != nil && err != io.EOF {
				b.Fatal(err)
			}
		}
	}
}
