package hub

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// metrics has a registry of its own, so that several hubs in one process do not
// meet in a global one. Labels take values from closed sets only.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

func newMetrics(db *catalog.DB, log *slog.Logger, backups *backupMetrics, sources *sourceCollector) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "xvault_http_request_duration_seconds", Help: "Time from a request's arrival to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route", "status"}),
	}
	m.registry.MustRegister(
		m.requests, newCatalogCollector(db, log), backups.duration, backups.size, sources,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: writeTimeout / 2})
}

func (m *metrics) observe(method, route string, status int, took time.Duration) {
	if route == "" {
		route = "unmatched"
	}
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
}

// catalogCollector shows figures of the catalog. Every hub shows the same ones,
// for they are the whole system's: a dashboard takes their maximum.
type catalogCollector struct {
	db   *catalog.DB
	log  *slog.Logger
	up   *prometheus.Desc
	jobs *prometheus.Desc
	work *prometheus.Desc
	wait *prometheus.Desc
	due  *prometheus.Desc

	storage, orphanBytes, sweptBytes *prometheus.Desc

	alerts, notifications, oldestNotification *prometheus.Desc
	slots, slotsBusy, diskFree, diskTotal     *prometheus.Desc

	mu     sync.Mutex
	taken  time.Time
	recent catalog.Stats
}

const (
	statsAge     = 10 * time.Second
	statsTimeout = 5 * time.Second
)

func newCatalogCollector(db *catalog.DB, log *slog.Logger) *catalogCollector {
	return &catalogCollector{
		db: db, log: log,
		up:   prometheus.NewDesc("xvault_catalog_up", "1 while the catalog answers.", nil, nil),
		jobs: prometheus.NewDesc("xvault_jobs", "Jobs by status.", []string{"status"}, nil),
		work: prometheus.NewDesc("xvault_workers", "Workers by status.", []string{"status"}, nil),
		wait: prometheus.NewDesc("xvault_queue_jobs", "Queued jobs: waiting for a slot, or handed out and not yet claimed.", []string{"stage"}, nil),
		due:  prometheus.NewDesc("xvault_queue_oldest_due_seconds", "For how long the longest waiting job has been due.", nil, nil),

		storage: prometheus.NewDesc("xvault_storage_differing_snapshots",
			"Snapshots by how the last sweeps found storage and catalog to differ: orphan, unknown to the catalog; missing, not on its storage.", []string{"kind"}, nil),
		orphanBytes: prometheus.NewDesc("xvault_storage_orphan_bytes", "Size of the artifacts that the catalog does not know.", nil, nil),
		sweptBytes:  prometheus.NewDesc("xvault_storage_swept_bytes", "Size of the orphaned artifacts that were removed from the present storages, ever.", nil, nil),

		alerts:             prometheus.NewDesc("xvault_alerts", "What is wrong just now: sources and workers with an open alert, by its kind.", []string{"kind"}, nil),
		notifications:      prometheus.NewDesc("xvault_notifications", "Notifications that wait to be sent, and those that were given up lately.", []string{"status"}, nil),
		oldestNotification: prometheus.NewDesc("xvault_notifications_oldest_pending_seconds", "For how long the longest waiting notification has waited.", nil, nil),
		slots:              workerDesc("slots", "How many jobs a worker does at once."),
		slotsBusy:          workerDesc("slots_busy", "How many of them it does."),
		diskFree:           workerDesc("disk_free_bytes", "What is free of a worker's storage."),
		diskTotal:          workerDesc("disk_total_bytes", "The size of a worker's storage."),
	}
}

func workerDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("xvault_worker_"+name, help, []string{"worker_id"}, nil)
}

// Describe implements prometheus.Collector.
func (c *catalogCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.up, c.jobs, c.work, c.wait, c.due, c.storage, c.orphanBytes, c.sweptBytes, c.alerts, c.notifications, c.oldestNotification,
		c.slots, c.slotsBusy, c.diskFree, c.diskTotal,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *catalogCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	stats, err := c.stats()
	if err != nil {
		c.log.Warn("cannot count for the metrics", "error", err)
		gauge(c.up, 0)
		return
	}
	gauge(c.up, 1)
	for _, status := range []job.Status{job.Queued, job.Running, job.Finalizing, job.Completed, job.Failed, job.Canceled} {
		gauge(c.jobs, float64(stats.JobsByStatus[string(status)]), string(status))
	}
	for _, status := range []string{"online", "offline", "draining"} {
		gauge(c.work, float64(stats.WorkersByStatus[status]), status)
	}
	gauge(c.wait, float64(stats.Undispatched), "waiting")
	gauge(c.wait, float64(stats.Dispatched), "dispatched")
	gauge(c.due, stats.OldestDue)
	gauge(c.storage, float64(stats.Orphans), "orphan")
	gauge(c.storage, float64(stats.Missing), "missing")
	gauge(c.orphanBytes, float64(stats.OrphanBytes))
	gauge(c.sweptBytes, float64(stats.SweptBytes))
	for _, kind := range catalog.AlertKinds() {
		gauge(c.alerts, float64(stats.Alerts[kind]), kind)
	}
	gauge(c.notifications, float64(stats.NotificationsPending), "pending")
	gauge(c.notifications, float64(stats.NotificationsFailed), "failed")
	gauge(c.oldestNotification, stats.OldestNotification)
	for _, w := range stats.Workers {
		gauge(c.slots, float64(w.Slots), w.ID)
		gauge(c.slotsBusy, float64(w.SlotsBusy), w.ID)
		gauge(c.diskFree, float64(w.DiskFreeBytes), w.ID)
		gauge(c.diskTotal, float64(w.DiskTotalBytes), w.ID)
	}
}

// stats counts anew when the last figures are old: /metrics needs no key, and
// must not be a way to keep the catalog busy.
func (c *catalogCollector) stats() (catalog.Stats, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.taken.IsZero() && time.Since(c.taken) < statsAge {
		return c.recent, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	stats, err := c.db.Stats(ctx)
	if err != nil {
		return catalog.Stats{}, err
	}
	c.recent, c.taken = stats, time.Now() //nolint:forbidigo // the age of a figure, not logic
	return stats, nil
}
