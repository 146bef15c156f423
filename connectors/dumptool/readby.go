package dumptool

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"xvault/internal/job"
)

// ReadBy makes a Check of a second program, which reads the whole dump on its
// standard input while it streams and whose exit status is the verdict: a program
// that can restore a dump knows best whether it is whole. Its own output is thrown
// away.
func ReadBy(ctx context.Context, c Command) (Check, error) {
	stdin, in, err := newPipe()
	if err != nil {
		return nil, &job.Error{Code: job.Internal, Message: c.What + " could not be started", Err: err}
	}
	c.stdin = stdin
	d, err := Start(ctx, c)
	if err != nil {
		return nil, errors.Join(err, stdin.Close(), in.Close())
	}
	r := &readBy{dump: d, in: in, done: make(chan struct{})}
	r.hangUp = sync.OnceValue(in.Close)
	go func() {
		defer close(r.done)
		_, r.err = io.Copy(io.Discard, d)
	}()
	return r, nil
}

type readBy struct {
	dump   *Dump
	in     *os.File
	hangUp func() error // the end of its input
	done   chan struct{}
	err    error // of the reading program; set before done is closed
}

// Write implements Check. A pipe whose reader is gone is broken.
func (r *readBy) Write(p []byte) (int, error) {
	n, err := r.in.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		<-r.done
		if err = r.err; err == nil {
			err = errNotTaken
		}
	}
	return n, err
}

// Verdict implements Check.
func (r *readBy) Verdict() error {
	if err := r.hangUp(); err != nil {
		return err
	}
	<-r.done
	return r.err
}

// Close implements Check.
func (r *readBy) Close() error {
	err := r.dump.Close()
	<-r.done
	return errors.Join(err, r.hangUp())
}
