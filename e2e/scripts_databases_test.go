package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"xvault/internal/devenv"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// scriptDatabase is what a script's last "database" made, on a server that other
// tests use, too.
type scriptDatabase interface {
	// administer has the stock client run SQL, as the one who may do everything.
	administer(sql string) error
	// same fails the test where a dump loads as another database than this one.
	same(dump string) error
	// forget removes an account, if it is there.
	forget(account string)
}

func cmdDatabase(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1 && (args[0] == "mysql" || args[0] == "postgres"), "database mysql|postgres")
	st := of(ts)
	var made scriptDatabase
	var port, name string
	if args[0] == "mysql" {
		m := scriptMySQL{MariaDBServer: testenv.MariaDB(st.tb)}
		m.name = m.Database()
		m.Plant(m.name, 100)
		made, port, name = m, fmt.Sprint(m.Port()), m.name
	} else {
		p := scriptPostgres{st.tb, testenv.Postgres(st.tb)}
		p.plant()
		u, err := url.Parse(p.url)
		ts.Check(err)
		made, port, name = p, u.Port(), strings.TrimPrefix(u.Path, "/")
	}
	ts.Setenv("DB_PORT", port)
	ts.Setenv("DB_NAME", name)
	for variable, account := range map[string]string{"DB_ACCOUNT": "backup_" + name, "DB_OTHER": "other_" + name} {
		ts.Setenv(variable, account)
		st.tb.Cleanup(func() { made.forget(account) }) // after its rights in copies are gone
	}
	st.database = made
}

func cmdAdminister(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "administer FILE")
	ts.Check(of(ts).database.administer(ts.ReadFile(args[0])))
}

func cmdSameDatabase(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "samedatabase FILE")
	ts.Check(of(ts).database.same(ts.ReadFile(args[0])))
}

// cmdSite installs a WordPress in a folder.
func cmdSite(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "site DIR")
	tb := of(ts).tb
	m, password := testenv.MariaDB(tb), "a site's password"
	name := m.Database()
	testenv.WordPress(tb, devenv.WordPressConfig{
		Root: ts.MkAbs(args[0]), Database: name, DBHost: "localhost:" + m.Socket(), Password: secret.New(password),
		User: m.Account(password, "ALL PRIVILEGES ON "+testenv.QuoteName(name)+".*"),
	}, "A post")
	ts.Setenv("DB_NAME", name)
}

type scriptMySQL struct {
	*testenv.MariaDBServer
	name string
}

func (m scriptMySQL) administer(sql string) error { return m.Load(m.name, sql) }

func (m scriptMySQL) same(dump string) error {
	copied := m.Database()
	if err := m.Load(copied, dump); err != nil {
		return err
	}
	m.SameContent(m.Content(m.name), m.Content(copied))
	return nil
}

func (m scriptMySQL) forget(account string) {
	m.Do("", "DROP USER IF EXISTS "+account+"@'%'", "DROP USER IF EXISTS "+account+"@127.0.0.1")
}

type scriptPostgres struct {
	tb  testing.TB
	url string
}

// plant makes what a role needs each of its rights for.
func (p scriptPostgres) plant() {
	testenv.ExecPostgres(p.tb, p.url,
		"CREATE TABLE public.orders (id serial PRIMARY KEY, what text)",
		"INSERT INTO public.orders (what) SELECT md5(g::text) FROM generate_series(1, 100) g",
		"ALTER TABLE public.orders ENABLE ROW LEVEL SECURITY",
		"CREATE VIEW public.many AS SELECT count(*) FROM public.orders")
}

func (p scriptPostgres) administer(sql string) error {
	testenv.LoadPostgres(p.tb, p.url, []byte(sql))
	return nil
}

func (p scriptPostgres) same(dump string) error {
	testenv.SamePostgres(p.tb, testenv.FingerprintPostgres(p.tb, p.url), testenv.FingerprintPostgres(p.tb, testenv.RestorePostgres(p.tb, []byte(dump))))
	return nil
}

func (p scriptPostgres) forget(account string) {
	testenv.ExecPostgres(p.tb, p.url, "DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '"+account+"') THEN DROP OWNED BY "+account+"; DROP ROLE "+account+"; END IF; END $$")
}
