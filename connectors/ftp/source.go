package ftp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"xvault/connectors"
	"xvault/connectors/ftp/wire"
	"xvault/internal/job"
)

// source implements connectors.Source.
type source struct {
	config   Config
	excludes connectors.Excludes
	env      connectors.Env
	options  Options
	pool     *pool
	tls      *tls.Config // nil with tls "none"

	told      sync.Once    // the log was told that nothing is encrypted
	showAll   atomic.Int32 // whether LIST takes its option here
	showsDots atomic.Bool  // the server's listings show the folder itself
}

// open makes a source of a canonical configuration.
func open(config []byte, env connectors.Env, o Options) (connectors.Source, error) {
	s, err := newSource(config, env, o)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// newSource makes what is read from, or written to.
func newSource(config []byte, env connectors.Env, o Options) (*source, error) {
	s := &source{env: env, options: o}
	if err := json.Unmarshal(config, &s.config); err != nil {
		return nil, job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: %w", err)
	}
	var faults map[int]error
	if s.excludes, faults = connectors.ParseExcludes(s.implied()); len(faults) > 0 {
		return nil, job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: exclude: %v", faults)
	}
	if env.Credential.Type != "password" {
		return nil, job.Errorf(job.ConfigInvalid, "a source of the type ftp needs a credential of the type password")
	}
	if s.config.TLS != tlsNone {
		s.tls = &tls.Config{ServerName: s.config.Host, RootCAs: o.Roots, MinVersion: tls.VersionTLS12}
		if s.config.CAPEM != "" {
			s.tls.RootCAs = x509.NewCertPool()
			s.tls.RootCAs.AppendCertsFromPEM([]byte(s.config.CAPEM))
		}
	}
	if s.env.Log == nil {
		s.env.Log = slog.New(slog.DiscardHandler)
	}
	s.pool = newPool(s, o.Connections)
	return s, nil
}

// virtual are the folders of a whole system whose content no disk holds, and
// some of whose files never end.
var virtual = []string{"/proc/*", "/sys/*", "/dev/*", "/run/*"}

// implied gives the exclude patterns, with those before them that a backup of
// the whole system cannot do without; "!" takes them back.
func (s *source) implied() []string {
	if slices.Contains(s.config.Paths, "/") {
		return append(append([]string{}, virtual...), s.config.Exclude...)
	}
	return s.config.Exclude
}

// address is host and port.
func (s *source) address() string {
	return net.JoinHostPort(s.config.Host, strconv.Itoa(s.config.Port))
}

// connect makes a connection that is logged in.
func (s *source) connect(ctx context.Context) (*wire.Conn, error) {
	if s.tls == nil {
		s.told.Do(func() { s.env.Log.Warn(inClear) })
	}
	conn, err := wire.Dial(ctx, wire.Config{
		Address: s.address(), TLS: s.tls, Implicit: s.config.TLS == tlsImplicit, Dial: s.env.Dial.DialContext, Patience: s.options.Patience,
	})
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // who waits learns of it
	defer stop()
	if err := conn.Login(s.config.Username, s.env.Credential.Password.Reveal()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// inClear is said wherever a person may see it.
const inClear = `nothing is encrypted, because tls is "none": the password and every file can be read, and changed, by whoever is on the way to the server; use "explicit" or "implicit" if the server can do either`

// reading ends the connections when the context ends; the function that it gives
// stops that.
func (s *source) reading(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, s.pool.sever)
}

// Read implements connectors.Source.
func (s *source) Read(ctx context.Context, visit func(connectors.Item) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer s.reading(ctx)()
	roots, err := s.resolve(ctx)
	if err != nil {
		return err
	}
	if err := missing(roots); err != nil {
		return err
	}
	return newReader(ctx, cancel, s).run(roots, visit)
}

// Close implements connectors.Source.
func (s *source) Close() error {
	s.pool.close()
	return nil
}
