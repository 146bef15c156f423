package catalog_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// drilled has a drill of a snapshot end with a code, or pass.
func (l *line) drilled(id uuid.UUID, code job.Code) {
	l.t.Helper()
	c, f := l.verifying(id, job.VerifyDrill)
	report := passed(c)
	if code != "" {
		report = failed(c, code)
	}
	report.Result = json.RawMessage(`{"drill":{"server":"a server","databases":[{"name":"shop","rows":3}]}}`)
	for range 2 { // the answer was lost, say
		l.must(l.CompleteJob(l.t.Context(), f, report))
	}
}

// A drill that finds that a dump does not load makes its snapshot suspicious, and one
// that passes makes it good again; one that cannot tell changes nothing.
func TestDrillVerdicts(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.stored()
	for _, code := range []job.Code{job.Unprovable, job.StorageFull, job.ConfigInvalid} {
		l.drilled(id, code)
		if s := l.snap(id); s.Status != catalog.SnapshotCompleted || s.VerifiedAt != nil || s.VerifyResult != nil || s.DrilledAt != nil {
			t.Errorf("%s: %+v", code, s)
		}
	}
	l.drilled(id, job.DumpFailed)
	s, v := l.verdict(id)
	if s.Status != catalog.SnapshotSuspicious || s.Suspicion == "" || s.VerifiedAt == nil || s.FullyVerifiedAt != nil || s.DrilledAt != nil ||
		v.OK || v.Kind != job.VerifyDrill || v.Code != job.DumpFailed || v.Drill == nil || v.Drill.Databases[0].Rows != 3 {
		t.Errorf("after a failure: %+v, %+v", s, v)
	}
	if n := l.count("SELECT count(*) FROM notification_events WHERE kind = 'snapshot_suspicious' AND snapshot_id = $1", id); n != 1 {
		t.Errorf("%d events", n)
	}
	if n := l.backups(); n != 0 {
		t.Errorf("%d backups", n)
	}
	c, f := l.verifying(id, job.VerifyFull)
	l.must(l.CompleteJob(t.Context(), f, passed(c)))
	if s := l.snap(id); s.Status != catalog.SnapshotSuspicious {
		t.Errorf("a full one made it %s", s.Status)
	}
	l.drilled(id, "")
	if n := l.count("SELECT count(*) FROM notification_events WHERE kind = 'recovered' AND snapshot_id = $1", id); n != 1 {
		t.Errorf("%d events that all is well", n)
	}
	if s, v := l.verdict(id); s.Status != catalog.SnapshotCompleted || s.Suspicion != "" || s.DrilledAt == nil || s.FullyVerifiedAt == nil || !v.OK || v.Drill == nil {
		t.Errorf("after one that passed: %+v, %+v", s, v)
	}
}

// What a drill doubted and a person accepted stays good; only a drill can doubt.
func TestDrillDoubtIsAccepted(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.stored()
	c, f := l.verifying(id, job.VerifyFull)
	l.must(l.CompleteJob(t.Context(), f, failed(c, job.DumpFailed)))
	if s := l.snap(id); s.Status != catalog.SnapshotCompleted || s.VerifiedAt != nil {
		t.Errorf("after a full one: %+v", s)
	}
	l.drilled(id, job.DumpFailed)
	if s, err := l.tenant().AcceptSnapshot(t.Context(), id); err != nil || s.Status != catalog.SnapshotCompleted {
		t.Errorf("%+v, %v", s, err)
	}
	l.drilled(id, job.DumpFailed)
	if s, v := l.verdict(id); s.Status != catalog.SnapshotCompleted || v.OK || v.Code != job.DumpFailed {
		t.Errorf("after another drill: %+v, %+v", s, v)
	}
	if n := l.count("SELECT count(*) FROM notification_events WHERE kind = 'snapshot_suspicious' AND snapshot_id = $1", id); n != 1 {
		t.Errorf("%d events", n)
	}
	l.exec("UPDATE snapshots SET status = 'suspicious' WHERE id = $1", id) // for another reason
	l.drilled(id, "")
	if s := l.snap(id); s.Status != catalog.SnapshotSuspicious {
		t.Errorf("it is %s", s.Status)
	}
}

// What was accepted for its size is doubted by a drill all the same.
func TestDrillDoubtsWhatWasAcceptedBefore(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.stored()
	l.exec("UPDATE snapshots SET suspicion = 'It is small.', accepted_at = xvault_now() WHERE id = $1", id)
	l.drilled(id, job.DumpFailed)
	if s := l.snap(id); s.Status != catalog.SnapshotSuspicious {
		t.Errorf("it is %s", s.Status)
	}
}
