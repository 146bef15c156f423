package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"xvault/archive"
	"xvault/internal/entry"
)

// The artifact that one file is taken from: 64 folders, each with 1,500 files of
// 10 KiB and 49 of 1 MiB, that do not compress.
const (
	heapFolders = 64
	heapSmall   = 1500
	heapLarge   = 49
	wantedSize  = 10 << 10
	wantedFile  = "heap/folder-41/small-0777"
)

// heap gives the artifact and the key that opens it, both from the cache.
func (l *lab) heap(ctx context.Context) (artifact, identity string, err error) {
	dir, err := l.data.once(ctx, "heap-1", func(ctx context.Context, path string) error {
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := copyFile(l.identity, filepath.Join(path, "identity.txt")); err != nil {
			return err
		}
		return l.writeHeap(ctx, filepath.Join(path, "artifact"))
	})
	return filepath.Join(dir, "artifact"), filepath.Join(dir, "identity.txt"), err
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

func (l *lab) writeHeap(ctx context.Context, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Sync(), f.Close()) }()
	w, err := archive.NewWriter(f, archive.WriterConfig{Recipients: []string{l.receiver}})
	if err != nil {
		return err
	}
	defer w.Abort()
	add := func(h entry.Header, body io.Reader) error {
		h.Mode, h.ModTime = 0o755, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		_, err := w.Add(ctx, h, body)
		return err
	}
	if err := add(entry.Header{Path: "heap", Kind: entry.Dir}, nil); err != nil {
		return err
	}
	for i := range l.data.scaled(heapFolders) {
		folder := fmt.Sprintf("heap/folder-%02d", i)
		if l.opts.quick { // the one that is wanted is among them
			folder = fmt.Sprintf("heap/folder-%02d", i+38)
		}
		if err := addFolder(folder, add); err != nil {
			return err
		}
	}
	_, err = w.Close()
	return err
}

func addFolder(folder string, add func(entry.Header, io.Reader) error) error {
	if err := add(entry.Header{Path: folder, Kind: entry.Dir}, nil); err != nil {
		return err
	}
	file := func(name string, size int64) error {
		path := folder + "/" + name
		return add(entry.Header{Path: path, Kind: entry.File, Size: size}, io.LimitReader(newNoise(path), size))
	}
	for i := range heapLarge {
		if err := file(fmt.Sprintf("large-%04d", i), 1<<20); err != nil {
			return err
		}
	}
	for i := range heapSmall {
		if err := file(fmt.Sprintf("small-%04d", i), wantedSize); err != nil {
			return err
		}
	}
	return nil
}

// oneFile takes a small file out of a large artifact, of which nothing is in the
// machine's memory.
func oneFile(ctx context.Context, l *lab) ([]row, error) {
	artifact, identity, err := l.heap(ctx)
	if err != nil {
		return nil, err
	}
	program, err := l.xvault(ctx)
	if err != nil {
		return nil, err
	}
	want, err := io.ReadAll(io.LimitReader(newNoise(wantedFile), wantedSize))
	if err != nil {
		return nil, err
	}
	got, err := l.turns(ctx, 7, contender{name: "xvault", run: func(ctx context.Context, dir string) (usage, error) {
		if err := forget(artifact); err != nil {
			return usage{}, err
		}
		return l.measure(ctx, command{
			argv:  []string{program, "snapshot", "open", artifact, "--identity", identity, "--extract", filepath.Join(dir, "out"), wantedFile},
			dir:   dir,
			reads: true,
		})
	}, check: func(dir string) error { return sameFile(filepath.Join(dir, "out", wantedFile), want) }},
		contender{name: "pipe", runs: 1, run: func(ctx context.Context, dir string) (usage, error) {
			return l.measure(ctx, script(openPipe+` "$4"`, dir, identity, artifact, dir, wantedFile))
		}})
	if err != nil {
		return nil, err
	}
	ours := got["xvault"]
	rows := []row{compare("time", "age | zstd | tar", ours, got["pipe"], wall)}
	rows = append(rows, row{What: "time", Ours: median(ours, wall), Unit: unitSeconds, Runs: len(ours)}.atMost(limitOneFile.Seconds()))
	read := int64(median(ours, func(u usage) float64 { return float64(u.Read) }))
	return append(rows, amount("bytes read", read).atMost(limitOneFileGet)), nil
}

func sameFile(path string, want []byte) error {
	got, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s came out differently", path)
	}
	return nil
}

// forget takes a file out of the kernel's memory.
func forget(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
