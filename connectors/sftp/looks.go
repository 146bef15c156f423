package sftp

import (
	"sync"

	"xvault/connectors/sftp/wire"
)

// looks asks what paths are. Many directories are listed at once, and each asks about
// the folders above it, most of which are the same: whoever asks about a path while an
// answer is on its way shares the next one with all who do so until that is asked for.
// What is far away is asked for at once instead, as it is round trips that count there.
//
// What is told is never of a moment before at was called, nor before requests that were
// made earlier, as a server serves them in order.
type looks struct {
	server *wire.Client
	near   func() bool

	mu   sync.Mutex
	last map[string]*look // of every path that is asked about, the one to share or to wait for
}

func newLooks(server *wire.Client, near func() bool) *looks {
	return &looks{server: server, near: near, last: map[string]*look{}}
}

// look is what is at a path. It may be waited for by many.
type look struct {
	from   *looks
	path   string
	before *look // must be answered first; nil where this one was sent at once

	// next is sent when this one is answered, and call nil until this one is sent, from
	// when on it cannot be shared. Both are the lock's.
	next *look
	call *wire.Call

	once  sync.Once
	attrs wire.Attrs
	err   error
}

// at asks what a path is; follow means what it leads to, where it is a link.
func (l *looks) at(path string, follow bool) *look {
	switch {
	case follow:
		return &look{from: l, path: path, call: l.server.Stat(path)}
	case !l.near():
		return &look{from: l, path: path, call: l.server.Lstat(path)}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.last[path]
	switch {
	case last == nil:
		last = &look{from: l, path: path, call: l.server.Lstat(path)}
	case last.call != nil:
		last.next = &look{from: l, path: path, before: last}
		last = last.next
	default:
		return last
	}
	l.last[path] = last
	return last
}

// answer waits. A look that had to wait is sent by whoever first learns that it may be.
func (k *look) answer() (wire.Attrs, error) {
	k.once.Do(func() {
		if k.before != nil {
			_, _ = k.before.answer() // those who asked for it see its error
			k.before = nil
		}
		k.attrs, k.err = k.call.Attrs()
		k.from.answered(k)
	})
	return k.attrs, k.err
}

// answered sends what waits for this answer, or forgets a path that nobody has asked
// about since.
func (l *looks) answered(k *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case k.next != nil:
		k.next.call, k.next = l.server.Lstat(k.path), nil
	case l.last[k.path] == k:
		delete(l.last, k.path)
	}
}
