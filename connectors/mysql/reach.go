package mysql

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/connectors/sshtunnel"
	"xvault/internal/job"
)

// reach is what it takes to talk with a server, for one job.
type reach struct {
	config  Config
	env     connectors.Env
	options Options

	ctx    context.Context //nolint:containedctx // ended by Close
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	tunnel *sshtunnel.Tunnel
	shown  ssh.PublicKey // what the ssh server showed, also where that was refused
	closed bool
}

func newReach(config []byte, env connectors.Env, o Options) (*reach, error) {
	r := &reach{env: env, options: o}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	if err := json.Unmarshal(config, &r.config); err != nil {
		return nil, job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: %w", err)
	}
	if r.env.Log == nil {
		r.env.Log = slog.New(slog.DiscardHandler)
	}
	if r.env.Dial == nil {
		r.env.Dial = connectors.NewDialer(connectors.DialerConfig{})
	}
	// A key may be the ssh host's, where both have one credential and the database wants
	// no password of who is logged in there.
	forHost := r.config.SSH != nil && r.config.SSH.CredentialID == ""
	if env.Credential.Type != "" && env.Credential.Type != "password" && !forHost {
		return nil, job.Errorf(job.ConfigInvalid, "the source's credential is a %s; a database wants a password (the key of the ssh host is a credential of its own: ssh.credential_id)", env.Credential.Type)
	}
	return r, nil
}

// address is where the server listens.
func (r *reach) address() (network, address string) {
	if r.config.Socket != "" {
		return "unix", r.config.Socket
	}
	return "tcp", net.JoinHostPort(r.config.Host, strconv.Itoa(r.config.Port))
}

// dial makes one connection with the server, through the tunnel where there is one.
func (r *reach) dial(ctx context.Context) (net.Conn, error) {
	dialer := r.env.Dial
	if r.config.SSH != nil {
		tunnel, err := r.tunneled(ctx)
		if err != nil {
			return nil, err
		}
		dialer = tunnel
	}
	network, address := r.address()
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, dumptool.ExplainDial(address, err)
	}
	return conn, nil
}

// tunneled gives the tunnel, which the first call opens, and a later one anew where it
// broke.
func (r *reach) tunneled(ctx context.Context) (tunnel *sshtunnel.Tunnel, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	if r.tunnel != nil && r.tunnel.Broken() == nil {
		return r.tunnel, nil
	}
	ctx, done := r.untilClosed(ctx) // Close waits for it
	defer done()
	if r.tunnel == nil {
		tunnel, r.shown, err = sshtunnel.Open(ctx, *r.config.SSH, r.env, r.options.Tunnel)
	} else {
		tunnel, err = r.tunnel.Again(ctx, *r.config.SSH, r.env, r.options.Tunnel)
	}
	if err != nil {
		return nil, err
	}
	r.tunnel = tunnel
	return tunnel, nil
}

var errClosed = job.Errorf(job.Internal, "the source is closed")

// untilClosed is a context that ends with Close as well.
func (r *reach) untilClosed(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.ctx, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// Close ends what goes on, and what connections there are.
func (r *reach) Close() error {
	r.cancel(errClosed)
	r.mu.Lock()
	tunnel := r.tunnel
	r.tunnel, r.closed = nil, true
	r.mu.Unlock()
	if tunnel == nil {
		return nil
	}
	return tunnel.Close()
}

// server is what a server is asked by, and what it said of itself.
type server struct {
	asker
	db *sql.DB // nil where the ssh host's programs are used
	version
	banner string // what it calls itself
	secure bool   // TLS is in use
	// remote is how the ssh host's programs are used; nil where the worker's are.
	remote *remote
}

// connect logs in and asks whose server it is.
func (r *reach) connect(ctx context.Context) (*server, error) {
	if r.config.SSH.Remote() {
		return r.connectRemote(ctx)
	}
	s, err := r.connectStraight(ctx)
	if err != nil && ctx.Err() == nil && r.shutOut() {
		return r.fallBack(ctx, err)
	}
	return s, err
}

func (r *reach) connectStraight(ctx context.Context) (*server, error) {
	db, err := r.open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.options.ConnectTimeout,
		job.Errorf(job.ConnectFailed, "the server did not let the account in within %v", r.options.ConnectTimeout))
	defer cancel()
	s := &server{asker: straight{db}, db: db}
	if err := s.greet(ctx); err != nil {
		s.close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, r.connectError(err)
	}
	return s, nil
}

// open prepares the driver. It never reads local files, whatever a server asks for,
// and never speaks a password in clear without a checked certificate.
func (r *reach) open() (*sql.DB, error) {
	t, err := r.config.tlsConfig()
	if err != nil {
		return nil, job.Errorf(job.ConfigInvalid, "ca_pem: %w", err)
	}
	c := driver.NewConfig()
	c.User, c.Passwd = r.config.Username, r.env.Credential.Password.Reveal()
	c.Net, c.Addr = r.address()
	c.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return r.dial(ctx) }
	c.TLS, c.AllowFallbackToPlaintext = t, r.config.TLS == TLSPreferred
	c.AllowCleartextPasswords = r.config.TLS.verifies()
	c.AllowAllFiles, c.AllowOldPasswords, c.MultiStatements = false, false, false
	c.Timeout, c.ReadTimeout, c.WriteTimeout = r.options.ConnectTimeout, r.options.Patience, r.options.Patience
	c.Logger = &driver.NopLogger{}
	if err := c.Apply(driver.Charset("utf8mb4", "")); err != nil {
		return nil, fmt.Errorf("prepare the connection: %w", err)
	}
	connector, err := driver.NewConnector(c)
	if err != nil {
		// The driver's own words could quote the address, and nothing else.
		return nil, job.Errorf(job.ConfigInvalid, "the connection cannot be made: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(time.Minute)
	return db, nil
}

func (s *server) greet(ctx context.Context) error {
	row, err := s.one(ctx, "SELECT VERSION(), @@version_comment", 2)
	if err != nil {
		return err
	}
	s.banner = row[0] + " (" + row[1] + ")"
	var ok bool
	if s.version, ok = versionOf(row[0], row[1]); !ok {
		return job.Errorf(job.ConfigInvalid, "the server does not tell its version: %.100q", s.banner)
	}
	if row, err = s.one(ctx, "SHOW SESSION STATUS LIKE 'Ssl_cipher'", 2); err != nil {
		return err
	}
	s.secure = row[1] != ""
	return nil
}

// connectError explains why the first connection failed.
func (r *reach) connectError(err error) error {
	if e, ok := errors.AsType[*job.Error](err); ok {
		return e
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificateError(err)
	}
	if errors.Is(err, driver.ErrNoTLS) {
		return noTLS()
	}
	if errors.Is(err, driver.ErrCleartextPassword) || errors.Is(err, driver.ErrOldPassword) {
		return job.Errorf(job.AuthFailed, "the server wants the password by a method that would show it to whoever listens: use tls verify_identity or verify_ca, or give the account another method: %w", err)
	}
	return serverError("the login as "+strconv.Quote(r.config.Username), err)
}

// mode is how a program's connection has to be: as the connector's own was, which
// was with TLS or without.
func (r *reach) mode(s *server) TLSMode {
	if r.config.TLS == TLSPreferred && s.secure {
		return TLSRequired
	}
	return r.config.TLS
}
