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
// An answer is never of a moment before at was called, since a server answers in order.
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

	once  sync.Once
	call  *wire.Call // nil until it is sent, from when on it cannot be shared
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
		last = &look{from: l, path: path, before: last}
	default:
		return last
	}
	l.last[path] = last
	return last
}

// answer waits. It is whoever waits for a look that sends it, if that had to wait.
func (k *look) answer() (wire.Attrs, error) {
	k.once.Do(func() {
		if k.before != nil {
			_, _ = k.before.answer() // those who asked for it see its error
			k.before = nil
			k.from.send(k)
		}
		k.attrs, k.err = k.call.Attrs()
		k.from.forget(k)
	})
	return k.attrs, k.err
}

func (l *looks) send(k *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.call = l.server.Lstat(k.path)
}

// forget drops a path that nobody has asked about since.
func (l *looks) forget(k *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last[k.path] == k {
		delete(l.last, k.path)
	}
}
