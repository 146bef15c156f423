package shell

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// packed makes what tar would send.
func packed(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		h.Format, h.ModTime = tar.FormatPAX, time.Unix(1_700_000_000, 0)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte{'c'}, int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestMembers(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("d", 120) + "/" + strings.Repeat("n", 255)
	headers := []*tar.Header{
		{Name: "/a", Typeflag: tar.TypeReg, Size: 5, Mode: 0o644},
		{Name: long, Typeflag: tar.TypeReg, Size: 512},
		{Name: "/short/" + strings.Repeat("n", 90), Typeflag: tar.TypeReg, Size: 0},
		{Name: long + "/more", Typeflag: tar.TypeReg, Size: 1},
		{Name: "/split/" + strings.Repeat("p", 80) + "/" + strings.Repeat("n", 60), Typeflag: tar.TypeReg, Size: 513},
		{Name: "/passed/over", Typeflag: tar.TypeReg, Size: 100_000},
		{Name: "/", Typeflag: tar.TypeDir},
		{Name: "/link", Typeflag: tar.TypeSymlink, Linkname: "a"},
	}
	m := members{in: bufio.NewReader(bytes.NewReader(packed(t, headers...)))}
	for _, h := range headers {
		if err := m.next(); err != nil {
			t.Fatalf("%q: %v", h.Name, err)
		}
		if string(m.name) != h.Name || m.size != h.Size || m.typ != h.Typeflag || m.mtime != 1_700_000_000 {
			t.Fatalf("%q of %d bytes, type %c, time %d; want %q", m.name, m.size, m.typ, m.mtime, h.Name)
		}
		if h.Size > 0 && h.Size < 1000 {
			b := make([]byte, h.Size)
			if err := m.content(b); err != nil || len(bytes.Trim(b, "c")) > 0 {
				t.Fatalf("%q: %v", h.Name, err)
			}
		}
	}
	if err := m.next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// Wherever the stream is cut or a byte of a header is another, it is an error or
// the end, never other content.
func TestMembersThatAreBroken(t *testing.T) {
	t.Parallel()
	whole := packed(t, &tar.Header{Name: "/a", Typeflag: tar.TypeReg, Size: 600}, &tar.Header{Name: "/b", Typeflag: tar.TypeReg, Size: 5})
	read := func(b []byte) (n int, err error) {
		m := members{in: bufio.NewReader(bytes.NewReader(b))}
		for {
			if err = m.next(); err != nil {
				return n, err
			}
			n++
		}
	}
	for cut := range len(whole) - 2*block {
		if n, err := read(whole[:cut]); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: %d members, %v", cut, n, err)
		}
	}
	for i := range block {
		b := bytes.Clone(whole)
		b[i] ^= 0x41
		if n, err := read(b); n > 0 && (i < 148 || i >= 156) {
			t.Fatalf("byte %d of a header is another: %d members, %v", i, n, err)
		}
	}
}

func FuzzMembers(f *testing.F) {
	f.Add(packed(f, &tar.Header{Name: "/" + strings.Repeat("n", 300), Typeflag: tar.TypeReg, Size: 600}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		m := members{in: bufio.NewReader(bytes.NewReader(b))}
		for m.next() == nil {
			if m.typ == typeFile && m.size < 1<<16 {
				_ = m.content(make([]byte, m.size)) // the next one says the rest
			}
		}
	})
}

// What tar says is matched with batches, and with nothing else.
func TestWordsOfTar(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"tar: /a: Warning: Cannot open: Permission denied\n":      true,
		"tar: /a: Cannot stat: No such file or directory\n":       true,
		"tar: /a: File removed before we read it\n":               true,
		"tar: /a: file changed as we read it\n":                   false,
		"tar: /a: Cannot open: b: file changed as we read it\n":   false,
		"tar: /a: File shrank by 5 bytes; padding with zeros\n":   false,
		"tar: /a: Warning: Read error at byte 0, while reading\n": false,
		"anything\n": false,
	} {
		if got := excuses([]byte(line)); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
	w := &Want{Good: true}
	for _, c := range []struct {
		absent, excused, words int
		good                   bool
	}{{0, 0, 0, true}, {1, 1, 0, true}, {1, 0, 0, false}, {0, 1, 0, false}, {0, 0, 1, false}, {2, 1, 1, false}} {
		w.Good = true
		b := &Batch{Wants: []*Want{w}, absent: c.absent, excused: c.excused, words: c.words}
		if b.judge(); w.Good != c.good {
			t.Errorf("%+v: good is %v", c, w.Good)
		}
	}
}
