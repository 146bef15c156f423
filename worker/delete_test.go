package worker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/testenv"
)

// stored makes a snapshot by a backup, and gives the job that deletes it.
func (l *lab) stored() (deletion *job.Claim, dir string) {
	l.t.Helper()
	backup := l.hub.addJob(job.Backup)
	n := len(l.hub.got("complete"))
	l.deliver(backup)
	l.waitCalls("complete", n+1)
	dir = l.snapshotDir(backup)
	if !l.exists(dir) {
		l.t.Fatal("nothing was stored")
	}
	return l.deletionOf(backup), dir
}

func (l *lab) deletionOf(backup *job.Claim) *job.Claim {
	l.t.Helper()
	c := l.hub.addJob(job.DeleteSnapshot)
	c.TenantID, c.Source, c.SnapshotID = backup.TenantID, backup.Source, backup.SnapshotID
	c.TenantKey, c.Payload = nil, l.onStorage(l.worker.storage.id())
	return c
}

func (l *lab) onStorage(id uuid.UUID) json.RawMessage {
	l.t.Helper()
	payload, err := json.Marshal(job.DeletePayload{StorageID: id})
	if err != nil {
		l.t.Fatal(err)
	}
	return payload
}

// delivered hands a job to the worker and waits for its report.
func (l *lab) delivered(c *job.Claim) job.CompleteRequest {
	l.t.Helper()
	n := len(l.hub.got("complete"))
	l.deliver(c)
	return decode[job.CompleteRequest](l.t, l.waitCalls("complete", n+1)[n].body)
}

func TestDeleteSnapshot(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	deletion, dir := l.stored()
	info, err := os.Stat(filepath.Join(dir, "backup.tar.zst.enc"))
	if err != nil {
		t.Fatal(err)
	}
	done := l.delivered(deletion)
	result := decode[job.DeleteResult](t, done.Result)
	if done.Status != job.Completed || result.FreedBytes != info.Size() || result.Missing {
		t.Errorf("report: %+v, %s", done, done.Result)
	}
	if l.exists(filepath.Join(l.cfg.StorageBase, "tenants", deletion.TenantID.String())) {
		t.Error("the tenant's folder, now empty, is still there")
	}
	if !l.exists(filepath.Join(l.cfg.StorageBase, "tenants")) {
		t.Error("the root of all snapshots is gone")
	}
	l.stagingIsEmpty()
	if calls := l.hub.names(); !slices.Equal(calls[len(calls)-3:], []string{"claim", "finalize", "complete"}) {
		t.Errorf("calls: %v", calls)
	}
	// What is not there any more is deleted.
	again := l.delivered(deletion)
	if result := decode[job.DeleteResult](t, again.Result); again.Status != job.Completed || !result.Missing || result.FreedBytes != 0 {
		t.Errorf("again: %+v, %s", again, again.Result)
	}
}

// TestDeleteRefuses: nothing is deleted unless all of it is right.
func TestDeleteRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		prepare func(l *lab, c *job.Claim, dir string)
		code    job.Code // empty: the hub hears nothing
	}{
		{"another storage", func(l *lab, c *job.Claim, _ string) { c.Payload = l.onStorage(uuid.New()) }, job.StorageFailed},
		{"a payload that is none", func(_ *lab, c *job.Claim, _ string) { c.Payload = json.RawMessage(`[]`) }, job.ConfigInvalid},
		{"no snapshot", func(_ *lab, c *job.Claim, _ string) { c.SnapshotID = uuid.Nil }, job.ConfigInvalid},
		{"taken back at the last moment", func(l *lab, _ *job.Claim, _ string) {
			l.hub.answer("finalize", func(call) (int, any) { return problem(409, job.RefusedLeaseLost) })
		}, ""},
		{"a link in the place of the source's folder", func(l *lab, c *job.Claim, _ string) {
			source := filepath.Join(l.cfg.StorageBase, "tenants", c.TenantID.String(), "sources", c.Source.ID.String())
			elsewhere := filepath.Join(l.cfg.StorageBase, "tenants", newID().String())
			if err := os.Rename(source, elsewhere); err != nil {
				l.t.Fatal(err)
			}
			if err := os.Symlink(elsewhere, source); err != nil {
				l.t.Fatal(err)
			}
		}, job.StorageFailed},
		{"a storage that was replaced", func(l *lab, _ *job.Claim, _ string) {
			base := l.cfg.StorageBase
			if err := os.Rename(base, base+".away"); err != nil {
				l.t.Fatal(err)
			}
			if err := os.Mkdir(base, 0o700); err != nil {
				l.t.Fatal(err)
			}
		}, job.StorageFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			// The heartbeat must not be what notices.
			l.hub.answer("register", func(c call) (int, any) {
				_, usual := l.hub.usual(c)
				res, _ := usual.(job.RegisterResponse)
				res.HeartbeatEveryMS = time.Hour.Milliseconds()
				return 200, res
			})
			l.start()
			deletion, dir := l.stored()
			tt.prepare(l, deletion, dir)
			if tt.code == "" {
				l.deliver(deletion)
				testenv.Eventually(t, 2*time.Minute, func() bool { return strings.Contains(l.log.String(), "the hub goes on without this attempt") }, "not stopped")
			} else if done := l.delivered(deletion); done.Status != job.Failed || done.Error.Code != tt.code {
				t.Errorf("report: %+v, error %+v", done, done.Error)
			}
			found, err := filepath.Glob(filepath.Join(filepath.Dir(l.cfg.StorageBase), "storage*", "tenants", "*", "sources", "*", "snapshots", "*", "backup.tar.zst.enc"))
			if err != nil {
				t.Fatal(err)
			}
			through, err := filepath.Glob(filepath.Join(l.cfg.StorageBase, "tenants", "*", "snapshots", "*", "backup.tar.zst.enc"))
			if err != nil {
				t.Fatal(err)
			}
			if len(found)+len(through) == 0 {
				t.Error("the artifact is gone")
			}
		})
	}
}

// TestOrphansAreRememberedAcrossRestarts: a worker that is restarted often gets
// through a grace time too, and its hub hears of the bytes.
func TestOrphansAreRememberedAcrossRestarts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	unknown, now := &unknownHub{}, &clock{}
	l.hub.answer("reconcile", unknown.answer(t))
	l.cfg.Now, l.cfg.ReconcileEvery, l.cfg.OrphanGrace = now.now, 10*time.Millisecond, time.Hour
	l.start()
	orphan := l.hub.addJob(job.Backup)
	l.hub.answer("complete", tookOver(t, orphan))
	unknown.set(orphan.SnapshotID, true)
	l.deliver(orphan)
	l.waitCalls("complete", 1)
	rounds := func() { l.waitCalls("sweep", len(l.hub.got("sweep"))+2) }
	report := func() job.SweepReport {
		calls := l.hub.got("sweep")
		return decode[job.SweepReport](t, calls[len(calls)-1].body)
	}
	restart := func() {
		l.stop()
		if err := l.end(); err != nil {
			t.Fatal(err)
		}
		// While it is down the clock is set wrong, and that is no proof of time.
		now.move(1000 * time.Hour)
		l.start()
		rounds()
	}
	rounds()
	for range 5 {
		now.move(11 * time.Minute)
		rounds()
		restart()
		if !l.exists(l.snapshotDir(orphan)) {
			t.Fatal("removed before its grace was over")
		}
	}
	if r := report(); r.Orphans != 1 || r.OrphanBytes == 0 || r.Removed != 0 || r.Snapshots != 1 {
		t.Errorf("reported: %+v", r)
	}
	now.move(11 * time.Minute)
	testenv.Eventually(t, 2*time.Minute, func() bool { return !l.exists(l.snapshotDir(orphan)) }, "it stays although its grace is over")
	rounds()
	if r := report(); r.Orphans != 0 || r.OrphanBytes != 0 || r.Removed != 1 || r.RemovedBytes == 0 {
		t.Errorf("reported: %+v", r)
	}
}
