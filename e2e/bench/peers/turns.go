package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// contender is one of those that take turns.
type contender struct {
	name string
	// runs is how often it takes part at most; 0: each time.
	runs int
	// run does it once; dir is its own and empty.
	run func(ctx context.Context, dir string) (usage, error)
	// check looks at the result of its last turn; nil: nothing to look at.
	check func(dir string) error
	// keep leaves the result until the next sweep: ext4 looks at each inode that was
	// freed within the last minutes before it makes a new one, so that whoever comes
	// behind the removal of many files waits for that and not for himself.
	keep bool
}

// series is what came out, by contender, one value a turn.
type series map[string][]usage

// turns lets them run one after the other, as often as asked: A B A B.
func (l *lab) turns(ctx context.Context, runs int, all ...contender) (series, error) {
	runs = min(runs, l.opts.runs)
	if l.opts.quick {
		runs = min(runs, 3)
	}
	out := series{}
	for i := range runs {
		var told []string
		for _, c := range all {
			if c.runs > 0 && i >= c.runs {
				continue
			}
			u, err := l.turn(ctx, c, i == runs-1 || i == c.runs-1)
			if err != nil {
				return out, fmt.Errorf("%s: %w", c.name, err)
			}
			out[c.name] = append(out[c.name], u)
			told = append(told, fmt.Sprintf("%s %.2f s", c.name, u.Wall.Seconds()))
		}
		l.say("  %d of %d: %s", i+1, runs, strings.Join(told, ", "))
	}
	return out, nil
}

func (l *lab) turn(ctx context.Context, c contender, last bool) (u usage, err error) {
	dir, err := l.dir()
	if err != nil {
		return usage{}, err
	}
	if c.keep {
		l.kept = append(l.kept, dir)
	} else {
		defer func() {
			if removed := os.RemoveAll(dir); err == nil {
				err = removed
			}
		}()
	}
	if u, err = c.run(ctx, dir); err != nil {
		return usage{}, err
	}
	if last && c.check != nil {
		return u, c.check(dir)
	}
	return u, nil
}

// warm reads a tree once, so that the first turn finds it in memory as the
// others do.
func warm(ctx context.Context, root string) error {
	buf := make([]byte, 1<<20)
	return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		for {
			if n, err := f.Read(buf); n == 0 || err != nil {
				return nil // whoever is measured will say what is wrong
			}
		}
	})
}

// median of what pick gives.
func median(all []usage, pick func(usage) float64) float64 {
	values := make([]float64, len(all))
	for i, u := range all {
		values[i] = pick(u)
	}
	return middle(values)
}

// ratio is the median of each turn's ratio: what slows down the machine for a
// while slows down both of a turn. Where not every turn had the peer in it, one of
// ours would stand for all: then it is the ratio of the medians.
func ratio(ours, peers []usage, pick func(usage) float64) float64 {
	if len(ours) != len(peers) {
		return median(ours, pick) / median(peers, pick)
	}
	values := make([]float64, len(ours))
	for i := range values {
		values[i] = pick(ours[i]) / pick(peers[i])
	}
	return middle(values)
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func wall(u usage) float64 { return u.Wall.Seconds() }

// effort is the time on processors at both ends.
func effort(u usage) float64 { return (u.CPU + u.Server).Seconds() }

// machineTime is the same, of the whole machine.
func machineTime(u usage) float64 { return u.Machine.Seconds() }

func size(u usage) float64 { return float64(u.Size) }

func peak(all []usage) int64 {
	var most int64
	for _, u := range all {
		most = max(most, u.Peak)
	}
	return most
}
