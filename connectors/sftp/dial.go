package sftp

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/internal/job"
)

// heardConn notes when bytes last came from the server, by a clock that nobody
// sets: a step of the machine's time is no silence.
type heardConn struct {
	net.Conn
	since time.Time    // when the connection was made
	heard atomic.Int64 // after how long bytes last came
}

func newHeardConn(conn net.Conn) *heardConn {
	return &heardConn{Conn: conn, since: time.Now()} //nolint:forbidigo // measures silence, decides nothing else
}

func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(int64(time.Since(c.since)))
	}
	return n, err
}

func (c *heardConn) silent() time.Duration {
	return time.Since(c.since) - time.Duration(c.heard.Load())
}

// ciphers puts those first that processors have instructions for.
var ciphers = []string{
	ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
	ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
}

// errUnpinned ends a handshake whose host key is not one of the pinned.
var errUnpinned = errors.New("host key is not pinned")

// handshake is one try to open an SSH connection.
type handshake struct {
	pins       []pin
	algorithms []string // host keys to ask for
	// firstUse pins the key that an unknown server shows; nil where that is
	// not wanted.
	firstUse func(ctx context.Context, key string) error

	shown    ssh.PublicKey // what the server showed
	accepted ssh.PublicKey // what was found good; a later key exchange must show it again
	refusal  error         // of firstUse
}

func (h *handshake) check(ctx context.Context) ssh.HostKeyCallback {
	return func(_ string, _ net.Addr, key ssh.PublicKey) error {
		h.shown = key
		switch {
		case h.accepted != nil:
			if !pinOf(h.accepted).matches(key) {
				return errUnpinned
			}
			return nil
		case len(h.pins) == 0 && h.firstUse != nil:
			if h.refusal = h.firstUse(ctx, keyLine(key)); h.refusal != nil {
				return h.refusal
			}
		case !slices.ContainsFunc(h.pins, func(p pin) bool { return p.matches(key) }):
			return errUnpinned
		}
		h.accepted = key
		return nil
	}
}

// connection is an authenticated SSH connection.
type connection struct {
	ssh.Conn
	raw      *heardConn
	requests <-chan *ssh.Request
	channels <-chan ssh.NewChannel
	hostKey  ssh.PublicKey
}

// connect dials and logs in. It may need more than one try: a server has host
// keys of several kinds, and which kind a fingerprint stands for shows only when
// the server shows that key.
func (s *source) connect(ctx context.Context, l *login) (*connection, ssh.PublicKey, error) {
	h := &handshake{pins: s.pins, algorithms: hostKeyAlgorithms(s.pins)}
	if len(s.pins) == 0 && s.config.TrustOnFirstUse {
		h.firstUse = s.env.PinHostKey
	}
	var shown ssh.PublicKey
	askedAll := false
	for {
		conn, err := s.try(ctx, h, l)
		if h.shown != nil {
			shown = h.shown
		}
		var none *ssh.AlgorithmNegotiationError
		switch {
		case err == nil:
			return conn, shown, nil
		case ctx.Err() != nil:
			return nil, shown, context.Cause(ctx)
		case errors.Is(err, errUnpinned) && h.accepted == nil && len(s.pins) == 0:
			return nil, shown, hostKeyUnknown(shown)
		case errors.Is(err, errUnpinned) && h.accepted == nil && s.otherKinds(h, shown):
			continue
		case errors.Is(err, errUnpinned):
			return nil, shown, hostKeyChanged(shown)
		case errors.As(err, &none) && strings.Contains(none.What, "host key") && shown != nil:
			return nil, shown, hostKeyChanged(shown)
		case errors.As(err, &none) && strings.Contains(none.What, "host key") && len(s.pins) > 0 && !askedAll:
			// None of the pinned kinds is left; look what there is instead. Once:
			// a server may have none that is taken at all.
			h.algorithms, askedAll = hostKeyAlgorithms(nil), true
			continue
		}
		return nil, shown, s.explain(err, h, l)
	}
}

// otherKinds prepares the next try where a fingerprint may stand for another
// kind of key than the one that was shown.
func (s *source) otherKinds(h *handshake, shown ssh.PublicKey) bool {
	if !slices.ContainsFunc(s.pins, func(p pin) bool { return p.key == nil }) {
		return false
	}
	used := hostKeyAlgorithms([]pin{pinOf(shown)})
	before := len(h.algorithms)
	h.algorithms = slices.DeleteFunc(h.algorithms, func(a string) bool { return slices.Contains(used, a) })
	return len(h.algorithms) > 0 && len(h.algorithms) < before
}

func (s *source) try(ctx context.Context, h *handshake, l *login) (*connection, error) {
	address := net.JoinHostPort(s.config.Host, strconv.Itoa(s.config.Port))
	tcp, err := s.env.Dial.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	raw := newHeardConn(tcp)
	// Ending the context ends the handshake; its deadline covers a silent peer.
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	defer stop()
	deadline := time.Now().Add(s.options.HandshakeTimeout) //nolint:forbidigo // the network's own clock
	if err := tcp.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	config := &ssh.ClientConfig{
		Config:            ssh.Config{Ciphers: ciphers},
		User:              s.config.Username,
		Auth:              l.methods,
		HostKeyCallback:   h.check(ctx),
		HostKeyAlgorithms: h.algorithms,
		ClientVersion:     "SSH-2.0-xVault",
	}
	h.shown, h.accepted, h.refusal = nil, nil, nil
	conn, channels, requests, err := ssh.NewClientConn(raw, address, config) // closes raw when it fails
	if err == nil {
		return &connection{conn, raw, requests, channels, h.accepted}, nil
	}
	return nil, err
}

func hostKeyUnknown(key ssh.PublicKey) error {
	return job.Errorf(job.HostKeyUnknown,
		"the server's host key is not known yet, so nothing was sent to it. It showed %s (%s). Compare that with what `ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub` prints on the server; if they are equal, add it to host_keys, or set trust_on_first_use",
		ssh.FingerprintSHA256(key), key.Type(), keyFile(key))
}

func hostKeyChanged(key ssh.PublicKey) error {
	return job.Errorf(job.HostKeyChanged,
		"the server showed a host key that is not the pinned one: %s (%s). Nothing was sent to it. If the server was reinstalled on purpose, pin the new key in host_keys; if not, somebody may be in between",
		ssh.FingerprintSHA256(key), key.Type())
}

// keyFile is how OpenSSH names the files of a kind of key.
func keyFile(key ssh.PublicKey) string {
	switch key.Type() {
	case ssh.KeyAlgoED25519:
		return "ed25519"
	case ssh.KeyAlgoRSA:
		return "rsa"
	default:
		return "ecdsa"
	}
}

// explain turns an error of dialing or of the handshake into one for people.
func (s *source) explain(err error, h *handshake, l *login) error {
	var done *job.Error
	if h.refusal != nil {
		if errors.As(h.refusal, &done) {
			return done
		}
		return job.Errorf(job.Internal, "the server's host key could not be pinned: %w", h.refusal)
	}
	if errors.As(err, &done) {
		return done
	}
	if h.accepted != nil && l.tried.Load() && isRefusal(err) {
		return job.Errorf(job.AuthFailed, "the server does not let %q in with %s; check the username and the credential, and that the account may log in: %w",
			s.config.Username, l.what, quoted(err))
	}
	if h.accepted != nil && strings.Contains(err.Error(), "unable to authenticate") {
		return job.Errorf(job.AuthFailed, "the server does not accept %s at all for %q: %w", l.what, s.config.Username, quoted(err))
	}
	return s.explainConnect(err)
}

// isRefusal: the library has no type for a refused login.
func isRefusal(err error) bool {
	text := err.Error()
	return strings.Contains(text, "unable to authenticate") || strings.Contains(text, "ssh: disconnect") ||
		strings.Contains(text, "authentication attempts") || errors.Is(err, errPrompt)
}

func (s *source) explainConnect(err error) error {
	where := net.JoinHostPort(s.config.Host, strconv.Itoa(s.config.Port))
	var forbidden *connectors.ForbiddenAddressError
	var name *net.DNSError
	switch {
	case errors.As(err, &forbidden):
		return job.Errorf(job.ConfigInvalid, "%q: %w", s.config.Host, forbidden)
	case errors.As(err, &name):
		return job.Errorf(job.ConnectFailed, "the name %q cannot be resolved; check the host's spelling and the worker's DNS: %w", s.config.Host, name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return job.Errorf(job.ConnectFailed, "%s refuses connections; check the port, and that an SSH server runs there: %w", where, quoted(err))
	case errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err):
		return job.Errorf(job.ConnectFailed, "%s does not answer; check the address and any firewall in between: %w", where, quoted(err))
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		return job.Errorf(job.ConnectFailed, "%s cannot be reached from this worker: %w", where, quoted(err))
	default:
		return job.Errorf(job.ConnectFailed, "no SSH connection to %s: %w", where, quoted(err))
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// quotedError shows a cause that may hold a server's words, escaped and short.
type quotedError struct{ err error }

func quoted(err error) error { return quotedError{err} }

func (e quotedError) Error() string { return escape(e.err.Error(), 300) }

// escape makes a server's words harmless and short.
func escape(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit] + "..."
	}
	text = strconv.Quote(text)
	return strings.ReplaceAll(text[1:len(text)-1], `\"`, `"`)
}

func (e quotedError) Unwrap() error { return e.err }
