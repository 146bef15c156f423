package simulation

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// act does what the plan says. Everything rests when it begins.
func (w *World) act(a Action) {
	w.t.Helper()
	rng := rand.New(rand.NewPCG(a.Seed, 2))
	w.report.counts[a.Kind]++
	began := time.Now()
	switch {
	case a.Kind == editSource:
		w.edit(rng)
	case a.Kind == mend:
		w.mend(w.sources[a.Seed])
	case slices.Contains(storms(), a.Kind):
		w.storm(a.Kind, rng)
		w.calm()
		w.report.recovered(time.Since(began))
		w.countOrphaned()
	case slices.Contains(troubles(), a.Kind):
		w.trouble(a, rng)
	case slices.Contains(times(), a.Kind):
		w.bend(a.Kind, rng)
		w.calm()
		w.report.recovered(time.Since(began))
	default:
		w.person(a.Kind, rng)
		w.calm()
		w.look()
	}
}

// countOrphaned notes what lies on the storages and belongs to nobody.
func (w *World) countOrphaned() {
	w.t.Helper()
	var sum int64
	for _, worker := range w.lab.Workers {
		sum += w.lab.Orphaned(w.t, worker.Storage)
	}
	w.report.orphaned = max(w.report.orphaned, sum)
}

// edit changes a source, unless that would end its trouble.
func (w *World) edit(rng *rand.Rand) {
	s := w.sources[rng.IntN(len(w.sources))]
	if s.trouble == emptySource || s.trouble == smallSource || s.trouble == unreadable {
		return
	}
	s.edit(w.t, rng)
	s.want = system.Scan(w.t, s.path)
}

// backUp asks for a backup of a source, and gives the job. A hub may die while it
// is asked: the same is asked again, of the other one too.
func (w *World) backUp(s *source) system.Job {
	w.t.Helper()
	w.asked++
	key := fmt.Sprintf("backup-%d", w.asked)
	var job system.Job
	var refused string
	testenv.Eventually(w.t, calmTimeout, func() bool {
		for _, h := range w.lab.Hubs {
			hub := system.NewClient(h.URL, w.lab.OperatorKey)
			r, err := hub.Try("POST", "/api/v1/jobs", map[string]any{"source_id": s.id}, "Idempotency-Key", key)
			if err != nil {
				continue
			}
			if r.Status == http.StatusConflict {
				refused = r.String() // it was not the moment to ask
				return true
			}
			if r.Status != http.StatusCreated {
				continue
			}
			var decoded error
			job, decoded = decode[system.Job](r)
			return decoded == nil
		}
		return false
	}, "no hub takes a backup")
	if refused != "" {
		w.t.Fatalf("a backup of %s is refused: %s", s.id, refused)
	}
	w.posted[job.ID] = true
	return job
}

// backUpAll puts work into the queue: two backups of each source.
func (w *World) backUpAll() {
	w.t.Helper()
	for range 2 {
		for _, s := range w.sources {
			if !s.paused() {
				w.backUp(s)
			}
		}
	}
}

func (s *source) paused() bool {
	return len(s.disabled) > 0 && s.disabled[len(s.disabled)-1].to.Equal(forever)
}
