package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// server is how the server is reached and logged in to.
type server struct {
	config   Config
	password secret.Text
	attempts []attempt
	dial     connectors.Dialer
	timeout  time.Duration // of everything up to the login
}

// newServer prepares connections; there is none yet.
func newServer(c Config, credential job.Credential, dial connectors.Dialer, timeout time.Duration) (*server, error) {
	// A key may be the tunnel's, where both have one credential.
	forTunnel := c.SSH != nil && c.SSH.CredentialID == ""
	if !credential.PrivateKey.IsZero() && !forTunnel {
		return nil, job.Errorf(job.ConfigInvalid, "the source's credential is a private key; PostgreSQL needs one of type password (a key for a tunnel belongs into ssh.credential_id)")
	}
	attempts, err := c.attempts()
	if err != nil {
		return nil, job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: %w", err)
	}
	return &server{config: c, password: credential.Password, attempts: attempts, dial: dial, timeout: timeout}, nil
}

// address is the server's, for messages too.
func (s *server) address() string {
	if s.config.Socket != "" {
		return s.config.Socket
	}
	return net.JoinHostPort(s.config.Host, strconv.Itoa(s.config.Port))
}

// login is what a connection is made for.
type login struct {
	database string
	params   map[string]string // of the startup message
}

// session is a connection that is logged in.
type session struct {
	*pgconn.PgConn
	raw    *rawConn
	secure *tls.ConnectionState // nil without TLS
}

// connect makes a connection and logs in, in the first of the ways that the server
// takes. Its errors are *job.Error, or the cause of the context.
func (s *server) connect(ctx context.Context, l login) (*session, error) {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var first error
	for i, a := range s.attempts {
		found, err := s.try(limited, l, a)
		if err == nil {
			return found, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if first == nil || said(err) {
			first = err
		}
		if i+1 == len(s.attempts) || final(err) {
			break
		}
	}
	return nil, s.explainConnect(l, first)
}

// final says that another way to connect changes nothing.
func final(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case invalidPassword, noSuchDatabase, noPrivilege, tooManyConnections, cannotConnectNow:
			return true
		}
		return false
	}
	_, dialed := errors.AsType[*dialError](err)
	return dialed
}

// said reports whether an error is the server's own word, which tells more than that
// a connection was refused.
func said(err error) bool {
	_, ok := errors.AsType[*pgconn.PgError](err)
	return ok
}

func (s *server) try(ctx context.Context, l login, a attempt) (*session, error) {
	config, err := s.pgconn(l, a)
	if err != nil {
		return nil, err
	}
	dialed, err := s.dialServer(ctx)
	if err != nil {
		return nil, &dialError{err}
	}
	raw := &rawConn{Conn: dialed}
	// The library would connect once more, later and by itself, to cancel what failed.
	var taken atomic.Bool
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		if taken.Swap(true) {
			return nil, errors.New("there is one connection only")
		}
		return raw, nil
	}
	// A connection through a tunnel knows no deadlines: closing it ends a wait.
	unhook := raw.closeWith(ctx)
	conn, err := pgconn.ConnectConfig(ctx, config)
	if !unhook() && err == nil {
		err = context.Cause(ctx) // it was closed the moment that it was ready
	}
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	found := &session{PgConn: conn, raw: raw}
	if secured, ok := conn.Conn().(*tls.Conn); ok {
		state := secured.ConnectionState()
		found.secure = &state
	}
	return found, nil
}

// dialServer opens a connection with the server, below everything.
func (s *server) dialServer(ctx context.Context) (net.Conn, error) {
	if s.config.Socket != "" {
		return s.dial.DialContext(ctx, "unix", s.config.Socket)
	}
	return s.dial.DialContext(ctx, "tcp", s.address())
}

// maxMessage bounds what the server says at once before it is known to be one.
const maxMessage = 4 << 20

// dialError is a failure to connect at all.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// rawConn is the connection below TLS.
type rawConn struct {
	net.Conn
	once sync.Once
	err  error
}

// Close closes once, as TLS and what is above it both do.
func (c *rawConn) Close() error {
	c.once.Do(func() { c.err = c.Conn.Close() })
	return c.err
}

// closeWith closes it when the context ends, unless the returned function is called
// before; that tells whether it was.
func (c *rawConn) closeWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.Close() })
}

// Held is for how long reading was held back so far by a limit on bandwidth.
func (c *rawConn) Held() time.Duration {
	if limited, ok := c.Conn.(interface{ Held() time.Duration }); ok {
		return limited.Held()
	}
	return 0
}

// pgconn is the library's configuration. All that it could have taken from the
// worker's environment and home folder is overwritten.
func (s *server) pgconn(l login, a attempt) (*pgconn.Config, error) {
	c, err := pgconn.ParseConfig("host=server port=5432 user=user password=none dbname=database sslmode=disable target_session_attrs=any sslnegotiation=postgres")
	if err != nil {
		return nil, fmt.Errorf("prepare the connection: %w", err)
	}
	c.Host, c.Port, c.Fallbacks = s.config.Host, uint16(s.config.Port), nil
	c.Database, c.User, c.Password = l.database, s.config.Username, s.password.Reveal()
	c.TLSConfig, c.SSLNegotiation, c.SSLCertMode = a.tls, "postgres", "disable"
	c.RequireAuth, c.ChannelBinding = a.requireAuth, "prefer"
	c.KerberosSrvName, c.KerberosSpn, c.OAuthTokenProvider = "", "", nil
	c.MinProtocolVersion, c.MaxProtocolVersion = "3.0", "3.0"
	c.ConnectTimeout, c.ValidateConnect, c.AfterConnect = 0, nil, nil
	c.MaxProtocolMessageBodyLen = maxMessage
	c.RuntimeParams = l.params
	// The dialer resolves, and checks what it connects to.
	c.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return c, nil
}
