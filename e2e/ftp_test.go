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

// A tree on an FTP server is probed, backed up, and comes out of the artifact with
// stock tools as it was; and it is put back on the server, into its place and into
// another folder.
func TestFTPBackupAndRestore(t *testing.T) {
	t.Parallel()
	lab := system.Start(t, system.Options{})
	server := testenv.FTPD(t, testenv.FTPOptions{Kind: "proftpd", Root: true})
	path := filepath.Join(server.Root, "src")
	files := map[string]string{"a/file": "content", "a/empty": "", "b/" + " space ": "x", "b/large": strings.Repeat("0123456789", 700_000), "ü/\xff": "bytes"}
	for name, content := range files {
		file := filepath.Join(path, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o750))
		must(t, os.WriteFile(file, []byte(content), 0o640))
	}
	want := system.Scan(t, path)
	tenant := lab.API.CreateTenant(t, "a tenant")
	identity := lab.API.ExportKey(t, tenant.ID)
	password := server.Credential().Password.Reveal()
	credential := lab.API.CreateCredential(t, tenant.ID, system.Password(password))
	source := system.Post[system.Object](t, lab.API, "/api/v1/sources", map[string]any{
		"tenant_id": tenant.ID, "type": "ftp", "name": "an FTP server", "credential_id": credential, "config": server.Config(path),
	}).ID
	probe := lab.MustComplete(system.Post[system.Job](t, lab.API, "/api/v1/sources/"+source+"/probe", nil).ID, 3*time.Minute)
	if result := string(probe.Result); !strings.Contains(result, `"reachable":true`) || !strings.Contains(result, "ProFTPD") {
		t.Errorf("the probe tells %s", result)
	}
	j := lab.MustComplete(lab.API.StartBackup(t, source).ID, 3*time.Minute)
	snap := lab.API.Snapshot(t, j.SnapshotID)
	if snap.Status != "completed" {
		t.Fatalf("%s has snapshot %+v", j, snap)
	}
	system.MustRestoreTo(t, snap.LocalPath, identity, path, want)

	must(t, os.RemoveAll(path))
	back := map[string]any{"destination": "source"}
	j = lab.MustComplete(lab.API.StartRestore(t, j.SnapshotID, back).ID, 3*time.Minute)
	want.MustEqual(t, system.Scan(t, path))
	if w := resultOf(t, j); w.Files != int64(len(files)) || w.Failed+w.Skipped+w.Overwritten > 0 {
		t.Errorf("the result says %s", j.Result)
	}
	back["target_path"] = server.Root + "/elsewhere"
	lab.MustComplete(lab.API.StartRestore(t, snap.ID, back).ID, 3*time.Minute)
	want.MustEqual(t, system.Scan(t, server.Root+"/elsewhere"+path))
	leftovers(t, server.Root)

	// A link comes into the snapshot, and does not come back over FTP: the job says so.
	must(t, os.Symlink("there", filepath.Join(path, "a link")))
	j = lab.MustComplete(lab.API.StartBackup(t, source).ID, 3*time.Minute)
	must(t, os.RemoveAll(path))
	j = lab.WaitJob(lab.API.StartRestore(t, j.SnapshotID, map[string]any{"destination": "source"}).ID, 3*time.Minute)
	w := resultOf(t, j)
	if j.Status != "failed" || j.Error == nil || !strings.HasPrefix(j.Error.Message, "all is restored but the symbolic links (1)") || !strings.Contains(j.Error.Message, `a link" is a symbolic link to "there"`) {
		t.Errorf("without the link: %s", j)
	}
	if w.Files != int64(len(files)) || w.Failed != 1 || len(w.Warnings) != 1 || !strings.HasSuffix(w.Warnings[0].Path, "/a link") {
		t.Errorf("the result says %s", j.Result)
	}
	for _, found := range canaryOf("password", password).SearchFiles(t, lab.Dir) {
		t.Error("in the lab's folder: ", found)
	}
}
