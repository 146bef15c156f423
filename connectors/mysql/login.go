package mysql

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"xvault/connectors/dumptool"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// # The login of a program
//
// The dump program talks to a socket of the worker's own, without TLS. Its relay
// passes on the packets of the login one by one and does TLS with the server in
// between, as a client does it: after the server's greeting comes a request for TLS,
// and everything else inside. So the certificate is checked here, with the real
// host's name and against the configured authorities, on the connection that the
// dump comes over, whatever the program at hand can check.
//
// To the program the socket is a place where a password may be spoken in clear. So
// the relay lets no method pass that would speak it on a line that is not safe.

// Bits of a greeting's capabilities and of the answer's.
const (
	capLocalFiles = 1 << 7
	capTLS        = 1 << 11
	capCompress   = 1 << 5
)

// Limits of the packets of a login.
const (
	maxLoginPacket  = 1 << 20
	maxLoginPackets = 32
	answerHead      = 32 // capabilities, packet size, character set, reserved
)

// packet is one of the protocol's.
type packet struct {
	seq  byte
	body []byte
}

func readPacket(r io.Reader) (packet, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return packet{}, err
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if size == 0 || size > maxLoginPacket {
		return packet{}, fmt.Errorf("a packet of %d bytes during the login", size)
	}
	p := packet{head[3], make([]byte, size)}
	_, err := io.ReadFull(r, p.body)
	return p, err
}

func (p packet) writeTo(w io.Writer) error {
	n := len(p.body)
	b := append([]byte{byte(n), byte(n >> 8), byte(n >> 16), p.seq}, p.body...)
	_, err := w.Write(b)
	return err
}

// login is one login of a program.
type login struct {
	local, remote net.Conn
	mode          TLSMode
	tls           *tls.Config
	host          string
	safe          bool // nobody can listen: TLS, or inside SSH
}

// relayOpen makes the connections of a program.
func (r *reach) relayOpen(mode TLSMode) dumptool.Open {
	return func(ctx context.Context, local net.Conn) (net.Conn, error) {
		t, err := r.config.tlsConfig()
		if err != nil {
			return nil, job.Errorf(job.ConfigInvalid, "ca_pem: %w", err)
		}
		ctx, cancel := context.WithTimeoutCause(ctx, r.options.ConnectTimeout,
			job.Errorf(job.ConnectFailed, "the server did not let the dump program in within %v", r.options.ConnectTimeout))
		defer cancel()
		remote, err := r.dial(ctx)
		if err != nil {
			return nil, err
		}
		l := &login{local: local, remote: remote, mode: mode, tls: t, host: r.config.Host, safe: r.config.SSH != nil}
		// What waits comes back when the time is over.
		stop := context.AfterFunc(ctx, func() { _ = remote.Close() })
		in, err := l.run(ctx)
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err == nil && in {
			return &programConn{Conn: l.remote, raw: remote, early: earlyBytes}, nil
		}
		_ = remote.Close() // nothing more is wanted of it
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, loginError(err)
	}
}

// programConn is a program's connection with the server, once it is in.
type programConn struct {
	net.Conn
	raw   net.Conn
	early int // bytes of what it says at first, in which its settings are
}

// earlyBytes is more than MariaDB's dump program says before it asks for anything.
const earlyBytes = 64 << 10

// What MariaDB's dump program says of wait_timeout, which would undo setPatience, and what
// is passed on in its place: as long, so that nothing else of the packet changes.
var (
	resetsWait = []byte("SET WAIT_TIMEOUT=DEFAULT ")
	keepsWait  = []byte("SET WAIT_TIMEOUT=604800  ")
)

// Write passes on what the program says.
func (c *programConn) Write(p []byte) (int, error) {
	if c.early > 0 {
		c.early -= len(p)
		if bytes.Contains(p, resetsWait) {
			return c.Conn.Write(bytes.ReplaceAll(p, resetsWait, keepsWait))
		}
	}
	return c.Conn.Write(p)
}

// Held is for how long reading from it was held back further down.
func (c *programConn) Held() time.Duration {
	if limited, ok := c.raw.(interface{ Held() time.Duration }); ok {
		return limited.Held()
	}
	return 0
}

func loginError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*job.Error](err); ok {
		return e
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificateError(err)
	}
	return job.Errorf(job.ConnectFailed, "the dump program's login broke: %w", sshconn.Quoted(err))
}

func certificateError(err error) error {
	return job.Errorf(job.ConnectFailed, "the server's certificate is not to be trusted: %w. Nothing was sent to it. Configure the authority that signed it as ca_pem; for one that is for another name use tls verify_ca", sshconn.Quoted(err))
}

// run passes on the login; true: the program is in, false: the server refused it,
// and told it so.
func (l *login) run(ctx context.Context) (bool, error) {
	greeting, err := readPacket(l.remote)
	if err != nil {
		return false, fmt.Errorf("read the server's greeting: %w", err)
	}
	if greeting.body[0] == 0xff { // too many connections, host blocked
		return false, greeting.writeTo(l.local)
	}
	secure, err := l.announce(&greeting)
	if err != nil {
		return false, err
	}
	answer, err := readPacket(l.local)
	if err != nil {
		return false, fmt.Errorf("read the program's answer: %w", err)
	}
	if len(answer.body) < answerHead {
		return false, errors.New("the program's answer is too short")
	}
	capabilities := binary.LittleEndian.Uint32(answer.body) &^ (capLocalFiles | capCompress)
	shift := byte(0)
	if secure {
		capabilities |= capTLS
	}
	binary.LittleEndian.PutUint32(answer.body, capabilities)
	if secure {
		shift = 1
		if err := l.upgrade(ctx, answer); err != nil {
			return false, err
		}
	}
	answer.seq += shift
	if err := answer.writeTo(l.remote); err != nil {
		return false, err
	}
	return l.authenticate(shift)
}

// announce passes the greeting on without TLS in it, and tells whether there will be.
func (l *login) announce(greeting *packet) (bool, error) {
	at, err := capabilitiesIn(greeting.body)
	if err != nil {
		return false, err
	}
	offered := binary.LittleEndian.Uint16(greeting.body[at:])
	secure := l.tls != nil && offered&capTLS != 0
	if l.mode.must() && !secure {
		return false, noTLS()
	}
	binary.LittleEndian.PutUint16(greeting.body[at:], offered&^(capTLS|capLocalFiles|capCompress))
	return secure, greeting.writeTo(l.local)
}

func noTLS() error {
	return job.Errorf(job.ConnectFailed, "the server offers no TLS, which the configuration asks for; turn it on there, go through ssh, or set tls to preferred or disabled. Nothing was sent to it")
}

// capabilitiesIn finds the lower half of the capabilities in a greeting: protocol 10,
// the version as a text that ends in a zero byte, the connection's id, eight bytes of
// the challenge, and a filler before it.
func capabilitiesIn(body []byte) (int, error) {
	if body[0] != 10 {
		return 0, fmt.Errorf("the server speaks version %d of the protocol, not 10: is this a MySQL or MariaDB server?", body[0])
	}
	for i := 1; i < len(body); i++ {
		if body[i] == 0 {
			if at := i + 1 + 4 + 8 + 1; at+2 <= len(body) {
				return at, nil
			}
			break
		}
	}
	return 0, errors.New("the server's greeting is not whole")
}

// upgrade turns the connection with the server into one with TLS.
func (l *login) upgrade(ctx context.Context, answer packet) error {
	if err := (packet{answer.seq, answer.body[:answerHead]}).writeTo(l.remote); err != nil {
		return err
	}
	secure := tls.Client(l.remote, l.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	l.remote, l.safe = secure, true
	return nil
}

// authenticate passes packets on until the server has decided.
func (l *login) authenticate(shift byte) (bool, error) {
	for range maxLoginPackets {
		p, err := readPacket(l.remote)
		if err != nil {
			return false, fmt.Errorf("read the server's answer to the login: %w", err)
		}
		if err := l.permit(p.body); err != nil {
			return false, err
		}
		kind := p.body[0]
		if kind == 0x00 {
			if err := l.patience(); err != nil {
				return false, err
			}
		}
		p.seq -= shift
		if err := p.writeTo(l.local); err != nil {
			return false, err
		}
		switch {
		case kind == 0x00:
			return true, nil
		case kind == 0xff:
			return false, nil
		case kind == 0x01 && len(p.body) == 2 && p.body[1] == 3:
			continue // caching_sha2_password: the server knows it already, and goes on
		}
		if p, err = readPacket(l.local); err != nil {
			return false, fmt.Errorf("read the program's answer: %w", err)
		}
		p.seq += shift
		if err := p.writeTo(l.remote); err != nil {
			return false, err
		}
	}
	return false, errors.New("the login does not end")
}

// setPatience has the server wait for a program whose output is taken slowly, or not
// for a while: by default it hangs up after a minute, and where a hoster set it so, soon
// after it was last asked for something.
const setPatience = "SET SESSION net_write_timeout = 604800, net_read_timeout = 604800, wait_timeout = 604800"

// patience runs it on the new connection, before the program knows that it is in. A
// server that refuses it keeps its own.
func (l *login) patience() error {
	if err := (packet{0, append([]byte{0x03}, setPatience...)}).writeTo(l.remote); err != nil {
		return err
	}
	answer, err := readPacket(l.remote)
	if err != nil {
		return fmt.Errorf("read the server's answer after the login: %w", err)
	}
	if kind := answer.body[0]; kind != 0x00 && kind != 0xff {
		return errors.New("the server answers a setting with something else than yes or no")
	}
	return nil
}

// permit refuses what would have the program speak the password in clear to whoever
// listens.
func (l *login) permit(body []byte) error {
	var method string
	switch {
	case body[0] == 0xfe:
		method = "the oldest one"
		for i := 1; i < len(body); i++ {
			if body[i] == 0 {
				method = string(body[1:i])
				break
			}
		}
	case body[0] == 0x01 && len(body) == 2 && body[1] == 4:
		method = "caching_sha2_password in full"
	default:
		return nil
	}
	switch method {
	case "mysql_native_password", "client_ed25519", "caching_sha2_password", "parsec":
		return nil // a proof, not the password
	case "caching_sha2_password in full", "sha256_password":
		if l.safe {
			return nil
		}
	case "mysql_clear_password", "dialog":
		if l.safe && l.mode.verifies() {
			return nil
		}
	}
	return job.Errorf(job.AuthFailed, "the server wants the password by a method (%s) that would show it to whoever listens on the line: use TLS (tls verify_identity or verify_ca) or ssh", sshconn.Escape(method, 60))
}
