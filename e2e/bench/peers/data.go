package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// data makes what is backed up, once: it stays in the cache, and is the same on
// every machine.
type data struct {
	dir   string
	quick bool
	say   func(format string, args ...any)
}

// scaled is how much of something a run uses.
func (d *data) scaled(n int64) int64 {
	if d.quick {
		return n / 8
	}
	return n
}

// once gives the path of a piece of data, which fill makes where it is not there
// yet. The name says everything that its content depends on.
func (d *data) once(ctx context.Context, name string, fill func(ctx context.Context, path string) error) (string, error) {
	if d.quick {
		name += "-quick"
	}
	path := filepath.Join(d.dir, name)
	unlock, err := lock(d.dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Lstat(path); err == nil {
		return path, nil
	}
	d.say("  making %s", path)
	unfinished := path + ".part"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	if err := fill(ctx, unfinished); err != nil {
		return "", errors.Join(fmt.Errorf("make %s: %w", name, err), os.RemoveAll(unfinished))
	}
	return path, os.Rename(unfinished, path)
}

// lock keeps another run, with the same cache, from making the same.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // the lock ends with it
}

func (d *data) text(ctx context.Context) (string, error) {
	return d.once(ctx, "text-1", func(ctx context.Context, path string) error {
		return writeStream(ctx, path, newText(1), d.scaled(1<<30))
	})
}

func (d *data) random(ctx context.Context) (string, error) {
	return d.noise(ctx, "random-1", d.scaled(1<<30))
}

// big is as large in a quick run: over a distance a smaller one shows little but
// how the connection is made.
func (d *data) big(ctx context.Context) (string, error) { return d.noise(ctx, "random-2", 256<<20) }

func (d *data) noise(ctx context.Context, name string, n int64) (string, error) {
	return d.once(ctx, name, func(ctx context.Context, path string) error {
		return writeStream(ctx, path, newNoise(name), n)
	})
}

// newNoise is a stream that does not compress, and is another for every name.
func newNoise(name string) io.Reader {
	var seed [32]byte
	copy(seed[:], name)
	return rand.NewChaCha8(seed)
}

const (
	smallFiles, smallSize = 3000, 4 << 10
	// Those of the tree have 4 to 32 KiB.
	treeFiles, treeSizes = 20_000, 8
)

// small is 3,000 files of 4 KiB in 30 folders.
func (d *data) small(ctx context.Context) (string, error) {
	return d.once(ctx, "small-1", func(ctx context.Context, path string) error {
		return writeFolders(ctx, path, newText(2), int(d.scaled(smallFiles)), func(int) int64 { return smallSize })
	})
}

// tree is 20,000 files of 4 to 32 KiB in 200 folders, 370 MB.
func (d *data) tree(ctx context.Context) (string, error) {
	return d.once(ctx, "tree-1", func(ctx context.Context, path string) error {
		return writeFolders(ctx, path, newText(3), int(d.scaled(treeFiles)), func(i int) int64 { return int64(1+i%treeSizes) * smallSize })
	})
}

// writeFolders makes files, a hundred to a folder.
func writeFolders(ctx context.Context, path string, from io.Reader, files int, size func(i int) int64) error {
	for i := range files {
		dir := filepath.Join(path, fmt.Sprintf("folder-%02d", i/100))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := writeStream(ctx, filepath.Join(dir, fmt.Sprintf("file-%04d.txt", i)), from, size(i)); err != nil {
			return err
		}
	}
	return nil
}

// million is one folder with a million files, one of sixteen of which holds a
// few bytes.
func (d *data) million(ctx context.Context) (string, error) {
	return d.once(ctx, "million-1", func(ctx context.Context, path string) error {
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		for i := range d.scaled(1_000_000) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			var content []byte
			if i%16 == 0 {
				content = fmt.Appendf(nil, "tiny %d\n", i)
			}
			if err := os.WriteFile(filepath.Join(path, fmt.Sprintf("file-%07d", i)), content, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeStream(ctx context.Context, path string, from io.Reader, n int64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	for n > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		part := min(n, 16<<20)
		if _, err := io.CopyN(w, from, part); err != nil {
			return err
		}
		n -= part
	}
	return w.Flush()
}

// goRoot is the folder of the Go that builds xVault.
func goRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	return filepath.EvalSymlinks(strings.TrimSpace(string(out)))
}

// seeded is a source of numbers that is another for every pair of arguments.
func seeded(a, b uint64) *rand.Rand {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], a)
	binary.LittleEndian.PutUint64(seed[8:], b)
	return rand.New(rand.NewChaCha8(seed))
}
