package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

const (
	canceledWhileQueued  = "The job was canceled while it waited; nothing of it was kept."
	canceledWhileRunning = "The job was canceled while it ran; nothing of it was kept."
)

// CancelJob ends a queued job at once and asks the worker of a running one to
// stop, of which it learns with its next renewal. Repeating it is harmless.
// Canceling a deletion takes the
// snapshot back, which works until a worker begins. Errors: ErrNotFound,
// *Conflict "job_finalizing", "job_ended" or "deletion_begun".
func (s Scope) CancelJob(ctx context.Context, id uuid.UUID) (Job, error) {
	before, err := s.Job(ctx, id)
	if err != nil {
		return Job{}, err
	}
	if before.Kind == job.DeleteSnapshot && !before.Status.Terminal() {
		if err := s.cancelDeletion(ctx, before); err != nil {
			return Job{}, err
		}
		return s.Job(ctx, id)
	}
	changed := false
	err = s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.CancelJob(ctx, query.CancelJobParams{ID: id, TenantID: s.tenant, Message: canceledWhileQueued})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // nothing to change; below it shows why
		}
		if err != nil {
			return fmt.Errorf("cancel job: %w", err)
		}
		changed = true
		return s.audit(ctx, q, Event{
			TenantID: &row.TenantID, Action: "job.cancel", ObjectType: "job", ObjectID: id.String(),
			Detail: map[string]any{"status": row.Status},
		})
	})
	if err != nil {
		return Job{}, err
	}
	j, err := s.Job(ctx, id)
	if err != nil {
		return Job{}, err
	}
	if changed {
		s.db.queueChanged()
		return j, nil
	}
	return j, cancelConflict(j)
}

// cancelConflict says why there was nothing to cancel; nil: it was done before.
func cancelConflict(j Job) error {
	switch {
	case j.Status == job.Canceled || j.CancelRequested && !j.Status.Terminal():
		return nil
	case j.Status == job.Finalizing:
		return &Conflict{Code: "job_finalizing", Message: "the job's data is already stored; it can no longer be canceled"}
	default:
		return &Conflict{Code: "job_ended", Message: "the job has already ended as " + string(j.Status)}
	}
}
