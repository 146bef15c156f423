package catalog

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// TickVerifications looks at up to limit sources of which a verification is due,
// and queues one for each where there is something to verify and none waits or
// runs. The sources are locked against other hubs meanwhile, and their next time
// is in the same transaction, so that a time yields one job. It tells how many
// were due and how many jobs were made.
func (db *DB) TickVerifications(ctx context.Context, limit int) (due, queued int, err error) {
	err = db.inBriefTx(ctx, func(q *query.Queries) error {
		sources, err := q.TakeSourcesToVerify(ctx, int32(min(limit, 1<<20)))
		if err != nil || len(sources) == 0 {
			return err
		}
		ids := make([]uuid.UUID, len(sources))
		for i := range ids {
			ids[i] = NewID()
		}
		made, err := q.QueueVerifications(ctx, query.QueueVerificationsParams{
			SourceIds: sources, JobIds: ids, Priority: rhythmVerifyPriority, MaxAttempts: job.MaxAttempts,
		})
		due, queued = len(sources), int(made)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("look for due verifications: %w", err)
	}
	if queued > 0 {
		db.queueChanged()
	}
	return due, queued, nil
}
