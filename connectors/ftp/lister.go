package ftp

import (
	"context"
	"errors"
	"slices"
	"sync"

	"xvault/internal/entry"
)

// lister lists folders ahead of the walk, over connections of their own, as far as
// memory allows.
type lister struct {
	r       *reader
	running sync.WaitGroup

	mu     sync.Mutex
	stack  []*ahead // the folders that the walk is in
	coming map[string]*coming
	held   int64 // bytes of listings that the walk has not taken
	wake   chan struct{}
}

// ahead is a folder that the walk is in, and how far its folders were asked for.
type ahead struct {
	lister *lister
	folder folder
	dir    []string
	list   *listing
	next   int
}

// coming is a listing that was asked for.
type coming struct {
	done chan struct{}
	list *listing
	err  error
}

// maxComing bounds the listings that wait for the walk.
const maxComing = 64

func newLister(r *reader) *lister {
	return &lister{r: r, coming: map[string]*coming{}, wake: make(chan struct{}, 1)}
}

func (l *lister) start(ctx context.Context, workers int) {
	for range workers {
		l.running.Go(func() { l.work(ctx) })
	}
}

// poke wakes one worker; each that finds work wakes the next.
func (l *lister) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lister) work(ctx context.Context) {
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		}
		for {
			f, c := l.pick()
			if c == nil {
				break
			}
			l.poke()
			l.fetch(ctx, f, c)
		}
	}
}

// pick finds the next folder in the order of the walk that nobody lists yet.
func (l *lister) pick() (folder, *coming) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held >= l.r.options.ListAhead || len(l.coming) >= maxComing {
		return folder{}, nil
	}
	for _, a := range slices.Backward(l.stack) {
		if f, ok := a.following(); ok {
			c := &coming{done: make(chan struct{})}
			l.coming[f.path] = c
			return f, c
		}
	}
	return folder{}, nil
}

// following gives the next folder in the listing that is not excluded.
func (a *ahead) following() (folder, bool) {
	for a.next < len(a.list.records) {
		rec := &a.list.records[a.next]
		a.next++
		if rec.kind != entry.Dir {
			continue
		}
		name := string(a.list.name(rec))
		if unsendable(name) == nil && !a.lister.r.excludes.Match(a.dir, name, true) {
			return a.folder.below(name), true
		}
	}
	return folder{}, false
}

// reached says that the walk is at a record.
func (a *ahead) reached(i int) {
	a.lister.mu.Lock()
	defer a.lister.mu.Unlock()
	a.next = max(a.next, i+1)
}

func (l *lister) fetch(ctx context.Context, f folder, c *coming) {
	err := l.r.pool.with(ctx, func(s *session) error {
		if err := s.enter(f); err != nil {
			return err
		}
		var err error
		c.list, err = s.list(f.path, l.r.options.ListAhead)
		return err
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.err = err; err == nil {
		l.held += c.list.bytes()
	}
	close(c.done)
}

// enter says that the walk is in a folder.
func (l *lister) enter(f folder, list *listing) *ahead {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &ahead{lister: l, folder: f, dir: components(f.path), list: list}
	l.stack = append(l.stack, a)
	l.poke()
	return a
}

// leave says that the walk left the innermost folder.
func (l *lister) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stack = l.stack[:len(l.stack)-1]
}

// take gives the listing of a folder whose turn it is.
func (l *lister) take(f folder) (*listing, error) {
	l.mu.Lock()
	c := l.coming[f.path]
	l.mu.Unlock()
	if c != nil {
		list, err := l.await(f, c)
		if err == nil || !errors.Is(err, errTooMuch) {
			return list, err
		}
	}
	var list *listing
	err := l.r.pool.with(l.r.ctx, func(s *session) error {
		var err error
		list, err = s.listAt(f)
		return err
	})
	return list, err
}

func (l *lister) await(f folder, c *coming) (*listing, error) {
	select {
	case <-c.done:
	case <-l.r.ctx.Done():
		return nil, context.Cause(l.r.ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.coming, f.path)
	if c.err == nil {
		l.held -= c.list.bytes()
	}
	l.poke()
	return c.list, c.err
}
