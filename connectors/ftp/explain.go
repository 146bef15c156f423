package ftp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"xvault/connectors"
	"xvault/connectors/ftp/wire"
	"xvault/internal/job"
)

// explain turns an error of a connection into one for people.
func (s *source) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if done, ok := errors.AsType[*job.Error](err); ok {
		return done
	}
	var login *wire.LoginError
	var noTLS *wire.NoTLSError
	var secure *wire.TLSError
	switch {
	case wire.CodeOf(err) == 421 || errors.As(err, &login) && saysCrowd(err):
		return job.Errorf(job.ConnectFailed, "the server has no room for another connection of %q: %w", s.config.Username, quoted(err))
	case errors.As(err, &login):
		return job.Errorf(job.AuthFailed, "the server does not let %q in; check the username and the password, and that the account may log in over FTP: %w", s.config.Username, quoted(err))
	case errors.As(err, &noTLS):
		return job.Errorf(job.ConnectFailed, `%s does not speak TLS on this port, so no password was sent; if the server has a port for implicit TLS (often 990), set tls to "implicit": %w`, s.address(), quoted(err))
	case errors.As(err, &secure):
		return s.explainTLS(err)
	default:
		return s.explainConnect(err)
	}
}

func (s *source) explainTLS(err error) error {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &authority):
		return job.Errorf(job.ConnectFailed, "the certificate of %s is signed by nobody that this worker trusts, so no password was sent; if it is your server's own, put it (or its authority's) into ca_pem: %w", s.address(), quoted(err))
	case errors.As(err, &name):
		return job.Errorf(job.ConnectFailed, "the certificate of %s is for another name, so no password was sent; set host to a name that it is for: %w", s.address(), quoted(err))
	case errors.As(err, &invalid):
		return job.Errorf(job.ConnectFailed, "the certificate of %s is not valid, so no password was sent: %w", s.address(), quoted(err))
	case errors.As(err, &header) && s.config.TLS == tlsImplicit:
		return job.Errorf(job.ConnectFailed, `%s does not begin with TLS; if it is the port for AUTH TLS (often 21), set tls to "explicit": %w`, s.address(), quoted(err))
	case isSilence(err):
		return job.Errorf(job.Timeout, "%s fell silent while TLS was to begin: %w", s.address(), quoted(err))
	default:
		return job.Errorf(job.ConnectFailed, "no TLS with %s: %w", s.address(), quoted(err))
	}
}

func (s *source) explainConnect(err error) error {
	where := s.address()
	var forbidden *connectors.ForbiddenAddressError
	var name *net.DNSError
	var broken *wire.BrokenError
	var data *wire.DataError
	switch {
	case errors.As(err, &forbidden):
		return job.Errorf(job.ConfigInvalid, "%q: %w", s.config.Host, forbidden)
	case errors.As(err, &name):
		return job.Errorf(job.ConnectFailed, "the name %q cannot be resolved; check the host's spelling and the worker's DNS: %w", s.config.Host, name)
	case errors.As(err, &data):
		return job.Errorf(job.ConnectFailed, "a data connection to %s failed; check that the server's range of passive ports is open in its firewall: %w", where, quoted(err))
	case errors.As(err, &broken) && isSilence(err):
		return job.Errorf(job.Timeout, "%s fell silent: %w", where, quoted(err))
	case errors.As(err, &broken):
		return job.Errorf(job.ConnectFailed, "the connection to %s broke: %w", where, quoted(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return job.Errorf(job.ConnectFailed, "%s refuses connections; check the port, and that an FTP server runs there: %w", where, quoted(err))
	case errors.Is(err, os.ErrDeadlineExceeded) || isSilence(err):
		return job.Errorf(job.ConnectFailed, "%s does not answer; check the address and any firewall in between: %w", where, quoted(err))
	default:
		return job.Errorf(job.ConnectFailed, "no FTP connection to %s: %w", where, quoted(err))
	}
}

// unreadable explains why one entry cannot be read while the server is fine.
func (s *source) unreadable(path string, err error) *job.Error {
	return job.Errorf(job.PermissionDenied, "%q cannot be read by %q: %w", path, s.config.Username, quoted(err))
}

// quotedError shows a cause that may hold a server's words, escaped and short.
type quotedError struct{ err error }

func quoted(err error) error { return quotedError{err} }

func (e quotedError) Error() string {
	text := e.err.Error()
	if len(text) > 300 {
		text = text[:300] + "..."
	}
	text = strconv.Quote(text)
	return strings.ReplaceAll(text[1:len(text)-1], `\"`, `"`)
}

func (e quotedError) Unwrap() error { return e.err }
