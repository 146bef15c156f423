package bench

import (
	"slices"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

const latencyJobs = 100

// BenchmarkClaimLatency posts 100 backups of a small source to an idle system,
// one after the other, and reports how long after its creation each is claimed:
// both times are the database's.
func BenchmarkClaimLatency(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := start(b, 1).NewScene(b, system.SceneOptions{Seed: 1, Files: 1})
		b.StartTimer()
		s.MustComplete(s.Backup().ID, time.Minute) // warms up
		var waits []time.Duration
		for range latencyJobs {
			job := s.MustComplete(s.Backup().ID, time.Minute)
			waits = append(waits, job.StartedAt.Sub(job.CreatedAt))
		}
		slices.Sort(waits)
		b.ReportMetric(milliseconds(waits[len(waits)/2]), "p50-ms")
		b.ReportMetric(milliseconds(waits[len(waits)*95/100]), "p95-ms")
		b.ReportMetric(milliseconds(waits[len(waits)-1]), "max-ms")
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// start brings up the binary that people get, on a Postgres with fsync on.
func start(b *testing.B, workers int) *system.Lab {
	b.Helper()
	return startOn(b, testenv.NewPostgres(b, testenv.PostgresOptions{Durable: true}), workers)
}

func startOn(b *testing.B, postgres *testenv.PostgresServer, workers int) *system.Lab {
	b.Helper()
	if workers == 0 {
		workers = -1
	}
	return system.Start(b, system.Options{Flavor: system.Released, Workers: workers, Postgres: postgres})
}
