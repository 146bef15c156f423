package catalog

import (
	"context"
	"strings"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// failDrill notes on the snapshot that a drill could not restore what is in it, within
// the transaction that ends the attempt.
func (db *DB) failDrill(ctx context.Context, q *query.Queries, f Fence, a query.LockAttemptRow, r report) error {
	return db.noteVerdict(ctx, q, f, a, r)
}

// disproves reports whether a failure says that a snapshot does not restore: only a
// drill can tell.
func disproves(a query.LockAttemptRow, r report) bool {
	if a.Type != string(job.Verify) || !r.code.Disproves() {
		return false
	}
	payload, err := job.DecodeVerify(a.Payload)
	return err == nil && payload.Kind == job.VerifyDrill
}

// callDoubtful is where a snapshot becomes suspicious after it was made: a drill has
// shown that what is in it does not load, though it is what was stored. It does not
// count as good from now on, and someone is notified. A backup is not queued: it would
// most likely be no better. One that is being deleted stays so, and is suspicious if that
// is taken back; what was not good already stays what it is, and what a person accepted
// in spite of a drill is not doubted for one again.
func (db *DB) callDoubtful(ctx context.Context, q *query.Queries, f Fence, row query.Snapshot, v job.VerifyResult) error {
	good := string(SnapshotCompleted)
	doubt := true
	switch {
	case row.AcceptedAt != nil && strings.HasPrefix(row.Suspicion, drillFailed):
		doubt = false
	case row.Status == good:
		row.Status = string(SnapshotSuspicious)
	case is(row.DeletingFrom, good):
		row.DeletingFrom = new(string(SnapshotSuspicious))
	default:
		doubt = false
	}
	if doubt {
		row.DrillFrom, row.Suspicion = &good, drillSuspicion(v)
	}
	row, err := setVerdict(ctx, q, row, v)
	if err != nil || !doubt {
		return err
	}
	if err := tellBad(ctx, q, row.ID, v.JobID, EventSuspicious, row.Suspicion); err != nil {
		return err
	}
	return db.Operator(Actor{Type: ActorWorker, ID: f.WorkerID}).audit(ctx, q, snapshotEvent("snapshot.doubtful", row, map[string]any{
		"job_id": v.JobID.String(), "code": v.Code, "problem": v.Problem,
	}))
}

// drillFailed begins the suspicion of what a drill doubted, which stays there when it is
// accepted.
const drillFailed = "A restore drill failed: "

func drillSuspicion(v job.VerifyResult) string {
	return drillFailed + v.Problem
}

// makeProven gives a snapshot back what it was before a drill doubted it.
func makeProven(row *query.Snapshot) {
	if row.DrillFrom == nil {
		return
	}
	if row.Status == string(SnapshotSuspicious) {
		row.Status, row.Suspicion = *row.DrillFrom, ""
	}
	if is(row.DeletingFrom, string(SnapshotSuspicious)) {
		row.DeletingFrom = row.DrillFrom
	}
	row.DrillFrom = nil
}
