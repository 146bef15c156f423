package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// recoveryBlock finds a block of commands that is marked for the test, also where
// it stands in a list.
var recoveryBlock = regexp.MustCompile("(?m)^ *<!-- (?:run|serve): (\\w+) -->\n *```sh\n((?:.*\n)*?) *```\n")

// recovery follows docs/recovery.md, as a person does whose hub is gone.
type recovery struct {
	*system.Scene
	blocks map[string]string
	dir    string   // where the commands are typed
	env    []string // what is known there
	used   []string
}

func newRecovery(t *testing.T, s *system.Scene) *recovery {
	t.Helper()
	doc, err := os.ReadFile("../docs/recovery.md")
	must(t, err)
	r := &recovery{Scene: s, blocks: map[string]string{}, dir: t.TempDir()}
	for _, m := range recoveryBlock.FindAllStringSubmatch(string(doc), -1) {
		r.blocks[m[1]] = m[2]
	}
	if want := strings.Count(string(doc), "<!-- "); len(r.blocks) != want {
		t.Fatalf("%d blocks of %d were understood", len(r.blocks), want)
	}
	return r
}

func (r *recovery) block(t *testing.T, name string) string {
	t.Helper()
	if r.blocks[name] == "" {
		t.Fatalf("docs/recovery.md has no block %q", name)
	}
	r.used = append(r.used, name)
	return "set -euo pipefail\n" + r.blocks[name]
}

// run types the commands of a block and gives what they print.
func (r *recovery) run(t *testing.T, name string, more ...string) string {
	t.Helper()
	out, err := r.try(r.block(t, name), more...)
	if err != nil {
		t.Fatalf("%s of docs/recovery.md: %v\n%s", name, err, out)
	}
	return out
}

func (r *recovery) try(script string, more ...string) (string, error) {
	c := exec.Command("bash", "-c", script)
	c.Dir = r.dir
	c.Env = slices.Concat(r.Hubs[0].Env(), []string{
		"PATH=" + filepath.Dir(r.Binary) + ":" + os.Getenv("PATH"), "XVAULT_SERVER=" + r.Hubs[0].URL, "XVAULT_KEY=" + r.OperatorKey, "LOG_LEVEL=error",
	}, r.env, more)
	out, err := c.CombinedOutput()
	return string(out), err
}

// serve starts what a block starts, to stay.
func (r *recovery) serve(t *testing.T, name string, env []string) *system.Process {
	t.Helper()
	env = append(env, "PATH="+filepath.Dir(r.Binary)+":"+os.Getenv("PATH"))
	return system.Spawn(t, name+"-rebuilt", r.Dir, env, "/bin/bash", "-c", "exec "+strings.TrimSpace(r.blocks[name]))
}

// F20: hub, Postgres and Redis are gone for good. What docs/recovery.md says is
// done, word for word: with stock tools, with the program alone, and up to a
// hub that restores and backs up again.
func TestTheRecoveryDocumentIsFollowed(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F20, hub, Postgres and Redis gone for good")
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{})
	s := system.Start(t, system.Options{Postgres: pg}).NewScene(t, system.SceneOptions{Seed: 20, Files: 12})
	other := s.NewScene(t, system.SceneOptions{Seed: 21, Files: 4})
	r := newRecovery(t, s)
	s.Acknowledged(s.Backup().ID, 2*time.Minute)
	snap := s.API.Snapshot(t, s.Acknowledged(s.Backup().ID, 2*time.Minute).SnapshotID)
	foreign := s.API.Snapshot(t, other.Acknowledged(other.Backup().ID, 2*time.Minute).SnapshotID)
	r.run(t, "keep")
	must(t, os.Rename(filepath.Join(r.dir, "kits", other.Tenant.ID+".txt"), filepath.Join(r.dir, "late.txt")))

	w := s.Workers[0]
	s.Hubs[0].Kill()
	pg.Kill()
	s.Redis.Kill()
	w.Kill()
	fault := time.Now()
	kit := filepath.Join(r.dir, "kits", s.Tenant.ID+".txt")
	r.env = []string{"STORAGE=" + w.Storage, "WORKER=" + w.ID, "KIT=" + kit, "SNAPSHOT=" + snap.LocalPath, "SNAPSHOT_ID=" + snap.ID, "TENANT=" + s.Tenant.ID, "SOURCE=" + s.SourceID}
	if found := r.run(t, "find"); strings.Count(found, "\n") != 3 || !strings.Contains(found, snap.LocalPath) {
		t.Errorf("what is on the storage:\n%s", found)
	}
	r.run(t, "stock")
	s.Want.MustEqual(t, system.Scan(t, filepath.Join(r.dir, "restored-stock", s.Path)))
	r.run(t, "open")
	withoutSetID(s.Want).MustEqual(t, system.Scan(t, filepath.Join(r.dir, "restored-open", s.Path)))

	r.rebuildHub(t, w)
	trials.Add(time.Since(fault), 0)
	s.API.Do(t, "POST", "/api/v1/snapshots/"+foreign.ID+"/restore", map[string]any{}, 409)
	r.run(t, "restore")
	withoutSetID(s.Want).MustEqual(t, system.Scan(t, filepath.Join(r.dir, "restored-hub", s.Path)))
	d := s.MustRestore(snap.ID, map[string]any{"format": "tar"})
	system.MustFetch(t, d.URL, http.StatusOK)

	if out, err := r.try(`xvault hub import --worker "$WORKER" --identity late.txt`); err != nil || !strings.Contains(out, "0 snapshots") {
		t.Errorf("the kit that came late: %v\n%s", err, out)
	}
	s.MustRestore(foreign.ID, map[string]any{"format": "tar"})
	r.enterAgain(t)
	s.Acknowledged(s.Backup().ID, 2*time.Minute)
	if left := len(r.blocks) - len(slices.Compact(slices.Sorted(slices.Values(r.used)))); left != 2 { // hub and worker are served
		t.Errorf("%d blocks were not run, only %v", left, r.used)
	}
	w.Process.Terminate(t, 30*time.Second)
	s.Check()
}

// withoutSetID is what xVault's own commands restore unless they are told to keep
// set-user-ID and set-group-ID bits.
func withoutSetID(want system.Tree) system.Tree {
	plain := maps.Clone(want)
	for name, n := range plain {
		n.Mode &^= 0o6000
		plain[name] = n
	}
	return plain
}

// rebuildHub brings up a hub with nothing, and the worker, whose sweeper is as
// impatient as it can be, and imports.
func (r *recovery) rebuildHub(t *testing.T, w *system.Worker) {
	t.Helper()
	h := r.Hubs[0]
	r.URL, r.Redis = testenv.Postgres(t), testenv.Redis(t)
	h.KEK = "another:" + base64.StdEncoding.EncodeToString([]byte("of thirty-two characters exactly"))
	r.run(t, "migrate")
	h.Process = r.serve(t, "hub", h.Env())
	h.WaitReady()
	w.RedisURL = r.Redis.URL
	w.Process = r.serve(t, "worker", append(w.Env(), "WORKER_ORPHAN_GRACE=1ms", "WORKER_RECONCILE_EVERY=200ms"))
	for range 3 { // a new hub knows nothing, and nothing is swept for that
		before := r.sweptAt(t)
		testenv.Eventually(t, 2*time.Minute, func() bool { return r.sweptAt(t) != before || !w.Alive() }, "the worker does not compare")
	}
	if kept := r.One(t, `SELECT sweep_kept || ' ' || sweep_removed FROM workers`); kept != "3 0" {
		t.Errorf("kept and removed: %s", kept)
	}
	if dirs := system.SnapshotDirs(t, w.Storage); len(dirs) != 3 {
		t.Fatalf("on the storage are %v", dirs)
	}
	out := r.run(t, "import")
	for _, line := range []string{"3 snapshots (", "dry run: nothing was changed", "MISSING: 1 snapshots cannot be restored", "name, config, credential, schedules; then enable it"} {
		if !strings.Contains(out, line) {
			t.Errorf("the import does not say %q:\n%s", line, out)
		}
	}
	if strings.Contains(out, "AGE-SECRET-KEY") {
		t.Error("it prints a secret")
	}
}

func (r *recovery) sweptAt(t *testing.T) string {
	t.Helper()
	return fmt.Sprint(r.Rows(t, `SELECT swept_at FROM workers WHERE swept_at IS NOT NULL`))
}

// enterAgain gives the source back what was in the catalog alone.
func (r *recovery) enterAgain(t *testing.T) {
	t.Helper()
	r.API.Do(t, "PATCH", "/api/v1/sources/"+r.SourceID, map[string]any{"status": "active"}, 422)
	r.API.Do(t, "POST", "/api/v1/jobs", map[string]any{"source_id": r.SourceID}, 409)
	config, err := json.Marshal(r.SSH.Config(r.Path))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(r.dir, "web1.json"), config, 0o600),
		os.WriteFile(filepath.Join(r.dir, "id_ed25519"), []byte(r.SSH.ClientKeyPEM), 0o600))
	r.run(t, "enter")
}

// importSteps are the named steps of an import, in order, at each of which it is
// killed.
var importSteps = []string{"import.listed", "import.tenant", "import.identity", "import.batch", "import.end"}

// F1, of an import: it is killed at each step and run again, once beside another
// one. What is there in the end is what was there before.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F1, kill -9 an import at each step")
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 22, Files: 3})
	r := newRecovery(t, s)
	for range 2 {
		s.Acknowledged(s.Backup().ID, 2*time.Minute)
	}
	r.run(t, "keep")
	s.Hubs[0].Kill()
	w := s.Workers[0]
	w.Kill()
	s.URL, s.Redis = testenv.Catalog(t), testenv.Redis(t)
	s.Hubs[0].Start()
	w.RedisURL = s.Redis.URL
	r.serveWorker(t, w)
	for _, step := range importSteps {
		fault := time.Now()
		p, hits := s.Spawn("import", s.Hubs[0].Env(), []string{step + "=kill"}, "hub", "import", "--worker", w.ID, "--identity", filepath.Join(r.dir, "kits"))
		r.askedAnew(t, w)
		p.WaitExit(t, 3*time.Minute)
		if reached := hits(); !slices.Contains(reached, step) {
			t.Errorf("%s was not reached, only %v\n%s", step, reached, p.Tail(20))
		}
		trials.Add(time.Since(fault), 0)
	}
	last, _ := s.Spawn("import", s.Hubs[0].Env(), nil, "hub", "import", "--worker", w.ID, "--identity", filepath.Join(r.dir, "kits"))
	testenv.Eventually(t, 2*time.Minute, func() bool { return s.One(t, `SELECT count(*) FROM imports WHERE listed_at IS NULL`) == "1" }, "it does not begin")
	if out := s.Run(s.Hubs[0].Env(), 1, "hub", "import", "--worker", w.ID); !strings.Contains(out, "another import of this worker is running") {
		t.Errorf("beside it: %s", out)
	}
	r.askedAnew(t, w)
	if code := last.WaitExit(t, 3*time.Minute); code != 0 {
		t.Fatalf("at last: %d\n%s", code, last.Tail(20))
	}
	if left := s.One(t, `SELECT (SELECT count(*) FROM imports) + (SELECT count(*) FROM import_items) || ' ' || (SELECT count(*) FROM tenant_keys WHERE identity_missing)`); left != "0 0" {
		t.Errorf("left over: %s", left)
	}
	w.Process.Terminate(t, 30*time.Second)
	s.Check()
}

func (r *recovery) serveWorker(t *testing.T, w *system.Worker) {
	t.Helper()
	w.Process = r.serve(t, "worker", w.Env())
	testenv.Eventually(t, 2*time.Minute, func() bool {
		return len(r.Rows(t, `SELECT 1 FROM workers WHERE id = $1`, w.ID)) > 0 || !w.Alive()
	}, "%s does not register", w.ID)
}

// askedAnew starts the worker again once it was asked: its first heartbeat, which
// hears of that, comes sooner than the next one.
func (r *recovery) askedAnew(t *testing.T, w *system.Worker) {
	t.Helper()
	testenv.Eventually(t, 2*time.Minute, func() bool { return r.One(t, `SELECT count(*) FROM imports WHERE listed_at IS NULL`) == "1" }, "no import asks")
	w.Kill()
	<-w.Done()
	r.serveWorker(t, w)
}
