package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// Where the figures should be: as ratios to the peer's, or in bytes.
const (
	limitWall       = 0.95 // of the pipe's time, on each column
	limitMean       = 0.88 // the same, over all four
	limitSize       = 1.03 // of the pipe's artifact
	limitMemory     = 256 << 20
	limitRclone     = 0.14
	limitSFTP       = 0.18
	limitFarPipe    = 1.0
	limitFarRclone  = 0.05
	limitFarFile20  = 0.5  // twice as fast
	limitFarFile80  = 0.25 // four times
	limitRestore    = 0.8
	limitOneFile    = 100 * time.Millisecond
	limitOneFileGet = 8 << 20
)

// sealPipe is what a careful person types. Its file is durable and has its name
// when it ends, as ours.
const sealPipe = `ssh -F "$1" "$2" tar -C / -c "$3" | zstd -3 -T2 -q | age -r "$4" > "$5.part"; sync "$5.part"; mv "$5.part" "$5"`

// ours is xVault as a contender.
func (l *lab) ours(name, kind, source string, distance time.Duration) contender {
	return contender{name: name, run: func(ctx context.Context, dir string) (usage, error) {
		u, _, err := l.backup(ctx, l.order(kind, source, distance, dir))
		return u, err
	}}
}

func (l *lab) pipe(source string, distance time.Duration) contender {
	return contender{name: "pipe", run: func(ctx context.Context, dir string) (usage, error) {
		file := filepath.Join(dir, "artifact")
		u, err := l.measure(ctx, script(sealPipe, dir, l.sshConfig(), hostName(distance), source[1:], l.receiver, file))
		if err != nil {
			return u, err
		}
		u.Size, err = fileSize(file)
		return u, err
	}}
}

func sshColumn(c column) func(context.Context, *lab) ([]row, error) {
	return func(ctx context.Context, l *lab) ([]row, error) {
		source, err := c.path(ctx, l)
		if err == nil {
			err = warm(ctx, source)
		}
		if err != nil {
			return nil, err
		}
		got, err := l.turns(ctx, 7, l.ours("xvault", "ssh", source, near), l.pipe(source, near))
		if err != nil {
			return nil, err
		}
		ours, pipe := got["xvault"], got["pipe"]
		rows := []row{
			compare("time", "pipe", ours, pipe, wall).atMost(limitWall).inMean("ssh: time, geometric mean", limitMean),
			compare("size of the artifact", "pipe", ours, pipe, size).inBytes().atMost(limitSize),
			compare("CPU time, both ends", "pipe", ours, pipe, effort),
		}
		return append(rows, l.footprint(ours)...), nil
	}
}

// footprint is what the worker needs of its machine.
func (l *lab) footprint(ours []usage) []row {
	rows := []row{amount("peak memory", peak(ours)).atMost(limitMemory)}
	last := ours[len(ours)-1]
	if last.Written > 0 {
		rows = append(rows, row{
			What: "written to disk per byte stored", Ours: float64(last.Written) / float64(last.Size), Unit: unitFactor, Runs: len(ours),
		})
	}
	return rows
}

// sftpTree compares with what copies over SFTP, or plainly, and does not seal.
func sftpTree(ctx context.Context, l *lab) ([]row, error) {
	source, err := goRoot(ctx)
	if err == nil {
		err = warm(ctx, source)
	}
	if err != nil {
		return nil, err
	}
	once := func(c contender) contender { c.runs = 1; return c }
	whole := func(c contender) contender { c.check = l.copied(source); return c }
	got, err := l.turns(ctx, 5, l.ours("xvault", "sftp", source, near), l.least(source),
		whole(l.rclone(source, near)), whole(l.sftpGet(source)), once(whole(l.rsync(source))), once(whole(l.lftp(source))))
	if err != nil {
		return nil, err
	}
	ours := got["xvault"]
	rows := []row{
		compare("time", "rclone", ours, got["rclone"], wall).atMost(limitRclone),
		compare("time", "sftp -r", ours, got["sftp -r"], wall).atMost(limitSFTP),
		compare("time", "rsync", ours, got["rsync"], wall),
		compare("time", "lftp", ours, got["lftp"], wall),
		compare("time", "the least", ours, got["the least"], wall),
		compare("CPU time of the machine", "the least", ours, got["the least"], machineTime),
		compare("the least, not xVault: time", "rclone", got["the least"], got["rclone"], wall),
		compare("the least, not xVault: time", "sftp -r", got["the least"], got["sftp -r"], wall),
	}
	return append(rows, l.footprint(ours)...), nil
}

// copied looks whether a copy has as many files and bytes as its source. One
// that left something out would not have been as fast.
func (l *lab) copied(source string) func(string) error {
	return func(dir string) error {
		want, err := weigh(source)
		if err != nil {
			return err
		}
		got, err := weigh(dir)
		if err == nil && got != want {
			err = fmt.Errorf("%d files with %d bytes were copied of %d with %d", got.files, got.bytes, want.files, want.bytes)
		}
		return err
	}
}

type weight struct{ files, bytes int64 }

func weigh(root string) (w weight, err error) {
	files, err := filesBelow(root)
	for _, f := range files {
		w.files++
		w.bytes += f.size
	}
	return w, err
}

// rclone copies with 16 transfers and compares no hashes.
func (l *lab) rclone(source string, distance time.Duration) contender {
	return contender{name: "rclone", keep: true, run: func(ctx context.Context, dir string) (usage, error) {
		remote := fmt.Sprintf(":sftp,host=%s,port=%d,user=%s,key_file=%q,disable_hashcheck=true:%s",
			l.sshd.Host(), l.ports[distance], l.sshd.User, l.clientKey(), source)
		return l.measure(ctx, command{argv: []string{"rclone", "copy", "--transfers", "16", "--checkers", "16", "--ignore-checksum", "-q", remote, dir}, dir: l.scratch})
	}}
}

func (l *lab) sftpGet(source string) contender {
	return contender{name: "sftp -r", keep: true, run: func(ctx context.Context, dir string) (usage, error) {
		return l.measure(ctx, command{argv: []string{"sftp", "-F", l.sshConfig(), "-q", "-r", hostName(near) + ":" + source, dir}, dir: l.scratch})
	}}
}

func (l *lab) rsync(source string) contender {
	return contender{name: "rsync", keep: true, run: func(ctx context.Context, dir string) (usage, error) {
		return l.measure(ctx, command{argv: []string{"rsync", "-a", "-e", "ssh -F " + l.sshConfig(), hostName(near) + ":" + source + "/", dir}, dir: l.scratch})
	}}
}

func (l *lab) lftp(source string) contender {
	return contender{name: "lftp", keep: true, run: func(ctx context.Context, dir string) (usage, error) {
		text := fmt.Sprintf("set sftp:connect-program 'ssh -a -x -F %s'; open sftp://%s@%s; mirror -P8 %s %s; bye",
			l.sshConfig(), l.sshd.User, hostName(near), source, dir)
		return l.measure(ctx, command{argv: []string{"lftp", "-c", text}, dir: l.scratch})
	}}
}
