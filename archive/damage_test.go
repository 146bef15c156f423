package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"

	"xvault/archive/seal"
	"xvault/internal/entry"
)

// detected reports whether an error is one of those that tell of damage.
func detected(err error) bool {
	for _, known := range []error{ErrCorrupt, seal.ErrCorrupt, seal.ErrNotSealed, seal.ErrWrongIdentity} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

func damaged() []item {
	return []item{
		dirItem("d"), fileItem("d/a", noiseString(1, 300_000)), fileItem("d/b", textOf(6<<20)),
		linkItem(entry.Hardlink, "d/c", "d/a"), fileItem("e", "small"),
	}
}

// TestEveryDamageIsDetected flips and cuts bytes of the sealed file: in the
// header, in the first, a middle and the last chunk.
func TestEveryDamageIsDetected(t *testing.T) {
	t.Parallel()
	s := newKeys(t).write(t, WriterConfig{}, damaged()...)
	size := len(s.bytes)
	var places []int
	for at := 0; at < 220; at += 3 { // the header, the nonce and the first chunk's beginning
		places = append(places, at)
	}
	places = append(places, 65_000, 66_000, size/2, size/2+1, size-70_000, size-1000, size-100, size-16, size-1)
	for _, at := range places {
		flipped := bytes.Clone(s.bytes)
		flipped[at] ^= 0x10
		s.wantDetected(t, fmt.Sprintf("byte %d of %d flipped", at, size), flipped)
		s.wantDetected(t, fmt.Sprintf("cut to %d of %d bytes", at, size), s.bytes[:at])
		s.wantDetected(t, fmt.Sprintf("byte %d of %d removed", at, size), append(bytes.Clone(s.bytes[:at]), s.bytes[at+1:]...))
	}
	s.wantDetected(t, "a byte more", append(bytes.Clone(s.bytes), 0))
	s.wantDetected(t, "another artifact behind it", append(bytes.Clone(s.bytes), s.bytes...))
}

func (s sealed) wantDetected(t *testing.T, what string, artifact []byte) {
	t.Helper()
	if _, err := (sealed{keys: s.keys, bytes: artifact}).check(t); !detected(err) {
		t.Errorf("%s: check says %v", what, err)
	}
}

// TestForgedPlaintext flips bytes under the seal, as only somebody could who
// knows the recipient. Whatever a check lets pass must restore to just the same.
func TestForgedPlaintext(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	items := []item{dirItem("d"), fileItem("d/a", "some content"), linkItem(entry.Symlink, "l", "d/a"), fileItem("z", textOf(500))}
	plain := k.write(t, WriterConfig{}, items...).plaintext(t)
	want := wanted(items)
	for at := range plain {
		forged := bytes.Clone(plain)
		forged[at] ^= 1 << (at % 8)
		s := k.reseal(t, forged)
		if _, err := s.check(t); err != nil {
			if !detected(err) {
				t.Errorf("byte %d: %v", at, err)
			}
			continue
		}
		dir, _, err := s.extract(t, ExtractOptions{})
		if err != nil {
			t.Errorf("byte %d: passed the check, but %v", at, err)
		}
		sameTree(t, fmt.Sprintf("byte %d", at), tree(t, dir), want)
	}
}

// TestClaims puts absurd numbers where an artifact tells of itself.
func TestClaims(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	plain := k.write(t, WriterConfig{}, fileItem("a", "content"), fileItem("b", textOf(100_000))).plaintext(t)
	size := int64(len(plain))
	footer := size - seekFooter
	dirLength := int64(binary.LittleEndian.Uint32(plain[footer-seekEntry:]))
	frames := int64(binary.LittleEndian.Uint32(plain[footer:]))
	directory := size - seekTableSize(frames) - dirLength
	index := bytes.Index(plain, []byte(tagIndex)) - skippableHeader
	for name, at := range map[string]int64{
		"frames in the seek table": footer, "directory's length": footer - seekEntry,
		"seek table's length": size - seekTableSize(frames) + 4, "directory's frame": directory + 4,
		"index blocks": directory + 12, "tar size": directory + 16, "entries": directory + 24,
		"index frame's length": int64(index) + 4, "index entries": int64(index) + 12, "index frames": int64(index) + 16,
		"frame's offset": int64(index) + 20, "frame's tar offset": int64(index) + 28, "frame's length": int64(index) + 36,
		"frame's content": int64(index) + 40,
	} {
		for _, value := range []uint32{0, 1, 0x7fffffff, 0x80000000, 0xffffffff} {
			forged := bytes.Clone(plain)
			binary.LittleEndian.PutUint32(forged[at:], value)
			if bytes.Equal(forged, plain) {
				continue
			}
			if _, err := k.reseal(t, forged).check(t); !detected(err) {
				t.Errorf("%s = %#x: check says %v", name, value, err)
			}
		}
	}
}

// TestCorruptFileLeavesNothing: a file whose hash is wrong is not left behind.
func TestCorruptFileLeavesNothing(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	f := newForgery()
	f.member(forgedFile("good", "content"), fileItem("good", "content"))
	bad := forgedFile("sour", "content")
	bad.SHA256[0] ^= 1
	f.member(bad, fileItem("sour", "content"))
	s := k.reseal(t, f.bytes(t))
	dir, report, err := s.extract(t, ExtractOptions{})
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("extract: %v, want ErrCorrupt", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 || report.Content.Files != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}
