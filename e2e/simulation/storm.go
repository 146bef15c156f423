package simulation

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// Steps at which a worker or a hub dies of itself.
var (
	workerSteps = []string{
		"backup.read", "backup.frame", "backup.fsync", "backup.rename", "backup.rename.after", "backup.finalize", "backup.finalize.after",
		"backup.complete", "backup.complete.after",
	}
	hubSteps = []string{
		"claim.before_commit", "claim.after_commit", "finalize.after_commit", "complete.before_commit", "complete.after_commit",
	}
)

// storm breaks something while backups run.
func (w *World) storm(kind string, rng *rand.Rand) {
	w.t.Helper()
	i := rng.IntN(2)
	worker, hub := w.lab.Workers[i], w.lab.Hubs[i]
	after := upTo(rng, 400*time.Millisecond)
	switch kind {
	case workerDies: // started anew, so that it does
		step := workerSteps[rng.IntN(len(workerSteps))]
		worker.Terminate(w.t, time.Minute)
		worker.Start(step + "=kill")
		worker.WaitOnline()
		w.dies(worker.Process, step)
		return
	case hubDies:
		step := hubSteps[rng.IntN(len(hubSteps))]
		hub.Terminate(w.t, time.Minute)
		hub.Start(step + "=kill")
		w.dies(hub.Process, step)
		return
	case changeRead:
		w.churn(rng)
		return
	}
	w.backUpAll()
	w.amid(after)
	switch kind {
	case killWorker:
		worker.Kill()
	case killHub:
		hub.Kill()
	case crashPostgres:
		w.postgres.Kill()
		w.postgres.Restart()
	case flushRedis:
		w.lab.Redis.FlushAll()
	case killRedis:
		w.lab.Redis.Kill()
		w.lab.Redis.Start()
	case cutOff:
		w.gates[i].Shut()
		w.amid(2 * after)
		w.gates[i].Open()
	case storageGone:
		w.withoutStorage(worker, after)
	case freezeWorker:
		w.freeze(worker)
	case killSSHD:
		server := w.servers[i]
		if w.isDown(server) {
			return // who starts it now would leave two
		}
		server.Kill()
		server.Start()
	default:
		w.t.Fatalf("no such storm: %s", kind)
	}
}

// isDown tells whether a source's trouble is that this server is down.
func (w *World) isDown(server *testenv.SSHServer) bool {
	return slices.ContainsFunc(w.sources, func(s *source) bool { return s.server == server && s.trouble == serverDown })
}

// dies gives a process work until it has died at its step.
func (w *World) dies(p *system.Process, step string) {
	w.t.Helper()
	for range 5 {
		w.backUpAll()
		testenv.Eventually(w.t, calmTimeout, func() bool {
			return !p.Alive() || len(w.restless("")) == 0
		}, "%s neither dies at %s nor is the work done", p.Name, step)
		if !p.Alive() {
			w.report.counts["died at "+step]++
			return
		}
	}
	w.t.Logf("%s never came to %s: others did the work", p.Name, step)
}

// amid lets the work go on for a moment that the seed chose. It waits for no state:
// that it may strike anywhere is the point.
func (w *World) amid(d time.Duration) { time.Sleep(d) }

// withoutStorage takes a worker's storage away, as a disk that is not mounted.
func (w *World) withoutStorage(worker *system.Worker, d time.Duration) {
	w.t.Helper()
	aside := worker.Storage + ".aside"
	if err := os.Rename(worker.Storage, aside); err != nil {
		w.t.Fatal(err)
	}
	w.amid(d + time.Second)
	// What may have been made in its place must not hide it.
	if err := os.RemoveAll(worker.Storage); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(aside, worker.Storage); err != nil {
		w.t.Fatal(err)
	}
}

// freeze has a worker stand still until another one finished its jobs.
func (w *World) freeze(worker *system.Worker) {
	w.t.Helper()
	worker.Freeze(w.lab)
	w.clock.pass(w.t, w.clock.now().Add(2*time.Minute))
	w.calmBut("queued: delete_snapshot") // that worker's own
	worker.Thaw(w.lab)
}

// churn replaces files while they are read: each backup has the old ones or the new ones.
func (w *World) churn(rng *rand.Rand) {
	w.t.Helper()
	well := slices.DeleteFunc(slices.Clone(w.sources), func(s *source) bool { return s.paused() || s.trouble != "" })
	if len(well) == 0 {
		return
	}
	s := well[rng.IntN(len(well))]
	w.backUp(s)
	w.amid(upTo(rng, 300*time.Millisecond))
	s.also = s.want
	for i := range 4 {
		s.write(w.t, rng, fmt.Sprintf("dir%d/file%02d", i%3, i))
	}
	s.want = system.Scan(w.t, s.path)
}
