package hub

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xvault/store/catalog"
)

// backupMetrics are about the snapshots that this hub recorded: each is observed
// by one hub, so that a dashboard adds hubs up.
type backupMetrics struct {
	duration, size *prometheus.HistogramVec
}

func newBackupMetrics() *backupMetrics {
	m := &backupMetrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "xvault_backup_duration_seconds", Help: "How long backups took that left a snapshot, by what became of it.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 12 * 3600, 24 * 3600},
		}, []string{"status"}),
		size: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "xvault_backup_size_bytes", Help: "Size of the artifacts of backups, by what became of them.",
			Buckets: []float64{1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12},
		}, []string{"status"}),
	}
	// There from the beginning, so that what is asked of them has an answer.
	for _, status := range []catalog.SnapshotStatus{catalog.SnapshotCompleted, catalog.SnapshotPartial, catalog.SnapshotSuspicious} {
		m.duration.WithLabelValues(string(status))
		m.size.WithLabelValues(string(status))
	}
	return m
}

func (m *backupMetrics) observe(status catalog.SnapshotStatus, size int64, took time.Duration) {
	m.duration.WithLabelValues(string(status)).Observe(took.Seconds())
	m.size.WithLabelValues(string(status)).Observe(float64(size))
}
