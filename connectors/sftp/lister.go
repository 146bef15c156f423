package sftp

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"xvault/connectors"
	"xvault/connectors/sftp/wire"
)

// lister lists directories before their turn comes: the next ones in the order
// of the archive first, within a bounded memory. Whoever walks takes them in that
// order.
type lister struct {
	s         *session
	o         Options
	excludes  connectors.Excludes
	owners    *owners
	looks     *looks
	pipelined bool          // the server answers batches of one directory in order
	batches   chan struct{} // bounds the batches of names on their way
	running   sync.WaitGroup

	mu    sync.Mutex
	found map[string]*listing // by find, before anything was walked
	// doubtful are folders that find has complained of; it is not asked again.
	doubtful map[string]bool
	finder   *finder // nil where folders are listed over SFTP alone
	tasks    map[string]*dirTask
	next     cursors
	active   int    // tasks that are being listed
	used     int64  // bytes of all listings
	ahead    int64  // bytes of those that nobody has taken yet
	taken    string // the last path that was taken; what comes before is history
	closed   bool
	all      bool // found has every folder, if not what it could not look at
}

const (
	maxActive  = 64
	maxBatches = 128
)

// dirTask is a directory listed ahead of its turn.
type dirTask struct {
	ready   chan struct{}
	list    *listing
	err     error
	dropped bool // no room: it must be listed again
}

func newLister(s *session, o Options, excludes connectors.Excludes, own *owners) *lister {
	_, limits := s.Extension("limits@openssh.com")
	return &lister{
		s: s, o: o, excludes: excludes, owners: own, looks: newLooks(s.Client, s.near),
		// Another server might serve two batches at once and lose names.
		pipelined: limits || strings.Contains(string(s.conn.ServerVersion()), "OpenSSH"),
		batches:   make(chan struct{}, maxBatches),
		tasks:     map[string]*dirTask{},
	}
}

// take gives the listing of a directory whose turn has come. The caller gives
// it back with release.
func (l *lister) take(ctx context.Context, d dirToList) (*listing, error) {
	l.mu.Lock()
	l.taken = d.path
	if list := l.found[d.path]; list != nil {
		delete(l.found, d.path)
		l.ahead -= list.size
		if !l.all {
			l.offer(&subdirs{l: l, list: list, dir: d})
			l.pump()
		}
		l.mu.Unlock()
		l.owners.learn(list)
		return list, nil
	}
	task := l.tasks[d.path]
	delete(l.tasks, d.path)
	l.mu.Unlock()
	if task != nil {
		select {
		case <-task.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if !task.dropped {
			l.mu.Lock()
			defer l.mu.Unlock()
			if task.list != nil {
				l.ahead -= task.list.size
			}
			l.pump()
			return task.list, task.err
		}
	}
	list, err := l.list(d, func(n int64) error { return l.charge(d.path, n) })
	if err != nil {
		l.release(list)
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offer(&subdirs{l: l, list: list, dir: d})
	l.pump()
	return list, nil
}

// have takes what find listed before anything is walked.
func (l *lister) have(t *tree) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found, l.all, l.doubtful = t.lists, !t.here, t.doubtful
	for _, list := range t.lists {
		l.used += list.size
		l.ahead += list.size
	}
}

// charge is for a listing that is needed now.
func (l *lister) charge(path string, n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used += n
	if l.used > l.o.ListingMemory {
		return errTooLarge(path, l.o.ListingMemory)
	}
	return nil
}

// chargeAhead is for one that can wait.
func (l *lister) chargeAhead(n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used += n
	l.ahead += n
	if l.ahead > l.o.ListAhead || l.used > l.o.ListingMemory/2 {
		return errCrowded
	}
	return nil
}

// release gives back a listing that was taken; nil is fine.
func (l *lister) release(list *listing) {
	if list == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used -= list.size
	l.pump()
}

// offer adds a source of directories to list ahead. Called with the lock held.
func (l *lister) offer(c dirSource) {
	if p, ok := c.next(); ok {
		heap.Push(&l.next, cursor{p, c})
	}
}

// pump starts what may start. Called with the lock held.
func (l *lister) pump() {
	for !l.closed && len(l.next) > 0 && l.active < maxActive && l.ahead < l.o.ListAhead/2 && l.used < l.o.ListingMemory/2 {
		c := heap.Pop(&l.next).(cursor) //nolint:errcheck // holds nothing else
		l.offer(c.from)
		if l.taken != "" && comparePaths(c.path, l.taken) <= 0 {
			continue
		}
		if _, ok := l.tasks[c.path]; ok || l.found[c.path] != nil {
			continue
		}
		task := &dirTask{ready: make(chan struct{})}
		l.tasks[c.path] = task
		l.active++
		l.running.Go(func() { l.listAhead(c, task) })
	}
}

func (l *lister) listAhead(c cursor, task *dirTask) {
	list, err := l.list(c.dirToList, l.chargeAhead)
	l.mu.Lock()
	defer l.mu.Unlock()
	defer close(task.ready)
	l.active--
	switch {
	case err == nil:
		task.list = list
		l.offer(&subdirs{l: l, list: list, dir: c.dirToList})
	case list != nil:
		l.used -= list.size
		l.ahead -= list.size
		fallthrough
	default:
		task.err, task.dropped = err, errors.Is(err, errCrowded)
	}
	l.pump()
}

// close stops listing ahead and waits for what is on its way.
func (l *lister) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.running.Wait()
}

// dirToList is a directory that will be listed.
type dirToList struct {
	path   string
	root   string // the configured path that it belongs to
	comps  []string
	follow bool
	file   inode // where find told it
}

// dirSource yields directories in order.
type dirSource interface{ next() (dirToList, bool) }

// cursor is a source and what it yielded last.
type cursor struct {
	dirToList
	from dirSource
}

// cursors is a heap whose first is the next in the order of the archive.
type cursors []cursor //nolint:recvcheck // heap.Interface wants both

func (c cursors) Len() int           { return len(c) }
func (c cursors) Less(i, j int) bool { return comparePaths(c[i].path, c[j].path) < 0 }
func (c cursors) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }

// Push implements heap.Interface.
func (c *cursors) Push(x any) { *c = append(*c, x.(cursor)) } //nolint:errcheck // holds nothing else

// Pop implements heap.Interface.
func (c *cursors) Pop() any {
	old := *c
	last := old[len(old)-1]
	old[len(old)-1] = cursor{}
	*c = old[:len(old)-1]
	return last
}

// subdirs yields the directories of a listing that are not excluded.
type subdirs struct {
	l    *lister
	list *listing
	dir  dirToList
	i    int
}

func (s *subdirs) next() (dirToList, bool) {
	for s.i < s.list.count {
		r := s.list.entry(s.i)
		s.i++
		if r.has&hasMode == 0 || r.mode&wire.ModeType != wire.ModeDir {
			continue
		}
		name := string(s.list.name(r))
		if s.l.excludes.Match(s.dir.comps, name, true) {
			continue
		}
		path := join(s.dir.path, name)
		if len(path) > maxPath {
			continue
		}
		return dirToList{path: path, root: s.dir.root, comps: append(slices.Clip(s.dir.comps), name), file: r.file()}, true
	}
	return dirToList{}, false
}

// rootDirs yields configured directories, which are sorted.
type rootDirs struct{ dirs []dirToList }

func (r *rootDirs) next() (dirToList, bool) {
	if len(r.dirs) == 0 {
		return dirToList{}, false
	}
	d := r.dirs[0]
	r.dirs = r.dirs[1:]
	return d, true
}

// maxPath is what a server's operating system takes as one path.
const maxPath = 4095

func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}

// comparePaths orders absolute paths component by component as bytes. A slash
// comes before every byte that a name can hold.
func comparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return rank(a[i]) - rank(b[i])
		}
	}
	return len(a) - len(b)
}

func rank(c byte) int {
	if c == '/' {
		return -1
	}
	return int(c)
}
