package simulation

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xvault/e2e/system"
)

// person does what a customer does. Everything rests when it begins.
func (w *World) person(kind string, rng *rand.Rand) {
	w.t.Helper()
	s := w.sources[rng.IntN(len(w.sources))]
	switch kind {
	case backUpNow:
		if !s.paused() {
			w.backUp(s)
		}
	case holdSnapshot:
		w.hold(s, rng)
	case deleteOne:
		w.deleteOne(s, rng, "")
	case deleteNow:
		w.deleteOne(s, rng, "?now=true")
	case undelete:
		w.undelete()
	case download:
		w.download(s, rng, false)
	case deleteReading:
		w.download(s, rng, true)
	case moveSchedule:
		w.moveSchedule(s, rng)
	case pauseSchedule:
		w.pauseSchedule(s.schedules[rng.IntN(len(s.schedules))])
	case pauseSource:
		w.pauseSource(s)
	case changePolicy:
		c := s.schedules[rng.IntN(len(s.schedules))]
		c.policy.Daily = 1 + rng.IntN(4)
		c.policy.Last = rng.IntN(3)
		w.patch(c, map[string]any{"retention_policy": c.policy})
	default:
		w.t.Fatalf("nobody does that: %s", kind)
	}
}

// goodOnes are a source's good snapshots, newest first.
func (w *World) goodOnes(s *source) []listed {
	w.t.Helper()
	return system.List[listed](w.t, w.lab.API, "/api/v1/snapshots?limit=100&status=completed&source_id="+s.id)
}

func (w *World) hold(s *source, rng *rand.Rand) {
	w.t.Helper()
	good := w.goodOnes(s)
	for _, g := range good {
		if g.Hold {
			w.lab.API.Do(w.t, "PATCH", "/api/v1/snapshots/"+g.ID, map[string]any{"hold": false}, 200)
		}
	}
	if len(good) > 0 {
		w.lab.API.Do(w.t, "PATCH", "/api/v1/snapshots/"+good[rng.IntN(len(good))].ID, map[string]any{"hold": true}, 200)
	}
}

// deleteOne deletes one of a source's older good snapshots.
func (w *World) deleteOne(s *source, rng *rand.Rand, query string) {
	w.t.Helper()
	good := slices.DeleteFunc(w.goodOnes(s), func(l listed) bool { return l.Hold })
	if len(good) < 3 {
		return
	}
	w.lab.API.DeleteSnapshot(w.t, good[2+rng.IntN(len(good)-2)].ID, query)
}

// undelete takes back whatever can be.
func (w *World) undelete() {
	w.t.Helper()
	for _, s := range w.sources {
		for _, l := range system.List[listed](w.t, w.lab.API, "/api/v1/snapshots?limit=100&status=deleting&source_id="+s.id) {
			r, err := w.lab.API.Try("POST", "/api/v1/snapshots/"+l.ID+"/undelete", nil)
			if err != nil || r.Status != 200 && r.Status != 409 {
				w.report.violation("undelete of %s: %v %s", l.ID, err, r)
			}
		}
	}
}

// download restores a snapshot and compares what comes with the source, while it is
// deleted or not.
func (w *World) download(s *source, rng *rand.Rand, deleted bool) {
	w.t.Helper()
	good := slices.DeleteFunc(w.goodOnes(s), func(l listed) bool { return deleted && l.Hold })
	if len(good) < 3 {
		return
	}
	snap := good[rng.IntN(len(good))]
	if deleted {
		snap = good[2+rng.IntN(len(good)-2)]
	}
	job := w.lab.API.StartRestore(w.t, snap.ID, nil)
	if deleted { // the restore was there first: it goes on
		w.lab.API.DeleteSnapshot(w.t, snap.ID, "?now=true")
	}
	w.calm()
	job = w.lab.API.Job(w.t, job.ID)
	if job.Status != "completed" {
		w.report.violation("a restore of %s did not complete: %s", snap.ID, job)
		return
	}
	if deleted { // it may be gone by now, and that is for others to judge
		return
	}
	url := w.lab.API.DownloadOf(w.t, job.ID).URL
	a := w.ledger.acks[snap.ID]
	err := scratch(func(dir string) error {
		if err := fetch(url, dir); err != nil {
			return err
		}
		got, err := system.ScanTree(filepath.Join(dir, s.path))
		if err != nil {
			return err
		}
		return a.compare(got)
	})
	if err != nil {
		w.report.violation("a download of %s, made %s: %v", snap.ID, snap.JobID, err)
	}
}

// moveSchedule gives a schedule another time of the day, or another interval.
func (w *World) moveSchedule(s *source, rng *rand.Rand) {
	w.t.Helper()
	c := s.schedules[rng.IntN(len(s.schedules))]
	body := map[string]any{}
	switch {
	case c.every > 0:
		c.every = time.Duration(9+rng.IntN(12)) * time.Hour
		body["interval_minutes"] = int(c.every.Minutes())
	case c.times != nil && c.only == nil:
		minute := string("012345"[rng.IntN(6)]) + "5"
		for i, at := range c.times {
			c.times[i] = at[:3] + minute
		}
		c.cron = strings.TrimPrefix(minute, "0") + c.cron[strings.IndexByte(c.cron, ' '):]
		body["cron"] = c.cron
	default:
		c.jitter = time.Duration(rng.IntN(10)) * time.Minute
		body["jitter_seconds"] = int(c.jitter.Seconds())
	}
	w.patch(c, body)
}

// pauseSchedule disables a schedule, or enables it again.
func (w *World) pauseSchedule(c *schedule) {
	w.t.Helper()
	last := &c.lives[len(c.lives)-1]
	w.patch(c, map[string]any{"enabled": last.rule == slotRule(never{})})
}

// patch changes a schedule: from now on it is another one.
func (w *World) patch(c *schedule, body map[string]any) {
	w.t.Helper()
	reply, err := decode[scheduleReply](w.lab.API.Do(w.t, "PATCH", "/api/v1/schedules/"+c.id, body, 200))
	w.must(err)
	last := &c.lives[len(c.lives)-1]
	if len(body) == 1 && body["retention_policy"] != nil {
		return
	}
	was := last.rule
	last.to = reply.UpdatedAt
	next := life{span{reply.UpdatedAt, forever}, c.rule(reply.anchor(c.schedulePlan)), c.jitter}
	if enabled, told := body["enabled"]; enabled == false || !told && was == slotRule(never{}) {
		next.rule = never{}
	}
	c.lives = append(c.lives, next)
}

// pauseSource disables a source, or enables it again.
func (w *World) pauseSource(s *source) {
	w.t.Helper()
	status := "disabled"
	if s.paused() {
		status = "active"
		s.disabled[len(s.disabled)-1].to = w.clock.now()
	} else {
		s.disabled = append(s.disabled, span{w.clock.now(), forever})
	}
	w.lab.API.Do(w.t, "PATCH", "/api/v1/sources/"+s.id, map[string]any{"status": status}, 200)
}
