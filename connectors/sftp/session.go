package sftp

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors/sftp/wire"
	"xvault/internal/job"
)

// session is a logged-in connection with an SFTP server at its end. When it
// breaks, whoever waits for an answer gets an error at once, and cause tells why.
type session struct {
	*wire.Client
	conn *connection

	mu      sync.Mutex
	why     error // the first reason to end; nil while all is well
	running sync.WaitGroup
	done    chan struct{}
	once    sync.Once
}

// newSession opens the SFTP server on an SSH connection, which it owns from then
// on, also when it fails.
func newSession(ctx context.Context, conn *connection, o Options) (*session, error) {
	s := &session{conn: conn, done: make(chan struct{})}
	defer s.endWith(ctx)()
	s.running.Go(func() { ssh.DiscardRequests(conn.requests) })
	s.running.Go(func() { refuseChannels(conn.channels) })
	err := s.start()
	if err == nil {
		err = conn.raw.SetDeadline(time.Time{})
	}
	if err != nil {
		s.fail(err)
		cause := s.cause(err)
		_ = s.Close() // never fails
		return nil, cause
	}
	s.running.Go(func() { s.keepAlive(o.KeepAlive) })
	s.running.Go(func() { s.watch(o) })
	return s, nil
}

// refuseChannels: a backup has nothing to offer to a server.
func refuseChannels(channels <-chan ssh.NewChannel) {
	for c := range channels {
		_ = c.Reject(ssh.Prohibited, "no channels here") // a broken connection shows elsewhere
	}
}

// start opens the channel, the subsystem on it and the protocol in that.
func (s *session) start() error {
	channel, requests, err := s.conn.OpenChannel("session", nil)
	if err != nil {
		if _, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
			return job.Errorf(job.ConfigInvalid, "the server let the user in but opens no session: %w", quoted(err))
		}
		return err
	}
	words := &firstWords{end: make(chan struct{})}
	s.running.Go(func() { ssh.DiscardRequests(requests) })
	s.running.Go(func() {
		defer close(words.end)
		_, _ = io.Copy(words, channel.Stderr()) // ends with the channel
	})
	ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err != nil {
		return err
	}
	if !ok {
		return job.Errorf(job.ConfigInvalid,
			"the server let the user in but has no SFTP; add \"Subsystem sftp internal-sftp\" to its sshd_config and reload sshd")
	}
	if s.Client, err = wire.New(channel); err != nil {
		return s.noSFTP(err, words)
	}
	return nil
}

// noSFTP explains a subsystem that was promised but does not speak.
func (s *session) noSFTP(err error, words *firstWords) error {
	if _, ok := errors.AsType[*wire.ProtocolError](err); ok {
		return job.Errorf(job.ConfigInvalid,
			"the server's SFTP does not speak SFTP; if its shell start files (.bashrc and the like) print anything, make them silent: %w", quoted(err))
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	// The connection that still answers did not break: the server's SFTP ended.
	if _, _, aliveErr := s.conn.SendRequest("keepalive@openssh.com", true, nil); aliveErr != nil {
		return err
	}
	said := words.String()
	if said == "" {
		said = "nothing"
	}
	return job.Errorf(job.ConfigInvalid,
		"the server let the user in but its SFTP ended at once and said %q; look whether the account may use SFTP: its shell, and the Subsystem line of sshd_config", said)
}

// firstWords keeps the start of what a server prints on its error output.
type firstWords struct {
	mu   sync.Mutex
	text []byte
	end  chan struct{} // closed when nothing more comes
}

func (w *firstWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p[:min(len(p), 200-len(w.text))]...)
	return len(p), nil
}

// String waits a moment: the words come beside the end of the output proper.
func (w *firstWords) String() string {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-w.end:
	case <-timer.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(w.text))
}

// endedError is a reason that is passed on as it is: the caller's own.
type endedError struct{ error }

// endWith ends the session when the context ends, until stop is called.
func (s *session) endWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { s.fail(endedError{context.Cause(ctx)}) })
}

// fail breaks the session for a reason; only the first one counts.
func (s *session) fail(why error) {
	s.mu.Lock()
	if s.why == nil {
		s.why = why
	}
	s.mu.Unlock()
	s.once.Do(func() { close(s.done) })
	_ = s.conn.raw.Close() // the reason counts; and a second Close is harmless
}

// cause turns the error of a call into the reason for which the session ended.
func (s *session) cause(err error) error {
	s.mu.Lock()
	why := s.why
	s.mu.Unlock()
	if why == nil {
		why = err
	}
	var known *job.Error
	var protocol *wire.ProtocolError
	var ended endedError
	switch {
	case errors.As(why, &ended):
		return ended.error
	case errors.As(why, &known):
		return known
	case errors.As(why, &protocol):
		return job.Errorf(job.Internal, "the server breaks the SFTP protocol; nothing it says can be relied on: %w", quoted(protocol))
	default:
		return job.Errorf(job.ConnectFailed, "the connection to the server broke; it is tried again: %w", quoted(why))
	}
}

// Close ends everything and waits for it.
func (s *session) Close() error {
	s.fail(wire.ErrClosed)
	// The connection is gone already: neither can say good-bye any more, and
	// their errors say no more than that.
	if s.Client != nil {
		_ = s.Client.Close()
	}
	_ = s.conn.Close()
	s.running.Wait()
	return nil
}

// keepAlive makes the server say something now and then.
func (s *session) keepAlive(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-ticker.C:
		}
		// Any answer will do, and the watch below counts bytes, not answers.
		if _, _, err := s.conn.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			s.fail(err)
			return
		}
	}
}

// watch ends a session whose server is gone or hangs.
func (s *session) watch(o Options) {
	dead := 3 * o.KeepAlive
	ticker := time.NewTicker(min(o.KeepAlive, o.StallAfter) / 4)
	defer ticker.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-s.Done():
			s.fail(s.Err())
			return
		case <-ticker.C:
		}
		if s.conn.raw.silent() > dead {
			s.fail(job.Errorf(job.ConnectFailed, "the server has been silent for %v; the connection is taken for broken and tried again", dead.Round(time.Millisecond)))
			return
		}
		if s.Stalled() > o.StallAfter {
			s.fail(job.Errorf(job.Timeout, "the server is alive but has not answered a request for files for %v; look for a disk or a network file system there that hangs", o.StallAfter.Round(time.Millisecond)))
			return
		}
	}
}

// serverVersion is the server's first line, escaped.
func (s *session) serverVersion() string { return escape(string(s.conn.ServerVersion()), 255) }
