package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"xvault/connectors/dumptool"
	"xvault/connectors/sshconn"
	"xvault/connectors/sshexec"
	"xvault/connectors/sshtunnel"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// remote implements way with the programs of the ssh host, which connect with the server
// by themselves. They ask for the password as they would at a terminal, and have it from
// their standard input: see package sshexec.
type remote struct {
	*server // for its configuration and its words; it connects with nothing
	source  *source
	conn    *sshconn.Conn
	psql    client
	dumps   client // known once clients was asked
}

// shutOut reports whether the SSH server let nothing through, and there is another way.
func (s *source) shutOut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.SSH != nil && s.config.SSH.Dump == sshtunnel.DumpAuto && s.tunnel != nil && s.tunnel.Refused()
}

// fallBack takes the ssh host's programs, as the tunnel leads nowhere.
func (s *source) fallBack(ctx context.Context, why error) (survey, *inspector, error) {
	if fault := s.config.remoteFault(); fault != "" {
		return survey{}, nil, sshtunnel.NoOther(why, errors.New(fault))
	}
	v, in, err := s.beginRemote(ctx)
	switch {
	case err == nil:
		s.env.Log.Info("the ssh server forwards no connection to the database, so the ssh host's own programs dump it")
	case errors.Is(err, sshexec.ErrNoPrograms):
		err = sshtunnel.NoOther(why, err)
	}
	return v, in, err
}

// beginRemote finds psql over there, and makes the first connection with it.
func (s *source) beginRemote(ctx context.Context) (survey, *inspector, error) {
	tunnel, err := s.dig(ctx)
	if err != nil {
		return survey{}, nil, err
	}
	server, err := newServer(s.config, s.env.Credential, nil, s.options.ConnectTimeout)
	if err != nil {
		return survey{}, nil, err
	}
	if strings.ContainsAny(server.password.Reveal(), "\n\r\x00") {
		return survey{}, nil, job.Errorf(job.ConfigInvalid, "the password holds a line break or a zero byte, which the ssh host's programs cannot take on their standard input; use ssh.dump tunnel, or another password")
	}
	programs, err := sshexec.Find(ctx, tunnel.Conn, "psql", s.options.ClientFolders...)
	if err != nil {
		return survey{}, nil, err
	}
	found := clientsOf(programs)
	if len(found) == 0 {
		return survey{}, nil, job.Errorf(job.ConfigInvalid, "the ssh host has no psql, with which the server is asked what there is: install postgresql-client there")
	}
	m := &remote{server: server, source: s, conn: tunnel.Conn, psql: found[len(found)-1]}
	in, err := s.anyDatabase(ctx, m)
	return survey{way: m, target: server}, in, err
}

func (m *remote) clients(ctx context.Context, server int) (dumps, reads client, err error) {
	programs, err := sshexec.Find(ctx, m.conn, "pg_dump", m.source.options.ClientFolders...)
	if err != nil {
		return client{}, client{}, err
	}
	if dumps, err = pick(clientsOf(programs), server, "the ssh host"); err != nil {
		return client{}, client{}, err
	}
	if m.dumps = dumps; m.config.Format == Plain {
		return dumps, client{}, nil
	}
	reads, err = chooseReader(ctx, m.source.options.ClientFolders, dumps)
	return dumps, reads, err
}

// start implements way.
func (m *remote) start(ctx context.Context, database string, c dumptool.Command) (running, error) {
	o, err := sshexec.Start(ctx, m.conn, sshexec.Command{
		Program: c.Path, Args: append(c.Args, m.prompt(), "--dbname="+m.remoteString(database, m.dumps)), What: c.What,
		Input: m.input(""), Secrets: []secret.Text{m.password}, Check: c.Check, Patience: m.source.options.Patience,
		Prompt:  askedFor,
		Explain: func(f dumptool.Failure) *job.Error { return m.explainDump(f, database, spoken(f.Stderr)) },
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// askedFor is how the programs ask for a password.
const askedFor = "Password: "

// prompt says whether a program asks for a password.
func (m *remote) prompt() string {
	if m.password.IsZero() {
		return "--no-password"
	}
	return "--password"
}

// input is a program's standard input: the password, if it asks for it, and what follows.
func (m *remote) input(rest string) []byte {
	if m.password.IsZero() {
		return []byte(rest)
	}
	return []byte(m.password.Reveal() + "\n" + rest)
}

// remoteString is for a program's command line. It holds no secret. What is over there in
// the user's own files, or asked for by a server, is not to be used.
func (m *remote) remoteString(database string, of client) string {
	host, port, mode := m.config.Host, strconv.Itoa(m.config.Port), m.config.SSLMode
	if m.config.Socket != "" {
		host, mode = path.Dir(m.config.Socket), Disable
		port = strings.TrimPrefix(path.Base(m.config.Socket), socketPrefix)
	}
	words := []string{
		"host=" + quoteValue(host), "port=" + port, "dbname=" + quoteValue(database), "user=" + quoteValue(m.config.Username),
		"sslmode=" + string(mode), "application_name=xvault", fmt.Sprintf("connect_timeout=%d", max(2, int(m.timeout.Seconds()))),
	}
	if of.major >= 12 {
		words = append(words, "gssencmode=disable", "passfile=/nonexistent")
	}
	return strings.Join(words, " ")
}

// socketPrefix begins the names of PostgreSQL's sockets; the port follows.
const socketPrefix = ".s.PGSQL."

// remoteFault says what keeps the programs of the ssh host from being used.
func (c Config) remoteFault() string {
	switch {
	case c.SSLMode == VerifyCA || c.SSLMode == VerifyFull || c.CAPEM != "":
		return "they are not told which certificates to trust (sslmode " + string(c.SSLMode) + ")"
	case c.Socket != "":
		name, ok := strings.CutPrefix(path.Base(c.Socket), socketPrefix)
		if _, err := strconv.ParseUint(name, 10, 16); !ok || err != nil {
			return "they find a socket by its folder and port, so its name must be like .s.PGSQL.5432"
		}
	case (c.SSLMode == Prefer || c.SSLMode == Allow) && !loopback(c.Host):
		return "they could show the password to whoever answers between the ssh host and " + c.Host + "; set sslmode to require, or to disable"
	}
	return ""
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// inspect implements inspecting. Each question has a connection of its own; the first
// one shows whether there can be one.
func (m *remote) inspect(ctx context.Context, database string, patience time.Duration) (*inspector, error) {
	q := &questions{remote: m, database: database, ctx: ctx, patience: patience}
	if _, err := q.ask("SELECT 1"); err != nil {
		return nil, err
	}
	return &inspector{asker: q, database: database}, nil
}

// questions implements asker with psql.
type questions struct {
	*remote
	database string
	ctx      context.Context //nolint:containedctx // of the inspector
	patience time.Duration
}

// close implements asker.
func (*questions) close() {}

// tls implements asker.
func (q *questions) tls() string {
	if q.config.Socket != "" {
		return ""
	}
	rows, err := q.ask(`SELECT version FROM pg_catalog.pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()`)
	if err != nil || len(rows) != 1 || len(rows[0]) != 1 { // servers before 9.5 do not tell
		return ""
	}
	return rows[0][0]
}

// preparation keeps the questions to PostgreSQL's own catalog.
const preparation = "SET search_path = ''; SET default_transaction_read_only = on;\n"

// ask implements asker. The answer comes in the form of COPY, in which nothing is
// ambiguous.
func (q *questions) ask(sql string, args ...string) ([][]string, error) {
	ctx, cancel := context.WithTimeoutCause(q.ctx, q.patience, job.Errorf(job.Timeout,
		"the database %q did not answer a question about itself within %v; check the server's load and the network in between", q.database, q.patience))
	defer cancel()
	answer, err := sshexec.Ask(ctx, q.conn, sshexec.Command{
		Program: q.psql.program("psql"), Args: []string{
			"--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose", q.prompt(),
			"--dbname=" + q.remoteString(q.database, q.psql) + " client_encoding=UTF8",
		},
		What: fmt.Sprintf("asking the database %q about itself", q.database), Secrets: []secret.Text{q.password},
		Input: q.input(preparation + "COPY (" + withArgs(sql, args) + ") TO STDOUT;\n"), Prompt: askedFor, Explain: q.explain,
	})
	if err != nil {
		return nil, err
	}
	return rowsOf(string(answer))
}

// explain tells why psql failed.
func (q *questions) explain(f dumptool.Failure) *job.Error {
	said := spoken(f.Stderr)
	switch {
	case f.Link != nil || !f.Exited:
		return f.Plain()
	case said != nil && said.Severity == "FATAL":
		e, _ := errors.AsType[*job.Error](q.explainLogin(login{database: q.database}, said, f.Err))
		return e
	case said != nil && said.Code == noPrivilege:
		return &job.Error{Code: job.PermissionDenied, Err: f.Err, Message: fmt.Sprintf("the database %q does not answer a question about itself: %s", q.database, words(said))}
	case said == nil && (strings.Contains(f.Stderr, "no password supplied") || strings.Contains(f.Stderr, "authentication method")):
		return &job.Error{Code: job.AuthFailed, Err: f.Err, Message: fmt.Sprintf("the server wants a login for %q that the ssh host's psql does not have; give the source the database's password: %s", q.config.Username, f.LastWords())}
	case said == nil && strings.Contains(f.Stderr, "connect"):
		return &job.Error{Code: job.ConnectFailed, Err: f.Err, Message: fmt.Sprintf("the ssh host's psql cannot connect with the server at %s; check that it runs and listens there: %s", q.address(), f.LastWords())}
	}
	return f.Plain()
}

// argument stands for one in a question.
var argument = regexp.MustCompile(`\$[1-9]`)

// withArgs puts arguments into a question, as SQL that means the same whatever the
// server's settings make of backslashes.
func withArgs(sql string, args []string) string {
	return argument.ReplaceAllStringFunc(sql, func(place string) string {
		i := int(place[1] - '1')
		if i >= len(args) {
			return place
		}
		return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(args[i]) + "'"
	})
}

// rowsOf reads what COPY writes.
func rowsOf(text string) ([][]string, error) {
	if text == "" {
		return nil, nil
	}
	text, ended := strings.CutSuffix(text, "\n")
	if !ended {
		return nil, job.Errorf(job.DumpFailed, "the answer of the ssh host's psql is cut off")
	}
	unescape := strings.NewReplacer(`\\`, `\`, `\b`, "\b", `\f`, "\f", `\n`, "\n", `\r`, "\r", `\t`, "\t", `\v`, "\v")
	var rows [][]string
	for line := range strings.SplitSeq(text, "\n") {
		if len(rows) == maxRows {
			return nil, tooMany()
		}
		row := strings.Split(line, "\t")
		for i, v := range row {
			if row[i] = unescape.Replace(v); v == `\N` {
				row[i] = "" // NULL
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// whose tells in the job's log whose programs are used.
func whose(w way) slog.Attr {
	if _, remotely := w.(*remote); remotely {
		return slog.String("by", "the ssh host's programs")
	}
	return slog.String("by", "the worker's programs")
}
