package simulation

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// World is the whole of it: the system, its customers, and what the judge knows.
type World struct {
	t        testing.TB
	plan     Plan
	lab      *system.Lab
	db       *system.Session
	postgres *testenv.PostgresServer
	gates    []*system.Gate // each worker's way to the hubs
	servers  []*testenv.SSHServer
	clock    *clock
	sources  []*source
	due      []Action // what is still to happen, in order
	posted   map[string]bool
	asked    int // backups by hand
	ledger   ledger
	report   *report
	excuses  []excuse
	looked   time.Time // when the judge last did, by the database's clock
	// strayed: the clock was ahead once, and may have left jobs in what is still to come.
	strayed bool
}

// span is a part of the simulated time.
type span struct{ from, to time.Time }

func (s span) has(at time.Time) bool { return !at.Before(s.from) && !at.After(s.to) }

// excuse is for what is not as it should be: slots in a time when no hub was there,
// or when the clock was wrong; and what was written while it was.
type excuse struct{ slots, written span }

// source is a source as the judge knows it.
type source struct {
	sourcePlan
	id, tenant, identity, path string
	server                     *testenv.SSHServer
	want                       system.Tree
	// also is how it stood before, where it changed while it may have been read.
	also      system.Tree
	trouble   string
	disabled  []span // closed but for the last one
	schedules []*schedule
	seen      map[string]kept // retention's view at the last look
	snapshots string          // how many there were
}

// schedule is a schedule as the judge knows it.
type schedule struct {
	schedulePlan
	id string
	// lives are the times in which it was as it was then; the last one goes on.
	lives []life
}

type life struct {
	span
	rule   slotRule
	jitter time.Duration
}

// forever is later than anything in a simulation.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// hurry has hubs look often for what is due.
const hurry = "XVAULT_HURRY=1"

func newWorld(t testing.TB, plan Plan) *World {
	t.Helper()
	w := &World{t: t, plan: plan, due: plan.Actions, posted: map[string]bool{}, report: newReport(t, plan)}
	w.postgres = testenv.NewPostgres(t, testenv.PostgresOptions{})
	w.lab = system.Start(t, system.Options{
		Hubs: 2, Workers: -1, Postgres: w.postgres,
		HubEnv:    []string{"HUB_DELETE_GRACE=18h", hurry},
		WorkerEnv: []string{"WORKER_ORPHAN_GRACE=15s", "WORKER_RECONCILE_EVERY=5s"},
	})
	w.db = w.lab.Session(t)
	w.clock = &clock{catalog: w.lab.Catalog}
	w.clock.step(t, plan.Start.Sub(time.Now()))
	for range 2 {
		gate := system.NewGate(t, w.lab.Hubs[0].URL, w.lab.Hubs[1].URL)
		worker := w.lab.AddWorker()
		worker.HubURL = gate.URL()
		worker.Start()
		w.gates = append(w.gates, gate)
	}
	for _, worker := range w.lab.Workers {
		worker.WaitOnline()
	}
	w.servers = []*testenv.SSHServer{rootServer: testenv.SSHD(t, testenv.SSHOptions{}), nobodyServer: testenv.SSHD(t, testenv.SSHOptions{User: "nobody"})}
	w.populate()
	return w
}

// populate sets up the customers through the public API.
func (w *World) populate() {
	tenants := map[int]system.Tenant{}
	for i, plan := range w.plan.fleet {
		tenant, ok := tenants[plan.tenant]
		if !ok {
			tenant = w.lab.API.CreateTenant(w.t, fmt.Sprintf("tenant %d", plan.tenant))
			tenants[plan.tenant] = tenant
		}
		server := w.servers[plan.server]
		s := &source{
			sourcePlan: plan, tenant: tenant.ID, identity: w.lab.API.ExportKey(w.t, tenant.ID), server: server,
			path: filepath.Join(server.Root, fmt.Sprintf("src%d", i)), seen: map[string]kept{},
		}
		s.plant(w.t, rand.New(rand.NewPCG(w.plan.Seed, uint64(100+i))))
		credential := w.lab.API.CreateCredential(w.t, tenant.ID, system.PrivateKey(server.ClientKeyPEM))
		s.id = w.lab.API.CreateSourceOf(w.t, plan.kind, tenant.ID, credential, server.Config(s.path))
		for _, p := range plan.schedules {
			s.schedules = append(s.schedules, w.addSchedule(s, p))
		}
		w.sources = append(w.sources, s)
	}
}

func (w *World) addSchedule(s *source, p schedulePlan) *schedule {
	reply := system.Post[scheduleReply](w.t, w.lab.API, "/api/v1/schedules", p.body(s.id))
	made := &schedule{schedulePlan: p, id: reply.ID}
	made.lives = []life{{span{reply.UpdatedAt, forever}, p.rule(reply.anchor(p)), p.jitter}}
	return made
}

type scheduleReply struct {
	ID        string      `json:"id"`
	UpdatedAt time.Time   `json:"updated_at"`
	NextRuns  []time.Time `json:"next_runs"`
}

// anchor is where an interval counts from, as its next time tells.
func (r scheduleReply) anchor(p schedulePlan) time.Time {
	if p.every == 0 || len(r.NextRuns) == 0 {
		return time.Time{}
	}
	return r.NextRuns[0].Add(-p.every)
}

// body is the schedule as the API takes it.
func (p schedulePlan) body(sourceID string) map[string]any {
	b := map[string]any{"timezone": p.zone, "jitter_seconds": int(p.jitter.Seconds()), "retention_policy": p.policy}
	if sourceID != "" {
		b["source_id"] = sourceID
	}
	if p.cron != "" {
		b["cron"] = p.cron
	} else {
		b["interval_minutes"] = int(p.every.Minutes())
	}
	if p.window != "" {
		b["window"] = p.window
	}
	return b
}

// plant makes the files of a source.
func (s *source) plant(t testing.TB, rng *rand.Rand) {
	t.Helper()
	for i := range 12 {
		s.write(t, rng, fmt.Sprintf("dir%d/file%02d", i%3, i))
	}
	s.want = system.Scan(t, s.path)
}

// write puts a file in place in one step, with what the seed says in it. Whoever
// reads meanwhile gets the old file or the new one.
func (s *source) write(t testing.TB, rng *rand.Rand, name string) {
	t.Helper()
	b := make([]byte, 800+rng.IntN(2000))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	path := filepath.Join(s.path, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	beside := filepath.Join(s.server.Root, "beside")
	if err := os.WriteFile(beside, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, path); err != nil {
		t.Fatal(err)
	}
}

// edit changes some files, adds one, and removes one.
func (s *source) edit(t testing.TB, rng *rand.Rand) {
	t.Helper()
	for range 1 + rng.IntN(3) {
		s.write(t, rng, fmt.Sprintf("dir%d/file%02d", rng.IntN(3), rng.IntN(12)))
	}
	extra := filepath.Join(s.path, "dir0", fmt.Sprintf("extra%d", rng.IntN(3)))
	if err := os.Remove(extra); os.IsNotExist(err) {
		s.write(t, rng, "dir0/"+filepath.Base(extra))
	} else if err != nil {
		t.Fatal(err)
	}
}
