package mysql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/connectortest"
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

// served is a server for the suite, reached in a way.
func served(t *testing.T, way string, o connectortest.Options) *connectortest.Server {
	t.Helper()
	c := &suiteContent{MariaDBServer: testenv.MariaDB(t)}
	if o.Own && way == "straight" {
		c.MariaDBServer = testenv.NewMariaDB(t, testenv.MariaDBOptions{})
	}
	c.account = c.Account(labPassword, "ALL ON *.*")
	options := Options{Patience: time.Minute}
	if o.Hasty {
		options.Patience, options.ConnectTimeout = 2*time.Second, 2*time.Second
		options.Tunnel = sshtunnel.Options{KeepAlive: time.Second, HandshakeTimeout: 2 * time.Second}
	}
	password := func(p string) job.Credential { return job.Credential{Type: "password", Password: secret.New(p)} }
	server := &connectortest.Server{
		Type: New(options), Patience: 2 * time.Second, Addr: c.Addr(),
		Config: func(host string, port int, databases ...string) map[string]any {
			return map[string]any{"host": host, "port": port, "username": c.account, "databases": databases}
		},
		Credential: password(labPassword), WrongCredential: password("another"),
		Lend: func(t *testing.T, env *connectors.Env) {
			t.Helper()
			env.TempDir = jobDir(t)
		},
		Content: &connectortest.Content{Kind: "database", Make: c.make, Missing: "no'where\\", Idle: c.idle},
		Back:    c.back,
		Kills:   []connectortest.Kill{{What: "its sessions", Do: c.killSessions}},
	}
	server.Stop = func() { server.Addr = "127.0.0.1:1" }
	if way == "straight" {
		if o.Own {
			server.Kills = append(server.Kills, connectortest.Kill{What: "its queries", Do: c.killQueries, Reading: true}, connectortest.Kill{What: "the server", Do: c.Crash, Again: c.Restart})
		}
		return server
	}
	forwarding := testenv.SSHOptions{}
	if way == "remote" {
		forwarding = onlyPrograms
	}
	connectortest.ThroughSSH(t, server, forwarding, way)
	return server
}

// suiteContent is databases of a server, and an account that reads them.
type suiteContent struct {
	*testenv.MariaDBServer
	account string
}

// make makes a database.
func (c *suiteContent) make(t *testing.T, bytes int) string {
	t.Helper()
	name := c.Database()
	c.Do(name, "CREATE TABLE a (id INT PRIMARY KEY)", "INSERT INTO a VALUES (1)", "CREATE TABLE big (id INT PRIMARY KEY, t TEXT)",
		fmt.Sprintf("INSERT INTO big SELECT seq, REPEAT(MD5(seq), 50) FROM seq_1_to_%d", 1+bytes/1600))
	return name
}

func (c *suiteContent) sessions() [][]string {
	return c.Query("", "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '"+c.account+"'")
}

func (c *suiteContent) idle(*testing.T) bool { return len(c.sessions()) == 0 }

func (c *suiteContent) killSessions() { c.kill("CONNECTION") }

func (c *suiteContent) killQueries() { c.kill("QUERY") }

func (c *suiteContent) kill(what string) {
	for _, row := range c.sessions() {
		c.Do("", "KILL "+what+" "+row[0])
	}
}

// back makes a database that is restored beside itself.
func (c *suiteContent) back(t *testing.T, bytes int) connectortest.Back {
	t.Helper()
	name := c.make(t, bytes)
	restored := name + "_restored_00000001"
	drop := func(*testing.T) { c.Do("", "DROP DATABASE IF EXISTS "+restored) }
	t.Cleanup(func() { drop(t) })
	return connectortest.Back{
		Name: name, Drop: drop,
		Failed: func(t *testing.T, told string) {
			t.Helper()
			switch {
			case len(c.Query("", "SHOW DATABASES LIKE '"+restored+"'")) == 0:
			case len(c.Query(restored, "SHOW TABLES LIKE '"+connectors.TempPrefix+connectortest.TargetJob+"'")) != 1:
				t.Errorf("%s is there and not marked as half", restored)
			case !strings.Contains(told, restored) || !strings.Contains(told, "is not whole"):
				t.Errorf("%s is half there, and not told of: %s", restored, told)
			}
		},
		Whole: func(t *testing.T) {
			t.Helper()
			c.SameContent(c.Content(name), c.Content(restored))
		},
	}
}
