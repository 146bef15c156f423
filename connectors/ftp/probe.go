package ftp

import (
	"context"
	"errors"
	"fmt"

	"xvault/connectors"
	"xvault/connectors/ftp/wire"
	"xvault/internal/entry"
)

// Probe implements connectors.Source.
func (s *source) Probe(ctx context.Context) (connectors.ProbeResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.reading(ctx)()
	result := connectors.ProbeResult{Paths: []connectors.ProbePath{}}
	if s.tls == nil {
		result.Warnings = append(result.Warnings, inClear)
	}
	err := s.pool.with(ctx, func(sess *session) error {
		result.ServerVersion = sess.wire.Greeting
		result.Transport = transport(sess.wire)
		return nil
	})
	if err != nil {
		return result, err
	}
	roots, err := s.resolve(ctx)
	if err != nil {
		return result, err
	}
	if err := s.tryRoots(ctx, roots); err != nil {
		return result, err
	}
	for _, r := range roots {
		result.Paths = append(result.Paths, probePath(r))
	}
	result.Warnings = append(result.Warnings, warnings(roots)...)
	if s.showAll.Load() == showAllNot {
		result.Warnings = append(result.Warnings, dotsMayHide)
	}
	if w := writeWarning(roots); w != "" {
		result.Warnings = append(result.Warnings, w)
	}
	return result, missing(roots)
}

// transport says how a server is read.
func transport(conn *wire.Conn) string {
	way, listing := conn.TLSVersion(), "MLSD"
	if way == "" {
		way = "in clear"
	}
	if !conn.Has("MLST") {
		listing = "LIST, for the server has no MLSD: modes and owners as far as it shows them"
	}
	return fmt.Sprintf("FTP, %s; folders are listed with %s", way, listing)
}

// tryRoots looks whether every folder lists, and every file opens: that is half of
// being reachable.
func (s *source) tryRoots(ctx context.Context, roots []*root) error {
	for _, r := range roots {
		if r.err != nil {
			continue
		}
		err := s.pool.with(ctx, func(sess *session) error { return sess.try(r) })
		switch {
		case err == nil:
		case isRefusal(err):
			r.err = s.unreadable(r.path, err)
		default:
			return s.explain(ctx, err)
		}
	}
	return nil
}

func (s *session) try(r *root) error {
	switch r.line.Kind {
	case entry.Dir:
		l, err := s.probeList(r)
		if err == nil && l != nil {
			r.err = l.flaw
		}
		if err == nil {
			r.writes, err = s.mayWrite("")
		}
		return err
	case entry.File:
		parent, name := split(r.path)
		if err := s.enter(folder{path: parent}); err != nil {
			return err
		}
		var err error
		if r.writes, err = s.mayWrite(name); err != nil {
			return err
		}
		// Last, for a server may close the connection over a file that is not taken.
		t, err := s.wire.Start(s.ctx, "RETR", wire.Relative(name), 0)
		if err == nil {
			t.Abort()
		}
		return err
	default:
		return nil
	}
}

// probeList lists as far as a probe wants to know; nil where there is more.
func (s *session) probeList(r *root) (*listing, error) {
	if err := s.enter(r.folder); err != nil {
		return nil, err
	}
	l, err := s.list(r.path, s.src.options.ListAhead)
	if errors.Is(err, errTooMuch) {
		return nil, nil
	}
	return l, err
}

func probePath(r *root) connectors.ProbePath {
	p := connectors.ProbePath{Path: r.path, Reachable: r.err == nil}
	if r.err != nil {
		p.Error = &connectors.ProbeErr{Code: r.err.Code, Message: r.err.Message}
		return p
	}
	switch r.line.Kind {
	case entry.File:
		p.Kind = "file"
	case entry.Dir:
		p.Kind = "dir"
	}
	if r.isLink {
		p.Kind = "symlink"
	}
	return p
}

// warnings tell what works but may not be what was meant.
func warnings(roots []*root) []string {
	var w []string
	for _, r := range roots {
		switch kind := r.line.Kind; {
		case r.err != nil:
		case r.isLink:
			w = append(w, fmt.Sprintf("the path %q is a link to %q; what it leads to is backed up, under the name of the link", r.path, r.target))
		case kind != entry.File && kind != entry.Dir:
			w = append(w, fmt.Sprintf("the path %q is neither a file nor a folder; it has no content to back up", r.path))
		}
		if r.path == "/" {
			w = append(w, `the whole server is backed up; what is in /proc, /sys, /dev and /run is left out unless exclude says otherwise ("!/run/*")`)
		}
	}
	return w
}
