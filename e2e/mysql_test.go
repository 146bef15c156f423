package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// mysqlScene is a tenant with a source that is a database.
type mysqlScene struct {
	*system.Lab
	*testenv.MariaDBServer
	t          *testing.T
	tenant     system.Tenant
	identity   string
	database   string
	account    string
	password   string
	credential string
	source     string
}

func newMySQLScene(t *testing.T) *mysqlScene {
	t.Helper()
	m := testenv.MariaDB(t)
	s := &mysqlScene{Lab: system.Start(t, system.Options{}), MariaDBServer: m, t: t, database: m.Database(), password: "canary 'pass' \"word\" % \\ ü"}
	s.tenant = s.API.CreateTenant(t, "a tenant")
	s.identity = s.API.ExportKey(t, s.tenant.ID)
	on := " ON " + testenv.QuoteName(s.database) + ".*"
	s.account = m.Account(s.password, "SELECT, SHOW VIEW, TRIGGER, EVENT"+on, "SELECT ON mysql.proc")
	s.credential = s.API.CreateCredential(t, s.tenant.ID, system.Password(s.password))
	s.source = s.create(s.config())
	return s
}

func (s *mysqlScene) config() map[string]any {
	return map[string]any{"host": "127.0.0.1", "port": s.Port(), "username": s.account, "databases": []string{s.database}}
}

func (s *mysqlScene) create(config map[string]any) string {
	s.t.Helper()
	return system.Post[system.Object](s.t, s.API, "/api/v1/sources", map[string]any{
		"tenant_id": s.tenant.ID, "type": "mysql", "name": "a database", "credential_id": s.credential, "config": config,
	}).ID
}

// backup makes one, and gives the dump as the stock tools find it.
func (s *mysqlScene) backup(source string) (snapshotID, dump string) {
	s.t.Helper()
	j := s.MustComplete(s.API.StartBackup(s.t, source).ID, 3*time.Minute)
	snap := s.API.Snapshot(s.t, j.SnapshotID)
	if snap.Status != "completed" {
		s.t.Fatalf("%s has snapshot %+v", j, snap)
	}
	members := dumpsIn(s.t, system.StockRestore(s.t, filepath.Join(snap.LocalPath, system.Artifact), s.identity))
	if len(members) != 1 {
		s.t.Fatalf("the artifact holds %d members", len(members))
	}
	return snap.ID, members["mysql/"+s.database+".sql"]
}

// dumpsIn reads what tar extracted, parts put together.
func dumpsIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	must(t, err)
	slices.Sort(paths)
	members := map[string]string{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		must(t, err)
		name, err := filepath.Rel(dir, path)
		must(t, err)
		name, _, _ = strings.Cut(name, ".part-")
		members[name] += string(b)
	}
	return members
}

// failed expects a backup to fail and to leave no snapshot that looks good.
func (s *mysqlScene) failed(source, code string, tells ...string) {
	s.t.Helper()
	j := s.WaitJob(s.API.StartBackup(s.t, source).ID, 3*time.Minute)
	if j.Status != "failed" || j.Error == nil || j.Error.Code != code {
		s.t.Errorf("%s, want %s", j, code)
		return
	}
	for _, tell := range tells {
		if !strings.Contains(j.Error.Message, tell) {
			s.t.Errorf("%s does not tell %q", j, tell)
		}
	}
	s.noSnapshotOf(j.ID)
}

func (s *mysqlScene) noSnapshotOf(jobID string) {
	s.t.Helper()
	if n := s.One(s.t, `SELECT count(*)::text FROM snapshots WHERE job_id = $1 AND status <> 'failed'`, jobID); n != "0" {
		s.t.Errorf("job %s has %s snapshots that are not failed", jobID, n)
	}
}

// The whole way: a database is backed up, and what the stock tools take out of the
// artifact loads with the stock client into another database, which then is the
// same, row for row. What goes wrong is told, and never a snapshot.
func TestMySQL(t *testing.T) {
	t.Parallel()
	s := newMySQLScene(t)
	s.Plant(s.database, 5000)
	s.Do(s.database, "CREATE TABLE big (id INT PRIMARY KEY, t TEXT)", "INSERT INTO big SELECT seq, REPEAT(MD5(seq), 50) FROM seq_1_to_14000") // several parts
	want := s.Content(s.database)
	snapshot, dump := s.backup(s.source)
	copied := s.Database()
	must(t, s.Load(copied, dump))
	s.SameContent(want, s.Content(copied))

	s.restores(snapshot, want)

	probe := s.MustComplete(system.Post[system.Job](t, s.API, "/api/v1/sources/"+s.source+"/probe", nil).ID, 3*time.Minute)
	if !strings.Contains(string(probe.Result), `"reachable":true`) || !strings.Contains(string(probe.Result), "MariaDB") {
		t.Errorf("the probe says %s", probe.Result)
	}

	config := s.config()
	config["databases"] = []string{s.database, "not_there"}
	s.failed(s.create(config), "path_not_found", "not_there", "GRANT")
	config["databases"], config["username"] = []string{s.database}, s.Account(s.password, "SELECT ON "+s.database+".*")
	s.failed(s.create(config), "permission_denied", s.database, "GRANT TRIGGER, EVENT, SHOW VIEW ON")
	config["username"] = "nobody_there"
	s.failed(s.create(config), "auth_failed", "password")
	config["username"], config["tls"] = s.account, "verify_identity"
	s.notNow(s.create(config), "certificate")

	s.overSSH()
	s.cut(want)
	for what, dir := range map[string]string{"the lab's folder": s.Dir} {
		for _, found := range canaryOf("password", s.password).SearchFiles(t, dir) {
			t.Errorf("in %s: %s", what, found)
		}
	}
	s.CheckRecords()
}

// restores writes a snapshot back: into a new database, whose name is told, and over
// the one that it came from.
func (s *mysqlScene) restores(snapshot string, want map[string]string) {
	s.t.Helper()
	config := s.config()
	config["username"] = s.Account(s.password, "ALL ON `"+s.database+"%`.*", "SET USER ON *.*")
	body := map[string]any{"destination": "source", "target_source_id": s.create(config)}
	j := s.MustComplete(s.API.StartRestore(s.t, snapshot, body).ID, 3*time.Minute)
	restored := s.database + "_restored_" + strings.ReplaceAll(j.ID, "-", "")[24:]
	s.t.Cleanup(func() { s.Do("", "DROP DATABASE IF EXISTS "+testenv.QuoteName(restored)) })
	if !strings.Contains(string(j.Result), restored) {
		s.t.Errorf("the result %s does not tell of %s", j.Result, restored)
	}
	s.SameContent(want, s.Content(restored))

	s.Do(s.database, "DELETE FROM big", "DROP VIEW a_view_on_a_view", "UPDATE log SET what = 'damaged'")
	body["existing"], body["confirm"] = "overwrite", true
	s.MustComplete(s.API.StartRestore(s.t, snapshot, body).ID, 3*time.Minute)
	s.SameContent(want, s.Content(s.database))
}

func canaryOf(what, value string) system.Canaries {
	c := system.Canaries{}
	c.Add(what, value)
	return c
}

// notNow expects a backup to fail for now, with no snapshot, and cancels it.
func (s *mysqlScene) notNow(source, tells string) {
	s.t.Helper()
	id := s.API.StartBackup(s.t, source).ID
	var j system.Job
	testenv.Eventually(s.t, 2*time.Minute, func() bool {
		j = s.API.Job(s.t, id)
		return j.Status == "queued" && j.Attempt == 1 || j.Ended()
	}, "the job does not fail")
	if j.Error != nil && !strings.Contains(j.Error.Message, tells) {
		s.t.Errorf("%s does not tell %q", j, tells)
	}
	s.noSnapshotOf(id)
	s.API.Do(s.t, "POST", "/api/v1/jobs/"+id+"/cancel", nil, 200)
}

// overSSH backs up through an SSH server whose key is pinned on first use, with a
// credential of its own.
func (s *mysqlScene) overSSH() {
	s.t.Helper()
	ssh := testenv.SSHD(s.t, testenv.SSHOptions{})
	config := s.config()
	config["ssh"] = map[string]any{
		"host": ssh.Host(), "port": ssh.Port(), "username": ssh.User, "trust_on_first_use": true,
		"credential_id": s.API.CreateCredential(s.t, s.tenant.ID, system.PrivateKey(ssh.ClientKeyPEM)),
	}
	source := s.create(config)
	s.backup(source)
	ssh.ReplaceHostKeys()
	s.failed(source, "host_key_changed", "ssh")
}

// cut is F8: the connection is cut after 1, 50 and 99 % of what goes over it. The
// job is tried again and then is whole.
func (s *mysqlScene) cut(want map[string]string) {
	s.t.Helper()
	over := func() (*testenv.Link, string) {
		link := testenv.SlowLink(s.t, s.Addr(), 0)
		config := s.config()
		config["host"], config["port"] = link.Host, link.Port
		return link, s.create(config)
	}
	whole, source := over()
	s.backup(source)
	jobs := map[string]string{}
	for _, percent := range []int64{1, 50, 99} {
		link, source := over()
		link.CutAfter(whole.Passed() * percent / 100)
		id := s.API.StartBackup(s.t, source).ID
		testenv.Eventually(s.t, 2*time.Minute, func() bool {
			j := s.API.Job(s.t, id)
			return j.Status == "queued" && j.Attempt == 1
		}, "cut at %d %%: the job does not fail for now", percent)
		s.noSnapshotOf(id)
		link.CutAfter(-1)
		jobs[fmt.Sprintf("cut at %d %%", percent)] = id
	}
	for what, id := range jobs {
		if j := s.MustComplete(id, 3*time.Minute); j.Attempt != 2 {
			s.t.Errorf("%s: %s", what, j)
		}
	}
	s.SameContent(want, s.Content(s.database))
}
