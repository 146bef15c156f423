package cmd

import (
	"context"
	"errors"
)

// part is something that runs until it is told to stop: the hub, the worker.
type part struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid once done is closed
}

// startPart runs fn in the background. It outlives ctx, so that parts are
// stopped in order.
func startPart(ctx context.Context, name string, fn func(context.Context) error) *part {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &part{name: name, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = fn(ctx)
	}()
	return p
}

// stop tells it to end, and waits.
func (p *part) stop() error {
	p.cancel()
	<-p.done
	return p.err
}

var errEndedEarly = errors.New("it was not told to")

// whenEnded calls fn when the part ends by itself. The returned function calls
// that off, and waits for fn if it runs.
func (p *part) whenEnded(fn func(error)) (stop func()) {
	off, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-off:
		case <-p.done:
			err := p.err
			if err == nil {
				err = errEndedEarly
			}
			fn(err)
		}
	}()
	return func() {
		close(off)
		<-gone
	}
}
