package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// small gives the tree of small files, in memory.
func (l *lab) small(ctx context.Context) (string, error) {
	source, err := l.data.small(ctx)
	if err != nil {
		return "", err
	}
	return source, warm(ctx, source)
}

// tree gives the larger tree, in memory.
func (l *lab) tree(ctx context.Context) (string, error) {
	source, err := l.data.tree(ctx)
	if err != nil {
		return "", err
	}
	return source, warm(ctx, source)
}

func smallOverSSH(ctx context.Context, l *lab) ([]row, error) {
	source, err := l.small(ctx)
	if err != nil {
		return nil, err
	}
	return l.againstPipe(ctx, 7, source, near20)
}

// treeOverSSH is what the window of one channel would limit most: content that comes
// file by file, far away.
func treeOverSSH(ctx context.Context, l *lab) ([]row, error) {
	source, err := l.tree(ctx)
	if err != nil {
		return nil, err
	}
	return l.againstPipe(ctx, 3, source, near80)
}

func (l *lab) againstPipe(ctx context.Context, runs int, source string, distance time.Duration) ([]row, error) {
	got, err := l.turns(ctx, runs, l.ours("xvault", "ssh", source, distance), l.pipe(source, distance))
	if err != nil {
		return nil, err
	}
	return []row{
		compare("time", "pipe", got["xvault"], got["pipe"], wall).atMost(limitFarPipe),
		amount("peak memory", peak(got["xvault"])).atMost(limitMemory),
	}, nil
}

func smallOverSFTP(ctx context.Context, l *lab) ([]row, error) {
	source, err := l.small(ctx)
	if err != nil {
		return nil, err
	}
	got, err := l.turns(ctx, 3, l.ours("xvault", "sftp", source, near20), l.rclone(source, near20))
	if err != nil {
		return nil, err
	}
	return []row{
		compare("time", "rclone", got["xvault"], got["rclone"], wall).atMost(limitFarRclone),
		amount("peak memory", peak(got["xvault"])).atMost(limitMemory),
	}, nil
}

// cat is one stream, thrown away: what one channel's window allows.
func (l *lab) cat(source string, distance time.Duration) contender {
	return contender{name: "ssh cat", run: func(ctx context.Context, dir string) (usage, error) {
		return l.measure(ctx, script(`ssh -F "$1" "$2" cat "$3" > /dev/null`, dir, l.sshConfig(), hostName(distance), source))
	}}
}

func distantFile(distance time.Duration) func(context.Context, *lab) ([]row, error) {
	limit := limitFarFile20
	if distance == near80 {
		limit = limitFarFile80
	}
	return func(ctx context.Context, l *lab) ([]row, error) {
		source, err := l.data.big(ctx)
		if err == nil {
			err = warm(ctx, source)
		}
		if err != nil {
			return nil, err
		}
		got, err := l.turns(ctx, 7, l.ours("ssh", "ssh", source, distance), l.cat(source, distance), l.ours("sftp", "sftp", source, distance))
		if err != nil {
			return nil, err
		}
		return []row{
			compare("time, type ssh", "ssh cat", got["ssh"], got["ssh cat"], wall).atMost(limit),
			compare("time, type sftp", "ssh cat", got["sftp"], got["ssh cat"], wall).atMost(limit),
			amount("peak memory, type ssh", peak(got["ssh"])).atMost(limitMemory),
			amount("peak memory, type sftp", peak(got["sftp"])).atMost(limitMemory),
		}, nil
	}
}

// million backs up a million files once: memory is what counts.
func million(kind string) func(context.Context, *lab) ([]row, error) {
	return func(ctx context.Context, l *lab) ([]row, error) {
		source, err := l.data.million(ctx)
		if err != nil {
			return nil, err
		}
		got, err := l.turns(ctx, 1, l.ours("xvault", kind, source, near))
		if err != nil {
			return nil, err
		}
		ours := got["xvault"]
		return append([]row{{What: "time", Ours: median(ours, wall), Unit: unitSeconds, Runs: len(ours)}}, l.footprint(ours)...), nil
	}
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("measure the result: %w", err)
	}
	return info.Size(), nil
}
