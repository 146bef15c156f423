package sftp

import (
	"errors"
	"iter"
	"strings"
	"sync"

	"xvault/connectors/sftp/wire"
)

// standing is what a directory and the folders above it are.
type standing struct {
	self    *wire.Call
	parents []looked
}

// looked waits for what is known of a path.
type looked interface {
	Attrs() (wire.Attrs, error)
}

// lookAt asks for it. To a server that is near a question costs more than the way
// there and back, and most folders have those above them in common: these are looked
// at for many together.
func (l *lister) lookAt(d dirToList) standing {
	look := l.s.Lstat
	if d.follow {
		look = l.s.Stat
	}
	s := standing{self: look(d.path)}
	for path := range between(d.root, d.path) {
		if l.s.near() {
			s.parents = append(s.parents, l.above.look(path))
		} else {
			s.parents = append(s.parents, l.s.Lstat(path))
		}
	}
	return s
}

// answer gives the directory's attributes, or those of what is no directory above
// it: a folder there may be a link by now, and this the inside of another one.
func (s standing) answer() (wire.Attrs, error) {
	self, err := s.self.Attrs()
	for _, look := range s.parents {
		above, aboveErr := look.Attrs()
		switch {
		case err != nil:
		case aboveErr == nil && notDir(above):
			self = above
		case aboveErr != nil && (!wire.IsStatus(aboveErr) || errors.Is(aboveErr, wire.ErrNotExist)):
			err = aboveErr
		}
	}
	return self, err
}

// stillDir is an error where something else than directories stands there.
func (s standing) stillDir() error {
	self, err := s.answer()
	if err == nil && notDir(self) {
		err = &notDirError{self}
	}
	return err
}

func notDir(a wire.Attrs) bool { return a.HasMode && a.Mode&wire.ModeType != wire.ModeDir }

// between gives the folders that lead from a configured path to a path, both left
// out.
func between(root, path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := len(strings.TrimSuffix(root, "/")) + 1; i < len(path); i++ {
			if path[i] == '/' && !yield(path[:i]) {
				return
			}
		}
	}
}

// glances look at paths for many at once. Nobody is told what was asked before he
// came: while a question about a path is on its way, all who come share the next
// one. A folder that is swapped and swapped back shows less well than to a question of
// one's own, which goes out at once; one that stays swapped shows as well.
type glances struct {
	ask     func(path string) *wire.Call
	running sync.WaitGroup

	mu   sync.Mutex
	last map[string]*glance // on their way
}

// glance is a look at one path.
type glance struct {
	ready chan struct{} // closed when attrs and err are set
	attrs wire.Attrs
	err   error
	next  *glance // for those who came after the question had gone out; nil: nobody did
}

// maxGlances is how many paths are looked at at once, a goroutine each. Only a tree
// made for it has more; those are asked for one by one.
const maxGlances = 4096

func newGlances(ask func(string) *wire.Call) *glances {
	return &glances{ask: ask, last: map[string]*glance{}}
}

// look asks, after whatever the caller asked before.
func (g *glances) look(path string) looked {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.last[path]
	if last == nil && len(g.last) >= maxGlances {
		return g.ask(path)
	}
	if last == nil {
		first := &glance{ready: make(chan struct{})}
		g.last[path] = first
		call := g.ask(path)
		g.running.Go(func() { g.run(path, first, call) })
		return first
	}
	if last.next == nil {
		last.next = &glance{ready: make(chan struct{})}
	}
	return last.next
}

// run answers those who look at a path, until nobody does any more.
func (g *glances) run(path string, now *glance, call *wire.Call) {
	for now != nil {
		now.attrs, now.err = call.Attrs()
		g.mu.Lock()
		next := now.next
		if next == nil {
			delete(g.last, path)
		} else {
			g.last[path] = next
			call = g.ask(path)
		}
		g.mu.Unlock()
		close(now.ready)
		now = next
	}
}

// wait waits until nobody looks.
func (g *glances) wait() { g.running.Wait() }

// Attrs waits for the answer.
func (g *glance) Attrs() (wire.Attrs, error) {
	<-g.ready
	return g.attrs, g.err
}
