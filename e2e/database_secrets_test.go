package e2e

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// F17, of passwords: canaries for the passwords of MySQL, PostgreSQL, WordPress and FTP sources,
// through backups that succeed and fail, and then a search of all that xVault wrote
// anywhere; on a machine whose own programs dump, also of what these show while they do.
func TestDatabaseSecretsStayHidden(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F17, passwords of sources")
	start := time.Now()
	s := system.Start(t, system.Options{Workers: -1, HubEnv: []string{"LOG_LEVEL=debug"}, WorkerEnv: []string{"LOG_LEVEL=debug"}}).
		NewScene(t, system.SceneOptions{Empty: true})
	d := &databaseSecrets{t: t, Scene: s, db: testenv.MariaDB(t), canaries: system.Canaries{}}
	sources := []string{d.mysql(), d.postgres(), d.wordpress(), d.refused(), d.ftp()}
	far := d.faraway()
	for _, database := range far.databases {
		sources = append(sources, database.source)
	}
	w := s.AddWorker()
	w.Start("backup.frame=stop")
	var jobs []string
	for _, source := range sources {
		jobs = append(jobs, s.API.StartBackup(t, source).ID)
	}
	w.WaitFrozen(s.Lab, 3*time.Minute)
	searchStores(t, s, d.canaries)
	searchProcesses(t, s, d.canaries)
	w.Thaw(s.Lab)
	far.search(d.canaries)
	for i, id := range jobs {
		done := s.WaitJob(id, 3*time.Minute)
		if want := map[bool]string{true: "completed", false: "failed"}[i != 3]; done.Status != want {
			t.Errorf("want %s: %s", want, done)
		}
	}
	searchStores(t, s, d.canaries)
	searchProcesses(t, s, d.canaries)
	searchAPI(t, s, d.canaries)
	for _, found := range d.canaries.SearchFiles(t, s.Dir) {
		t.Error("on disk: ", found)
	}
	trials.Add(time.Since(start), 0)
}

// databaseSecrets makes sources with passwords that are found nowhere.
type databaseSecrets struct {
	*system.Scene
	t        *testing.T
	db       *testenv.MariaDBServer
	canaries system.Canaries
}

// password is one that is hard to write down, and searched for.
func (d *databaseSecrets) password(what string) string {
	password := "canary of " + what + ` 'q' "w" % \ ü 🎉`
	d.canaries.Add("password of "+what, password)
	d.canaries.Add("password of "+what+", its beginning", "canary of "+what)
	return password
}

func (d *databaseSecrets) source(kind, credential string, config map[string]any) string {
	d.t.Helper()
	return system.Post[system.Object](d.t, d.API, "/api/v1/sources", map[string]any{
		"tenant_id": d.Tenant.ID, "type": kind, "name": "a " + kind, "credential_id": credential, "config": config,
	}).ID
}

func (d *databaseSecrets) mysql() string {
	password, name := d.password("mysql"), d.db.Database()
	d.db.Do(name, "CREATE TABLE a (b INT)")
	config := map[string]any{"host": "127.0.0.1", "port": d.db.Port(), "username": d.db.Account(password, "ALL ON "+name+".*"), "databases": []string{name}}
	return d.source("mysql", d.API.CreateCredential(d.t, d.Tenant.ID, system.Password(password)), config)
}

// refused has a password that the server does not take.
func (d *databaseSecrets) refused() string {
	name := d.db.Database()
	config := map[string]any{"host": "127.0.0.1", "port": d.db.Port(), "username": d.db.Account("another", "ALL ON "+name+".*"), "databases": []string{name}}
	return d.source("mysql", d.API.CreateCredential(d.t, d.Tenant.ID, system.Password(d.password("nobody"))), config)
}

func (d *databaseSecrets) postgres() string {
	password, at := d.password("postgres"), testenv.Postgres(d.t)
	database := testenv.QueryPostgres(d.t, at, "SELECT current_database()::text")[0]
	role := `"secretive ` + database + `"`
	testenv.ExecPostgres(d.t, at, "CREATE ROLE "+role+" LOGIN BYPASSRLS PASSWORD E'"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)+"'", "GRANT pg_read_all_data TO "+role)
	d.t.Cleanup(func() { testenv.ExecPostgres(d.t, at, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	u, err := url.Parse(at)
	must(d.t, err)
	port, err := strconv.Atoi(u.Port())
	must(d.t, err)
	config := map[string]any{"host": u.Hostname(), "port": port, "username": strings.Trim(role, `"`), "databases": []string{database}, "sslmode": "disable"}
	return d.source("postgres", d.API.CreateCredential(d.t, d.Tenant.ID, system.Password(password)), config)
}

// wordpress has its password in wp-config.php alone.
func (d *databaseSecrets) wordpress() string {
	config := bareSite(d.t, d.db, d.SSH, d.password("wordpress"))
	return d.source("wordpress", d.API.CreateCredential(d.t, d.Tenant.ID, system.PrivateKey(d.SSH.ClientKeyPEM)), config)
}

// ftp has the password that the test servers all take, no sooner than there is TLS.
func (d *databaseSecrets) ftp() string {
	d.t.Helper()
	server := testenv.FTPD(d.t, testenv.FTPOptions{Kind: "proftpd", Root: true})
	must(d.t, os.WriteFile(filepath.Join(server.Root, "file"), []byte("content"), 0o600))
	password := server.Credential().Password.Reveal()
	d.canaries.Add("password of ftp", password)
	return d.source("ftp", d.API.CreateCredential(d.t, d.Tenant.ID, system.Password(password)), server.Config(server.Root))
}

// faraway has databases that the programs of another machine dump, with passwords for both,
// each with a locked table: their backups come so far and wait.
func (d *databaseSecrets) faraway() *farLocked {
	d.t.Helper()
	far := &farLocked{t: d.t, ssh: farAway(d.t)}
	d.canaries.Add("private key for the machine far away", keyBody(far.ssh.ClientKeyPEM))
	login := d.API.CreateCredential(d.t, d.Tenant.ID, system.PrivateKey(far.ssh.ClientKeyPEM))
	for _, database := range []*farDatabase{farMariaDB(d.t, d.password("mysql far away")+"\nof two lines"), farPostgres(d.t, d.password("postgres far away"))} {
		config := maps.Clone(database.config)
		config["ssh"] = remoteDump(far.ssh, far.ssh.Host(), far.ssh.Port(), login)
		credential := d.API.CreateCredential(d.t, d.Tenant.ID, system.Password(database.password))
		far.databases = append(far.databases, lockedDatabase{d.source(database.kind, credential, config), database.waits, database.lock()})
	}
	return far
}

// farLocked are databases far away with a locked table each.
type farLocked struct {
	t         *testing.T
	ssh       *testenv.SSHServer
	databases []lockedDatabase
}

type lockedDatabase struct {
	source  string
	waits   func() bool
	release func()
}

// search looks at the other machine while dumps wait there, and lets them go on.
func (f *farLocked) search(canaries system.Canaries) {
	f.t.Helper()
	for _, d := range f.databases {
		testenv.Eventually(f.t, 2*time.Minute, d.waits, "the dump far away does not come to the locked table")
	}
	searchFar(f.t, f.ssh, len(f.databases), canaries)
	for _, d := range f.databases {
		d.release()
	}
}
