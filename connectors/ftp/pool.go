package ftp

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"xvault/connectors/ftp/wire"
	"xvault/internal/job"
)

// pool holds a source's connections: as many as are asked for, or fewer where the
// server says that it has no room.
type pool struct {
	src    *source
	tokens chan struct{} // one for each connection that there may be

	mu     sync.Mutex
	idle   []*session
	all    map[*session]bool
	limit  int
	logins int // that succeeded
	closed bool
}

const (
	// crowdTries is how often a server without room is asked again when there is no
	// other connection to go on with: it may not have noticed yet that one ended.
	crowdTries = 6
	crowdPause = 250 * time.Millisecond // doubled each time
	// restsFor is after how long of rest a connection is tried before it is used:
	// servers close those that rest for some minutes.
	restsFor = 20 * time.Second
)

func newPool(src *source, limit int) *pool {
	p := &pool{src: src, tokens: make(chan struct{}, limit), all: map[*session]bool{}, limit: limit}
	for range limit {
		p.tokens <- struct{}{}
	}
	return p
}

// take gives a session, which must be given back. It waits for its turn.
func (p *pool) take(ctx context.Context) (*session, error) {
	pause := crowdPause
	for try := 1; ; try++ {
		select {
		case <-p.tokens:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		s, err := p.open(ctx)
		if err == nil {
			return s, nil
		}
		if !p.isCrowd(err) {
			p.tokens <- struct{}{}
			return nil, p.src.explain(ctx, err)
		}
		if p.retire() {
			continue
		}
		p.tokens <- struct{}{}
		if try >= crowdTries {
			return nil, p.src.explain(ctx, err)
		}
		if err := rest(ctx, pause); err != nil {
			return nil, err
		}
		pause *= 2
	}
}

func rest(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isCrowd tells a server without room from one that does not let the user in: once it
// did, it would again.
func (p *pool) isCrowd(err error) bool {
	p.mu.Lock()
	knows := p.logins > 0
	p.mu.Unlock()
	code := wire.CodeOf(err)
	var login *wire.LoginError
	switch {
	case code == 421:
		return true
	case code == 530 && knows && errors.As(err, &login):
		return true
	case code/100 == 5 || code/100 == 4:
		return saysCrowd(err)
	}
	return false
}

// saysCrowd reads the words of servers that count connections.
func saysCrowd(err error) bool {
	text := strings.ToLower(err.Error())
	for _, words := range []string{"too many", "maximum number", "maximum login", "connection limit", "connections from", "try again later", "max clients"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// retire gives up one of the connections that there may be; false for the last.
func (p *pool) retire() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit == 1 {
		return false
	}
	p.limit--
	p.src.env.Log.Info("the server takes fewer connections at once than it was asked for", slog.Int("connections", p.limit))
	return true
}

// open gives a session that rests, or makes one.
func (p *pool) open(ctx context.Context) (*session, error) {
	for {
		s := p.resting()
		if s == nil {
			break
		}
		s.ctx = ctx //nolint:fatcontext // it is the session's for this use of it, and replaces another one's
		if time.Since(s.used) < restsFor {
			return s, nil
		}
		if _, err := s.wire.Do("NOOP", ""); err == nil {
			return s, nil
		}
		p.drop(s)
	}
	if p.isClosed() {
		return nil, errClosed
	}
	conn, err := p.src.connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{src: p.src, wire: conn, ctx: ctx}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.Join(errClosed, conn.Close())
	}
	p.logins++
	p.all[s] = true
	return s, nil
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *pool) resting() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	s := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return s
}

// give takes a session back; one that broke is dropped.
func (p *pool) give(s *session) {
	if s.wire.Broken() != nil {
		p.drop(s)
	} else {
		p.mu.Lock()
		s.used = time.Now() //nolint:forbidigo // measures rest, decides nothing else
		p.idle = append(p.idle, s)
		p.mu.Unlock()
	}
	p.tokens <- struct{}{}
}

func (p *pool) drop(s *session) {
	_ = s.wire.Close() // it is of no use any more
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, s)
}

// sever ends every connection at once; whoever waits comes back.
func (p *pool) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.all {
		_ = s.wire.Close() // nothing more is wanted of it
	}
}

// close ends everything, for good.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.idle {
		_ = s.wire.Quit() // a last courtesy
		delete(p.all, s)
	}
	p.idle = nil
	for s := range p.all {
		_ = s.wire.Close() // someone still uses it, and learns of it
	}
}

var errClosed = job.Errorf(job.Internal, "the source is closed")

// maxTries is how often something is tried over another connection when one broke.
const maxTries = 3

// with runs a step that may be repeated, over another connection where one breaks.
// Its error is one of the step, or a *job.Error.
func (p *pool) with(ctx context.Context, step func(*session) error) error {
	for try := 1; ; try++ {
		s, err := p.take(ctx)
		if err != nil {
			return err
		}
		err = step(s)
		p.give(s)
		if err == nil || ctx.Err() == nil && !isLost(err) && !isTransient(err) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if try == maxTries || isSilence(err) {
			if isRefusal(err) && wire.CodeOf(err)/10 == 45 {
				return err
			}
			return p.src.explain(ctx, err)
		}
		if err := rest(ctx, time.Duration(try)*100*time.Millisecond); err != nil {
			return err
		}
	}
}

// isTransient: the server says that it may be otherwise next time.
func isTransient(err error) bool { return isRefusal(err) && wire.CodeOf(err)/100 == 4 }
