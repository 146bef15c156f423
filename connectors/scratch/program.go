package scratch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Program is what runs in a room.
type Program struct {
	// Path is absolute. Args hold no secret.
	Path string
	Args []string
	// Env is added to the little that every program gets.
	Env []string
	// Stop is the signal by which it ends itself and what it started. Default
	// SIGKILL. It is needed where programs have no process numbers of their own.
	Stop syscall.Signal
}

// stopPatience is how long a program may take to end itself.
const stopPatience = 10 * time.Second

// EndedError says that a program ended, and what it said last.
type EndedError struct {
	Program string
	Err     error // nil where it ended well
	Said    string
}

func (e *EndedError) Error() string {
	text := e.Program + " ended"
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Said != "" {
		text += ": " + e.Said
	}
	return text
}

func (e *EndedError) Unwrap() error { return e.Err }

// environment is all that a program inherits.
func (p Program) environment() []string {
	return append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "HOME=/nonexistent", "TZ=UTC"}, p.Env...)
}

// Run runs a program to its end. Its failure is an *EndedError.
func (r *Room) Run(ctx context.Context, p Program) error {
	proc, err := r.start(p)
	if err != nil {
		return err
	}
	select {
	case <-proc.done:
	case <-ctx.Done():
		proc.stop()
		return context.Cause(ctx)
	}
	r.forget(proc)
	if proc.err != nil {
		return proc.ended()
	}
	return nil
}

// Server is a program that goes on until the room is closed.
type Server struct{ proc *process }

// Start starts one.
func (r *Room) Start(p Program) (*Server, error) {
	proc, err := r.start(p)
	if err != nil {
		return nil, err
	}
	return &Server{proc}, nil
}

// readyEvery is how often a server that starts is asked.
const readyEvery = 20 * time.Millisecond

// Ready waits until ready has no error. A server that ends before is an *EndedError.
func (s *Server) Ready(ctx context.Context, within time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("%s does not answer within %v", s.proc.name, within))
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.proc.done:
			return s.proc.ended()
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(readyEvery):
		}
	}
}

// Ended is why the server has ended; nil while it runs.
func (s *Server) Ended() error {
	select {
	case <-s.proc.done:
		return s.proc.ended()
	default:
		return nil
	}
}

// Said is the end of what it said.
func (s *Server) Said() string { return s.proc.said.text() }

func (r *Room) start(p Program) (*process, error) {
	if !filepath.IsAbs(p.Path) {
		return nil, fmt.Errorf("start %q: not an absolute path", p.Path)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errors.New("the room is closed")
	}
	proc, err := r.launch(p)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(p.Path), err)
	}
	r.running = append(r.running, proc)
	return proc, nil
}

func (r *Room) forget(gone *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, p := range r.running {
		if p == gone {
			r.running = append(r.running[:i], r.running[i+1:]...)
			return
		}
	}
}

func (p *process) ended() error {
	return &EndedError{Program: p.name, Err: p.err, Said: strings.TrimSpace(p.said.text())}
}
