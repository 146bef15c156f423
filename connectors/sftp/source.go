package sftp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/semaphore"

	"xvault/connectors"
	"xvault/connectors/sftp/wire"
	"xvault/connectors/sshconn"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// source implements connectors.Source.
type source struct {
	config   Config
	excludes connectors.Excludes
	pins     []sshconn.Pin
	env      connectors.Env
	options  Options
	shared   *semaphore.Weighted // memory for long round trips

	mu     sync.Mutex
	sess   *session
	asked  *questions    // went out with the first words; nil once they were used
	shown  ssh.PublicKey // what the server showed, also where that was refused
	closed bool
}

// open makes a source of a canonical configuration.
func open(config []byte, env connectors.Env, o Options, shared *semaphore.Weighted) (connectors.Source, error) {
	s, err := newSource(config, env, o, shared)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// newSource makes what is read from, or written to.
func newSource(config []byte, env connectors.Env, o Options, shared *semaphore.Weighted) (*source, error) {
	s := &source{env: env, options: o, shared: shared}
	if err := json.Unmarshal(config, &s.config); err != nil {
		return nil, job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: %w", err)
	}
	var faults map[int]error
	if s.excludes, faults = connectors.ParseExcludes(s.implied()); len(faults) > 0 {
		return nil, job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: exclude: %v", faults)
	}
	for _, text := range append(s.config.HostKeys, env.PinnedHostKeys...) {
		p, err := sshconn.ParsePin(text)
		if err != nil {
			return nil, job.Errorf(job.ConfigInvalid, "the pinned host key %q %w", text, err)
		}
		s.pins = append(s.pins, p)
	}
	if s.env.Log == nil {
		s.env.Log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// virtual are the folders of a whole system whose content no disk holds, and
// some of whose files never end.
var virtual = []string{"/proc/*", "/sys/*", "/dev/*", "/run/*"}

// implied gives the exclude patterns, with those before them that a backup of
// the whole system cannot do without; "!" takes them back.
func (s *source) implied() []string {
	if s.isRoot("/") {
		return append(append([]string{}, virtual...), s.config.Exclude...)
	}
	return s.config.Exclude
}

// server is whom to connect with.
func (s *source) server() sshconn.Config {
	return sshconn.Config{
		Host: s.config.Host, Port: s.config.Port, Username: s.config.Username,
		Pins: s.pins, TrustOnFirstUse: s.config.TrustOnFirstUse, Env: s.env,
		HandshakeTimeout: s.options.HandshakeTimeout, KeepAlive: s.options.KeepAlive,
	}
}

// connected gives the session, which the first call opens. start, where it is not
// nil, is called as soon as there is a connection. ask is for those who look at the
// configured paths at once.
func (s *source) connected(ctx context.Context, start func(*sshconn.Conn), ask bool) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, job.Errorf(job.Internal, "the source is closed")
	}
	if s.sess != nil {
		if start != nil {
			start(s.sess.conn)
		}
		return s.sess, nil
	}
	conn, shown, err := sshconn.Connect(ctx, s.server())
	s.shown = shown
	if err != nil {
		return nil, err
	}
	if start != nil {
		start(conn)
	}
	var early func(*wire.Client)
	if ask {
		early = func(c *wire.Client) { s.asked = questionsAbout(c, s.config.Paths) }
	}
	s.sess, err = newSession(ctx, conn, s.options, s.shared, early)
	if err != nil {
		s.asked = nil
	}
	return s.sess, err
}

// helped gives the session and, where the type of the source allows that, what
// reads beside it.
func (s *source) helped(ctx context.Context) (*session, *helper, error) {
	if !s.options.Shell {
		sess, err := s.connected(ctx, func(conn *sshconn.Conn) { openAhead(conn, 1) }, true)
		return sess, nil, err
	}
	var h *helper
	sess, err := s.connected(ctx, func(conn *sshconn.Conn) {
		openAhead(conn, 2)
		h = s.startHelper(conn, true)
	}, true)
	if err == nil || h == nil {
		return sess, h, err
	}
	h.end()
	h.wait() // for the connection is closed
	if _, ok := errors.AsType[*ssh.OpenChannelError](err); !ok {
		return nil, nil, err
	}
	// The helper may have taken the only session that the server allows.
	s.env.Log.Info("the source is read over SFTP alone", slog.String("why", "the server allows too few sessions on a connection"))
	sess, err = s.connected(ctx, nil, true)
	return sess, nil, err
}

// Read implements connectors.Source.
func (s *source) Read(ctx context.Context, visit func(connectors.Item) error) error {
	sess, h, err := s.helped(ctx)
	if err != nil {
		return err
	}
	if h != nil {
		sess.running.Go(h.wait)
		defer h.end()
	}
	defer sess.endWith(ctx)()
	roots, err := s.resolve(sess)
	if err != nil {
		return err
	}
	if err := missing(roots); err != nil {
		return err
	}
	r := newReader(s, sess)
	if h != nil && s.helps(h, sess, roots) {
		defer h.holdChannels(&sess.channels)()
		defer h.help(ctx, r)()
	}
	// Once, as a source is read once.
	growing, stop := context.WithCancel(ctx)
	defer stop()
	sess.grown.Do(func() { sess.growing.Go(func() { sess.grow(growing, s.options, s.env.Log, r.tars == nil) }) })
	return r.run(ctx, roots, visit)
}

// helps reports whether the helper is of use, which it waits to know only where
// something is to be listed, or small.
func (s *source) helps(h *helper, sess *session, roots []*root) bool {
	large := func(r *root) bool {
		kind, _ := kindOf(r.attrs, 0)
		return kind == entry.File && int64(min(r.attrs.Size, maxSize)) > s.options.SmallFile
	}
	for _, r := range roots {
		if !large(r) {
			return h.ready(s.env.Log, sess, roots)
		}
	}
	h.end()
	s.env.Log.Info("the source is read over SFTP alone", slog.String("why", "there are only large files, and no folders"))
	return false
}

// Probe implements connectors.Source.
func (s *source) Probe(ctx context.Context) (connectors.ProbeResult, error) {
	sess, err := s.connected(ctx, nil, true)
	result := connectors.ProbeResult{Paths: []connectors.ProbePath{}}
	if s.shown != nil {
		result.HostKey, result.HostKeyFingerprint = sshconn.KeyLine(s.shown), ssh.FingerprintSHA256(s.shown)
	}
	if err != nil {
		return result, err
	}
	defer sess.endWith(ctx)()
	result.ServerVersion = sess.conn.Version()
	roots, err := s.probeRoots(ctx, sess)
	if err != nil {
		return result, err
	}
	for _, r := range roots {
		result.Paths = append(result.Paths, probePath(r))
	}
	result.Warnings = s.warnings(sess, roots)
	if mayWrite(sess) {
		result.Warnings = append(result.Warnings, "this login is not confined to reading: it can write wherever the account can. For backups alone "+
			`a key will do whose line in authorized_keys begins with restrict,command="internal-sftp -R" (xvault source key makes one)`)
	}
	err = missing(roots)
	if s.options.Shell && err == nil {
		result.Transport = s.probeShell(sess, roots)
	}
	return result, err
}

func probePath(r *root) connectors.ProbePath {
	p := connectors.ProbePath{Path: r.path, Reachable: r.err == nil}
	if e, ok := errors.AsType[*job.Error](r.err); ok {
		p.Error = &connectors.ProbeErr{Code: e.Code, Message: e.Message}
		return p
	}
	switch kind, _ := kindOf(r.attrs, 0); kind {
	case entry.File:
		p.Kind = "file"
	case entry.Dir:
		p.Kind = "dir"
	}
	if r.link != "" {
		p.Kind = "symlink"
	}
	return p
}

// mayWrite asks to remove what is not there: a server that lets the login only read
// refuses that before it looks. Whatever else it answers changes nothing.
func mayWrite(sess *session) bool {
	err := sess.Remove(connectors.TempPrefix + uuid.NewString()).Status()
	return errors.Is(err, wire.ErrNotExist)
}

// warnings tell what works but may not be what was meant.
func (s *source) warnings(sess *session, roots []*root) []string {
	var w []string
	for _, r := range roots {
		if r.link != "" {
			w = append(w, fmt.Sprintf("the path %q is a link to %q; what it leads to is backed up, under the name of the link", r.path, r.link))
		}
		if kind, ok := kindOf(r.attrs, 0); r.err == nil && ok && kind != entry.File && kind != entry.Dir {
			w = append(w, fmt.Sprintf("the path %q is neither a file nor a folder; it has no content to back up", r.path))
		}
		if r.path == "/" {
			w = append(w, `the whole system is backed up; what is in /proc, /sys, /dev and /run is left out unless exclude says otherwise ("!/run/*")`)
		}
	}
	if len(s.config.HostKeys) > 0 && s.config.TrustOnFirstUse {
		w = append(w, "trust_on_first_use has no effect, because host_keys pins the key already")
	}
	if sess.Limits().ReadLength <= 32<<10 {
		w = append(w, "the server is no recent OpenSSH: reading works, with smaller requests")
	}
	return w
}

// Close implements connectors.Source.
func (s *source) Close() error {
	s.mu.Lock()
	sess := s.sess
	s.sess, s.closed = nil, true
	s.mu.Unlock()
	if sess == nil {
		return nil
	}
	return sess.Close()
}
