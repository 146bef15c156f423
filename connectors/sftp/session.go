package sftp

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/semaphore"

	"xvault/connectors/sftp/wire"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// session is an SFTP server at the end of an SSH connection, and more of them
// where the line asks for it. When that breaks, whoever waits for an answer gets
// an error at once, and cause tells why.
type session struct {
	*lane // the first, which is there from the beginning
	conn  *sshconn.Conn
	lanes atomic.Pointer[[]*lane] // all of them; it only grows

	wanted atomic.Pointer[string] // the path of the large file that comes next; nil: none
	large  chan struct{}          // closed when a file of manyWindows is met
	met    sync.Once              // closes it

	misguessed atomic.Bool   // a handle was another than OpenSSH's would be
	greeting   time.Duration // for how long a further lane's hello is waited for

	adding sync.Mutex // held while it does

	connecting sync.Mutex      // held while another is made
	conns      []*sshconn.Conn // after the first; they only become more

	channels channels

	waits   waits
	stretch stretch
	settled atomic.Bool // it is known whether one lane is enough
	grown   sync.Once
	growing sync.WaitGroup
	running sync.WaitGroup
}

// newSession opens the SFTP server on an SSH connection, which it owns from then
// on, also when it fails.
//
// early makes calls that go out with the first words, where the server is one that
// reads on.
func newSession(ctx context.Context, conn *sshconn.Conn, o Options, shared *semaphore.Weighted, early func(*wire.Client)) (*session, error) {
	s := &session{conn: conn, large: make(chan struct{}), waits: newWaits(), greeting: o.HandshakeTimeout}
	s.stretch.from = shared
	ctx, cancel := context.WithTimeoutCause(ctx, o.HandshakeTimeout,
		job.Errorf(job.ConnectFailed, "the server let the user in but its SFTP does not answer; it is tried again"))
	defer cancel()
	defer s.endWith(ctx)()
	if !isOpenSSH(conn) {
		early = nil
	}
	s.channels.hold(1)
	first, err := s.open(conn, early)
	if err != nil {
		s.fail(err)
		cause := s.cause(err)
		_ = s.Close() // never fails
		return nil, cause
	}
	s.lane = first
	s.add(first)
	s.running.Go(func() { s.watch(o) })
	return s, nil
}

func isOpenSSH(conn *sshconn.Conn) bool {
	return strings.HasPrefix(string(conn.ServerVersion()), "SSH-2.0-OpenSSH_")
}

// open opens a channel, the subsystem on it and the protocol in that.
func (s *session) open(conn *sshconn.Conn, early func(*wire.Client)) (*lane, error) {
	l, words, err := s.start(conn, early)
	if err != nil {
		return nil, err
	}
	if err := l.Greeted(); err != nil {
		return nil, s.noSFTP(conn, err, words)
	}
	return l, nil
}

// start does not wait for the server's hello; words are what it prints beside that. To
// wait for the word that there is such a subsystem costs no round trip: OpenSSH takes no
// data before that.
func (s *session) start(conn *sshconn.Conn, early func(*wire.Client)) (*lane, *firstWords, error) {
	channel, requests, err := conn.OpenChannel("session", nil)
	if err != nil {
		if _, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
			return nil, nil, job.Errorf(job.ConfigInvalid, "the server let the user in but opens no session: %w", quoted(err))
		}
		return nil, nil, err
	}
	words := &firstWords{end: make(chan struct{})}
	s.running.Go(func() { ssh.DiscardRequests(requests) })
	s.running.Go(func() {
		defer close(words.end)
		_, _ = io.Copy(words, channel.Stderr()) // ends with the channel
	})
	ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err == nil && !ok {
		err = job.Errorf(job.ConfigInvalid,
			"the server let the user in but has no SFTP; add \"Subsystem sftp internal-sftp\" to its sshd_config and reload sshd")
	}
	if err != nil {
		_ = channel.Close() // the reason counts
		return nil, nil, err
	}
	return &lane{conn: conn, Client: wire.Start(channel, early)}, words, nil
}

// noSFTP explains a subsystem that was promised but does not speak.
func (s *session) noSFTP(conn *sshconn.Conn, err error, words *firstWords) error {
	if _, ok := errors.AsType[*wire.ProtocolError](err); ok {
		return job.Errorf(job.ConfigInvalid,
			"the server's SFTP does not speak SFTP; if its shell start files (.bashrc and the like) print anything, make them silent: %w", quoted(err))
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	// The connection that still answers did not break: the server's SFTP ended.
	if _, _, aliveErr := conn.SendRequest("keepalive@openssh.com", true, nil); aliveErr != nil {
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

// endWith ends the session when the context ends, until stop is called.
func (s *session) endWith(ctx context.Context) (stop func() bool) { return s.conn.EndWith(ctx) }

// fail breaks the session for a reason; only the first one counts.
func (s *session) fail(why error) { s.conn.Fail(explained(why)) }

// end breaks the session for a reason that cause passes on as it is.
func (s *session) end(why error) { s.conn.End(why) }

// cause turns the error of a call into the reason for which the session ended.
func (s *session) cause(err error) error { return s.conn.Cause(explained(err)) }

// explained puts what the SFTP client says into words for people.
func explained(err error) error {
	if _, ok := errors.AsType[*job.Error](err); ok {
		return err
	}
	if protocol, ok := errors.AsType[*wire.ProtocolError](err); ok {
		return job.Errorf(job.Internal, "the server breaks the SFTP protocol; nothing it says can be relied on: %w", quoted(protocol))
	}
	return err
}

func quoted(err error) error { return sshconn.Quoted(err) }

// Close ends everything and waits for it.
func (s *session) Close() error {
	s.fail(wire.ErrClosed)
	// The connection is gone already, so that it cannot say good-bye any more,
	// and its error says no more than that.
	s.growing.Wait()
	for _, l := range s.all() {
		_ = l.Client.Close()
	}
	err := s.conn.Close()
	for _, c := range s.conns {
		err = errors.Join(err, c.Close())
	}
	s.stretch.giveBack()
	s.running.Wait()
	return err
}

// watch ends a session one of whose SFTP servers hangs.
func (s *session) watch(o Options) {
	ticker := time.NewTicker(o.StallAfter / 4)
	defer ticker.Stop()
	patience := map[*lane]*sshconn.Patience{}
	for {
		select {
		case <-s.conn.Done():
			return
		case <-ticker.C:
		}
		for _, l := range s.all() {
			if l.gone.Load() || !l.Speaks() {
				continue // one that may be done without
			}
			if patience[l] == nil {
				patience[l] = &sshconn.Patience{}
			}
			if patience[l].Lasted(l.Stalled(), l.conn.Held()) > o.StallAfter {
				s.fail(job.Errorf(job.Timeout, "the server is alive but has not answered a request for files for %v; look for a disk or a network file system there that hangs", o.StallAfter.Round(time.Millisecond)))
				return
			}
		}
	}
}
