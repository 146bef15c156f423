package bench

import (
	"syscall"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// cpu is processor time by who spent it. Beside a busy neighbor it is what can
// still be compared, where the time by the clock cannot.
type cpu struct{ hub, postgres, redis, clients time.Duration }

func spent(b *testing.B, l *system.Lab, postgres *testenv.PostgresServer) cpu {
	b.Helper()
	c := cpu{hub: l.CPU(b), redis: l.Redis.CPU()}
	var err error
	if c.postgres, err = postgres.CPU(); err != nil {
		b.Fatal(err)
	}
	var self syscall.Rusage // stand-ins for workers, and those who post
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		b.Fatal(err)
	}
	c.clients = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	return c
}

// report gives the milliseconds of each part for one of n things.
func (c cpu) report(b *testing.B, since cpu, n int) {
	b.Helper()
	b.ReportMetric(milliseconds(c.hub-since.hub)/float64(n), "hub-ms/job")
	b.ReportMetric(milliseconds(c.postgres-since.postgres)/float64(n), "pg-ms/job")
	b.ReportMetric(milliseconds(c.redis-since.redis)/float64(n), "redis-ms/job")
	b.ReportMetric(milliseconds(c.clients-since.clients)/float64(n), "clients-ms/job")
}
