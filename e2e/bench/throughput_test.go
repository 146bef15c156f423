package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

const (
	throughputJobs = 5000
	posters        = 16 // clients that post at once
	tenants        = 10
	idleWorkers    = 2
	slots          = 32 // of each worker
)

// BenchmarkThroughput posts 5,000 backups through the public API, while workers
// that do nothing claim them, say that their bytes are durable, and complete
// them with a snapshot. The time runs from the first POST to the last
// completion; hub, Postgres, Redis, workers and posters share the machine.
func BenchmarkThroughput(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		postgres := testenv.NewPostgres(b, testenv.PostgresOptions{Durable: true})
		l := startOn(b, postgres, 0)
		sources := makeSources(b, l)
		workers := make([]*idleWorker, idleWorkers)
		for i := range workers {
			workers[i] = startIdleWorker(b, l, fmt.Sprintf("idle-%d", i))
		}
		b.StartTimer()
		before, began := spent(b, l, postgres), time.Now()
		postJobs(b, l, sources)
		posted := time.Since(began)
		waitCompleted(b, l, workers)
		took := time.Since(began)
		b.StopTimer()
		spent(b, l, postgres).report(b, before, throughputJobs)
		b.ReportMetric(throughputJobs/took.Seconds(), "jobs/s")
		b.ReportMetric(throughputJobs/posted.Seconds(), "posts/s")
		l.CheckRecords()
		for _, w := range workers {
			w.stop(b)
		}
		b.StartTimer()
	}
}

// sourcesEach is how many sources a tenant has, each on a host of its own: one
// backup of a source is made at a time.
const sourcesEach = 50

func makeSources(b *testing.B, l *system.Lab) []string {
	b.Helper()
	var ids []string
	for i := range tenants {
		tenant := l.API.CreateTenant(b, fmt.Sprintf("tenant %d", i))
		credential := l.API.CreateCredential(b, tenant.ID, system.Password("never used"))
		for j := range sourcesEach {
			ids = append(ids, l.API.CreateSource(b, tenant.ID, credential, map[string]any{
				"host": fmt.Sprintf("198.18.%d.%d", i, j), "username": "nobody", "paths": []string{"/srv"}, "trust_on_first_use": true,
			}))
		}
	}
	return ids
}

func postJobs(b *testing.B, l *system.Lab, sources []string) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range posters {
		client := keepAlive(l.API)
		wg.Go(func() {
			defer client.HTTP.CloseIdleConnections()
			for {
				i := next.Add(1) - 1
				if i >= throughputJobs {
					return
				}
				r, err := client.Try("POST", "/api/v1/jobs", map[string]any{"source_id": sources[i%int64(len(sources))]})
				if err != nil || r.Status != 201 {
					b.Errorf("post job: %s %v", r, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func waitCompleted(b *testing.B, l *system.Lab, workers []*idleWorker) {
	b.Helper()
	testenv.Eventually(b, 2*time.Minute, func() bool {
		var done int64
		for _, w := range workers {
			done += w.completed.Load()
		}
		return done >= throughputJobs
	}, "not all jobs completed")
	if n := l.One(b, `SELECT count(*)::text FROM jobs WHERE status = 'completed'`); n != fmt.Sprint(throughputJobs) {
		b.Fatalf("%s jobs are completed, not %d", n, throughputJobs)
	}
}
