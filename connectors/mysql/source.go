package mysql

import (
	"context"
	"log/slog"
	"slices"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/connectors/sshconn"
)

// source implements connectors.Source.
type source struct {
	*reach
}

// Probe implements connectors.Source.
func (s *source) Probe(ctx context.Context) (connectors.ProbeResult, error) {
	ctx, done := s.untilClosed(ctx)
	defer done()
	result := connectors.ProbeResult{Paths: []connectors.ProbePath{}}
	srv, err := s.connect(ctx)
	s.mu.Lock()
	if s.shown != nil {
		result.HostKey, result.HostKeyFingerprint = sshconn.KeyLine(s.shown), ssh.FingerprintSHA256(s.shown)
	}
	s.mu.Unlock()
	if err != nil {
		return result, err
	}
	defer srv.close()
	result.ServerVersion = sshconn.Escape(srv.banner, 255)
	found, err := s.look(ctx, srv)
	if err != nil {
		return result, err
	}
	for _, d := range found.databases {
		p := connectors.ProbePath{Path: d.name, Reachable: d.err == nil, Kind: "database"}
		if d.err != nil {
			p.Error = &connectors.ProbeErr{Code: d.err.Code, Message: d.err.Message}
		}
		result.Paths = append(result.Paths, p)
	}
	result.Warnings = slices.Concat(found.gaps, found.warnings)
	t, note, err := s.dumpTool(ctx, srv)
	if err != nil {
		return result, err
	}
	result.Transport = "dumped with " + t.String() + how(s.config, srv)
	if note != "" {
		result.Warnings = append(result.Warnings, note)
	}
	return result, found.missing()
}

// how says how the connection is protected.
func how(c Config, s *server) string {
	switch {
	case s.remote != nil && s.secure:
		return ", by the ssh host's own program, with TLS"
	case s.remote != nil:
		return ", by the ssh host's own program"
	case c.SSH != nil && s.secure:
		return ", through ssh, with TLS"
	case c.SSH != nil:
		return ", through ssh"
	case s.secure:
		return ", with TLS"
	default:
		return ", not encrypted"
	}
}

// Read implements connectors.Source.
func (s *source) Read(ctx context.Context, visit func(connectors.Item) error) error {
	ctx, done := s.untilClosed(ctx)
	defer done()
	srv, err := s.connect(ctx)
	if err != nil {
		return err
	}
	found, err := s.look(ctx, srv)
	if err == nil {
		err = found.missing()
	}
	// The dumps have connections of their own; this one would only time out.
	srv.close()
	if err != nil {
		return err
	}
	t, note, err := s.dumpTool(ctx, srv)
	if err != nil {
		return err
	}
	if note != "" {
		found.warnings = append(found.warnings, note)
	}
	for _, gap := range found.gaps {
		s.env.Warn(gap)
	}
	for _, w := range found.warnings {
		s.env.Log.Warn("there is something to know about the source", slog.String("warning", w))
	}
	for _, d := range found.databases {
		if err := s.dump(ctx, srv, t, d, visit); err != nil {
			return err
		}
		if ctx.Err() != nil { // whatever was made of the dump before
			return context.Cause(ctx)
		}
	}
	return nil
}
