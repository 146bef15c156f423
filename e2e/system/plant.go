package system

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Plant writes a tree of about n small files with every awkwardness that a
// real server may show, and two large ones, the same for the same seed.
func Plant(t testing.TB, dir string, seed uint64, n int) {
	t.Helper()
	plant(t, dir, seed, n, true)
}

func plant(t testing.TB, dir string, seed uint64, n int, large bool) {
	t.Helper()
	p := planter{rng: rand.New(rand.NewPCG(seed, 0)), large: large}
	if err := p.plant(dir, n); err != nil {
		t.Fatalf("plant %s: %v", dir, err)
	}
}

type planter struct {
	rng   *rand.Rand
	large bool
}

func (p *planter) plant(dir string, n int) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return errors.Join(p.bulk(root, n), p.awkwardNames(root), p.specials(root), p.deep(root), p.settle(root))
}

// bulk makes ordinary files of many sizes: empty, tiny, around the sizes at
// which readers and writers cut, compressible and not.
func (p *planter) bulk(root *os.Root, n int) error {
	sizes := []int{0, 1, 511, 512, 513, 4096, 32767, 32768, 32769, 65537, 262145}
	for i := range n {
		sub := fmt.Sprintf("dir%02d/sub%d", i%17, i%5)
		if err := root.MkdirAll(sub, 0o750); err != nil {
			return err
		}
		size := p.rng.IntN(3000)
		if i%23 == 0 {
			size = sizes[(i/23)%len(sizes)]
		}
		name := fmt.Sprintf("%s/file-%05d.dat", sub, i)
		if err := p.write(root, name, size, i%2 == 0, 0o640); err != nil {
			return err
		}
	}
	if !p.large {
		return nil
	}
	// More than one 4 MiB frame, once random and once text.
	return errors.Join(
		p.write(root, "large-random.bin", 5<<20+17, false, 0o600),
		p.write(root, "large-text.txt", 4<<20+3, true, 0o644))
}

// content is made by the block: the race detector looks at every byte that is
// written by itself.
func (p *planter) content(size int, text bool) ([]byte, error) {
	if text {
		const line = "the quick brown fox jumps over the lazy dog\n"
		return bytes.Repeat([]byte(line), size/len(line)+1)[:size], nil
	}
	seed := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, p.rng.Uint64()), p.rng.Uint64())
	block, err := aes.NewCipher(seed)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(b, b)
	return b, nil
}

func (p *planter) write(root *os.Root, name string, size int, text bool, mode os.FileMode) error {
	b, err := p.content(size, text)
	if err != nil {
		return err
	}
	return root.WriteFile(name, b, mode)
}

func (p *planter) awkwardNames(root *os.Root) error {
	names := []string{
		"new\nline", "tab\tand\rreturn", `quo"te's`, "$(touch pwned)", "`id`", "-rf", "--help", "~root", "*", "?",
		" leading and trailing ", "back\\slash", "semi;colon&and|pipe", "%2e%2e", "...", "..data", "invalid-\xff\xfe-utf8",
		"caf\u00e9", "cafe\u0301", "\u65e5\u672c\u8a9e", "\u202egnp.exe", "\x01\x7f", strings.Repeat("n", 255), strings.Repeat("\u00e9", 127),
	}
	if err := root.Mkdir("awkward", 0o755); err != nil {
		return err
	}
	for i, name := range names {
		if err := root.WriteFile("awkward/"+name, fmt.Appendf(nil, "content %d", i), 0o644); err != nil {
			return err
		}
		if err := root.MkdirAll("awkward-dirs/"+name+"/inner", 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (p *planter) specials(root *os.Root) error {
	return errors.Join(
		root.MkdirAll("empty/dir", 0o711),
		root.Symlink("dir00/sub0", "link-to-dir"),
		root.Symlink("large-text.txt", "link-to-file"),
		root.Symlink("/nowhere/at all\n", "link-dangling"),
		root.Symlink("link-loop-b", "link-loop-a"),
		root.Symlink("link-loop-a", "link-loop-b"),
		root.Symlink(".", "link-to-itself"),
		root.Symlink("../../../../etc/passwd", "link-out"),
		root.WriteFile("suid", []byte("#!/bin/sh\n"), 0o755),
		root.WriteFile("mode-000", []byte("root may read it"), 0),
		root.WriteFile("owned", []byte("by somebody else"), 0o600),
		root.Mkdir("sticky", 0o755),
		syscall.Mkfifo(filepath.Join(root.Name(), "a-fifo"), 0o600),
	)
}

// deep makes a path of about 3,600 bytes, close to what a server takes whole.
func (p *planter) deep(root *os.Root) error {
	part := strings.Repeat("d", 200)
	cur := root
	for range (3600 - len(root.Name())) / (len(part) + 1) {
		if err := cur.Mkdir(part, 0o755); err != nil {
			return err
		}
		next, err := cur.OpenRoot(part)
		if err != nil {
			return err
		}
		defer func() { _ = next.Close() }()
		cur = next
	}
	return cur.WriteFile("at the bottom", []byte("of a deep well"), 0o644)
}

// settle sets what the making disturbed: special modes, owners and times, the
// deepest first so that no folder's time is touched after it was set.
func (p *planter) settle(root *os.Root) error {
	err := errors.Join(
		root.Chmod("suid", 0o755|os.ModeSetuid|os.ModeSetgid),
		root.Chmod("sticky", 0o777|os.ModeSticky),
	)
	if os.Getuid() == 0 {
		err = errors.Join(err, root.Lchown("owned", 12345, 54321))
	}
	return errors.Join(err, p.times(root))
}

func (p *planter) times(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			sub, err := root.OpenRoot(e.Name())
			if err != nil {
				return err
			}
			if err := errors.Join(p.times(sub), sub.Close()); err != nil {
				return err
			}
		} else if e.Type()&os.ModeSymlink == 0 {
			when := time.Unix(946684800+p.rng.Int64N(800_000_000), 0)
			if err := root.Chtimes(e.Name(), when, when); err != nil {
				return err
			}
		}
	}
	when := time.Unix(1_000_000_000+p.rng.Int64N(700_000_000), 0)
	return root.Chtimes(".", when, when)
}
