package simulation

import (
	"strings"
	"syscall"
	"time"

	"github.com/hibiken/asynq"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// restless says what is still to be done at this moment; nothing: xVault rests.
const restless = `
SELECT 'running: ' || type || ' ' || id || ' on ' || worker_id FROM jobs WHERE status IN ('running', 'finalizing')
UNION ALL SELECT 'queued: ' || type || ' ' || id || coalesce(' for ' || target_worker_id, '') FROM jobs
	WHERE status = 'queued' AND run_after <= xvault_now()
UNION ALL SELECT 'due: schedule ' || id FROM schedules WHERE enabled AND (next_due <= xvault_now() OR planned_at > xvault_now() + interval '1 min')
UNION ALL SELECT 'to be deleted: ' || s.id FROM snapshots s WHERE s.status = 'deleting' AND s.delete_after <= xvault_now()
	AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.snapshot_id = s.id AND j.type = 'delete_snapshot'
		AND (j.status IN ('queued', 'running', 'finalizing') OR j.finished_at > xvault_now() - interval '1 hour'))
UNION ALL SELECT 'retention: ' || s.id FROM sources s
	WHERE EXISTS (SELECT 1 FROM schedules c WHERE c.source_id = s.id AND c.retention_policy <> '{}')
	AND (EXISTS (SELECT 1 FROM snapshots n WHERE n.source_id = s.id AND n.updated_at > s.retained_at AND n.updated_at <= xvault_now())
		OR EXISTS (SELECT 1 FROM schedules n WHERE n.source_id = s.id AND n.updated_at > s.retained_at AND n.updated_at <= xvault_now())
		OR s.retained_at IS NULL)
UNION ALL SELECT 'dated ahead: source ' || id FROM sources WHERE retained_at > xvault_now() + interval '1 min'
UNION ALL SELECT 'dated ahead: job ' || id FROM jobs WHERE status = 'queued' AND greatest(updated_at, dispatched_at) > xvault_now() + interval '1 min'`

// moments are those still to come at which something falls due.
const moments = `
SELECT extract(epoch FROM t)::text FROM (
	SELECT next_due AS t FROM schedules WHERE enabled
	UNION ALL SELECT run_after FROM jobs WHERE status = 'queued' AND type <> 'delete_snapshot') due
WHERE t > xvault_now() ORDER BY t LIMIT 20`

const (
	// calmTimeout is the time within which everything must be well after a fault.
	calmTimeout = 3 * time.Minute
	// nudgeAfter is how long nothing may move before time goes on by nudge: what
	// waits for a delivery that was lost waits for time to pass.
	nudgeAfter = 4 * time.Second
	nudge      = 20 * time.Second
)

// calm waits until there is nothing left to do at this moment, starting again
// what died, as a machine's service manager does.
func (w *World) calm() {
	w.t.Helper()
	w.calmBut("")
}

// calmBut does not wait for what begins so.
func (w *World) calmBut(except string) {
	w.t.Helper()
	var left []string
	still := time.Now()
	last := ""
	start := time.Now()
	explained := false
	testenv.Eventually(w.t, calmTimeout, func() bool {
		w.revive()
		left = w.restless(except)
		now := strings.Join(left, "\n")
		if now != last {
			last, still = now, time.Now()
		}
		if time.Since(still) > nudgeAfter && now != "" && !strings.Contains(now, "running") {
			w.clock.pass(w.t, w.clock.now().Add(nudge))
			w.report.counts["time was nudged on"]++
			still = time.Now()
		}
		if now != "" && !explained && time.Since(start) > calmTimeout-2*time.Second {
			explained = true
			w.t.Logf("at %s these do not end: %s", w.clock.now().Format(time.DateTime), now)
			w.explain()
		}
		return now == ""
	}, "xVault does not come to rest")
}

// explain shows what the catalog knows of unfinished jobs and of workers, and what
// the workers are at; they end by it.
func (w *World) explain() {
	w.t.Helper()
	for _, sql := range []string{
		`SELECT 'job', id::text, type, status, queue, dispatch_seq::text, coalesce(dispatched_at::text, '-'), run_after::text, attempt::text, coalesce(worker_id, '-')
			FROM jobs WHERE status IN ('queued', 'running', 'finalizing') ORDER BY id LIMIT 20`,
		`SELECT 'worker', id, status, incarnation::text, last_seen_at::text, slots_busy::text, storage_state, drain_requested::text, xvault_now()::text FROM workers`,
	} {
		rows, err := w.db.Look(sql)
		w.t.Logf("%v %v", rows, err)
	}
	w.explainQueue()
	for _, worker := range w.lab.Workers {
		worker.Signal(w.t, syscall.SIGQUIT)
		<-worker.Done()
		w.t.Logf("%s was at\n%s", worker.Name, worker.Tail(1500))
	}
}

// explainQueue shows where the deliveries of queued jobs are.
func (w *World) explainQueue() {
	w.t.Helper()
	rows, err := w.db.Look(`SELECT queue, id::text || ':' || dispatch_seq::text FROM jobs WHERE status = 'queued' AND run_after <= xvault_now() LIMIT 20`)
	if err != nil {
		w.t.Log(err)
	}
	opt, err := asynq.ParseRedisURI(w.lab.Redis.URL)
	if err != nil {
		w.t.Log(err)
		return
	}
	inspector := asynq.NewInspector(opt)
	defer inspector.Close()
	for _, row := range rows {
		info, err := inspector.GetTaskInfo(row[0], row[1])
		w.t.Logf("delivery %v: %+v %v", row, info, err)
	}
}

func (w *World) restless(except string) []string {
	rows, err := w.db.Look(restless)
	if err != nil {
		return []string{err.Error()} // the catalog is away
	}
	var left []string
	for _, row := range rows {
		if except == "" || !strings.HasPrefix(row[0], except) {
			left = append(left, row[0])
		}
	}
	return left
}

// revive starts dead processes again and waits until they are up.
func (w *World) revive() {
	w.t.Helper()
	var hubs []*system.Hub
	for _, h := range w.lab.Hubs {
		if !h.Alive() {
			h.Launch()
			hubs = append(hubs, h)
		}
	}
	for _, h := range hubs {
		h.WaitReady()
	}
	for _, worker := range w.lab.Workers {
		if !worker.Alive() {
			worker.Start()
			worker.WaitOnline()
		}
	}
}

// nextMoment is when something falls due next, or a little later, so that what
// falls due within a minute is one moment; never, if nothing does.
func (w *World) nextMoment() time.Time {
	w.t.Helper()
	first, next := forever, forever
	for _, row := range w.rows(moments) {
		since, err := time.ParseDuration(row[0] + "s")
		if err != nil {
			w.t.Fatal(err)
		}
		at := time.Unix(0, 0).Add(since + 20*time.Millisecond).UTC()
		if first.Equal(forever) {
			first = at
		}
		if at.Sub(first) < 50*time.Second {
			next = at
		}
	}
	return next
}

// idle waits until hubs have acted on every slot that is due; the work may wait.
func (w *World) idle() {
	w.t.Helper()
	testenv.Eventually(w.t, calmTimeout, func() bool {
		for _, left := range w.restless("") {
			if !strings.HasPrefix(left, "queued: ") && !strings.HasPrefix(left, "running: ") && !strings.HasPrefix(left, "retention: ") &&
				!strings.HasPrefix(left, "to be deleted: ") {
				return false
			}
		}
		return true
	}, "the hubs do not act on what is due")
}

// rows looks into a catalog that is there.
func (w *World) rows(sql string, args ...any) [][]string {
	w.t.Helper()
	rows, err := w.db.Look(sql, args...)
	if err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return rows
}
