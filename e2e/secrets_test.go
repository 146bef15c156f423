package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// F17: canaries in the place of every secret, through successes and failures,
// and then a search of all that xVault wrote anywhere.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F17, canary secrets")
	start := time.Now()
	s := system.Start(t, system.Options{SecretFiles: true, Workers: -1, HubEnv: []string{"LOG_LEVEL=debug"}, WorkerEnv: []string{"LOG_LEVEL=debug"}}).
		NewScene(t, system.SceneOptions{Seed: 13, Files: 20})
	canaries := system.Canaries{}
	canaries.Add("KEK", s.KEK)
	canaries.Add("KEK without its id", s.KEK[len("k1:"):])
	canaries.Add("operator's key", s.OperatorKey)
	canaries.Add("join token", s.JoinToken)
	canaries.Add("tenant's identity", s.Identity)
	canaries.Add("source's private key", keyBody(s.SSH.ClientKeyPEM))
	locked, passphrase := s.SSH.LockedClientKey()
	canaries.Add("source's encrypted private key", keyBody(locked))
	canaries.Add("passphrase", passphrase)
	canaries.Add("tenant's API key", s.API.CreateKey(t, s.Tenant.ID, "a key"))

	// The private key of the scene, the same under a passphrase, and a password
	// that the server refuses.
	with := func(secret map[string]any) string {
		return s.API.CreateSource(t, s.Tenant.ID, s.API.CreateCredential(t, s.Tenant.ID, secret), s.SSH.Config(s.Path))
	}
	encrypted := system.PrivateKey(locked)
	encrypted["passphrase"] = passphrase
	password := "canary-password-p4ssw0rd"
	canaries.Add("password", password)
	unknown := unrelatedKey(t)
	canaries.Add("private key that the server does not know", keyBody(unknown))
	sources := []string{s.SourceID, with(encrypted), with(system.Password(password)), with(system.PrivateKey(unknown))}

	// What is refused is not echoed.
	wrong := "canary-passphrase-of-another-key"
	canaries.Add("wrong passphrase", wrong)
	encrypted["passphrase"] = wrong
	refused := s.API.Do(t, "POST", "/api/v1/credentials", map[string]any{"tenant_id": s.Tenant.ID, "kind": "source", "secret": encrypted}, 422)
	for _, found := range canaries.Search(refused.Body) {
		t.Error("in a refusal: ", found)
	}

	// While jobs stand in the queue, and while one is being done.
	w := s.AddWorker()
	var jobs []string
	for _, source := range sources {
		jobs = append(jobs, s.API.StartBackup(t, source).ID,
			system.Post[system.Job](t, s.API, "/api/v1/sources/"+source+"/probe", nil).ID)
	}
	s.WaitQueued(1)
	searchStores(t, s, canaries)
	w.Start("backup.frame=stop")
	w.WaitFrozen(s.Lab, 3*time.Minute)
	searchStores(t, s, canaries)
	searchProcesses(t, s, canaries)
	w.Thaw(s.Lab)
	for i, id := range jobs {
		done := s.WaitJob(id, 3*time.Minute)
		if want := map[bool]string{true: "completed", false: "failed"}[i < 4]; done.Status != want {
			t.Errorf("want %s: %s", want, done)
		}
	}
	searchStores(t, s, canaries)
	searchProcesses(t, s, canaries)
	// A restore: the tenant's identity comes to the worker and leaves no trace.
	download := s.MustRestore(s.API.Job(t, jobs[0]).SnapshotID, nil)
	system.MustFetch(t, download.URL, 200)
	searchProcesses(t, s, canaries)
	canaries.Add("worker's own token", readState(t, w, "token"))
	canaries.Add("worker's own identity", readState(t, w, "identity"))
	searchStores(t, s, canaries)
	searchAPI(t, s, canaries)
	_, ticket, _ := strings.Cut(download.URL, "?ticket=")
	canaries.Add("download ticket", ticket) // which the API shows to who may fetch
	searchStores(t, s, canaries)
	for _, found := range canaries.SearchFiles(t, s.Dir, w.State, s.Dir+"/secret-*") {
		t.Error("on disk: ", found)
	}
	trials.Add(time.Since(start), 0)
}

func searchStores(t *testing.T, s *system.Scene, canaries system.Canaries) {
	t.Helper()
	for _, found := range canaries.Search([]byte(testenv.DumpPostgres(t, s.URL))) {
		t.Error("in Postgres: ", found)
	}
	for _, found := range canaries.Search(system.DumpRedis(t, s.Redis.Addr)) {
		t.Error("in Redis: ", found)
	}
}

func searchProcesses(t *testing.T, s *system.Scene, canaries system.Canaries) {
	t.Helper()
	procs := []*system.Process{s.Hubs[0].Process, s.Workers[0].Process}
	for _, p := range procs {
		for _, file := range system.ProcessTexts(t, p) {
			for _, found := range canaries.Search(file.Content) {
				t.Errorf("in %s of %s: %s", file.Name, p.Name, found)
			}
		}
	}
}

// searchAPI looks through what the hub answers to the operator.
func searchAPI(t *testing.T, s *system.Scene, canaries system.Canaries) {
	t.Helper()
	for _, path := range []string{"tenants", "credentials", "sources", "jobs", "snapshots", "workers", "api-keys", "audit-events"} {
		r := s.API.Do(t, "GET", "/api/v1/"+path+"?limit=500", nil, 200)
		for _, found := range canaries.Search(r.Body) {
			t.Errorf("in the answer of GET %s: %s", path, found)
		}
	}
	for _, path := range []string{"/metrics", "/readyz", "/api/v1/openapi.json"} {
		r := s.API.Do(t, "GET", path, nil, 200)
		for _, found := range canaries.Search(r.Body) {
			t.Errorf("in the answer of GET %s: %s", path, found)
		}
	}
}

// keyBody is the middle of a PEM: long enough to be unique, on one line.
func keyBody(pem string) string {
	lines := splitLines(pem)
	return lines[len(lines)/2]
}

// Whatever a killed worker leaves on its disk is sealed: the bytes of a source
// that cannot be compressed, and would so stand there as they are, are not.
func TestNoPlaintextOnTheWorkersDisk(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{Workers: -1}).NewScene(t, system.SceneOptions{Empty: true})
	must(t, os.MkdirAll(s.Path, 0o755))
	canaries := system.Canaries{}
	marker := string(random(20, 24))
	canaries.Add("content of a small file", marker)
	must(t, os.WriteFile(filepath.Join(s.Path, "small-canary-name"), append(random(21, 3000), marker...), 0o600))
	canaries.Add("name of a file", "small-canary-name")
	big := random(22, 20<<20)
	for i := 0; i+len(marker) < len(big); i += 64 << 10 {
		copy(big[i:], marker)
	}
	must(t, os.WriteFile(filepath.Join(s.Path, "big"), big, 0o600))
	s.Want = system.Scan(t, s.Path)
	w := s.AddWorker()
	for _, step := range []string{"backup.frame", "backup.fsync", "backup.rename.after"} {
		w.Start(step + "=kill")
		w.WaitOnline()
		job := s.Backup()
		<-w.Done()
		if len(system.OrphanFiles(t, w.Storage)) == 0 && len(system.SnapshotDirs(t, w.Storage)) == 0 {
			t.Fatalf("nothing was on the disk at %s: the search proves nothing", step)
		}
		for _, found := range canaries.SearchFiles(t, s.Dir) {
			t.Errorf("killed at %s: %s", step, found)
		}
		w.Start()
		s.Acknowledged(job.ID, 3*time.Minute)
		w.Terminate(t, 30*time.Second)
	}
	for _, found := range canaries.SearchFiles(t, s.Dir) {
		t.Error(found)
	}
	s.Sweep(w)
	s.Check()
}
