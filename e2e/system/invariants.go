package system

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// CheckOneWinner is invariant I2 in plain SQL: one accepted completion for
// each attempt, one winner for each job. It gives the violations.
func (c Catalog) CheckOneWinner(t testing.TB) []string {
	t.Helper()
	checks := map[string]string{
		"a job has several snapshots": `SELECT job_id::text, count(*)::text FROM snapshots GROUP BY 1 HAVING count(*) > 1`,
		"a completed backup has no snapshot of its own": `SELECT j.id::text, coalesce(s.status, 'none') FROM jobs j
			LEFT JOIN snapshots s ON s.id = j.snapshot_id AND s.job_id = j.id AND s.tenant_id = j.tenant_id AND s.source_id = j.source_id
			WHERE j.type = 'backup' AND j.status = 'completed'
				AND coalesce(s.status, 'none') NOT IN ('completed', 'suspicious', 'corrupt', 'deleting', 'deleted')`,
		"a good snapshot belongs to a job that did not complete": `SELECT s.id::text, j.status FROM snapshots s
			JOIN jobs j ON j.id = s.job_id WHERE s.status = 'completed' AND j.status <> 'completed'`,
		"a snapshot is not the one of its job's last attempt": `SELECT s.id::text, j.attempt_snapshot_id::text FROM snapshots s
			JOIN jobs j ON j.id = s.job_id WHERE j.attempt_snapshot_id IS DISTINCT FROM s.id`,
		"a snapshot is not sealed to a key of its tenant": `SELECT s.id::text, s.encryption_recipient FROM snapshots s
			LEFT JOIN tenant_keys k ON k.tenant_id = s.tenant_id AND k.id = s.encryption_key_id AND k.public_key = s.encryption_recipient
			WHERE k.id IS NULL`,
		"a snapshot is deleted without a job that did it": `SELECT s.id::text, s.status FROM snapshots s WHERE s.status = 'deleted'
			AND 1 <> (SELECT count(*) FROM jobs j WHERE j.snapshot_id = s.id AND j.type = 'delete_snapshot' AND j.status = 'completed')`,
		"a job's completion was audited more than once": `SELECT object_id, action, count(*)::text FROM audit_events
			WHERE object_type = 'job' AND action IN ('job.complete', 'job.completed') GROUP BY 1, 2 HAVING count(*) > 1`,
	}
	var violations []string
	for what, sql := range checks {
		for _, row := range c.Rows(t, sql) {
			violations = append(violations, what+": "+strings.Join(row, " "))
		}
	}
	slices.Sort(violations)
	return violations
}

const rowWithoutFolder = "a row without a folder: "

// CheckDisks is invariant I3: the folders on the workers' storages and the rows
// match one to one, each folder holds exactly its three files with the size
// that the row claims, and nothing else lies below tenants/ or in staging.
func (c Catalog) CheckDisks(t testing.TB, storages ...string) []string {
	t.Helper()
	rows := map[string]string{} // folder -> size
	for _, r := range c.Rows(t, `SELECT local_path, size_bytes::text FROM snapshots WHERE status <> 'deleted' AND storage_backend = 'local_fs'`) {
		rows[r[0]] = r[1]
	}
	var violations []string
	for _, storage := range storages {
		for _, dir := range SnapshotDirs(t, storage) {
			size, ok := rows[dir]
			if !ok {
				violations = append(violations, "on disk without a row: "+dir)
				continue
			}
			delete(rows, dir)
			violations = append(violations, checkFolder(dir, size)...)
		}
		violations = append(violations, strays(t, storage)...)
	}
	for dir := range rows {
		violations = append(violations, rowWithoutFolder+dir)
	}
	slices.Sort(violations)
	return violations
}

func checkFolder(dir, size string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{Artifact, "manifest.json", "meta.json"}; !slices.Equal(names, want) {
		return []string{fmt.Sprintf("%s holds %v", dir, names)}
	}
	info, err := os.Stat(filepath.Join(dir, Artifact))
	if err != nil {
		return []string{err.Error()}
	}
	if got := fmt.Sprint(info.Size()); got != size {
		return []string{fmt.Sprintf("%s: the artifact has %s bytes, the row says %s", dir, got, size)}
	}
	return nil
}

// SnapshotDirs lists the folders of finished snapshots on a storage.
func SnapshotDirs(t testing.TB, storage string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(storage, "tenants/*/sources/*/snapshots/*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// strays are files below the storage that belong to no finished snapshot.
func strays(t testing.TB, storage string) []string {
	t.Helper()
	var found []string
	for path, size := range OrphanFiles(t, storage) {
		found = append(found, fmt.Sprintf("left over: %s (%d bytes)", path, size))
	}
	return found
}

// OrphanFiles are the files on a storage outside of finished snapshots, with
// their sizes. The storage's own marker file at its root is none.
func OrphanFiles(t testing.TB, storage string) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	err := filepath.WalkDir(storage, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(storage, path)
		if err != nil {
			return err
		}
		parts := strings.Split(rel, string(filepath.Separator))
		finished := len(parts) == 7 && parts[0] == "tenants" && parts[2] == "sources" && parts[4] == "snapshots"
		if finished || len(parts) == 1 {
			return nil
		}
		info, err := d.Info()
		if err == nil {
			found[path] = info.Size()
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return found
}

// Orphaned are the bytes on a storage that belong to nobody: unfinished ones,
// and finished snapshots that the catalog does not know.
func (c Catalog) Orphaned(t testing.TB, storage string) int64 {
	t.Helper()
	known := map[string]bool{}
	for _, row := range c.Rows(t, `SELECT local_path FROM snapshots WHERE storage_backend = 'local_fs'`) {
		known[row[0]] = true
	}
	sum := Bytes(OrphanFiles(t, storage))
	for _, dir := range SnapshotDirs(t, storage) {
		if known[dir] {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) { // a sweep may be faster
			t.Fatal(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				sum += info.Size()
			}
		}
	}
	return sum
}

// Bytes adds up sizes.
func Bytes(files map[string]int64) int64 {
	var sum int64
	for _, n := range files {
		sum += n
	}
	return sum
}
