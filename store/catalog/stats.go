package catalog

import (
	"context"
	"fmt"
)

// Stats are figures over the whole catalog, for monitoring.
type Stats struct {
	JobsByStatus    map[string]int64
	WorkersByStatus map[string]int64
	Undispatched    int64   // queued and not yet handed to Redis
	Dispatched      int64   // handed to Redis and not yet claimed
	OldestDue       float64 // seconds since the longest waiting job was due

	// Of all storages, as they were found when they were last compared with the
	// catalog: artifacts that it does not know, and snapshots that are not there.
	Orphans, OrphanBytes, Missing int64
	SweptBytes                    int64 // of orphans that were removed, ever

	Alerts  map[string]int64 // open ones, by kind
	Workers []WorkerGauge    // up to 1,000

	NotificationsPending, NotificationsFailed int64
	OldestNotification                        float64 // seconds since the longest pending one was made
}

// WorkerGauge is what a worker has, and how much of it is taken.
type WorkerGauge struct {
	ID                            string
	Slots, SlotsBusy              int32
	DiskFreeBytes, DiskTotalBytes int64
}

// AlertKinds are the kinds of alerts.
func AlertKinds() []string {
	return []string{"backup", alertMaxAge, "worker_offline", "storage_nearly_full"}
}

// countSignals adds what is about alerts, workers and notifications.
func (db *DB) countSignals(ctx context.Context, s *Stats) error {
	s.Alerts = map[string]int64{}
	alerts, err := db.q().CountAlerts(ctx)
	if err != nil {
		return fmt.Errorf("count alerts: %w", err)
	}
	for _, row := range alerts {
		s.Alerts[row.Kind] = row.Alerts
	}
	workers, err := db.workerGauges(ctx)
	if err != nil {
		return err
	}
	for _, row := range workers {
		s.Workers = append(s.Workers, WorkerGauge(row))
	}
	n, err := db.q().CountNotifications(ctx)
	if err != nil {
		return fmt.Errorf("count notifications: %w", err)
	}
	s.NotificationsPending, s.NotificationsFailed, s.OldestNotification = n.Pending+n.Undistributed, n.Failed, max(n.OldestSeconds, 0)
	return nil
}

// Stats counts. It reads the whole index of jobs: callers keep the result for a
// while.
func (db *DB) Stats(ctx context.Context) (Stats, error) {
	s := Stats{JobsByStatus: map[string]int64{}, WorkersByStatus: map[string]int64{}}
	jobs, err := db.q().CountJobsByStatus(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("count jobs: %w", err)
	}
	for _, row := range jobs {
		s.JobsByStatus[row.Status] = row.Jobs
	}
	workers, err := db.q().CountWorkersByStatus(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("count workers: %w", err)
	}
	for _, row := range workers {
		s.WorkersByStatus[row.Status] = row.Workers
	}
	queued, err := db.q().CountQueuedJobs(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("count queued jobs: %w", err)
	}
	s.Undispatched, s.Dispatched, s.OldestDue = queued.Undispatched, queued.Dispatched, max(queued.OldestDueSeconds, 0)
	sweeps, err := db.q().SumSweeps(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("sum up sweeps: %w", err)
	}
	s.Orphans, s.OrphanBytes, s.Missing, s.SweptBytes = sweeps.Orphans, sweeps.OrphanBytes, sweeps.Missing, sweeps.RemovedBytes
	return s, db.countSignals(ctx, &s)
}
