package sshexec

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors/dumptool"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// goodbye is how long a server may take to end a channel that is no longer wanted.
const goodbye = 5 * time.Second

// process is a program that runs on the server.
type process struct {
	ssh.Channel
	conn   *sshconn.Conn
	stderr *dumptool.Tail
	done   chan struct{} // closed when the channel is
	err    error         // how the program ended; set before done is closed
	once   sync.Once
}

// launch starts it.
func launch(conn *sshconn.Conn, c *Command, marker string) (*process, error) {
	preamble, err := c.preamble(marker)
	if err != nil {
		return nil, job.Errorf(job.ConfigInvalid, "%w", err)
	}
	channel, requests, err := conn.OpenChannel("session", nil)
	if err != nil {
		if refused, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
			return nil, noPrograms(sshconn.Quoted(refused).Error())
		}
		return nil, conn.Cause(err)
	}
	p := &process{Channel: channel, conn: conn, stderr: dumptool.NewTail(c.Secrets), done: make(chan struct{})}
	go p.attend(requests)
	ok, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{command}))
	if err == nil && !ok {
		err = noPrograms("")
	}
	if err == nil {
		_, err = io.WriteString(channel, preamble)
	}
	if errors.Is(err, io.EOF) {
		return p, nil // it has ended already; whoever reads learns what it said, and why
	}
	if err != nil {
		p.stop(err)
		<-p.done
		if e, ok := errors.AsType[*job.Error](err); ok {
			return nil, e
		}
		return nil, conn.Cause(err)
	}
	return p, nil
}

// ErrNoPrograms is wrapped by errors of accounts that run no programs.
var ErrNoPrograms = errors.New("the account runs no programs")

// noPrograms is the error where an account runs something else, or nothing.
func noPrograms(said string) error {
	if said != "" {
		said = ". It says: " + said
	}
	return &job.Error{Code: job.PermissionDenied, Err: ErrNoPrograms, Message: "the account on the ssh host runs no programs; check its shell, and that no command is forced on it (ForceCommand in sshd_config, command= in authorized_keys)" + said}
}

// errSilent: the channel ended without a status.
var errSilent = errors.New("the server does not say how it ended")

// attend notes how the program ends, and what it says.
func (p *process) attend(requests <-chan *ssh.Request) {
	defer close(p.done)
	var listening sync.WaitGroup
	listening.Go(func() { _, _ = io.Copy(p.stderr, p.Stderr()) }) // ends with the channel
	ending := errSilent
	for r := range requests {
		switch r.Type {
		case "exit-status":
			ending = exitStatus(r.Payload)
		case "exit-signal":
			ending = &exitError{text: "a signal ended it"}
			go p.stop(ending) // what it started may go on
		}
		if r.WantReply {
			_ = r.Reply(false, nil) // nobody depends on it
		}
	}
	listening.Wait()
	p.err = ending
}

// exitError says that the program itself failed.
type exitError struct{ text string }

func (e *exitError) Error() string { return e.text }

func exitStatus(payload []byte) error {
	var m struct{ Status uint32 }
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return errors.New("the server says how it ended, and cannot be understood")
	}
	if m.Status != 0 {
		return &exitError{text: fmt.Sprintf("exit status %d", m.Status)}
	}
	return nil
}

// stop closes the channel, whereupon the leash over there ends the program. A server
// that does not answer is not waited for. It may be called by anybody, more than once.
func (p *process) stop(why error) {
	p.once.Do(func() {
		impatient := time.AfterFunc(goodbye, func() { p.conn.End(why) })
		go func() {
			<-p.done
			impatient.Stop()
		}()
		// Servers that know signals reach what the program started, too.
		_, _ = p.SendRequest("signal", false, ssh.Marshal(struct{ Signal string }{string(ssh.SIGTERM)}))
		_ = p.Close() // it is closed, or the connection is broken
	})
}

// broken is why the connection ended, nil while it stands. It is called once the channel
// has ended.
func (p *process) broken() *job.Error {
	if errors.Is(p.err, errSilent) {
		p.settle()
	}
	select {
	case <-p.conn.Done():
	default:
		return nil
	}
	err := p.conn.Cause(errors.New("the connection ended"))
	if e, ok := errors.AsType[*job.Error](err); ok {
		return e
	}
	return job.Errorf(job.ConnectFailed, "the connection was ended: %w", err)
}

// settle waits until a connection that has just broken knows it: its channels learn it
// first. One that still answers did not break.
func (p *process) settle() {
	if _, _, err := p.conn.SendRequest("keepalive@openssh.com", true, nil); err == nil {
		return
	}
	timer := time.NewTimer(goodbye)
	defer timer.Stop()
	select {
	case <-p.conn.Done():
	case <-timer.C:
	}
}
