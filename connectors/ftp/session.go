package ftp

import (
	"context"
	"errors"
	"strings"
	"time"

	"xvault/connectors/ftp/wire"
	"xvault/internal/job"
)

// session is one connection of a source's, and where it stands.
type session struct {
	src  *source
	wire *wire.Conn
	ctx  context.Context //nolint:containedctx // of the one call that uses the session
	dir  string          // the folder that it is in, by our name; empty: not known
	used time.Time       // when it was given back
}

// folder is a folder and how to be sure of it.
type folder struct {
	path string // absolute, by the configured name
	real string // what the server must say where it is; empty: it need not
}

// below is a folder in it.
func (f folder) below(name string) folder {
	inner := folder{path: join(f.path, name)}
	if f.real != "" {
		inner.real = join(f.real, name)
	}
	return inner
}

// enter goes to a folder, and makes sure that no link led to another one. It gives
// where the server says that it is.
func (s *session) enter(f folder) error {
	if s.dir == f.path {
		return nil
	}
	s.dir = ""
	if err := s.wire.Chdir(f.path); err != nil {
		return err
	}
	if f.real != "" {
		where, err := s.wire.Where()
		if err != nil {
			return err
		}
		if where != "" && !wire.SamePath(f.real, where) {
			return wire.ErrElsewhere
		}
	}
	s.dir = f.path
	return nil
}

// locate enters a configured folder and learns its real place; empty where the server
// does not tell.
func (s *session) locate(path string) (string, error) {
	s.dir = ""
	if err := s.wire.Chdir(path); err != nil {
		return "", err
	}
	where, err := s.wire.Where()
	if err != nil {
		return "", err
	}
	s.dir = path
	if !strings.HasPrefix(where, "/") {
		return "", nil
	}
	return where, nil
}

// listAt enters a folder and lists it.
func (s *session) listAt(f folder) (*listing, error) {
	if err := s.enter(f); err != nil {
		return nil, err
	}
	return s.list(f.path, s.src.options.ListingMemory)
}

// modified is the time of a file in the folder that the session is in; zero where the
// server does not tell it.
func (s *session) modified(name string) (time.Time, error) {
	if !s.wire.Has("MDTM") {
		return time.Time{}, nil
	}
	at, err := s.wire.Modified(wire.Relative(name))
	if wire.CodeOf(err) == 500 || wire.CodeOf(err) == 502 {
		return time.Time{}, nil
	}
	return at, err
}

// join puts a name into a folder.
func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

// split is the reverse.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/", path[1:]
	}
	return path[:i], path[i+1:]
}

// isSilence: the server owed something for too long.
func isSilence(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isLost: the connection, or that for data, broke; another one may do.
func isLost(err error) bool {
	var broken *wire.BrokenError
	var data *wire.DataError
	if _, explained := errors.AsType[*job.Error](err); explained {
		return false
	}
	switch wire.CodeOf(err) {
	case 425, 426:
		return true
	}
	return errors.As(err, &broken) || errors.As(err, &data)
}
