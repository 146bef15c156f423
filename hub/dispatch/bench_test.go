package dispatch_test

import (
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"xvault/hub/dispatch"
	"xvault/internal/job"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

// asShipped undoes the short intervals of the other tests.
func asShipped(c *dispatch.Config) {
	*c = dispatch.Config{DB: c.DB, RedisURL: c.RedisURL, Log: c.Log}
}

func durable(b *testing.B) *yard {
	b.Helper()
	pg := testenv.NewPostgres(b, testenv.PostgresOptions{Durable: true})
	return newYard(b, pg.Catalog("bench"), testenv.Redis(b).URL)
}

// BenchmarkThroughput takes jobs from CreateJob to completed, without HTTP, on a
// Postgres with fsync on, with one hub and workers that do nothing.
func BenchmarkThroughput(b *testing.B) {
	y := durable(b)
	owners := []owner{y.owner(), y.owner(), y.owner()}
	y.hub(io.Discard, asShipped)
	var done sync.WaitGroup
	for _, id := range []string{"w1", "w2"} {
		w := y.worker(id, 32)
		y.work(w, job.QueueBackup, 32, func(c catalog.Claimed) {
			if err := y.complete(c, w); err != nil {
				b.Error(err)
			}
			done.Done()
		})
	}
	b.ResetTimer()
	done.Add(b.N)
	var posters sync.WaitGroup
	const clients = 8
	for i := range clients {
		posters.Go(func() {
			for n := i; n < b.N; n += clients {
				y.post(owners[n%len(owners)])
			}
		})
	}
	posters.Wait()
	done.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	if n := y.count("SELECT count(*) FROM snapshots"); n != y.completed() {
		b.Errorf("%d snapshots", n)
	}
}

// BenchmarkClaimLatency is the time from CreateJob's begin to the claim's end on
// an idle system.
func BenchmarkClaimLatency(b *testing.B) {
	y := durable(b)
	o, w := y.owner(), y.worker("w1", 4)
	y.hub(io.Discard, asShipped)
	claimed := make(chan time.Time)
	y.work(w, job.QueueBackup, 4, func(c catalog.Claimed) {
		claimed <- time.Now()
		if err := y.complete(c, w); err != nil {
			b.Error(err)
		}
	})
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		y.post(o)
		took = append(took, (<-claimed).Sub(start))
		<-time.After(20 * time.Millisecond) // idle again
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
}
