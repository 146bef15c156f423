package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/connectors/sshconn"
	"xvault/connectors/sshtunnel"
	"xvault/internal/job"
)

// source implements connectors.Source.
type source struct {
	config   Config
	excludes []tablePattern
	env      connectors.Env
	options  Options
	ctx      context.Context //nolint:containedctx // ended by Close
	cancel   context.CancelCauseFunc

	mu     sync.Mutex
	tunnel *sshtunnel.Tunnel
	shown  ssh.PublicKey // what the machine in between showed
}

var errClosed = errors.New("the source is closed")

func open(config []byte, env connectors.Env, o Options) (*source, error) {
	s := &source{env: env, options: o}
	if err := json.Unmarshal(config, &s.config); err != nil {
		return nil, job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: %w", err)
	}
	for _, text := range s.config.ExcludeTables {
		p, err := parseTablePattern(text)
		if err != nil {
			return nil, job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: exclude_tables: %q %w", text, err)
		}
		s.excludes = append(s.excludes, p)
	}
	if s.env.Dial == nil {
		s.env.Dial = connectors.NewDialer(connectors.DialerConfig{})
	}
	if s.env.Log == nil {
		s.env.Log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s, nil
}

// Close implements connectors.Source.
func (s *source) Close() error {
	s.cancel(errClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tunnel == nil {
		return nil
	}
	tunnel := s.tunnel
	s.tunnel = nil
	return tunnel.Close()
}

// untilClosed is a context that ends with Close as well.
func (s *source) untilClosed(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// reach prepares connections, and makes the tunnel that they go through.
func (s *source) reach(ctx context.Context) (*server, error) {
	dial := s.env.Dial
	if s.config.SSH != nil {
		if _, err := s.dig(ctx); err != nil {
			return nil, err
		}
		dial = tunneled{s}
	}
	return newServer(s.config, s.env.Credential, dial, s.options.ConnectTimeout)
}

// tunneled dials through the tunnel that there is by then.
type tunneled struct{ *source }

// DialContext implements connectors.Dialer.
func (t tunneled) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	tunnel, err := t.dig(ctx)
	if err != nil {
		return nil, err
	}
	return tunnel.DialContext(ctx, network, address)
}

// dig gives the tunnel, which the first call makes, and a later one anew where it broke.
func (s *source) dig(ctx context.Context) (tunnel *sshtunnel.Tunnel, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, errClosed
	}
	if s.tunnel != nil && s.tunnel.Broken() == nil {
		return s.tunnel, nil
	}
	ctx, done := s.untilClosed(ctx) // Close waits for it
	defer done()
	if s.tunnel == nil {
		tunnel, s.shown, err = sshtunnel.Open(ctx, *s.config.SSH, s.env, s.options.Tunnel)
	} else {
		tunnel, err = s.tunnel.Again(ctx, *s.config.SSH, s.env, s.options.Tunnel)
	}
	if err != nil {
		return nil, err
	}
	s.tunnel = tunnel
	return tunnel, nil
}

// survey is what is known before anything is dumped.
type survey struct {
	// way is how the server is asked and dumped; target is the server itself.
	way    way
	target *server
	about  about
	client client
	// reader is the worker's, which can read what client writes; for archives alone.
	reader    client
	databases []database
	// first is a database that the role can connect to.
	first  string
	secure string // the version of TLS, empty without
}

// look connects, and finds out what there is to dump and with which programs.
func (s *source) look(ctx context.Context) (survey, error) {
	v, in, err := s.begin(ctx)
	if err != nil {
		return survey{}, err
	}
	defer in.close()
	v.first, v.secure = in.database, in.tls()
	if v.about, err = in.about(); err != nil {
		return v, err
	}
	if v.databases, err = s.list(in); err != nil {
		return v, err
	}
	v.client, v.reader, err = v.way.clients(ctx, v.about.major())
	return v, err
}

// begin settles the way, by making the first connection.
func (s *source) begin(ctx context.Context) (survey, *inspector, error) {
	if s.config.SSH.Remote() {
		return s.beginRemote(ctx)
	}
	server, err := s.reach(ctx)
	if err != nil {
		return survey{}, nil, err
	}
	in, err := s.anyDatabase(ctx, server)
	if err != nil && ctx.Err() == nil && s.shutOut() {
		return s.fallBack(ctx, err)
	}
	return survey{way: &here{server, s}, target: server}, in, err
}

// inspecting connects with databases to ask them about themselves.
type inspecting interface {
	inspect(ctx context.Context, database string, patience time.Duration) (*inspector, error)
}

// way is whose programs deal with a server.
type way interface {
	inspecting
	// clients gives the programs that dump a server of a major version, and those of
	// the worker that read such a dump.
	clients(ctx context.Context, server int) (dumps, reads client, err error)
	// start runs a dump program for one database. Its Check is closed where that fails.
	start(ctx context.Context, database string, c dumptool.Command) (running, error)
}

// running is a dump program's output.
type running interface {
	io.ReadCloser
	// Stderr is what it said so far.
	Stderr() string
}

// anyDatabase connects with whichever database lets the role in: one of those that
// are named, or one that nearly every server has.
func (s *source) anyDatabase(ctx context.Context, server inspecting) (*inspector, error) {
	candidates := []string{"postgres", "template1"}
	if !s.all() {
		candidates = append(slices.Clone(s.config.Databases), candidates...)
	}
	var first error
	for _, name := range candidates {
		in, err := server.inspect(ctx, name, s.options.Patience)
		if err == nil {
			return in, nil
		}
		if first == nil {
			first = err
		}
		if code := job.CodeOf(err); code != job.PathNotFound && code != job.PermissionDenied {
			return nil, err
		}
	}
	return nil, first
}

// all reports whether every database is to be dumped.
func (s *source) all() bool { return slices.Equal(s.config.Databases, []string{all}) }

// list gives the databases that are to be dumped, in the order of the archive.
func (s *source) list(in *inspector) ([]database, error) {
	if !s.all() {
		var list []database
		for _, name := range s.config.Databases {
			list = append(list, database{name: name, connect: true})
		}
		return s.sorted(list), nil
	}
	list, err := in.databases()
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, job.Errorf(job.SourceEmpty, `the server has no database that takes connections, so that "*" means none`)
	}
	return s.sorted(list), nil
}

func (s *source) sorted(list []database) []database {
	slices.SortFunc(list, func(a, b database) int {
		return strings.Compare(member(a.name, s.config.Format), member(b.name, s.config.Format))
	})
	return list
}

// hostKey is what the machine in between showed, for the probe.
func (s *source) hostKey(found *connectors.ProbeResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown != nil {
		found.HostKey, found.HostKeyFingerprint = sshconn.KeyLine(s.shown), ssh.FingerprintSHA256(s.shown)
	}
}
