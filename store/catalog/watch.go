package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"xvault/store/catalog/query"
)

// WorkerWatch says when something about workers is worth an alert, and when it
// is over.
type WorkerWatch struct {
	// LeastFree is the part of a storage that should be free; Enough is what ends
	// the alert, and is more, so that one that goes to and fro alerts once.
	LeastFree, Enough float64
	// Calm is how long all must be well before an alert ends.
	Calm time.Duration
}

// WatchWorkers opens and ends the alerts of workers that are away and of storages
// that are nearly full. Any number of hubs may do it at once.
func (db *DB) WatchWorkers(ctx context.Context, w WorkerWatch) error {
	err := db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		if _, err := q.TellSilentWorkers(ctx); err != nil {
			return err
		}
		if _, err := q.TellFullStorages(ctx, w.LeastFree); err != nil {
			return err
		}
		if err := q.CalmWorkers(ctx, w.Enough); err != nil {
			return err
		}
		_, err := q.TellCalmWorkers(ctx, w.Calm.Seconds())
		return err
	})
	if err != nil {
		return fmt.Errorf("watch workers: %w", err)
	}
	return nil
}

// CheckMaxAges looks at up to limit sources of which nothing may have succeeded
// for longer than their objective, and returns how many there were. A source
// whose objective is exceeded is looked at again after a while.
func (db *DB) CheckMaxAges(ctx context.Context, limit int, again time.Duration) (int, error) {
	row, err := db.q().CheckMaxAges(ctx, query.CheckMaxAgesParams{MaxRows: int32(min(limit, 1<<20)), AgainSeconds: again.Seconds()})
	if err != nil {
		return 0, fmt.Errorf("check objectives: %w", err)
	}
	return int(row.LookedAt), nil
}

// ReplanMaxAges has objectives looked at that were planned by a clock that has
// gone back since, and returns how many.
func (db *DB) ReplanMaxAges(ctx context.Context) (int, error) {
	n, err := db.q().ReplanMaxAges(ctx)
	if err != nil {
		return 0, fmt.Errorf("plan objectives anew: %w", err)
	}
	return int(n), nil
}
