package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"time"

	"xvault/internal/devenv"
)

// The least is what a sealed artifact of a tree over SFTP takes with the libraries that
// there are and at the default level, and nothing of what else a backup is. It is the time
// on processors of the whole machine, both ends together, of two halves:
//
//   - reading: each file, of which name and length are known before, is opened, read and
//     closed, many at once, and what comes is thrown away. Not to close them would be
//     less, but servers let only so many be open;
//   - packing: the content, which is in memory, is hashed, compressed and sealed, and the
//     result is hashed and thrown away.
//
// To log in, to list, to look whether something changed meanwhile, to keep an index and to
// write to a disk is not in it. Divided by the number of processors it is the time that it
// would take if none of them ever waited.

// First arguments of this program where it does one of the two.
const (
	readingArg = "reading"
	packingArg = "packing"
)

// spent is what each of them says in the end.
type spent struct {
	Machine time.Duration `json:"machine_ns"` // on all processors
	Bytes   int64         `json:"bytes"`      // of content
	Size    int64         `json:"size"`       // sealed; 0 where nothing is
}

// readyWork only remains to be done: do does it, which is measured, and end tidies up.
type readyWork struct {
	do  func() (bytes, size int64, err error)
	end func() error
}

func (l *lab) least(source string) contender {
	return contender{name: "the least", run: func(ctx context.Context, dir string) (all usage, err error) {
		want, err := weigh(source)
		if err != nil {
			return usage{}, err
		}
		for _, part := range []string{readingArg, packingArg} {
			s, err := l.leastPart(ctx, part, source, dir)
			if err == nil && s.Bytes != want.bytes {
				err = fmt.Errorf("%s: %d bytes of %d", part, s.Bytes, want.bytes)
			}
			if err != nil {
				return usage{}, err
			}
			all.Machine += s.Machine
			all.Size += s.Size
		}
		all.Wall = all.Machine / time.Duration(runtime.NumCPU())
		return all, nil
	}}
}

// leastPart does one of the two. Disks are quiet before it begins, as whoever writes to
// them takes time on processors as well.
func (l *lab) leastPart(ctx context.Context, part, source, dir string) (s spent, err error) {
	o := l.order("sftp", source, near, dir)
	if part == packingArg {
		o.Key = ""
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return spent{}, err
	}
	u, err := l.measure(ctx, command{argv: []string{l.self, part}, dir: dir, stdin: raw})
	if err != nil {
		return spent{}, err
	}
	if err := json.Unmarshal(u.output, &s); err != nil {
		return spent{}, fmt.Errorf("read what %s took: %w", part, err)
	}
	return s, nil
}

// makeReady does what is not measured.
type makeReady func(context.Context, order, []knownFile) (readyWork, error)

// half makes one of the two ready and then does it; only the latter counts.
func half(ctx context.Context, stdin io.Reader, stdout io.Writer, ready makeReady) (err error) {
	var o order
	if err := json.NewDecoder(stdin).Decode(&o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	files, err := filesBelow(o.Path)
	if err != nil {
		return err
	}
	work, err := ready(ctx, o, files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.end()) }()
	runtime.GC() // what making it ready left
	before, err := devenv.MachineCPU()
	if err != nil {
		return err
	}
	var s spent
	if s.Bytes, s.Size, err = work.do(); err != nil {
		return err
	}
	after, err := devenv.MachineCPU()
	if err != nil {
		return err
	}
	s.Machine = after - before
	return json.NewEncoder(stdout).Encode(s)
}

// knownFile is a file that need not be listed.
type knownFile struct {
	path string
	size int64
}

func filesBelow(root string) (files []knownFile, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files = append(files, knownFile{path, info.Size()})
		}
		return err
	})
	return files, err
}
