package dumptool

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// What is taken at once, from the server and from the program.
const (
	downBuffer = 256 << 10
	upBuffer   = 64 << 10
)

// link is one connection of a program with its server.
type link struct {
	relay *Relay
	local net.Conn

	heard atomic.Int64 // when bytes last came, by the relay's clock without what was held back
	over  atomic.Bool  // the program has ended it

	mu     sync.Mutex
	remote net.Conn
	closed bool
}

func (l *link) run() {
	defer l.relay.remove(l)
	defer l.close()
	l.hear()
	remote, err := l.relay.open(l.relay.ctx, l.local)
	if err != nil {
		l.relay.fail(err)
		return
	}
	if remote == nil || !l.keep(remote) {
		return
	}
	l.hear()
	var up sync.WaitGroup
	up.Go(l.up)
	l.down()
	up.Wait()
}

// keep notes the connection, which is closed at once where the relay is.
func (l *link) keep(remote net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remote = remote
	if l.closed {
		_ = remote.Close()
	}
	return !l.closed
}

// close ends both sides.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	_ = l.local.Close() // what had to arrive was written
	if l.remote != nil {
		_ = l.remote.Close()
	}
}

// down passes on what the server sends, until one side ends.
func (l *link) down() {
	buf := make([]byte, downBuffer)
	for {
		n, err := l.remote.Read(buf)
		if n > 0 {
			l.hear()
			if _, err := l.local.Write(buf[:n]); err != nil {
				l.over.Store(true)
				l.close()
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.broken(err)
			}
			// The program learns it from the end of its connection.
			l.close()
			return
		}
	}
}

// up passes on what the program sends.
func (l *link) up() {
	buf := make([]byte, upBuffer)
	for {
		n, err := l.local.Read(buf)
		if n > 0 {
			if _, err := l.remote.Write(buf[:n]); err != nil {
				l.broken(err)
				l.close()
				return
			}
		}
		if err != nil {
			// Programs end their connections as a whole; nobody waits for an answer.
			l.over.Store(true)
			l.close()
			return
		}
	}
}

// broken notes a failure of the server's side that the program did not cause.
func (l *link) broken(err error) {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if !closed && !l.over.Load() {
		l.relay.fail(err)
	}
}

func (l *link) hear() { l.heard.Store(int64(l.listened())) }

func (l *link) silent() time.Duration { return l.listened() - time.Duration(l.heard.Load()) }

// listened is the relay's age without the time in which a limit on bandwidth kept
// this side from listening.
func (l *link) listened() time.Duration {
	l.mu.Lock()
	remote := l.remote
	l.mu.Unlock()
	age := time.Since(l.relay.clock)
	if limited, ok := remote.(interface{ Held() time.Duration }); ok {
		age -= limited.Held()
	}
	return age
}
