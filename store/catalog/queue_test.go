package catalog_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// line is a catalog with one tenant, one source and two workers: everything
// that a job passes through.
type line struct {
	*fleet
	owner owner
	w1    catalog.WorkerRef
	w2    catalog.WorkerRef
}

func newLine(t *testing.T) *line {
	t.Helper()
	f := newFleet(t)
	l := &line{fleet: f, owner: f.owner()}
	for _, w := range []struct {
		id  string
		ref *catalog.WorkerRef
	}{{"w1", &l.w1}, {"w2", &l.w2}} {
		_, done := f.join(w.id)
		*w.ref = ref(w.id, done.Incarnation)
	}
	return l
}

func (l *line) tenant() catalog.Scope {
	return l.Tenant(l.owner.tenant, catalog.Actor{Type: catalog.ActorAPIKey, ID: "key", RequestID: "r2"})
}

func (l *line) post(change ...func(*catalog.NewJob)) catalog.Job {
	l.t.Helper()
	n := catalog.NewJob{SourceID: l.owner.source, Kind: job.Backup, Priority: catalog.DefaultPriority}
	for _, c := range change {
		c(&n)
	}
	j, err := l.tenant().CreateJob(l.t.Context(), n)
	if err != nil {
		l.t.Fatal(err)
	}
	return j
}

func ofKind(k job.Kind) func(*catalog.NewJob) { return func(n *catalog.NewJob) { n.Kind = k } }

func only(worker string) func(*catalog.NewJob) {
	return func(n *catalog.NewJob) { n.TargetWorkerID = &worker }
}

func (l *line) claim(w catalog.WorkerRef, id uuid.UUID) catalog.Claimed {
	l.t.Helper()
	c, err := l.ClaimJob(l.t.Context(), w, job.ClaimRequest{JobID: id, ClaimID: uuid.New()})
	if err != nil {
		l.t.Fatalf("claim: %v", err)
	}
	return c
}

func (l *line) job(id uuid.UUID) catalog.Job {
	l.t.Helper()
	j, err := l.operator().Job(l.t.Context(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	return j
}

// running posts a job and has w1 claim it.
func (l *line) running(change ...func(*catalog.NewJob)) (catalog.Claimed, catalog.Fence) {
	l.t.Helper()
	c := l.claim(l.w1, l.post(change...).ID)
	return c, fence(c, l.w1)
}

func fence(c catalog.Claimed, w catalog.WorkerRef) catalog.Fence {
	return catalog.Fence{JobID: c.JobID, WorkerID: w.ID, Incarnation: w.Incarnation, Attempt: c.Attempt}
}

// success is what a worker says of a backup that worked.
func (l *line) success(c catalog.Claimed, w catalog.WorkerRef) job.CompleteRequest {
	return job.CompleteRequest{
		Attempt: c.Attempt, Status: job.Completed,
		Snapshot: &job.SnapshotRecord{
			ID: c.SnapshotID, Status: "completed", SizeBytes: 7, DurationMS: 3,
			SHA256:   "abababababababababababababababababababababababababababababababab",
			Manifest: json.RawMessage(`{"format":"xvault/1"}`), KeyID: l.owner.key, Recipient: "age1x", StorageBackend: "local_fs",
			LocalPath: catalog.SnapshotPath("/srv/"+w.ID, l.owner.tenant, l.owner.source, c.SnapshotID),
		},
	}
}

func failed(c catalog.Claimed, code job.Code) job.CompleteRequest {
	return job.CompleteRequest{Attempt: c.Attempt, Status: job.Failed, Error: &job.WireError{Code: code, Message: "it broke"}}
}

// expire makes a lease run out, as time would.
func (l *line) expire(id uuid.UUID) {
	l.t.Helper()
	l.exec("UPDATE jobs SET lease_expires_at = xvault_now() - interval '1 second' WHERE id = $1", id)
}

// moveClock sets the catalog's clock ahead of the server's.
func (f *fleet) moveClock(d time.Duration) {
	f.t.Helper()
	f.exec("CREATE OR REPLACE FUNCTION xvault_now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT statement_timestamp() + interval '" +
		d.String() + "' $$")
}

func (l *line) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

func wantConflict(t *testing.T, err error, code string) {
	t.Helper()
	var c *catalog.Conflict
	if !errors.As(err, &c) || c.Code != code {
		t.Errorf("error is %v, want conflict %q", err, code)
	}
}

func wantStatus(t *testing.T, j catalog.Job, want job.Status) {
	t.Helper()
	if j.Status != want {
		t.Errorf("job is %s, want %s (error %+v)", j.Status, want, j.Error)
	}
}

func wantError(t *testing.T, j catalog.Job, want job.Code) {
	t.Helper()
	switch {
	case want == "" && j.Error != nil:
		t.Errorf("job has error %+v, want none", j.Error)
	case want != "" && (j.Error == nil || j.Error.Code != want):
		t.Errorf("job has error %+v, want %s", j.Error, want)
	}
}
