package sshconn

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// ciphers puts those first that processors have instructions for.
var ciphers = []string{
	ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
	ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
}

// errUnpinned ends a handshake whose host key is not one of the pinned.
var errUnpinned = errors.New("host key is not pinned")

// handshake is one try to open an SSH connection.
type handshake struct {
	pins       []Pin
	algorithms []string // host keys to ask for
	// firstUse pins the key that an unknown server shows; nil where that is
	// not wanted.
	firstUse func(ctx context.Context, key string) error

	shown    ssh.PublicKey // what the server showed
	accepted ssh.PublicKey // what was found good; a later key exchange must show it again
	keyed    func()        // is called when the key was found good: now the login begins
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
			if h.refusal = h.firstUse(ctx, KeyLine(key)); h.refusal != nil {
				return h.refusal
			}
		case !slices.ContainsFunc(h.pins, func(p Pin) bool { return p.matches(key) }):
			return errUnpinned
		}
		h.accepted = key
		h.keyed()
		return nil
	}
}

// connector opens connections to one server.
type connector struct {
	Config
	login    *login
	address  string
	firstUse func(ctx context.Context, key string) error // nil: nothing is pinned any more
}

// connect dials and logs in. It may need more than one try: a server has host
// keys of several kinds, and which kind a fingerprint stands for shows only when
// the server shows that key.
func (c *connector) connect(ctx context.Context) (*Conn, ssh.PublicKey, error) {
	h := &handshake{pins: c.Pins, algorithms: hostKeyAlgorithms(c.Pins), firstUse: c.firstUse}
	var shown ssh.PublicKey
	askedAll := false
	for {
		conn, err := c.try(ctx, h)
		if h.shown != nil {
			shown = h.shown
		}
		var none *ssh.AlgorithmNegotiationError
		switch {
		case err == nil:
			return conn, shown, nil
		case ctx.Err() != nil:
			return nil, shown, context.Cause(ctx)
		case errors.Is(err, errUnpinned) && h.accepted == nil && len(c.Pins) == 0:
			return nil, shown, hostKeyUnknown(shown)
		case errors.Is(err, errUnpinned) && h.accepted == nil && c.otherKinds(h, shown):
			continue
		case errors.Is(err, errUnpinned):
			return nil, shown, hostKeyChanged(shown)
		case errors.As(err, &none) && strings.Contains(none.What, "host key") && shown != nil:
			return nil, shown, hostKeyChanged(shown)
		case errors.As(err, &none) && strings.Contains(none.What, "host key") && len(c.Pins) > 0 && !askedAll:
			// None of the pinned kinds is left; look what there is instead. Once:
			// a server may have none that is taken at all.
			h.algorithms, askedAll = hostKeyAlgorithms(nil), true
			continue
		}
		return nil, shown, c.explain(err, h)
	}
}

// otherKinds prepares the next try where a fingerprint may stand for another
// kind of key than the one that was shown.
func (c *connector) otherKinds(h *handshake, shown ssh.PublicKey) bool {
	if !slices.ContainsFunc(c.Pins, func(p Pin) bool { return p.key == nil }) {
		return false
	}
	used := hostKeyAlgorithms([]Pin{pinOf(shown)})
	before := len(h.algorithms)
	h.algorithms = slices.DeleteFunc(h.algorithms, func(a string) bool { return slices.Contains(used, a) })
	return len(h.algorithms) > 0 && len(h.algorithms) < before
}

func (c *connector) try(ctx context.Context, h *handshake) (*Conn, error) {
	tcp, err := c.Env.Dial.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	raw := newHeardConn(tcp)
	// Ending the context ends the handshake; its deadline covers a silent peer.
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	defer stop()
	deadline := time.Now().Add(c.HandshakeTimeout) //nolint:forbidigo // the network's own clock
	if err := tcp.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	config := &ssh.ClientConfig{
		Config:            ssh.Config{Ciphers: ciphers},
		User:              c.Username,
		Auth:              c.login.methods,
		HostKeyCallback:   h.check(ctx),
		HostKeyAlgorithms: h.algorithms,
		ClientVersion:     "SSH-2.0-xVault",
	}
	h.shown, h.accepted, h.refusal, h.keyed = nil, nil, nil, raw.login.start
	conn, channels, requests, err := ssh.NewClientConn(raw, c.address, config) // closes raw when it fails
	if err != nil {
		return nil, err
	}
	raw.login.stop()
	client := ssh.NewClient(conn, channels, requests) // which refuses the server's own channels
	if err := tcp.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &Conn{Client: client, raw: raw, hostKey: h.accepted, from: c, ended: make(chan struct{})}, nil
}
