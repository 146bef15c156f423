package catalog

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"xvault/store/catalog/query"
)

// SourceAge is how long ago the last good backup of a source ended.
type SourceAge struct {
	TenantID, SourceID uuid.UUID
	Seconds            float64
}

// SourceAges are the ages of all active sources.
type SourceAges struct {
	Oldest []SourceAge // those where it is longest ago, the oldest first
	Worst  float64     // of all, in seconds
	Never  int64       // sources without any good backup
}

// SourceAges looks at every active source: one step in an index for each. It
// names most of them.
func (db *DB) SourceAges(ctx context.Context, most int) (SourceAges, error) {
	rows, err := db.q().SourceAges(ctx, int32(min(max(most, 1), 1<<20)))
	if err != nil {
		return SourceAges{}, fmt.Errorf("look at the ages of sources: %w", err)
	}
	var ages SourceAges
	for i, r := range rows {
		ages.Worst, ages.Never = max(r.Worst, 0), r.Never
		if r.Age >= 0 && i < most {
			ages.Oldest = append(ages.Oldest, SourceAge{r.TenantID, r.ID, r.Age})
		}
	}
	return ages, nil
}

// workerGauges gives the figures of up to 1,000 workers.
func (db *DB) workerGauges(ctx context.Context) ([]query.WorkerGaugesRow, error) {
	rows, err := db.q().WorkerGauges(ctx, maxWorkerGauges)
	if err != nil {
		return nil, fmt.Errorf("look at workers: %w", err)
	}
	return rows, nil
}

const maxWorkerGauges = 1000
