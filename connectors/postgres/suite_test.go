package postgres_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/connectortest"
	"xvault/connectors/postgres"
	"xvault/connectors/sshtunnel"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	connectortest.RunDatabase(t, served)
}

// With the tag long through a tunnel as well, as sites are restored. By the SSH host's own
// programs nothing is.
func TestRestores(t *testing.T) {
	t.Parallel()
	connectortest.RunDatabaseRestores(t, served, "straight")
}

const suitePassword = `it's a "password" \ %`

// served is a server for the suite, reached in a way.
func served(t *testing.T, way string, o connectortest.Options) *connectortest.Server {
	t.Helper()
	c := &suiteContent{fresh: testenv.Postgres}
	own := o.Own && way == "straight"
	if own {
		c.server = testenv.NewPostgres(t, testenv.PostgresOptions{})
		c.fresh = func(testing.TB) string { return c.server.Database(fmt.Sprintf("own%d", serial.Add(1))) }
	}
	c.admin = at(t, c.fresh(t))
	c.role = fmt.Sprintf("suite %d", serial.Add(1))
	c.admin.exec("CREATE ROLE " + quoted(c.role) + " LOGIN SUPERUSER PASSWORD " + literal(suitePassword))
	if !own {
		t.Cleanup(func() { c.admin.exec("DROP ROLE " + quoted(c.role)) })
	}
	options := postgres.Options{}
	if o.Hasty {
		options.Patience, options.ConnectTimeout = 2*time.Second, 2*time.Second
		options.Tunnel = sshtunnel.Options{KeepAlive: time.Second, HandshakeTimeout: 2 * time.Second}
	}
	password := func(p string) job.Credential { return job.Credential{Type: "password", Password: secret.New(p)} }
	server := &connectortest.Server{
		Type: postgres.New(options), Patience: 2 * time.Second, Addr: net.JoinHostPort(c.admin.url.Hostname(), c.admin.url.Port()),
		Config: func(host string, port int, databases ...string) map[string]any {
			return map[string]any{"host": host, "port": port, "username": c.role, "databases": databases}
		},
		Credential: password(suitePassword), WrongCredential: password("another"),
		Lend: func(t *testing.T, env *connectors.Env) {
			t.Helper()
			env.TempDir = tempDir(t)
		},
		Content: &connectortest.Content{Kind: "database", Make: c.make, Missing: "no'where\n\\", Idle: c.idle},
		Back:    c.back,
		Kills: []connectortest.Kill{{
			// Where the server can still say so in between, it was an administrator's command,
			// which is not gone against. In the middle of a row it cannot: the line just breaks.
			What: "its sessions", Do: c.killSessions, Codes: []job.Code{job.ConnectFailed, job.DumpFailed},
		}},
	}
	server.Stop = func() { server.Addr = "127.0.0.1:1" }
	switch way {
	case "straight":
		if own {
			server.Kills = append(server.Kills, connectortest.Kill{What: "the server", Do: c.server.Kill, Again: c.server.Restart})
		}
	case "tunnel":
		connectortest.ThroughSSH(t, server, testenv.SSHOptions{}, way)
	default:
		connectortest.ThroughSSH(t, server, onlyPrograms, way)
	}
	return server
}

// suiteContent is databases of a server, and a role that reads them.
type suiteContent struct {
	server *testenv.PostgresServer // of one test's own; nil: the shared one
	fresh  func(testing.TB) string // makes a database, and gives its address
	admin  *database
	role   string
}

// make makes a database.
func (c *suiteContent) make(t *testing.T, bytes int) string {
	t.Helper()
	d := at(t, c.fresh(t))
	d.exec("CREATE TABLE a AS SELECT 1 AS a",
		fmt.Sprintf("CREATE TABLE big AS SELECT g AS id, repeat(md5(g::text), 32) AS filler FROM generate_series(1, %d) g", 1+bytes/1024))
	return d.name
}

// sessions is a condition on those of the role.
func (c *suiteContent) sessions() string {
	return " FROM pg_stat_activity WHERE usename = " + literal(c.role)
}

func (c *suiteContent) idle(t *testing.T) bool {
	t.Helper()
	return testenv.QueryPostgres(t, c.admin.url.String(), "SELECT count(*)::text"+c.sessions())[0] == "0"
}

func (c *suiteContent) killSessions() {
	c.admin.exec("SELECT pg_terminate_backend(pid)" + c.sessions())
}

// back makes a database that is restored beside itself.
func (c *suiteContent) back(t *testing.T, bytes int) connectortest.Back {
	t.Helper()
	name := c.make(t, bytes)
	restored := *c.admin.url
	restored.Path = "/" + name + "_restored_00000001"
	half := connectors.TempPrefix + strings.ReplaceAll(connectortest.TargetJob, "-", "") + "-" + name
	drop := func(*testing.T) {
		c.admin.exec("DROP DATABASE IF EXISTS "+quoted(restored.Path[1:])+" WITH (FORCE)", "DROP DATABASE IF EXISTS "+quoted(half)+" WITH (FORCE)")
	}
	if c.server == nil {
		t.Cleanup(func() { drop(t) })
	}
	return connectortest.Back{
		Name: name, Drop: drop,
		Failed: func(t *testing.T, told string) {
			t.Helper()
			if found := c.admin.databases(name + "_restored_"); len(found) > 0 {
				t.Errorf("%q stands under its name", found)
			}
			if len(c.admin.databases(half)) > 0 && (!strings.Contains(told, half) || !strings.Contains(told, "is not whole")) {
				t.Errorf("%q is left, and not told of: %s", half, told)
			}
		},
		Whole: func(t *testing.T) {
			t.Helper()
			if left := c.admin.databases(half); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
			was := *c.admin.url
			was.Path = "/" + name
			testenv.SamePostgres(t, testenv.FingerprintPostgres(t, was.String()), testenv.FingerprintPostgres(t, restored.String()))
		},
	}
}
