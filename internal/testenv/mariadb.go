package testenv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"xvault/internal/devenv"
)

// sharedMariaDB is the process's one server.
type sharedMariaDB struct {
	mu     sync.Mutex
	server *devenv.MariaDB
	err    error
	names  atomic.Int64
}

// MariaDBServer is a MariaDB server, the process's shared one or a test's own.
type MariaDBServer struct {
	*devenv.MariaDB
	t     testing.TB
	names *atomic.Int64
}

// MariaDB gives the process's shared server, which offers TLS. A test makes
// databases and accounts with Database and Account, and leaves everything else
// alone.
func MariaDB(t testing.TB) *MariaDBServer {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	s := &shared.mariadb
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil && s.err == nil {
		var dir string
		if dir, s.err = scratch(); s.err == nil {
			s.server, s.err = devenv.NewMariaDB(ctx, devenv.MariaDBConfig{Dir: filepath.Join(dir, "mariadb")})
		}
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return &MariaDBServer{s.server, t, &s.names}
}

func (s *sharedMariaDB) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	// Nothing in it is worth an orderly shutdown.
	return s.server.Kill()
}

// MariaDBOptions says how a test's own server runs.
type MariaDBOptions struct {
	NoTLS, SocketOnly bool
	Extra             []string
}

// NewMariaDB starts a server of the test's own, for tests that stop it or need
// another kind.
func NewMariaDB(t testing.TB, o MariaDBOptions) *MariaDBServer {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	server, err := devenv.NewMariaDB(ctx, devenv.MariaDBConfig{
		Dir: filepath.Join(Dir(t), "mariadb"), NoTLS: o.NoTLS, SocketOnly: o.SocketOnly, Extra: o.Extra,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Errorf("stop mariadb: %v", err)
		}
		if t.Failed() {
			log := server.Log()
			t.Logf("the end of mariadb's log:\n%s", log[max(0, len(log)-1000):])
		}
	})
	return &MariaDBServer{server, t, new(atomic.Int64)}
}

// Database makes an empty database, dropped after the test, and gives its name.
func (m *MariaDBServer) Database() string {
	m.t.Helper()
	name := fmt.Sprintf("t%d", m.names.Add(1))
	m.DatabaseNamed(name)
	return name
}

// DatabaseNamed is Database for a name that matters.
func (m *MariaDBServer) DatabaseNamed(name string) {
	m.t.Helper()
	m.Do("", "CREATE DATABASE "+QuoteName(name))
	m.dropAfter("DROP DATABASE IF EXISTS " + QuoteName(name))
}

// QuoteName writes a name of MariaDB's as SQL.
func QuoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// QuoteText writes a text as SQL.
func QuoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

// Account makes an account with a password, dropped after the test, and gives its
// name. Each grant is what stands before TO: "SELECT ON db.*".
func (m *MariaDBServer) Account(password string, grants ...string) string {
	m.t.Helper()
	name := fmt.Sprintf("u%d", m.names.Add(1))
	m.Do("", "CREATE USER "+name+"@'%' IDENTIFIED BY "+QuoteText(password))
	m.dropAfter("DROP USER IF EXISTS " + name + "@'%'")
	for _, grant := range grants {
		m.Do("", "GRANT "+grant+" TO "+name+"@'%'")
	}
	return name
}

// dropAfter runs a statement after the test, unless the server is gone by then.
func (m *MariaDBServer) dropAfter(statement string) {
	m.t.Cleanup(func() {
		ctx, cancel := startContext()
		defer cancel()
		if err := m.Exec(ctx, "", "SET lock_wait_timeout = 20", statement); err != nil && shared.mariadb.server == m.MariaDB {
			m.t.Errorf("%s: %v", statement, err)
		}
	})
}

// Do runs statements on one database, "" for none.
func (m *MariaDBServer) Do(database string, statements ...string) {
	m.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	m.check(m.Exec(ctx, database, statements...))
}

// Query gives the rows of a statement, each as texts.
func (m *MariaDBServer) Query(database, statement string) (all [][]string) {
	m.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	db, err := m.Open(database)
	m.check(err)
	all, err = queryTexts(ctx, db, statement)
	m.check(errors.Join(err, db.Close()))
	return all
}

func queryTexts(ctx context.Context, db *sql.DB, statement string) (all [][]string, err error) {
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return nil, fmt.Errorf("%.200s: %w", statement, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := make([]string, len(columns))
		for i, v := range values {
			if row[i] = v.String; !v.Valid {
				row[i] = "NULL"
			}
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// Crash ends the server at once.
func (m *MariaDBServer) Crash() {
	m.t.Helper()
	m.check(m.Kill())
}

// Restart starts it again after Crash, at the same address.
func (m *MariaDBServer) Restart() {
	m.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	m.check(m.Start(ctx))
}

func (m *MariaDBServer) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}
