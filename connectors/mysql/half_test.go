package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// lossy dials connections of which the first that carries a statement breaks when the
// server has answered it, and nobody hears the answer.
type lossy struct {
	statement string
	meanwhile func()      // between the answer and the break
	after     bool        // nothing is dialed after it
	broke     atomic.Bool // once
}

func (d *lossy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.after && d.broke.Load() {
		return nil, errors.New("the network is gone")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	return &lossyConn{Conn: conn, of: d}, err
}

type lossyConn struct {
	net.Conn
	of    *lossy
	loses bool
}

func (c *lossyConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(c.of.statement)) && !c.of.broke.Swap(true) {
		c.loses = true
	}
	return c.Conn.Write(p)
}

func (c *lossyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.loses {
		return n, err
	}
	c.of.meanwhile()
	_ = c.Close() // the test is of what follows
	return 0, io.ErrUnexpectedEOF
}

// Where the server's answer to a step is lost, nothing is dropped but what the restore
// made, and nobody is told to drop what is whole.
func TestAnAnswerIsLost(t *testing.T) {
	t.Parallel()
	const (
		dump       = "CREATE TABLE a (b INT);\n"
		strangers  = "CREATE TABLE strangers (x INT)"
		mark       = connectors.TempPrefix + testJob
		notWhole   = "is not whole"
		butForMark = "holds all of the dump"
	)
	m := testenv.MariaDB(t)
	for what, c := range map[string]struct {
		statement string
		there     bool   // the database, before
		meanwhile string // somebody else does to it
		gone      bool   // the server is, afterwards
		tables    []string
		none      bool // there is no database then
		note      string
	}{
		"of a new database":                     {statement: "CREATE DATABASE", none: true},
		"of a new database, used meanwhile":     {statement: "CREATE DATABASE", meanwhile: strangers, tables: []string{"strangers"}},
		"of one that was there":                 {statement: "CREATE DATABASE", there: true},
		"of one that was there, used meanwhile": {statement: "CREATE DATABASE", there: true, meanwhile: strangers, tables: []string{"strangers"}},
		"of a new database, for good":           {statement: "CREATE DATABASE", gone: true, note: "if it holds nothing"},
		"of a mark":                             {statement: "CREATE TABLE", none: true},
		"of a mark, used meanwhile":             {statement: "CREATE TABLE", meanwhile: strangers, tables: []string{"strangers"}},
		"of a mark in one that was there":       {statement: "CREATE TABLE", there: true},
		"of a mark, for good":                   {statement: "CREATE TABLE", gone: true, tables: []string{mark}, note: notWhole},
		"of a mark in one that was, for good":   {statement: "CREATE TABLE", there: true, gone: true, tables: []string{mark}, note: "was there before"},
		"of the mark that was taken away":       {statement: "DROP TABLE", none: true},
		"of the mark taken away, for good":      {statement: "DROP TABLE", gone: true, tables: []string{"a"}, note: butForMark},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			name := m.Database()
			copied := name + "_copy"
			t.Cleanup(func() { m.Do("", "DROP DATABASE IF EXISTS "+copied) })
			if c.there {
				m.Do("", "CREATE DATABASE "+copied)
			}
			l := newLab(t, m, writer(name), name)
			l.config["tls"] = "disabled" // statements are seen on the line
			l.env.Dial = &lossy{statement: c.statement, after: c.gone, meanwhile: func() {
				if c.meanwhile != "" {
					m.Do(copied, c.meanwhile)
				}
			}}
			report, err := l.restore(connectors.TargetOptions{Folder: "/" + copied}, one(member(name), dump))
			wantError(t, what, err, job.ConnectFailed)
			if found := m.Query("", "SHOW DATABASES LIKE '"+copied+"'"); (len(found) == 0) != c.none {
				t.Fatalf("there is %q", found)
			}
			if !c.none {
				var tables []string
				for _, row := range m.Query(copied, "SHOW TABLES") {
					tables = append(tables, row[0])
				}
				if fmt.Sprint(tables) != fmt.Sprint(c.tables) {
					t.Errorf("tables %q, want %q", tables, c.tables)
				}
			}
			if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, c.note) || (notes == "") != (c.note == "") {
				t.Errorf("told %q, want %q", notes, c.note)
			}
		})
	}
}

// breaking breaks the line in the middle of a dump.
type breaking struct {
	t    *testing.T
	dump io.Reader
	link *testenv.Link
}

func (b *breaking) Read(p []byte) (int, error) {
	n, err := b.dump.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	b.link.Cut()
	testenv.Eventually(b.t, 2*time.Minute, func() bool { return !b.link.Used() }, "the line still stands")
	return 0, errUnwanted
}

var errUnwanted = errors.New("no longer wanted")

// What a restore made is removed through another tunnel where its own broke, to the same
// machine only.
func TestHalfIsRemovedThroughAnotherTunnel(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	for what, stranger := range map[string]bool{"to the same machine": false, "to another one": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			name := m.Database()
			restored := name + "_restored_456789ab"
			t.Cleanup(func() { m.Do("", "DROP DATABASE IF EXISTS "+restored) })
			ssh := testenv.SSHD(t, testenv.SSHOptions{})
			link := testenv.SlowLink(t, ssh.Addr(), 0)
			l := newLab(t, m, writer(name), name)
			l.config["ssh"] = map[string]any{
				"host": link.Host, "port": link.Port, "username": ssh.User, "trust_on_first_use": true, "dump": "tunnel", "credential_id": "0197b3c4-0000-7000-8000-0123456789ab",
			}
			l.env.SSHCredential = job.Credential{Type: "private_key", PrivateKey: secret.New(ssh.ClientKeyPEM)}
			l.env.PinHostKey = func(context.Context, string) error { return nil }
			dump := &breaking{t, strings.NewReader("CREATE TABLE a (b INT);\n"), link}
			report, err := l.restore(connectors.TargetOptions{Allowed: func() error {
				if stranger && link.Sent() > 0 && !link.Used() {
					stranger = false
					ssh.ReplaceHostKeys()
				}
				return nil
			}}, map[string]io.Reader{member(name): dump})
			if !errors.Is(err, errUnwanted) {
				t.Errorf("%+v, %v", report, err)
			}
			left := m.Query("", "SHOW DATABASES LIKE '"+restored+"'")
			if want := what != "to the same machine"; (len(left) > 0) != want || (len(report.Notes) > 0) != want {
				t.Errorf("left %q, told %q", left, report.Notes)
			}
		})
	}
}
