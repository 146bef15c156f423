package catalog_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

func always(string) bool { return true }

// A restore to a source is a job of the source that is written to, reads a snapshot
// of another one where that is asked for, and never leaves the tenant.
func TestCreateSourceRestore(t *testing.T) {
	t.Parallel()
	l := limited(t, catalog.Limits{PerSource: 1})
	reg, done := l.join("w3")
	w := ref("w3", done.Incarnation)
	snapshot := l.snapshotOf(l.owner, "w3", reg.StorageID)
	other, stranger := l.another(l.owner, "new.example.net"), l.fleet.owner()
	request := catalog.SourceRestoreRequest{SnapshotID: snapshot, Writable: always, Payload: job.RestorePayload{Paths: []string{"/a"}, Existing: job.ExistingSkip}}
	create := func(change func(*catalog.SourceRestoreRequest)) (catalog.Job, error) {
		r := request
		change(&r)
		return l.tenant().CreateSourceRestore(t.Context(), r)
	}

	_, err := create(func(r *catalog.SourceRestoreRequest) { r.TargetID = stranger.source })
	wantErr(t, err, catalog.ErrNotFound)
	_, err = create(func(r *catalog.SourceRestoreRequest) { r.SnapshotID = uuid.New() })
	wantErr(t, err, catalog.ErrNotFound)
	_, err = create(func(r *catalog.SourceRestoreRequest) { r.Writable = func(kind string) bool { return kind != "sftp" } })
	wantConflict(t, err, "source_not_writable")

	made, err := create(func(r *catalog.SourceRestoreRequest) { r.TargetID = other.source })
	if err != nil || made.SourceID != other.source || *made.TargetWorkerID != "w3" || *made.SnapshotID != snapshot {
		t.Fatalf("made %+v, %v", made, err)
	}
	c := l.claim(w, made.ID)
	if c.Source.ID != other.source || !strings.Contains(string(c.Source.Config), "new.example.net") || c.Snapshot == nil ||
		c.Snapshot.SourceID != l.owner.source || c.Snapshot.Identity.ID != l.owner.key || !job.WritesSource(c.Kind, c.Payload) {
		t.Errorf("claimed %+v", c)
	}
	// Nothing else asks for a snapshot of another source.
	_, err = l.tenant().CreateJob(t.Context(), catalog.NewJob{SourceID: other.source, Kind: job.Verify, SnapshotID: &snapshot})
	if err == nil {
		t.Error("a verify of another source's snapshot was made")
	}
}

// What writes to a source keeps backups of it away, and they it; a download does
// neither.
func TestARestoreToASourceKeepsBackupsAway(t *testing.T) {
	t.Parallel()
	l := limited(t, catalog.Limits{PerSource: 1})
	reg, done := l.join("w3")
	w := ref("w3", done.Incarnation)
	l.exec("UPDATE workers SET public_url = 'https://w3' WHERE id = 'w3'")
	snapshot := l.snapshotOf(l.owner, "w3", reg.StorageID)
	restore := func() catalog.Job {
		made, err := l.tenant().CreateSourceRestore(t.Context(), catalog.SourceRestoreRequest{SnapshotID: snapshot, Writable: always})
		l.must(err)
		return made
	}
	refused := func(id uuid.UUID) {
		t.Helper()
		_, err := l.ClaimJob(t.Context(), w, job.ClaimRequest{JobID: id, ClaimID: uuid.New()})
		wantErr(t, err, catalog.ErrNotClaimable)
	}
	first, backup := restore(), l.post()
	c := l.claim(w, first.ID)
	refused(backup.ID)
	refused(restore().ID)
	download, err := l.tenant().CreateDownload(t.Context(), catalog.DownloadRequest{SnapshotID: snapshot, Payload: job.RestorePayload{Format: job.FormatTar}})
	l.must(err)
	l.claim(w, download.ID)
	l.must(l.CompleteJob(t.Context(), fence(c, w), job.CompleteRequest{Attempt: c.Attempt, Status: job.Completed}))
	l.claim(w, backup.ID)
	refused(restore().ID)
}
