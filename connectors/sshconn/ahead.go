package sshconn

import (
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// session is a channel of this type that was opened before somebody needed it.
type session struct {
	channel  ssh.Channel
	requests chan *ssh.Request // once it is taken, what the server asks; closed with the channel
	taken    atomic.Bool
	ended    chan struct{} // closed with the channel
}

// newSession has what the server asks refused for as long as nobody takes the channel:
// requests that wait would stop the whole connection.
func (c *Conn) newSession(channel ssh.Channel, requests <-chan *ssh.Request) *session {
	s := &session{channel: channel, requests: make(chan *ssh.Request), ended: make(chan struct{})}
	c.running.Go(func() {
		defer close(s.requests)
		defer close(s.ended)
		for r := range requests {
			switch {
			case s.taken.Load():
				s.requests <- r
			case r.WantReply:
				_ = r.Reply(false, nil) // a lost connection shows elsewhere
			}
		}
	})
	return s
}

// OpenAhead begins to open so many sessions, which OpenChannel gives out: far away, to
// open one takes as long as anything else that is asked. Until they are told what to run
// they cost the server no process. What it refuses is done without. Only the first call
// does something.
func (c *Conn) OpenAhead(n int) {
	sessions := make(chan *session, n)
	if !c.ahead.CompareAndSwap(nil, &sessions) {
		return
	}
	var opening sync.WaitGroup
	for range n {
		opening.Go(func() {
			if channel, requests, err := c.Client.OpenChannel("session", nil); err == nil {
				sessions <- c.newSession(channel, requests)
			}
		})
	}
	c.running.Go(func() {
		opening.Wait()
		close(sessions)
	})
}

// OpenChannel opens a channel, or gives one that was opened ahead. While some are being
// opened it waits for those, which are there before what it could ask for itself.
func (c *Conn) OpenChannel(name string, data []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	if sessions := c.ahead.Load(); sessions != nil && name == "session" {
		for s := range *sessions {
			s.taken.Store(true)
			select {
			case <-s.ended: // the server wants it no more
			default:
				return s.channel, s.requests, nil
			}
		}
	}
	return c.Client.OpenChannel(name, data)
}
