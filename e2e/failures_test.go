package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// What goes wrong at a customer's server ends with an error code of its own, a
// sentence that tells a person what to do, and no snapshot that looks good.
func TestFailuresAreTold(t *testing.T) {
	t.Parallel()
	lab := system.Start(t, system.Options{})
	file := func(path, content string, mode os.FileMode) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), mode))
	}
	cases := []struct {
		name    string
		ssh     testenv.SSHOptions
		secret  map[string]any
		config  func(srv *testenv.SSHServer, config map[string]any)
		code    string
		tells   []string // all in the message, in any case
		partial bool     // there is a snapshot, and it says so
	}{
		{name: "wrong key", secret: system.PrivateKey(unrelatedKey(t)), code: "auth_failed", tells: []string{"key"}},
		{name: "password where none is taken", secret: system.Password("canary-wrong-password"), code: "auth_failed", tells: []string{"password"}},
		{
			name:   "unknown host key",
			config: func(_ *testenv.SSHServer, c map[string]any) { delete(c, "host_keys") },
			code:   "host_key_unknown", tells: []string{"host_keys", "SHA256:"},
		},
		{
			name:   "changed host key",
			config: func(srv *testenv.SSHServer, _ map[string]any) { srv.ReplaceHostKeys() },
			code:   "host_key_changed", tells: []string{"SHA256:"},
		},
		{
			name:   "missing path",
			config: func(srv *testenv.SSHServer, c map[string]any) { c["paths"] = []string{srv.Root + "/not-there"} },
			code:   "path_not_found", tells: []string{"/not-there"},
		},
		{
			name: "one of two paths is missing",
			config: func(srv *testenv.SSHServer, c map[string]any) {
				c["paths"] = []string{srv.Root + "/src", srv.Root + "/not-there"}
			},
			code: "path_not_found", tells: []string{"/not-there"},
		},
		{
			name: "unreadable file", ssh: testenv.SSHOptions{User: "nobody"},
			config: func(srv *testenv.SSHServer, _ map[string]any) { file(srv.Root+"/src/locked", "secret", 0o600) },
			code:   "permission_denied", tells: []string{"locked"}, partial: true,
		},
		{
			name: "unreadable folder", ssh: testenv.SSHOptions{User: "nobody"},
			config: func(srv *testenv.SSHServer, _ map[string]any) { must(t, os.Mkdir(srv.Root+"/src/shut", 0o700)) },
			code:   "permission_denied", tells: []string{"shut"}, partial: true,
		},
		{
			name:   "empty source",
			config: func(srv *testenv.SSHServer, _ map[string]any) { must(t, os.Remove(srv.Root+"/src/file")) },
			code:   "source_empty", tells: []string{"paths"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := testenv.SSHD(t, c.ssh)
			file(srv.Root+"/src/file", "content", 0o644)
			config := srv.Config(srv.Root + "/src")
			if c.config != nil {
				c.config(srv, config)
			}
			secret := c.secret
			if secret == nil {
				secret = system.PrivateKey(srv.ClientKeyPEM)
			}
			tenant := lab.API.CreateTenant(t, c.name)
			source := lab.API.CreateSource(t, tenant.ID, lab.API.CreateCredential(t, tenant.ID, secret), config)
			mustFail(t, lab, lab.WaitJob(lab.API.StartBackup(t, source).ID, 3*time.Minute), c.code, c.tells, c.partial)
			probe := lab.WaitJob(system.Post[system.Job](t, lab.API, "/api/v1/sources/"+source+"/probe", nil).ID, 3*time.Minute)
			t.Logf("the probe says: %s, result %s", probe, probe.Result)
		})
	}
	t.Cleanup(lab.CheckRecords)
}

func mustFail(t *testing.T, lab *system.Lab, job system.Job, code string, tells []string, partial bool) {
	t.Helper()
	t.Logf("%s", job)
	if job.Status != "failed" || job.Error == nil || job.Error.Code != code {
		t.Fatalf("want failed with %s: %s", code, job)
	}
	for _, word := range tells {
		if !strings.Contains(strings.ToLower(job.Error.Message), strings.ToLower(word)) && !strings.Contains(string(job.Result), word) {
			t.Errorf("neither message nor result mentions %q: %s; result %s", word, job, job.Result)
		}
	}
	if strings.Contains(job.Error.Message, "canary") {
		t.Errorf("the message holds a secret: %s", job)
	}
	if !partial && job.SnapshotID != "" {
		t.Errorf("there is a snapshot: %s", job)
	}
	if partial {
		if job.SnapshotID == "" {
			t.Fatalf("what could be read was thrown away: %s", job)
		}
		if snap := lab.API.Snapshot(t, job.SnapshotID); snap.Status != "partial" {
			t.Errorf("the snapshot looks good: %q", snap.Status)
		}
	}
	if n := lab.One(t, `SELECT count(*)::text FROM snapshots WHERE job_id = $1 AND status = 'completed'`, job.ID); n != "0" {
		t.Errorf("%s good snapshots of a failed job", n)
	}
}

// A host key that was trusted on first use is as pinned as any other.
func TestTrustedHostKeyChanges(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 10, Files: 5})
	config := s.SSH.Config(s.Path)
	delete(config, "host_keys")
	config["trust_on_first_use"] = true
	s.SourceID = s.API.CreateSource(t, s.Tenant.ID, s.API.CreateCredential(t, s.Tenant.ID, system.PrivateKey(s.SSH.ClientKeyPEM)), config)
	s.Acknowledged(s.Backup().ID, 3*time.Minute)
	s.Acknowledged(s.Backup().ID, 3*time.Minute)
	s.SSH.ReplaceHostKeys()
	mustFail(t, s.Lab, s.WaitJob(s.Backup().ID, 3*time.Minute), "host_key_changed", []string{"SHA256:"}, false)
	s.Check()
}

// A server that refuses connections is tried again, with longer and longer
// pauses, and given up in the end.
func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 11, Files: 5})
	s.SSH.Stop()
	job := s.Backup()
	for attempt := 1; attempt < 5; attempt++ {
		waiting := s.WaitBack(job.ID, attempt)
		if waiting.Error == nil || waiting.Error.Code != "connect_failed" {
			t.Errorf("a job that waits for its next attempt does not say why: %s", waiting)
		}
		s.MoveClock(t, time.Duration(attempt)*20*time.Minute)
	}
	mustFail(t, s.Lab, s.WaitJob(job.ID, 3*time.Minute), "connect_failed", []string{s.SSH.Host(), "refused"}, false)
}

// A server that comes back in time has cost an attempt, no more.
func TestConnectionRefusedForAWhile(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 11, Files: 5})
	s.SSH.Stop()
	job := s.Backup()
	s.WaitBack(job.ID, 1)
	s.SSH.Start()
	if done := s.Acknowledged(job.ID, 3*time.Minute); done.Attempt != 2 {
		t.Errorf("want the second attempt: %s", done)
	}
	s.Check()
}

// workerWithLittleRoom starts a worker whose storage holds 4 MiB.
func workerWithLittleRoom(t *testing.T, lab *system.Lab) *system.Worker {
	t.Helper()
	w := lab.AddWorker()
	must(t, unix.Mount("tmpfs", w.Storage, "tmpfs", 0, "size=4m,mode=0700"))
	t.Cleanup(func() {
		w.Kill()
		if err := unix.Unmount(w.Storage, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	w.Start()
	w.WaitOnline()
	return w
}

// F5: the worker's disk is full: the job fails, over each transport, and nothing of it
// stays.
func TestStorageFull(t *testing.T) {
	t.Parallel()
	lab := system.Start(t, system.Options{Workers: -1})
	var scenes []*system.Scene
	for _, transport := range system.Transports() {
		scenes = append(scenes, lab.NewScene(t, system.SceneOptions{Seed: 12, Files: 5, Type: transport})) // 9 MiB
	}
	w := workerWithLittleRoom(t, lab)
	for _, s := range scenes {
		mustFail(t, lab, s.WaitJob(s.Backup().ID, 3*time.Minute), "storage_full", []string{"free space"}, false)
		if left := system.OrphanFiles(t, w.Storage); len(left) > 0 {
			t.Errorf("%s: left on the full disk: %v", s.Type, left)
		}
		s.CheckServerIsLeft(t)
	}
	// Once there is room, the same worker works again.
	must(t, unix.Mount("tmpfs", w.Storage, "tmpfs", unix.MS_REMOUNT, "size=200m,mode=0700"))
	for _, s := range scenes {
		s.Acknowledged(s.Backup().ID, 3*time.Minute)
	}
	lab.Check()
}
