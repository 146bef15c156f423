package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// CompleteJob records how an attempt ended. For a backup that succeeded, or of
// which a partial snapshot is left, it is the commit point: job and snapshot
// change in one statement, and only if all that the worker says of the snapshot
// fits what the catalog knows. A snapshot that is much smaller than its like is
// kept as suspicious, and the job completes all the same. A failure is tried again, or not, as its code
// and the tries left say.
//
// Repeating what the attempt already said is harmless. Errors: ErrFenced;
// *Conflict "invalid_report" for what cannot be true, which changes nothing.
func (db *DB) CompleteJob(ctx context.Context, f Fence, req job.CompleteRequest) error {
	report, err := checkReport(req)
	if err != nil {
		return err
	}
	switch {
	case report.snapshot != nil:
		err = db.completeWithSnapshot(ctx, f, report)
	case report.status == job.Completed:
		err = db.completeWithout(ctx, f, report)
	default:
		err = db.failAttempt(ctx, f, report)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return db.whyNotCompleted(ctx, f, report)
	}
	// JSON that Postgres cannot store (\u0000, too deep), or what a constraint refuses:
	// saying it again would not help, so the worker must not be told to.
	if hasSQLState(err, "22", "23", "54") {
		return invalidReport("the report holds what cannot be stored")
	}
	if err != nil {
		return fmt.Errorf("complete job: %w", err)
	}
	db.queueChanged()
	return nil
}

func (db *DB) completeWithSnapshot(ctx context.Context, f Fence, r report) error {
	s := r.snapshot
	progress, err := r.lastProgress()
	if err != nil {
		return err
	}
	files, size, err := contentOf(s.Manifest)
	if err != nil {
		return err
	}
	params := query.CompleteWithSnapshotParams{
		JobID: f.JobID, Attempt: f.attempt(), WorkerID: &f.WorkerID, Incarnation: &f.Incarnation, TokenHash: storedToken(f.Token),
		Status: string(r.status), Result: r.result, ErrorCode: r.errorCode(), ErrorMessage: r.errorMessage(),
		SnapshotID: s.ID, SnapshotStatus: s.Status, SizeBytes: s.SizeBytes, DurationMs: s.DurationMS, Manifest: s.Manifest,
		Sha256: s.SHA256, KeyID: s.KeyID, Recipient: s.Recipient, LocalPath: s.LocalPath,
		LastProgress: progress, BaselineSize: baselineSize, Files: files, Bytes: size,
	}
	done, err := db.completeQuietly(ctx, params)
	if errors.Is(err, pgx.ErrNoRows) {
		done, err = db.completeAndTell(ctx, params)
	}
	if err != nil {
		return err
	}
	if done.Retained {
		db.tellStored(done.SourceID)
	}
	db.tellRecorded(s, done.Suspicion)
	return nil
}

func (db *DB) tellRecorded(s *job.SnapshotRecord, suspicion string) {
	if db.recorded == nil {
		return
	}
	status := SnapshotStatus(s.Status)
	if suspicion != "" {
		status = SnapshotSuspicious
	}
	db.recorded(status, s.SizeBytes, time.Duration(s.DurationMS)*time.Millisecond)
}

// completeQuietly commits a good snapshot that is news to nobody, as most are: in
// one statement. pgx.ErrNoRows: it is news, or the report is not to be taken.
func (db *DB) completeQuietly(ctx context.Context, params query.CompleteWithSnapshotParams) (query.CompleteWithSnapshotRow, error) {
	if params.Status != string(job.Completed) {
		return query.CompleteWithSnapshotRow{}, pgx.ErrNoRows
	}
	params.Quiet = true
	return db.together().CompleteWithSnapshot(ctx, params)
}

// completeAndTell commits a snapshot together with the event that it is to
// somebody.
func (db *DB) completeAndTell(ctx context.Context, params query.CompleteWithSnapshotParams) (done query.CompleteWithSnapshotRow, err error) {
	err = db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		if done, err = q.CompleteWithSnapshot(ctx, params); err != nil {
			return err
		}
		switch {
		case params.Status == string(job.Failed):
			return tellFailed(ctx, q, params.JobID)
		case done.Suspicion != "":
			return tellBad(ctx, q, params.SnapshotID, params.JobID, EventSuspicious, done.Suspicion)
		default:
			return tellGood(ctx, q, params.SnapshotID, true)
		}
	})
	return done, err
}

// completeWithout takes what succeeded and makes no snapshot. Only where that is
// not current, or a verification, is looked what it is.
func (db *DB) completeWithout(ctx context.Context, f Fence, r report) error {
	_, err := db.q().CompleteJob(ctx, query.CompleteJobParams{
		JobID: f.JobID, Attempt: f.attempt(), WorkerID: &f.WorkerID, Incarnation: &f.Incarnation, TokenHash: storedToken(f.Token), Result: r.result,
		EventID: NewID(),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return db.passVerify(ctx, f, r)
	}
	return err
}

// failAttempt takes failures and what the worker answers to a cancel. What a
// verification proved stands whether or not somebody wanted to cancel it.
func (db *DB) failAttempt(ctx context.Context, f Fence, r report) error {
	return db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		attempt, err := db.lockAttempt(ctx, q, f)
		if err != nil {
			return err
		}
		if r.status == job.Canceled && !attempt.CancelRequested {
			return invalidReport("nobody asked for a cancel")
		}
		if attempt.Type == string(job.Verify) && r.code.ProvesDamage() {
			if r, err = db.failVerify(ctx, q, f, attempt, r); err != nil {
				return err
			}
		}
		if disproves(attempt, r) {
			if err := db.failDrill(ctx, q, f, attempt, r); err != nil {
				return err
			}
		}
		_, err = endAttempts(ctx, q, []uuid.UUID{attempt.ID}, failure{
			outcome: r.status, code: r.code, message: r.message, result: r.result,
		})
		return err
	})
}

// lockAttempt locks the job of a current attempt; else pgx.ErrNoRows.
func (db *DB) lockAttempt(ctx context.Context, q *query.Queries, f Fence) (query.LockAttemptRow, error) {
	return q.LockAttempt(ctx, query.LockAttemptParams{
		JobID: f.JobID, Attempt: f.attempt(), WorkerID: &f.WorkerID, Incarnation: &f.Incarnation, TokenHash: storedToken(f.Token),
	})
}

// whyNotCompleted looks at what stands where the report was not taken.
func (db *DB) whyNotCompleted(ctx context.Context, f Fence, r report) error {
	state, err := db.q().AttemptState(ctx, f.JobID)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrFenced
	}
	if err != nil {
		return fmt.Errorf("look up attempt: %w", err)
	}
	switch {
	case !f.names(state):
		return ErrFenced
	case state.AttemptOutcome != nil:
		if r.repeats(state) {
			return nil
		}
		return ErrFenced
	case state.CancelRequested && r.snapshot != nil:
		return db.cancelBeforeSnapshot(ctx, f, r)
	default:
		return r.contradiction(f, state)
	}
}

// cancelBeforeSnapshot ends an attempt that reports a snapshot after its cancel
// was asked for: the cancel came first, and the snapshot does not exist.
func (db *DB) cancelBeforeSnapshot(ctx context.Context, f Fence, r report) error {
	r.snapshot, r.status = nil, job.Canceled
	err := db.failAttempt(ctx, f, r)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("cancel job: %w", err)
	}
	db.queueChanged()
	return ErrFenced
}
