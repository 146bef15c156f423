package postgres

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"xvault/connectors/dumptool"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// The server's error codes that mean something here.
const (
	invalidPassword     = "28P01"
	invalidLogin        = "28000" // no such role, or pg_hba.conf refuses it
	noSuchDatabase      = "3D000"
	noPrivilege         = "42501"
	notConnectable      = "55000"
	tooManyConnections  = "53300"
	adminShutdown       = "57P01" // pg_terminate_backend, too
	crashShutdown       = "57P02"
	cannotConnectNow    = "57P03"
	queryCanceled       = "57014" // a timeout, too
	lockNotAvailable    = "55P03"
	undefinedTable      = "42P01"
	recoveryConflict    = "40001"
	routineRowSecurity  = "check_enable_rls" // of the server's source
	maxServerWords      = 400
	certificateProblems = "x509: "
)

// words is what the server said, made harmless.
func words(e *pgconn.PgError) string {
	text := e.Message
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return sshconn.Escape(text, maxServerWords)
}

// explainConnect turns a failure to log in into an error for people.
func (s *server) explainConnect(l login, err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return s.explainLogin(l, e, err)
	}
	if e, ok := errors.AsType[*dialError](err); ok {
		return dumptool.ExplainDial(s.address(), e.err)
	}
	text := err.Error()
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case untrusted || strings.Contains(text, certificateProblems):
		return &job.Error{Code: job.ConfigInvalid, Err: err, Message: fmt.Sprintf(
			"%s shows a certificate that sslmode %q does not accept, so nothing was sent to it: %s. Put the certificate of its authority into ca_pem, and name the host as the certificate does.",
			s.address(), s.config.SSLMode, innermost(err))}
	case strings.Contains(text, "server refused TLS connection"):
		return &job.Error{Code: job.ConfigInvalid, Err: err, Message: fmt.Sprintf(
			"%s has no TLS, which sslmode %q asks for, so nothing was sent to it. Turn ssl on there, or choose another sslmode.", s.address(), s.config.SSLMode)}
	case strings.Contains(text, "require_auth check failed"):
		return &job.Error{Code: job.AuthFailed, Err: err, Message: fmt.Sprintf(
			"%s wants the password in the clear on a connection without TLS, so it was not sent. Use TLS (sslmode require or better) or scram-sha-256 in its pg_hba.conf; sslmode disable allows it as it is.", s.address())}
	case pgconn.Timeout(err) || isTimeout(err):
		return job.Errorf(job.ConnectFailed, "%s does not answer like a PostgreSQL server, or not in time; check the address, the port and any firewall in between: %w", s.address(), sshconn.Quoted(innermost(err)))
	case strings.Contains(text, "failed SASL auth"):
		return job.Errorf(job.AuthFailed, "the server and this worker could not agree on a login for %q: %w", s.config.Username, sshconn.Quoted(innermost(err)))
	default:
		return job.Errorf(job.ConnectFailed, "no connection with a PostgreSQL server at %s: %w", s.address(), sshconn.Quoted(innermost(err)))
	}
}

// innermost leaves out what the library puts in front of a cause.
func innermost(err error) error {
	for {
		var next error
		switch e := err.(type) { //nolint:errorlint // it walks the chain itself
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			if list := e.Unwrap(); len(list) > 0 {
				next = list[0]
			}
		}
		if next == nil {
			return err
		}
		err = next
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// explainLogin tells of a login that the server refused.
func (s *server) explainLogin(l login, e *pgconn.PgError, cause error) error {
	role := quoteIdent(s.config.Username)
	failed := func(code job.Code, format string, args ...any) error {
		return &job.Error{Code: code, Err: cause, Message: fmt.Sprintf(format, args...) + ": " + words(e)}
	}
	switch e.Code {
	case invalidPassword, invalidLogin:
		return failed(job.AuthFailed, "the server does not let %q into the database %q; check the username and the credential, and that its pg_hba.conf lets this worker in", s.config.Username, l.database)
	case noSuchDatabase:
		return failed(job.PathNotFound, "there is no database %q on the server; check the names in databases", l.database)
	case noPrivilege:
		return failed(job.PermissionDenied, "the role may not connect to the database %q; run there: GRANT CONNECT ON DATABASE %s TO %s;", l.database, quoteIdent(l.database), role)
	case notConnectable:
		return failed(job.PermissionDenied, "the database %q takes no connections; leave it out, or allow them (ALTER DATABASE %s ALLOW_CONNECTIONS true)", l.database, quoteIdent(l.database))
	case tooManyConnections:
		return failed(job.ConnectFailed, "the server has no connection left for this worker; a reserve is made with ALTER ROLE, max_connections or another time")
	default:
		return failed(job.ConnectFailed, "the server at %s refuses the connection (%s)", s.address(), e.Code)
	}
}

// explainDump turns the failure of a dump program into an error for people. said is
// the last error of the server, as it told the program.
func (s *server) explainDump(f dumptool.Failure, database string, said *pgconn.PgError) *job.Error {
	failed := func(code job.Code, format string, args ...any) *job.Error {
		return &job.Error{Code: code, Err: f.Err, Message: fmt.Sprintf("%s failed: ", f.What) + fmt.Sprintf(format, args...) + " (" + f.Ending() + ")"}
	}
	if f.Link != nil || !f.Exited {
		return f.Plain()
	}
	if said == nil {
		return s.explainSilence(f, failed)
	}
	role := quoteIdent(s.config.Username)
	switch said.Code {
	case noPrivilege:
		if said.Routine == routineRowSecurity {
			return failed(job.PermissionDenied, "row-level security would hide rows from the backup's role; run: ALTER ROLE %s BYPASSRLS;", role)
		}
		return failed(job.PermissionDenied, "the role may not read everything in %q; run: GRANT pg_read_all_data TO %s; (before PostgreSQL 14, and for large objects, GRANT SELECT on each). The source's probe names what is missing", database, role)
	case adminShutdown:
		return failed(job.DumpFailed, "the server ended the connection on an administrator's command; run the backup again")
	case crashShutdown, cannotConnectNow:
		return failed(job.ConnectFailed, "the server went down")
	case queryCanceled, lockNotAvailable:
		if strings.Contains(f.Stderr, "LOCK TABLE") {
			return failed(job.Timeout, "a table was locked by somebody else for too long; look into pg_locks, or back up at another time")
		}
		return failed(job.DumpFailed, "the server canceled a query of the dump")
	case undefinedTable:
		return failed(job.SourceChanged, "something was dropped from %q while it was dumped; run the backup again", database)
	case recoveryConflict:
		return failed(job.SourceChanged, "the standby gave precedence to its primary's changes; set hot_standby_feedback or a longer max_standby_streaming_delay there, or back up the primary")
	}
	return nil
}

// explainSilence tells of a failure without a word of the server.
func (s *server) explainSilence(f dumptool.Failure, failed func(job.Code, string, ...any) *job.Error) *job.Error {
	switch {
	case strings.Contains(f.Stderr, "no matching schemas were found"):
		return failed(job.PathNotFound, "none of the schemas is there")
	case strings.Contains(f.Stderr, "server closed the connection unexpectedly"), strings.Contains(f.Stderr, "could not receive data from server"),
		strings.Contains(f.Stderr, "could not send data to server"), strings.Contains(f.Stderr, "lost synchronization with server"):
		return failed(job.ConnectFailed, "the connection with the server broke")
	}
	return nil
}
