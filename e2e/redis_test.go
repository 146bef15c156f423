package e2e

import (
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// F9: Redis is emptied, killed, or gone for a while in the middle of jobs.
// Postgres is the only truth: no job is lost, none is done twice.
func TestRedisForgets(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F9, Redis emptied, killed, gone")
	s := system.Start(t, system.Options{Concurrency: 1}).NewScene(t, system.SceneOptions{Seed: 7, Files: 20, Small: true})
	faults := map[string]func() []string{ // each gives the jobs posted meanwhile
		"FLUSHALL":              func() []string { s.Redis.FlushAll(); return nil },
		"kill -9, back at once": func() []string { s.Redis.Kill(); s.Redis.Start(); return nil },
		"gone for a while":      func() []string { return withoutRedis(t, s) },
	}
	for name, strike := range faults {
		posted := s.PostFor(6)
		posted = append(posted, strike()...)
		back := time.Now()
		for _, id := range posted {
			if done := s.Acknowledged(id, 2*time.Minute); done.Attempt != 1 {
				t.Errorf("%s cost a backup its work: %s", name, done)
			}
		}
		trials.Add(time.Since(back), 0)
		t.Logf("%s: all %d jobs done %v after Redis was back", name, len(posted), time.Since(back).Round(time.Millisecond))
	}
	s.Sweep(s.Workers[0])
	s.Check()
}

// withoutRedis is a time in which Redis is gone: running jobs end, new ones are
// taken, the hub says that it is not ready, and nobody spins.
func withoutRedis(t *testing.T, s *system.Scene) []string {
	t.Helper()
	s.Redis.Kill()
	defer s.Redis.Start()
	posted := []string{s.Backup().ID, s.Backup().ID}
	testenv.Eventually(t, 2*time.Minute, func() bool {
		return s.One(t, `SELECT count(*)::text FROM jobs WHERE status IN ('running', 'finalizing')`) == "0"
	}, "what ran when Redis went away does not end")
	testenv.Eventually(t, 2*time.Minute, func() bool {
		r, err := s.API.Try("GET", "/readyz", nil)
		return err == nil && r.Status == 503
	}, "the hub says that it is ready while Redis is gone")
	before := s.CPU(t)
	start := time.Now()
	testenv.Eventually(t, 2*time.Minute, func() bool { return time.Since(start) > 5*time.Second }, "")
	if used := s.CPU(t) - before; used > 2500*time.Millisecond {
		t.Errorf("hub and worker burned %v of CPU within 5s without Redis", used)
	}
	return posted
}
