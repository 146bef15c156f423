// Package sshconn opens authenticated SSH connections for connectors: it dials,
// checks the host key before anything else, logs in, and watches that the server
// stays alive. What runs in the channels of a connection is the caller's.
//
// # Host keys
//
// A connection is made only with a server that shows one of the pinned keys, or,
// where that was asked for and nothing is pinned, with one whose key the hub has
// pinned before any credential is sent. Further connections with the same server
// (Conn.Another) take the very key that the first one showed and no other; none of
// them ever pins a key.
//
// # Errors
//
// What Connect and Conn.Cause return are *job.Error, or the cause of the caller's
// own context.
package sshconn

import (
	"context"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/internal/job"
)

// Config says which server to connect with, and as whom.
type Config struct {
	// Host is a name or an address, Port a number. Both are required.
	Host string
	Port int
	// Username is who logs in, with Env.Credential.
	Username string
	// Pins are the host keys that the server may show.
	Pins []Pin
	// TrustOnFirstUse has Env.PinHostKey pin the key that is shown, where there
	// are no Pins.
	TrustOnFirstUse bool
	// Env is what the worker lends: Credential, PinHostKey and Dial are used.
	Env connectors.Env
	// HandshakeTimeout bounds everything from the open connection to the login.
	// Default 45 s.
	HandshakeTimeout time.Duration
	// KeepAlive is how often the server is asked for a sign of life; it counts
	// as gone when no byte came for three times as long. Default 15 s.
	KeepAlive time.Duration
}

func (c Config) withDefaults() Config {
	if c.HandshakeTimeout <= 0 {
		c.HandshakeTimeout = 45 * time.Second
	}
	if c.KeepAlive <= 0 {
		c.KeepAlive = 15 * time.Second
	}
	if c.Env.Dial == nil {
		c.Env.Dial = connectors.NewDialer(connectors.DialerConfig{})
	}
	return c
}

// Connect dials and logs in. The key that the server showed is returned also
// where it was refused; nil where none was shown.
func Connect(ctx context.Context, config Config) (*Conn, ssh.PublicKey, error) {
	login, err := newLogin(config.Env.Credential)
	if err != nil {
		return nil, nil, err
	}
	c := &connector{Config: config.withDefaults(), login: login}
	c.address = net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	if c.TrustOnFirstUse && len(c.Pins) == 0 {
		if c.firstUse = c.Env.PinHostKey; c.firstUse == nil {
			return nil, nil, job.Errorf(job.Internal, "trust_on_first_use is set, but there is nowhere to pin a host key")
		}
	}
	conn, shown, err := c.connect(ctx)
	if err != nil {
		return nil, shown, err
	}
	conn.fate = &fate{done: make(chan struct{})}
	return conn, shown, conn.start()
}
