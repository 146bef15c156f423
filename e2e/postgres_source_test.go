package e2e

import (
	"maps"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// postgresScene is a tenant with a source that is a PostgreSQL database.
type postgresScene struct {
	*system.Lab
	t        *testing.T
	url      string // of the database, for a superuser
	database string
	role     string
	password string
	tenant   system.Tenant
	identity string
	login    string // the credential
	source   string
}

func newPostgresScene(t *testing.T) *postgresScene {
	t.Helper()
	s := &postgresScene{
		Lab: system.Start(t, system.Options{}), t: t, url: testenv.Postgres(t),
		password: "canary 'pass' \"word\" % \\ ü\nof two lines",
	}
	testenv.PlantPostgres(t, s.url)
	s.database = testenv.QueryPostgres(t, s.url, "SELECT current_database()::text")[0]
	s.role = "reader " + s.database
	s.exec(`CREATE ROLE "`+s.role+`" LOGIN BYPASSRLS PASSWORD E'`+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s.password)+`'`,
		`GRANT pg_read_all_data TO "`+s.role+`"`, `GRANT SELECT ON LARGE OBJECT 424242, 424243 TO "`+s.role+`"`)
	t.Cleanup(func() { s.exec(`DROP OWNED BY "`+s.role+`"`, `DROP ROLE "`+s.role+`"`) })
	s.tenant = s.API.CreateTenant(t, "a tenant")
	s.identity = s.API.ExportKey(t, s.tenant.ID)
	s.login = s.API.CreateCredential(t, s.tenant.ID, system.Password(s.password))
	s.source = s.create(s.login, s.config(nil))
	return s
}

func (s *postgresScene) exec(statements ...string) {
	s.t.Helper()
	testenv.ExecPostgres(s.t, s.url, statements...)
}

func (s *postgresScene) config(more map[string]any) map[string]any {
	s.t.Helper()
	u, err := url.Parse(s.url)
	must(s.t, err)
	port, err := strconv.Atoi(u.Port())
	must(s.t, err)
	config := map[string]any{"host": u.Hostname(), "port": port, "username": s.role, "databases": []string{s.database}}
	maps.Copy(config, more)
	return config
}

func (s *postgresScene) create(credential string, config map[string]any) string {
	s.t.Helper()
	return system.Post[system.Object](s.t, s.API, "/api/v1/sources", map[string]any{
		"tenant_id": s.tenant.ID, "type": "postgres", "name": "a database", "credential_id": credential, "config": config,
	}).ID
}

// backup makes one, and gives the members as the stock tools find them.
func (s *postgresScene) backup(source string) (system.Snapshot, map[string]string) {
	s.t.Helper()
	j := s.MustComplete(s.API.StartBackup(s.t, source).ID, 3*time.Minute)
	snap := s.API.Snapshot(s.t, j.SnapshotID)
	if snap.Status != "completed" {
		s.t.Fatalf("%s has snapshot %+v", j, snap)
	}
	return snap, dumpsIn(s.t, system.StockRestore(s.t, filepath.Join(snap.LocalPath, system.Artifact), s.identity))
}

// unlucky waits for a backup that fails, for good or for now, and leaves no snapshot
// that looks good.
func (s *postgresScene) unlucky(jobID, code string, tells ...string) {
	s.t.Helper()
	var j system.Job
	testenv.Eventually(s.t, 2*time.Minute, func() bool {
		j = s.API.Job(s.t, jobID)
		return j.Status == "queued" && j.Attempt == 1 || j.Ended()
	}, "the job does not fail")
	if j.Status == "completed" {
		s.t.Fatalf("it completed: %s", j)
	}
	if code != "" && (j.Error == nil || j.Error.Code != code) {
		s.t.Errorf("%s, want %s", j, code)
	}
	for _, tell := range tells {
		if j.Error == nil || !strings.Contains(j.Error.Message, tell) {
			s.t.Errorf("%s does not tell %q", j, tell)
		}
	}
	if n := s.One(s.t, `SELECT count(*)::text FROM snapshots WHERE job_id = $1 AND status <> 'failed'`, jobID); n != "0" {
		s.t.Errorf("%s has %s snapshots that are not failed", j, n)
	}
	if !j.Ended() {
		s.API.Do(s.t, "POST", "/api/v1/jobs/"+jobID+"/cancel", nil, 200)
	}
}

// The whole way: a database with a bit of everything is backed up, and what the stock
// tools take out of the artifact loads with the stock programs into another database,
// which then is the same, row for row.
func TestPostgresSource(t *testing.T) {
	t.Parallel()
	s := newPostgresScene(t)
	s.exec("CREATE TABLE large AS SELECT g AS id, repeat(md5(g::text), 32) AS filler FROM generate_series(1, 20000) g") // two parts
	want := testenv.FingerprintPostgres(t, s.url)
	snap, members := s.backup(s.source)
	if len(members) != 2 || !strings.Contains(members["postgres/globals.sql"], `CREATE ROLE "`+s.role+`"`) {
		t.Errorf("%d members; the globals are %.500s", len(members), members["postgres/globals.sql"])
	}
	testenv.SamePostgres(t, want, testenv.FingerprintPostgres(t, testenv.RestorePostgres(t, []byte(members["postgres/"+s.database+".dump"]))))
	probe := s.MustComplete(system.Post[system.Job](t, s.API, "/api/v1/sources/"+s.source+"/probe", nil).ID, 3*time.Minute)
	if !strings.Contains(string(probe.Result), `"reachable":true`) || !strings.Contains(string(probe.Result), "PostgreSQL 1") {
		t.Errorf("the probe says %s", probe.Result)
	}
	s.API.Do(t, "PATCH", "/api/v1/sources/"+s.source, map[string]any{"config": s.config(map[string]any{"sslmode": "maybe"})}, 422)

	drillOf(t, s.Lab, snap.ID)
	s.API.Do(t, "PATCH", "/api/v1/sources/"+s.source, map[string]any{"verify_kind": "drill", "reverify_after": "90d"}, 200)
	s.restored(snap, want)
	s.terminated()
	wrong := s.API.CreateCredential(t, s.tenant.ID, system.Password("canary-wrong"))
	s.unlucky(s.API.StartBackup(t, s.create(wrong, s.config(nil))).ID, "auth_failed", "credential")
	s.exec(`REVOKE CONNECT ON DATABASE ` + s.database + ` FROM public`)
	s.unlucky(s.API.StartBackup(t, s.source).ID, "permission_denied", "GRANT CONNECT ON DATABASE")
	for _, found := range canaryOf("password", s.password).SearchFiles(t, s.Dir) {
		t.Error("in the lab's folder: ", found)
	}
	s.CheckRecords()
}

// terminated is F7 and F17: the dump's server process is terminated in the middle of a
// table, and until then no secret is to be found in what the programs were started
// with.
func (s *postgresScene) terminated() {
	s.t.Helper()
	u, err := url.Parse(s.url)
	must(s.t, err)
	gate := system.NewGate(s.t, u.Host)
	gate.Limit(4 << 20)
	host, port := gate.HostPort()
	job := s.API.StartBackup(s.t, s.create(s.login, s.config(map[string]any{"host": host, "port": port})))
	const dumping = ` FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY public.large%' AND state = 'active'`
	testenv.Eventually(s.t, 2*time.Minute, func() bool {
		return testenv.QueryPostgres(s.t, s.url, "SELECT count(*)::text"+dumping)[0] == "1"
	}, "the table is not dumped")
	seen := 0
	for _, text := range system.ProcessTexts(s.t, s.Workers[0].Process) {
		if strings.Contains(string(text.Content), "pg_dump") {
			seen++
		}
		for _, found := range canaryOf("password", s.password).Search(text.Content) {
			s.t.Errorf("in %s: %s", text.Name, found)
		}
	}
	if seen == 0 {
		s.t.Error("no dump program was seen at work")
	}
	if n := testenv.QueryPostgres(s.t, s.url, "SELECT count(pg_terminate_backend(pid))::text"+dumping)[0]; n != "1" {
		s.t.Fatalf("%s server processes were terminated", n)
	}
	s.unlucky(job.ID, "", s.database)
}

// restored is the way back to the source: as it may only read, through another source
// of the same server; into a new database, and with a word more into the same one.
func (s *postgresScene) restored(snap system.Snapshot, want []string) {
	s.t.Helper()
	restore := func(more map[string]any) string {
		body := map[string]any{"destination": "source", "paths": []string{"/postgres/" + s.database + ".dump"}}
		maps.Copy(body, more)
		return s.API.StartRestore(s.t, snap.ID, body).ID
	}
	if j := s.WaitJob(restore(nil), 3*time.Minute); j.Error == nil || j.Error.Code != "permission_denied" || !strings.Contains(j.Error.Message, "CREATEDB") {
		s.t.Errorf("with a role that may only read: %s", j)
	}
	u, err := url.Parse(s.url)
	must(s.t, err)
	password, _ := u.User.Password()
	admin := s.create(s.API.CreateCredential(s.t, s.tenant.ID, system.Password(password)), s.config(map[string]any{"username": u.User.Username()}))

	s.exec("DROP TABLE app.bytes", "UPDATE large SET filler = 'damaged'")
	j := s.MustComplete(restore(map[string]any{"target_source_id": admin}), 3*time.Minute)
	made := s.database + "_restored_" + j.ID[len(j.ID)-8:]
	if !strings.Contains(string(j.Result), made) {
		s.t.Errorf("the result does not name the new database: %s", j.Result)
	}
	u.Path = "/" + made
	testenv.SamePostgres(s.t, want, testenv.FingerprintPostgres(s.t, u.String()))
	s.exec("DROP DATABASE " + made)

	s.MustComplete(restore(map[string]any{"target_source_id": admin, "existing": "overwrite", "confirm": true}), 3*time.Minute)
	testenv.SamePostgres(s.t, want, testenv.FingerprintPostgres(s.t, s.url))
}
