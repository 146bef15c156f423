package hub

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xvault/store/catalog"
)

// sourceCollector shows how old the last good backups are. Looking at all sources
// takes a while where there are many, so it is done in the background, at most
// once a minute and only while someone scrapes; what is shown is the last result.
type sourceCollector struct {
	db   *catalog.DB
	log  *slog.Logger
	most int // series of single sources

	age, worst, never *prometheus.Desc

	mu      sync.Mutex
	looking bool
	taken   time.Time
	recent  *catalog.SourceAges
}

const (
	agesAge     = time.Minute
	agesTimeout = 30 * time.Second
)

func newSourceCollector(db *catalog.DB, log *slog.Logger, most int) *sourceCollector {
	return &sourceCollector{
		db: db, log: log, most: most,
		age: prometheus.NewDesc("xvault_source_last_success_age_seconds",
			"How long ago the last good backup of an active source ended; of the sources where it is longest ago (HUB_METRICS_SOURCES).",
			[]string{"tenant_id", "source_id"}, nil),
		worst: prometheus.NewDesc("xvault_sources_worst_last_success_age_seconds", "The longest of all of them.", nil, nil),
		never: prometheus.NewDesc("xvault_sources_never_succeeded", "Active sources without any good backup.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *sourceCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.age, c.worst, c.never} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *sourceCollector) Collect(ch chan<- prometheus.Metric) {
	ages, passed := c.ages()
	if ages == nil {
		return // not looked at yet
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.worst, ages.Worst+passed)
	gauge(c.never, float64(ages.Never))
	for _, s := range ages.Oldest {
		gauge(c.age, s.Seconds+passed, s.TenantID.String(), s.SourceID.String())
	}
}

// ages gives the last result and how many seconds ago it was true. The first
// time it waits for it, so that a hub's first scrape has it.
func (c *sourceCollector) ages() (*catalog.SourceAges, float64) {
	c.mu.Lock()
	first := c.recent == nil
	old := first || time.Since(c.taken) > agesAge
	begin := old && !c.looking
	c.looking = c.looking || begin
	c.mu.Unlock()
	switch {
	case begin && first:
		c.look()
	case begin:
		go c.look()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recent == nil {
		return nil, 0
	}
	return c.recent, time.Since(c.taken).Seconds()
}

func (c *sourceCollector) look() {
	ctx, cancel := context.WithTimeout(context.Background(), agesTimeout)
	defer cancel()
	ages, err := c.db.SourceAges(ctx, c.most)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looking = false
	if err != nil {
		c.log.Warn("cannot look at the sources for the metrics", "error", err)
		return
	}
	c.recent, c.taken = &ages, time.Now() //nolint:forbidigo // the age of a figure, not logic
}
