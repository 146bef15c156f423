package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"xvault/internal/treediff"
)

// openPipe is the restore that everybody can type.
const openPipe = `age -d -i "$1" "$2" | zstd -d -c -q | tar -x -p -C "$3"`

// artifact gives one of a column, made by xVault and kept for this run.
func (l *lab) artifact(ctx context.Context, c column) (artifact, source string, err error) {
	if source, err = c.path(ctx, l); err != nil {
		return "", "", err
	}
	if path, ok := l.made[c.name]; ok {
		return path, source, nil
	}
	dir, err := l.dir()
	if err != nil {
		return "", "", err
	}
	_, d, err := l.backup(ctx, l.order("ssh", source, near, dir))
	if err != nil {
		return "", "", err
	}
	l.made[c.name] = d.Artifact
	return d.Artifact, source, warm(ctx, d.Artifact)
}

func restoreColumn(c column) func(context.Context, *lab) ([]row, error) {
	return func(ctx context.Context, l *lab) ([]row, error) {
		artifact, source, err := l.artifact(ctx, c)
		if err != nil {
			return nil, err
		}
		program, err := l.xvault(ctx)
		if err != nil {
			return nil, err
		}
		if !c.tree {
			if err := l.sweep(); err != nil {
				return nil, err
			}
		}
		same := func(dir string) error { return sameTree(source, filepath.Join(dir, "out", source)) }
		ours := contender{name: "xvault", check: same, keep: c.tree, run: func(ctx context.Context, dir string) (usage, error) {
			return l.measure(ctx, command{argv: []string{program, "snapshot", "open", artifact, "--identity", l.identity, "--extract", filepath.Join(dir, "out")}, dir: dir})
		}}
		pipe := contender{name: "pipe", check: same, keep: c.tree, run: func(ctx context.Context, dir string) (usage, error) {
			out := filepath.Join(dir, "out")
			if err := os.Mkdir(out, 0o755); err != nil {
				return usage{}, err
			}
			return l.measure(ctx, script(openPipe, dir, l.identity, artifact, out))
		}}
		got, err := l.turns(ctx, c.restores, ours, pipe)
		if err != nil {
			return nil, err
		}
		return []row{
			compare("time", "age | zstd | tar", got["xvault"], got["pipe"], wall).atMost(limitRestore),
			compare("CPU time", "age | zstd | tar", got["xvault"], got["pipe"], effort),
		}, nil
	}
}

// sameTree holds a restored tree against its source; SFTP tells times in whole
// seconds.
func sameTree(source, restored string) error {
	report, err := treediff.Compare(source, restored, treediff.Options{Owners: os.Getuid() == 0, Precision: time.Second})
	if err != nil {
		return err
	}
	if !report.Same() {
		return fmt.Errorf("%d differences, the first: %s", report.Total, report.Differences[0])
	}
	return nil
}
