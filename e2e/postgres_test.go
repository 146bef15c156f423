package e2e

import (
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// F4: Postgres is stopped as a crash stops it while jobs are posted and done,
// and started again. What was acknowledged is there, what ran goes on.
func TestPostgresCrashesUnderLoad(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F4, Postgres stopped immediate under load")
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{Durable: true})
	s := system.Start(t, system.Options{Postgres: pg, Workers: 2, Concurrency: 2}).
		NewScene(t, system.SceneOptions{Seed: 6, Files: 20, Small: true})
	for range 3 {
		posted := s.PostFor(6)
		pg.Kill()
		fault := time.Now()
		if r, err := s.API.Try("GET", "/api/v1/jobs", nil); err != nil || r.Status != 503 {
			t.Errorf("without its database the hub answered %v %v, not 503", r, err)
		}
		if r, err := s.API.Try("GET", "/healthz", nil); err != nil || r.Status != 200 {
			t.Errorf("without its database the hub is not even alive: %v %v", r, err)
		}
		pg.Restart()
		restarted := time.Now()
		for i, id := range posted {
			done := s.Acknowledged(id, 2*time.Minute)
			if i == 0 {
				trials.Add(time.Since(fault), 0)
				t.Logf("first job done %v after the restart", time.Since(restarted).Round(time.Millisecond))
			}
			// A claim whose answer was lost with the database costs a lease's
			// time and an attempt, but no work.
			if starts := s.Starts(id); starts != 1 {
				t.Errorf("a database that was away cost a backup its work: it was started %d times: %s", starts, done)
			}
		}
	}
	for _, w := range s.Workers {
		s.Sweep(w)
	}
	s.Check()
}
