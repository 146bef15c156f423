package dumptool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"xvault/internal/job"
)

// exitPatience is how long a program may take to end once it closed its output.
const exitPatience = time.Minute

// Dump is the output of a running program. Read is called by one goroutine; Close
// may be called at any time, also twice, and has to be called.
type Dump struct {
	ctx    context.Context //nolint:containedctx // that of the run
	cmd    Command
	proc   *process
	out    *os.File
	stderr *Tail
	feed   *feed // of the standard input; may be nil
	clock  time.Time

	waiting atomic.Int64 // since when Read waits for the program, by clock; 0: it does not
	expired atomic.Bool  // the patience was over
	stop    func()       // ends what watches
	close   func() error // once

	err error // what Read gives from now on
}

// Start runs a program, whose output is to be read from the Dump. The context ends
// it at any time.
func Start(ctx context.Context, c Command) (*Dump, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !filepath.IsAbs(c.Path) {
		return nil, fmt.Errorf("start %q: not an absolute path", c.Path)
	}
	d := &Dump{ctx: ctx, cmd: c, stderr: NewTail(c.Secrets)}
	d.clock = time.Now() //nolint:forbidigo // measures silence, decides nothing else
	if err := d.start(); err != nil {
		if c.Check != nil {
			err = errors.Join(err, c.Check.Close())
		}
		return nil, &job.Error{Code: job.DumpFailed, Err: err, Message: fmt.Sprintf("%s could not be started: %v", c.What, err)}
	}
	d.watch()
	d.close = sync.OnceValue(d.end)
	return d, nil
}

// start opens the pipes and runs the program.
func (d *Dump) start() error {
	out, stdout, err := newPipe()
	if err != nil {
		return err
	}
	defer closeQuietly(stdout) // the program has its own
	stdin := d.cmd.stdin
	if d.cmd.Stdin != nil {
		if stdin, d.feed, err = newFeed(d.cmd.Stdin); err != nil {
			return errors.Join(err, out.Close())
		}
	}
	if d.proc, err = d.cmd.start(stdin, stdout, d.stderr); err != nil {
		if d.feed != nil {
			err = errors.Join(err, stdin.Close(), d.feed.to.Close())
		}
		return errors.Join(err, out.Close())
	}
	d.out = out
	if d.feed != nil {
		d.feed.run(d.proc.kill)
	}
	return nil
}

// closeQuietly closes this process's copy of a pipe's end.
func closeQuietly(f *os.File) { _ = f.Close() }

// watch ends the program with the context, and when patience is over.
func (d *Dump) watch() {
	unhook := context.AfterFunc(d.ctx, d.proc.kill)
	stopped := make(chan struct{})
	var watching sync.WaitGroup
	if d.cmd.Patience > 0 {
		watching.Go(func() { d.await(stopped) })
	}
	d.stop = func() {
		unhook()
		close(stopped)
		watching.Wait()
	}
}

// await kills a program that was silent for too long.
func (d *Dump) await(stopped <-chan struct{}) {
	tick := time.NewTicker(min(max(d.cmd.Patience/10, time.Millisecond), 5*time.Second))
	defer tick.Stop()
	for {
		select {
		case <-stopped:
			return
		case <-tick.C:
			if d.silent() >= d.cmd.Patience {
				d.expired.Store(true)
				d.proc.kill()
				return
			}
		}
	}
}

// silent is for how long nothing has come at all: a program that works on what the
// server sends is busy, and so is one whose output nobody takes.
func (d *Dump) silent() time.Duration {
	since := d.waiting.Load()
	if since == 0 {
		return 0
	}
	silent := time.Since(d.clock) - time.Duration(since)
	if d.cmd.Relay != nil {
		silent = min(silent, d.cmd.Relay.silent())
	}
	return silent
}

// Read gives the output; its end only if everything went well.
func (d *Dump) Read(p []byte) (int, error) {
	if d.err != nil || len(p) == 0 {
		return 0, d.err
	}
	d.waiting.Store(int64(time.Since(d.clock)) | 1) // never 0
	n, err := d.out.Read(p)
	d.waiting.Store(0)
	if n > 0 && d.cmd.Check != nil {
		if _, wrong := d.cmd.Check.Write(p[:n]); wrong != nil {
			n, err = 0, wrong
			d.proc.kill()
		}
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		d.err = d.verdict(nil)
	default:
		d.err = d.verdict(err)
	}
	return n, d.err
}

// verdict tells how the dump ended; io.EOF means well. why is what ended it early.
func (d *Dump) verdict(why error) error {
	timer := time.NewTimer(exitPatience)
	defer timer.Stop()
	select {
	case <-d.proc.done:
	case <-timer.C:
		d.proc.kill()
		<-d.proc.done
		why = errors.Join(why, fmt.Errorf("it closed its output and did not end within %v", exitPatience))
	}
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if d.expired.Load() {
		return d.timeout()
	}
	if d.feed != nil {
		if err := d.feed.wait(); err != nil {
			return err
		}
	}
	if why == nil {
		why = d.complete()
	}
	if why == nil {
		return io.EOF
	}
	return d.failed(why)
}

// complete asks everything that can tell whether the dump is whole.
func (d *Dump) complete() error {
	if d.proc.err != nil {
		return d.proc.err
	}
	if taken := !d.proc.left && (d.feed == nil || !d.feed.left()); !taken && !d.cmd.Early {
		return errNotTaken
	}
	if d.cmd.Check != nil {
		return d.cmd.Check.Verdict()
	}
	return nil
}

var errNotTaken = errors.New("it ended before it had read everything")

func (d *Dump) failed(err error) error {
	if e, ok := errors.AsType[*job.Error](err); ok {
		return e // the check knows more
	}
	return d.cmd.failed(err, d.stderr.Text())
}

func (d *Dump) timeout() error {
	where := "the program"
	if d.cmd.Relay != nil {
		where = "the server"
	}
	return job.Errorf(job.Timeout, "%s was given up: nothing came from %s for %v. Check the server's load, its locks, and the network in between.", d.cmd.What, where, d.cmd.Patience)
}

// Stderr is the end of what the program said so far, without secrets: warnings,
// where it succeeded.
func (d *Dump) Stderr() string { return d.stderr.Text() }

// Close ends the program and what it started, and waits for that.
func (d *Dump) Close() error { return d.close() }

func (d *Dump) end() error {
	d.proc.kill()
	<-d.proc.done
	d.stop()
	err := d.out.Close()
	if d.feed != nil {
		_ = d.feed.wait() // it stopped because the program did
	}
	if d.cmd.Check != nil {
		err = errors.Join(err, d.cmd.Check.Close())
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", d.cmd.What, err)
	}
	return nil
}

// Run runs a program to its end and gives the end of what it said; its output is
// thrown away.
func Run(ctx context.Context, c Command) (stderr string, err error) {
	d, err := Start(ctx, c)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, d)
	return d.Stderr(), errors.Join(err, d.Close())
}
