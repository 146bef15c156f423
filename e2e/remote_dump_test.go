package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// farScene is a tenant whose databases are dumped by the programs of the machine that they
// are on, which only SSH leads to.
type farScene struct {
	*system.Lab
	t         *testing.T
	ssh       *testenv.SSHServer
	login     string // the credential for it
	tenant    system.Tenant
	identity  string
	databases []*farDatabase
}

func newFarScene(t *testing.T) *farScene {
	t.Helper()
	s := &farScene{Lab: system.Start(t, system.Options{}), t: t, ssh: farAway(t)}
	s.tenant = s.API.CreateTenant(t, "a tenant")
	s.identity = s.API.ExportKey(t, s.tenant.ID)
	s.login = s.API.CreateCredential(t, s.tenant.ID, system.PrivateKey(s.ssh.ClientKeyPEM))
	const password = ` canary from afar 'pass' "word" % \ $(id) ü 🎉`
	s.databases = []*farDatabase{farMariaDB(t, password+"\nof two lines"), farPostgres(t, password)}
	return s
}

func (s *farScene) create(d *farDatabase, password string, config map[string]any) string {
	s.t.Helper()
	return system.Post[system.Object](s.t, s.API, "/api/v1/sources", map[string]any{
		"tenant_id": s.tenant.ID, "type": d.kind, "name": "a database", "config": config,
		"credential_id": s.API.CreateCredential(s.t, s.tenant.ID, system.Password(password)),
	}).ID
}

// source reaches the machine at an address.
func (s *farScene) source(d *farDatabase, host string, port int) string {
	s.t.Helper()
	config := maps.Clone(d.config)
	config["ssh"] = remoteDump(s.ssh, host, port, s.login)
	return s.create(d, d.password, config)
}

// The whole way: databases are dumped by the programs of a machine that only SSH leads to,
// and what is restored under another name is the same, row for row. Where the connection
// is cut nothing passes for a dump, and nothing stays behind over there.
func TestRemoteDumps(t *testing.T) {
	t.Parallel()
	s := newFarScene(t)
	var jobs, cut []string
	for _, d := range s.databases {
		jobs = append(jobs, s.API.StartBackup(t, s.source(d, s.ssh.Host(), s.ssh.Port())).ID)
	}
	for i, d := range s.databases {
		jobs[i] = s.restore(d, s.MustComplete(jobs[i], 3*time.Minute).SnapshotID)
	}
	for i, d := range s.databases {
		d.same(fmt.Sprintf("%s_restored_%s", d.name, s.MustComplete(jobs[i], 3*time.Minute).ID[28:]))
	}
	for _, d := range s.databases {
		cut = append(cut, s.cut(d))
	}
	for i, d := range s.databases {
		j := s.WaitJob(cut[i], 3*time.Minute)
		if j.Status != "failed" || j.Error == nil || j.Error.Code != "connect_failed" || !strings.Contains(j.Error.Message, d.name) {
			t.Errorf("cut in the middle: %s", j)
		}
		if n := s.One(t, `SELECT count(*)::text FROM snapshots WHERE job_id = $1 AND status <> 'failed'`, cut[i]); n != "0" {
			t.Errorf("%s has %s snapshots that are not failed", j, n)
		}
	}
	s.lineBreak(s.databases[1])
	for _, d := range s.databases {
		for _, found := range canaryOf("password", d.password).SearchFiles(t, s.Dir) {
			t.Error("in the lab's folder: ", found)
		}
	}
	s.CheckRecords()
}

// restore begins one into a new database, by an account that may.
func (s *farScene) restore(d *farDatabase, snapshot string) (jobID string) {
	s.t.Helper()
	if snap := s.API.Snapshot(s.t, snapshot); snap.Status != "completed" {
		s.t.Fatalf("the snapshot is %+v", snap)
	}
	path := "/" + d.kind + "/" + d.name + map[string]string{"mysql": ".sql", "postgres": ".dump"}[d.kind]
	return s.API.StartRestore(s.t, snapshot, map[string]any{
		"destination": "source", "paths": []string{path}, "target_source_id": s.create(d, d.adminPassword, d.admin),
	}).ID
}

// cut begins a backup that is not tried again, and cuts the connection while rows are
// dumped. Until then the password shows nowhere over there, and then nothing is left.
func (s *farScene) cut(d *farDatabase) (jobID string) {
	s.t.Helper()
	d.grow()
	gate := system.NewGate(s.t, s.ssh.Addr())
	gate.Limit(4 << 20)
	host, port := gate.HostPort()
	jobID = s.API.StartBackup(s.t, s.source(d, host, port)).ID
	s.Exec(s.t, `UPDATE jobs SET max_attempts = 1 WHERE id = $1`, jobID)
	testenv.Eventually(s.t, 2*time.Minute, d.dumping, "the rows of %s are not dumped", d.name)
	programs := searchFar(s.t, s.ssh, 1, canaryOf("password", d.password))
	gate.Shut()
	testenv.Eventually(s.t, 2*time.Minute, func() bool { return !d.dumping() && !anyAlive(programs) }, "the dump of %s goes on without its connection", d.name)
	return jobID
}

// lineBreak has a password that PostgreSQL's programs cannot take over there.
func (s *farScene) lineBreak(d *farDatabase) {
	s.t.Helper()
	config := maps.Clone(d.config)
	config["ssh"] = remoteDump(s.ssh, s.ssh.Host(), s.ssh.Port(), s.login)
	j := s.WaitJob(s.API.StartBackup(s.t, s.create(d, d.password+"\n", config)).ID, 3*time.Minute)
	if j.Error == nil || j.Error.Code != "config_invalid" || !strings.Contains(j.Error.Message, "line break") {
		s.t.Errorf("with a line break in the password: %s", j)
	}
}

// searchFar looks for secrets in all that the machine's processes show of themselves, and in the
// files that those of its sessions hold open, while so many dumps are made in these. It
// gives the programs that run there.
func searchFar(t *testing.T, far *testenv.SSHServer, want int, canaries system.Canaries) (programs []int) {
	t.Helper()
	sessions, err := far.Sessions()
	must(t, err)
	dumps := 0
	for _, pid := range sessions {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || strings.HasPrefix(string(line), "sshd") {
			continue // it ended meanwhile, or is the server's own
		}
		programs = append(programs, pid)
		if program, _, _ := strings.Cut(string(line), "\x00"); strings.HasSuffix(program, "dump") {
			dumps++
		}
		searchOpenFiles(t, pid, canaries)
	}
	if dumps != want {
		t.Errorf("%d dump programs are at work on the machine, want %d", dumps, want)
	}
	for _, file := range []string{"cmdline", "environ"} {
		paths, err := filepath.Glob("/proc/[0-9]*/" + file)
		must(t, err)
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				continue // it ended meanwhile
			}
			for _, found := range canaries.Search(content) {
				t.Errorf("in %s: %s", path, found)
			}
		}
	}
	return programs
}

func searchOpenFiles(t *testing.T, pid int, canaries system.Canaries) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	must(t, err)
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			continue // a pipe or a socket
		}
		content, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		for _, found := range canaries.Search(content) {
			t.Errorf("in an open file of process %d: %s", pid, found)
		}
	}
}

func anyAlive(processes []int) bool {
	for _, pid := range processes {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			return true
		}
	}
	return false
}
