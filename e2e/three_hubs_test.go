package e2e

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// F12: three hubs, of which the one that acted on the last slot stands still or is
// killed before each of the next ones. Every slot has one job, made by another
// hub, and a hub that wakes up makes none again.
func TestThreeHubs(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F12, the hub that acted on the last slot is stopped")
	l := system.Start(t, system.Options{Hubs: 3, Workers: -1})
	s := l.NewScene(t, system.SceneOptions{Seed: 6, Files: 5, Small: true})
	var schedules []string
	for range 3 {
		schedules = append(schedules, system.Post[system.Object](t, l.API, "/api/v1/schedules", map[string]any{
			"source_id": s.SourceID, "interval_minutes": 60,
		}).ID)
	}
	acted := func() (on int) { // the hub that did so last, by the log
		last := time.Time{}
		for i, h := range l.Hubs {
			for line := range bytes.Lines(h.Log()) {
				if !bytes.Contains(line, []byte("slots of schedules were due")) {
					continue
				}
				if at, err := time.Parse(time.RFC3339Nano, string(bytes.SplitN(line, []byte(`"`), 5)[3])); err == nil && at.After(last) {
					last, on = at, i
				}
			}
		}
		return on
	}
	slots := func() string { return l.One(t, `SELECT count(*)::text FROM schedule_slots WHERE outcome = 'job'`) }
	for round := 1; round <= 4; round++ {
		victim := l.Hubs[acted()]
		if round%2 == 0 {
			victim.Kill()
		} else {
			victim.Freeze(l)
		}
		fault := time.Now()
		l.MoveClock(t, time.Duration(round)*time.Hour+time.Second)
		testenv.Eventually(t, 2*time.Minute, func() bool { return slots() == strconv.Itoa(3*round) }, "the other hubs do not act on the slots of round %d", round)
		trials.Add(time.Since(fault), 0)
		if round%2 == 0 {
			victim.Start()
		} else {
			victim.Thaw(l)
		}
		victim.WaitReady()
		for _, j := range system.List[system.Job](t, l.API, "/api/v1/jobs?status=queued") { // out of the next slot's way
			l.API.Do(t, "POST", "/api/v1/jobs/"+j.ID+"/cancel", nil, 200)
		}
	}
	for _, id := range schedules {
		if n := l.One(t, `SELECT count(DISTINCT slot)::text FROM schedule_slots WHERE schedule_id = $1`, id); n != "4" {
			t.Errorf("schedule %s has entries for %s of 4 slots", id, n)
		}
	}
	if n := l.One(t, `SELECT count(*)::text FROM jobs WHERE type = 'backup'`); n != "12" {
		t.Errorf("%s backups for 12 slots", n)
	}
}
