package sshexec

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"xvault/connectors/dumptool"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

const (
	// exitPatience is how long a program may take to end once it closed its output.
	exitPatience = time.Minute
	// maxNoise is how much start files may print, in bytes.
	maxNoise = 64 << 10
	// readAhead is how much output is taken from the channel at once.
	readAhead = 64 << 10
)

// Output is what a running program prints. Read is called by one goroutine; Close may be
// called at any time, also twice, and has to be called.
type Output struct {
	ctx    context.Context //nolint:containedctx // that of the run
	cmd    Command
	proc   *process
	in     *bufio.Reader
	marker string
	begun  bool // the marker was seen
	clock  time.Time

	waiting atomic.Int64 // since when Read waits for the program, by clock; 0: it does not
	expired atomic.Bool  // the patience was over
	unwatch func()
	close   func() error // once

	err error // what Read gives from now on
}

// Start runs a program on the machine that conn leads to. The context ends it at any
// time. Errors are *job.Error, or the cause of the context.
func Start(ctx context.Context, conn *sshconn.Conn, c Command) (*Output, error) {
	o := &Output{ctx: ctx, cmd: c, marker: "xvault-" + rand.Text()}
	o.clock = time.Now() //nolint:forbidigo // measures silence, decides nothing else
	proc, err := o.launch(conn)
	if err != nil {
		if c.Check != nil {
			err = errors.Join(err, c.Check.Close())
		}
		return nil, err
	}
	o.proc, o.in = proc, bufio.NewReaderSize(proc, readAhead)
	o.watch()
	o.close = sync.OnceValue(o.end)
	return o, nil
}

func (o *Output) launch(conn *sshconn.Conn) (*process, error) {
	if o.ctx.Err() != nil {
		return nil, context.Cause(o.ctx)
	}
	// A server that answers nothing any more is noticed by the connection itself; the
	// context must not wait for that.
	stop := conn.EndWith(o.ctx)
	proc, err := launch(conn, &o.cmd, o.marker)
	if stop() || o.ctx.Err() == nil {
		return proc, err
	}
	if err == nil {
		proc.stop(context.Cause(o.ctx))
		<-proc.done
	}
	return nil, context.Cause(o.ctx)
}

// watch ends the program with the context, and when patience is over.
func (o *Output) watch() {
	unhook := context.AfterFunc(o.ctx, func() { o.proc.stop(context.Cause(o.ctx)) })
	stopped := make(chan struct{})
	var watching sync.WaitGroup
	if o.cmd.Patience > 0 {
		watching.Go(func() { o.await(stopped) })
	}
	o.unwatch = func() {
		unhook()
		close(stopped)
		watching.Wait()
	}
}

// await ends a program that was silent for too long.
func (o *Output) await(stopped <-chan struct{}) {
	tick := time.NewTicker(min(max(o.cmd.Patience/10, time.Millisecond), 5*time.Second))
	defer tick.Stop()
	var patience sshconn.Patience
	for {
		select {
		case <-stopped:
			return
		case <-tick.C:
			if patience.Lasted(o.silent(), o.proc.conn.Held()) >= o.cmd.Patience {
				o.expired.Store(true)
				o.proc.stop(o.timeout())
				return
			}
		}
	}
}

// silent is for how long Read has been waiting.
func (o *Output) silent() time.Duration {
	since := o.waiting.Load()
	if since == 0 {
		return 0
	}
	return time.Since(o.clock) - time.Duration(since)
}

// Read gives the output; its end only if everything went well.
func (o *Output) Read(p []byte) (int, error) {
	if o.err != nil || len(p) == 0 {
		return 0, o.err
	}
	o.waiting.Store(int64(time.Since(o.clock)) | 1) // never 0
	err := o.begin()
	n := 0
	if err == nil {
		n, err = o.in.Read(p)
	}
	o.waiting.Store(0)
	if n > 0 && o.cmd.Check != nil {
		if _, wrong := o.cmd.Check.Write(p[:n]); wrong != nil {
			n, err = 0, wrong
			o.proc.stop(wrong)
		}
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		o.err = o.verdict(nil)
	default:
		o.err = o.verdict(err)
	}
	return n, o.err
}

// begin passes over what start files print, up to the marker.
func (o *Output) begin() error {
	noise := 0
	for !o.begun {
		line, err := o.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
		}
		if err != nil {
			return err
		}
		o.begun = string(line) == o.marker+"\n"
		if noise += len(line); noise > maxNoise && !o.begun {
			o.proc.stop(io.ErrNoProgress)
			return job.Errorf(job.ConfigInvalid, "the account's start files on the ssh host print more than %d bytes; make them silent where there is no terminal", maxNoise)
		}
	}
	return nil
}

// verdict tells how it ended; io.EOF means well. why is what ended it early.
func (o *Output) verdict(why error) error {
	timer := time.NewTimer(exitPatience)
	defer timer.Stop()
	select {
	case <-o.proc.done:
	case <-timer.C:
		why = errors.Join(why, fmt.Errorf("it closed its output and did not end within %v", exitPatience))
		o.proc.stop(why)
		<-o.proc.done
	}
	if o.ctx.Err() != nil {
		return context.Cause(o.ctx)
	}
	if o.expired.Load() {
		return o.timeout()
	}
	if why == nil {
		why = o.complete()
	}
	if why == nil {
		return io.EOF
	}
	if e, ok := errors.AsType[*job.Error](why); ok {
		return e // who made it knows more
	}
	return o.failed(why)
}

// complete asks everything that can tell whether the output is whole.
func (o *Output) complete() error {
	switch {
	case o.proc.err != nil:
		return o.proc.err
	case !o.begun:
		return noPrograms(dumptool.Failure{Stderr: o.Stderr()}.LastWords())
	}
	var wrong error
	if o.cmd.Check != nil {
		if wrong = o.cmd.Check.Verdict(); wrong == nil {
			return nil
		}
	}
	return o.judged(wrong)
}

// judged explains what the Check found; nil: there is none. A server may say that the
// program ended well before the last of its output; where the line is cut in between, the
// output ends like a whole one, and only the line can tell.
func (o *Output) judged(wrong error) error {
	o.proc.settle()
	if link := o.proc.broken(); link != nil {
		f := dumptool.Failure{What: o.cmd.What, Program: path.Base(o.cmd.Program), Err: wrong, Stderr: o.Stderr(), Link: link}
		return f.Plain()
	}
	return wrong
}

// failed makes the error of a failure.
func (o *Output) failed(err error) error {
	f := dumptool.Failure{What: o.cmd.What, Program: path.Base(o.cmd.Program), Err: err, Stderr: o.Stderr(), Link: o.proc.broken()}
	_, f.Exited = errors.AsType[*exitError](err)
	if !o.begun && f.Link == nil {
		return noPrograms(f.LastWords())
	}
	if o.cmd.Explain != nil {
		if e := o.cmd.Explain(f); e != nil {
			return e
		}
	}
	return f.Plain()
}

func (o *Output) timeout() error {
	return job.Errorf(job.Timeout, "%s was given up: nothing came from the program on the ssh host for %v. Check the database's load and locks, and the network in between.", o.cmd.What, o.cmd.Patience)
}

// Stderr is the end of what the program said so far, without secrets: warnings, where it
// succeeded.
func (o *Output) Stderr() string {
	said := o.proc.stderr.Text()
	if _, own, marked := strings.Cut(said, o.marker+"\n"); marked {
		said = own // what is before is of start files
	}
	if o.cmd.Prompt != "" {
		said = strings.ReplaceAll(said, o.cmd.Prompt, "")
	}
	return said
}

// Close ends the program, and waits until the server has closed the channel.
func (o *Output) Close() error { return o.close() }

func (o *Output) end() error {
	o.proc.stop(errors.New("it is no longer wanted"))
	<-o.proc.done
	o.unwatch()
	if o.cmd.Check == nil {
		return nil
	}
	if err := o.cmd.Check.Close(); err != nil {
		return fmt.Errorf("close %s: %w", o.cmd.What, err)
	}
	return nil
}
