package e2e

import (
	"maps"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// F5, of databases: the worker's disk is full in the middle of a dump. The job fails, and nothing of
// it stays: no snapshot, no file, no program, no session at the server.
func TestStorageFullDuringADump(t *testing.T) {
	t.Parallel()
	lab := system.Start(t, system.Options{Workers: -1})
	tenant := lab.API.CreateTenant(t, "a tenant")
	lab.API.ExportKey(t, tenant.ID)
	w := workerWithLittleRoom(t, lab)
	sources := map[string]string{}
	for _, d := range []*farDatabase{farMariaDB(t, "a password"), farPostgres(t, "a password")} {
		d.fill()
		config := maps.Clone(d.admin) // nearby
		config["username"] = d.config["username"]
		sources[d.kind] = system.Post[system.Object](t, lab.API, "/api/v1/sources", map[string]any{
			"tenant_id": tenant.ID, "type": d.kind, "name": "a " + d.kind, "config": config,
			"credential_id": lab.API.CreateCredential(t, tenant.ID, system.Password(d.password)),
		}).ID
		mustFail(t, lab, lab.WaitJob(lab.API.StartBackup(t, sources[d.kind]).ID, 3*time.Minute), "storage_full", []string{"free space"}, false)
		if left := system.OrphanFiles(t, w.Storage); len(left) > 0 {
			t.Errorf("%s: left on the full disk: %v", d.kind, left)
		}
		testenv.Eventually(t, 2*time.Minute, func() bool { return !d.connected() && !dumps(t, w) }, "the dump of the %s database goes on", d.kind)
	}
	// Once there is room, the same worker works again.
	must(t, unix.Mount("tmpfs", w.Storage, "tmpfs", unix.MS_REMOUNT, "size=200m,mode=0700"))
	for kind, source := range sources {
		if j := lab.MustComplete(lab.API.StartBackup(t, source).ID, 3*time.Minute); lab.API.Snapshot(t, j.SnapshotID).Status != "completed" {
			t.Errorf("%s: %s", kind, j)
		}
	}
	lab.CheckRecords()
}

// dumps tells whether a worker has a program running that dumps.
func dumps(t *testing.T, w *system.Worker) bool {
	t.Helper()
	for _, text := range system.ProcessTexts(t, w.Process) {
		if program, _, _ := strings.Cut(string(text.Content), "\x00"); strings.HasSuffix(text.Name, "cmdline") && strings.Contains(program, "dump") {
			return true
		}
	}
	return false
}
