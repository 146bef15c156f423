package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// The least is what nobody can leave out who makes a sealed artifact of a tree over
// SFTP, measured as the time on processors of the whole machine, both ends together:
//
//   - reading: each file, of which name and length are known before, is opened, read and
//     closed, hundreds at once, and what comes is thrown away;
//   - packing: the content, which is in memory, is hashed, compressed at the level that is
//     the default, and sealed, and the result is hashed and thrown away.
//
// To log in, to list, to look whether something changed meanwhile, to keep an index and to
// write to a disk is not in it. Shared evenly by all processors it is a time that only
// less work could undercut.

// First arguments of this program where it does one of the two.
const (
	readingArg = "reading"
	packingArg = "packing"
)

// spent is what each of them says in the end.
type spent struct {
	Machine time.Duration `json:"machine_ns"` // on all processors
}

func (l *lab) least(source string) contender {
	return contender{name: "the least", run: func(ctx context.Context, dir string) (all usage, err error) {
		raw, err := json.Marshal(l.order("sftp", source, near, dir))
		if err != nil {
			return usage{}, err
		}
		for _, half := range []string{readingArg, packingArg} {
			u, err := l.measure(ctx, command{argv: []string{l.self, half}, dir: dir, stdin: raw})
			if err != nil {
				return usage{}, err
			}
			var s spent
			if err := json.Unmarshal(u.output, &s); err != nil {
				return usage{}, fmt.Errorf("read what %s took: %w", half, err)
			}
			all.CPU += s.Machine
		}
		all.Wall = all.CPU / time.Duration(runtime.NumCPU())
		return all, nil
	}}
}

// half makes one of the two ready and then does it; only the latter counts.
func half(ctx context.Context, stdin io.Reader, stdout io.Writer, ready func(context.Context, order, []knownFile) (do func() error, end func() error, err error)) (err error) {
	var o order
	if err := json.NewDecoder(stdin).Decode(&o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	files, err := filesBelow(o.Path)
	if err != nil {
		return err
	}
	do, end, err := ready(ctx, o, files)
	if err != nil {
		return err
	}
	defer func() {
		if ended := end(); err == nil {
			err = ended
		}
	}()
	before, err := machineCPU()
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	after, err := machineCPU()
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(spent{after - before})
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

// machineCPU is for how long the processors have worked since the machine was started,
// whoever for.
func machineCPU() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	const idle, waiting, guest = 4, 5, 9 // proc_stat(5), the first being "cpu"
	if len(fields) <= guest {
		return 0, fmt.Errorf("read /proc/stat: %q", line)
	}
	var ticks int64
	for i, field := range fields[1:guest] { // guests are counted as users too
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		if i+1 != idle && i+1 != waiting {
			ticks += n
		}
	}
	return time.Duration(ticks) * (10 * time.Millisecond), nil
}
