package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// ClockMargin is by how much times may lie ahead of the clock before they count as
// written by a clock that was wrong: servers that replace each other differ a
// little.
const ClockMargin = time.Minute

// PullBack mends what was written while the clock was ahead, and would otherwise
// stand still until that time comes: jobs that were put off, leases, signs of life
// of workers, when retention was run, and when verifications are due. It returns
// how many rows there were; schedules are planned anew by PlanSchedules.
func (db *DB) PullBack(ctx context.Context) (int, error) {
	var sum int64
	margin := ClockMargin.Seconds()
	err := db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		for _, pull := range []func() (int64, error){
			func() (int64, error) { return q.PullBackJobs(ctx, margin) },
			func() (int64, error) {
				return q.PullBackLeases(ctx, query.PullBackLeasesParams{LeaseSeconds: job.Lease.Seconds(), MarginSeconds: margin})
			},
			func() (int64, error) { return q.PullBackWorkers(ctx, margin) },
			func() (int64, error) { return q.PullBackRetention(ctx, margin) },
			func() (int64, error) { return q.PullBackVerifications(ctx) },
		} {
			n, err := pull()
			if err != nil {
				return err
			}
			sum += n
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("mend what a clock ahead has left: %w", err)
	}
	if sum > 0 {
		db.queueChanged()
	}
	return int(sum), nil
}
