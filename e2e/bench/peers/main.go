// Command peers holds xVault's backup and restore against the stock tools, side
// by side and in turn, against a real OpenSSH server that it starts on this
// machine, and prints one table of ratios and whether each is where it should
// be. docs/benchmarks.md says what is measured, and what came out.
//
//	make bench
//	make bench BENCH=ssh/go,restore RUNS=3 QUICK=1
//
// It keeps its data in .cache/bench and leaves nothing else behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"xvault/internal/heap"
)

// workerArg is the first argument of this program where it is the worker that
// is measured.
const workerArg = "worker"

// process is what a process that is measured does, which the bench started.
type process func(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error

// part gives what this program does where it is such a process; nil where it is the bench.
func part(args []string) process {
	if len(args) != 1 {
		return nil
	}
	switch args[0] {
	case workerArg:
		return work
	case readingArg:
		return asPart(readyToRead)
	case packingArg:
		return asPart(readyToPack)
	default:
		return nil
	}
}

func asPart(ready makeReady) process {
	return func(ctx context.Context, stdin io.Reader, stdout, _ io.Writer) error {
		heap.ForArchives() // as a worker
		return half(ctx, stdin, stdout, ready)
	}
}

// options are the flags.
type options struct {
	only  string
	runs  int
	quick bool
	cache string
	json  string
	docs  string
	// profile is a folder for profiles of the worker.
	profile string
	list    bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if do := part(args); do != nil {
		return do(ctx, stdin, stdout, stderr)
	}
	var o options
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.only, "only", "", "what to measure: names or their beginnings, with commas between; empty: everything")
	f.IntVar(&o.runs, "runs", 7, "how many pairs at most")
	f.BoolVar(&o.quick, "quick", false, "an eighth of the data, for a look in between; its ratios are not the real ones")
	f.StringVar(&o.cache, "cache", filepath.Join(".cache", "bench"), "folder of the data, on the disk that is measured")
	f.StringVar(&o.json, "json", "", "where the figures go as JSON; default: result.json in the cache")
	f.StringVar(&o.docs, "docs", "", "a document to put the table into, between its marks")
	f.StringVar(&o.profile, "profile", "", "a folder for a CPU profile of each run of the worker, for go tool pprof")
	f.BoolVar(&o.list, "list", false, "list what can be measured")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || o.runs < 1 {
		return fmt.Errorf("there is nothing to do with %q", f.Args())
	}
	chosen, err := choose(cases(), o.only)
	if err != nil {
		return err
	}
	if o.profile, err = absolute(o.profile); err != nil {
		return err
	}
	if o.list {
		for _, c := range chosen {
			if _, err := fmt.Fprintf(stdout, "%-16s %s\n", c.name, c.about); err != nil {
				return err
			}
		}
		return nil
	}
	return measureAll(ctx, o, chosen, stdout, stderr)
}

// measureAll runs the cases one after the other and prints what there is, also
// when one of them failed.
func measureAll(ctx context.Context, o options, chosen []benchCase, stdout, stderr io.Writer) (err error) {
	l, err := newLab(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	r := newReport(ctx, o)
	var failed []error
	for _, c := range chosen {
		l.say("%s: %s", c.name, c.about)
		rows, err := c.run(ctx, l)
		r.add(c.name, rows)
		if ctx.Err() != nil {
			failed = append(failed, context.Cause(ctx))
			break
		}
		if err != nil {
			l.say("%s failed: %v", c.name, err)
			failed = append(failed, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	r.sum()
	path := o.json
	if path == "" {
		path = filepath.Join(o.cache, "result.json")
	}
	failed = append(failed, r.print(stdout), r.write(path))
	if o.docs != "" {
		failed = append(failed, r.fill(o.docs))
	}
	return errors.Join(failed...)
}

// absolute leaves an empty path alone; the worker runs in another folder.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// choose picks the cases whose name is, or is below, one of those asked for.
func choose(all []benchCase, only string) ([]benchCase, error) {
	if only == "" {
		return all, nil
	}
	var chosen []benchCase
	found := map[string]bool{}
	asked := strings.Split(only, ",")
	for _, c := range all {
		take := false
		for _, name := range asked {
			if c.name == name || strings.HasPrefix(c.name, name+"/") {
				take, found[name] = true, true
			}
		}
		if take {
			chosen = append(chosen, c)
		}
	}
	for _, name := range asked {
		if !found[name] {
			return nil, fmt.Errorf("nothing to measure is called %q; -list names everything", name)
		}
	}
	return chosen, nil
}
