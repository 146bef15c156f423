package e2e

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"xvault/internal/testenv"
)

// farAway is a machine that only SSH leads to: nothing is forwarded.
func farAway(t *testing.T) *testenv.SSHServer {
	t.Helper()
	return testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"AllowTcpForwarding no", "AllowStreamLocalForwarding no"}})
}

// remoteDump says that the programs of the machine at an address are to dump, with a
// credential for it.
func remoteDump(s *testenv.SSHServer, host string, port int, credential string) map[string]any {
	return map[string]any{"host": host, "port": port, "username": s.User, "host_keys": []string{s.HostKey()}, "credential_id": credential, "dump": "remote"}
}

// farDatabase is one on a machine that only SSH leads to.
type farDatabase struct {
	kind, name, password string
	config               map[string]any // of a source, without the way
	adminPassword        string
	admin                map[string]any // of a source that may write, nearby
	// same compares the database with one that was made of its dump, and drops that.
	same func(restored string)
	// grow adds a table that takes seconds on a thin line, dumping tells whether it is dumped.
	grow    func()
	dumping func() bool
	// fill adds a table of 25 MB that hardly compress, connected tells whether there is a session of the source's.
	fill      func()
	connected func() bool
	// lock keeps a table from being read until it is released, waits tells whether somebody wants to.
	lock  func() (release func())
	waits func() bool
}

func farMariaDB(t *testing.T, password string) *farDatabase {
	t.Helper()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Plant(name, 500)
	account := m.Account(password, "SELECT, SHOW VIEW, TRIGGER, EVENT ON "+name+".*", "SELECT ON mysql.proc")
	writer := m.Account("another password", "ALL ON `"+name+"\\_%`.*", "SET USER ON *.*")
	active := func(what string) bool {
		return m.Query("", "SELECT count(*) FROM information_schema.PROCESSLIST WHERE USER = '"+account+"' AND "+what)[0][0] != "0"
	}
	return &farDatabase{
		kind: "mysql", name: name, password: password, adminPassword: "another password",
		config: map[string]any{"socket": m.Socket(), "username": account, "databases": []string{name}},
		admin:  map[string]any{"host": "127.0.0.1", "port": m.Port(), "username": writer, "databases": []string{name}},
		same: func(restored string) {
			t.Helper()
			m.SameContent(m.Content(name), m.Content(restored))
			m.Do("", "DROP DATABASE "+restored)
		},
		grow: func() {
			m.Do(name, "CREATE TABLE large (id INT PRIMARY KEY, filler TEXT)", "INSERT INTO large SELECT seq, repeat(sha2(seq, 512), 8) FROM seq_1_to_16000")
		},
		dumping: func() bool { return active("INFO LIKE '%FROM `large`%'") },
		fill: func() {
			noise := make([]string, 12)
			for i := range noise {
				noise[i] = fmt.Sprintf("sha2(concat(seq, ':%d'), 512)", i)
			}
			m.Do(name, "CREATE TABLE filled (id INT PRIMARY KEY, filler TEXT)", "INSERT INTO filled SELECT seq, concat("+strings.Join(noise, ", ")+") FROM seq_1_to_16000")
		},
		connected: func() bool { return active("TRUE") },
		lock: func() func() {
			db, err := m.Open(name)
			must(t, err)
			c, err := db.Conn(t.Context())
			must(t, err)
			_, err = c.ExecContext(t.Context(), "LOCK TABLES log WRITE")
			must(t, err)
			return func() {
				_, err := c.ExecContext(t.Context(), "UNLOCK TABLES")
				must(t, err, c.Close(), db.Close())
			}
		},
		waits: func() bool { return active("STATE LIKE 'Waiting for table metadata lock'") },
	}
}

func farPostgres(t *testing.T, password string) *farDatabase {
	t.Helper()
	at := testenv.Postgres(t)
	testenv.PlantPostgres(t, at)
	u, err := url.Parse(at)
	must(t, err)
	port, err := strconv.Atoi(u.Port())
	must(t, err)
	name := strings.TrimPrefix(u.Path, "/")
	role := "reader from afar of " + name
	testenv.ExecPostgres(t, at, fmt.Sprintf("CREATE ROLE %q LOGIN BYPASSRLS PASSWORD E'%s'", role, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)),
		fmt.Sprintf("GRANT pg_read_all_data TO %q", role), fmt.Sprintf("GRANT SELECT ON LARGE OBJECT 424242, 424243 TO %q", role))
	t.Cleanup(func() {
		testenv.ExecPostgres(t, at, fmt.Sprintf("DROP OWNED BY %q", role), fmt.Sprintf("DROP ROLE %q", role))
	})
	admin, _ := u.User.Password()
	active := func(what string) bool {
		return testenv.QueryPostgres(t, at, "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND "+what)[0] != "0"
	}
	return &farDatabase{
		kind: "postgres", name: name, password: password, adminPassword: admin,
		config: map[string]any{"host": u.Hostname(), "port": port, "username": role, "databases": []string{name}, "sslmode": "disable"},
		admin:  map[string]any{"host": u.Hostname(), "port": port, "username": u.User.Username(), "databases": []string{name}},
		same: func(restored string) {
			t.Helper()
			other := *u
			other.Path = "/" + restored
			testenv.SamePostgres(t, testenv.FingerprintPostgres(t, at), testenv.FingerprintPostgres(t, other.String()))
			testenv.ExecPostgres(t, at, "DROP DATABASE "+restored)
		},
		grow: func() {
			testenv.ExecPostgres(t, at, "CREATE TABLE large AS SELECT g AS id, repeat(md5(g::text), 32) AS filler FROM generate_series(1, 16000) g")
		},
		dumping: func() bool { return active("query LIKE 'COPY public.large%' AND state = 'active'") },
		fill: func() {
			testenv.ExecPostgres(t, at, `CREATE TABLE filled AS SELECT g AS id, (SELECT string_agg(md5(g::text || ':' || j), '') FROM generate_series(1, 48) j) AS filler FROM generate_series(1, 16000) g`)
		},
		connected: func() bool { return active("usename = '" + role + "'") },
		lock: func() func() {
			c, err := pgx.Connect(t.Context(), at)
			must(t, err)
			_, err = c.PgConn().Exec(t.Context(), "BEGIN; LOCK TABLE app.bytes IN ACCESS EXCLUSIVE MODE").ReadAll()
			must(t, err)
			return func() { must(t, c.Close(t.Context())) }
		},
		waits: func() bool { return active("wait_event_type = 'Lock'") },
	}
}
