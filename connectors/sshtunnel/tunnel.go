package sshtunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// Options are a tunnel's deadlines.
type Options struct {
	// HandshakeTimeout bounds the making of the SSH connection. Default 45 s.
	HandshakeTimeout time.Duration
	// KeepAlive is how often the machine in between is asked for a sign of life.
	// Default 15 s; after three times as long the tunnel is broken.
	KeepAlive time.Duration
}

// Tunnel is an open SSH connection through which others are made. It is a
// connectors.Dialer; its methods may be called by any goroutine. Closing a connection
// ends within a few seconds whoever waits in it, if need be with the tunnel.
type Tunnel struct {
	*sshconn.Conn
	refused atomic.Bool
}

// Refused reports whether the machine in between has refused to forward a connection,
// or does not say that it was for another reason.
func (t *Tunnel) Refused() bool { return t.refused.Load() }

// Open connects with the machine in between and logs in there. The key that it
// showed is returned also where it was refused; nil where none was shown. Errors are
// *job.Error, or the cause of the context.
func Open(ctx context.Context, c Config, env connectors.Env, o Options) (*Tunnel, ssh.PublicKey, error) {
	var pins []sshconn.Pin
	for _, text := range append(append([]string{}, c.HostKeys...), env.PinnedHostKeys...) {
		p, err := sshconn.ParsePin(text)
		if err != nil {
			return nil, nil, job.Errorf(job.ConfigInvalid, "the pinned host key %q %w", text, err)
		}
		pins = append(pins, p)
	}
	if c.CredentialID != "" {
		env.Credential = env.SSHCredential
	}
	conn, shown, err := sshconn.Connect(ctx, sshconn.Config{
		Host: c.Host, Port: c.Port, Username: c.Username, Pins: pins, TrustOnFirstUse: c.TrustOnFirstUse, Env: env,
		HandshakeTimeout: o.HandshakeTimeout, KeepAlive: o.KeepAlive,
	})
	if err != nil {
		return nil, shown, about(err)
	}
	return &Tunnel{Conn: conn}, shown, nil
}

// Again opens a tunnel in place of one that broke, which it closes. The machine has to
// show the host key that it showed before.
func (t *Tunnel) Again(ctx context.Context, c Config, env connectors.Env, o Options) (*Tunnel, error) {
	if err := t.Close(); err != nil {
		return nil, fmt.Errorf("close a broken tunnel: %w", err)
	}
	c.HostKeys, c.TrustOnFirstUse, env.PinnedHostKeys = nil, false, []string{sshconn.KeyLine(t.HostKey())}
	again, _, err := Open(ctx, c, env, o)
	if err != nil {
		return nil, err
	}
	again.refused.Store(t.Refused())
	return again, nil
}

// about says that an error is of the machine in between, not of the database.
func about(err error) error {
	if e, ok := errors.AsType[*job.Error](err); ok {
		return &job.Error{Code: e.Code, Message: "ssh: " + e.Message, Err: e}
	}
	return err
}

// DialContext opens a connection from the machine in between: network "tcp" to a
// host and port as that machine resolves them, "unix" to a socket there.
func (t *Tunnel) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := t.Conn.DialContext(ctx, network, address)
	if err == nil {
		return newChannel(conn, t), nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	refused, ok := errors.AsType[*ssh.OpenChannelError](err)
	switch {
	case !ok:
		return nil, about(t.Cause(err))
	case refused.Reason == ssh.Prohibited:
		t.refused.Store(true)
		return nil, job.Errorf(job.PermissionDenied, "the ssh server does not forward connections to %s; allow that for the user (AllowTcpForwarding, AllowStreamLocalForwarding, PermitOpen in sshd_config; port-forwarding, permitopen in authorized_keys): %w",
			address, sshconn.Quoted(refused))
	case network == "unix": // a server that does not forward to sockets gives no other reason
		t.refused.Store(true)
		return nil, job.Errorf(job.ConnectFailed, "the ssh server cannot reach the socket %s; check that the database listens there, that the user may open it, and that sshd forwards to sockets (AllowStreamLocalForwarding): %w", address, sshconn.Quoted(refused))
	default:
		return nil, job.Errorf(job.ConnectFailed, "the ssh server cannot reach %s; check that the database listens there: %w", address, sshconn.Quoted(refused))
	}
}

// NoOther adds to an error of a tunnel that leads nowhere why the programs of the machine
// in between do not take its place.
func NoOther(err, why error) error {
	e, ok := errors.AsType[*job.Error](err)
	if !ok {
		return err
	}
	reason := why.Error()
	if told, ok := errors.AsType[*job.Error](why); ok {
		reason = told.Message
	}
	return &job.Error{Code: e.Code, Err: err, Message: e.Message + ". The ssh host's own programs do not take its place: " + reason}
}

// Broken is why the tunnel ended, nil while it stands.
func (t *Tunnel) Broken() error {
	select {
	case <-t.Done():
		return about(t.Cause(errors.New("the tunnel ended")))
	default:
		return nil
	}
}
