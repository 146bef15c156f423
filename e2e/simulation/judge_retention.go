package simulation

import (
	"slices"
	"time"
)

// kept is a good snapshot in retention's view: there, or marked by retention and
// not yet begun to be deleted.
type kept struct {
	good
	marked bool
}

// viewed are the snapshots of all sources that retention made or could make its
// mind up about. state: good, marked (to be deleted, can be taken back), going
// (a worker began, or it is gone).
const viewed = `
SELECT s.source_id::text, s.id::text, extract(epoch FROM s.started_at)::text,
	(s.hold OR EXISTS (SELECT 1 FROM jobs j WHERE j.snapshot_id = s.id AND j.type IN ('restore', 'verify')
		AND j.status IN ('queued', 'running', 'finalizing')))::text,
	CASE WHEN s.status = 'completed' THEN 'good'
	     WHEN s.status = 'deleting' AND NOT EXISTS (SELECT 1 FROM jobs d WHERE d.snapshot_id = s.id AND d.type = 'delete_snapshot' AND d.attempt > 0)
	     THEN 'marked' ELSE 'going' END
FROM snapshots s
WHERE s.missing_since IS NULL AND coalesce(s.deleting_from, s.status) = 'completed'
	AND (s.status NOT IN ('deleting', 'deleted') OR s.delete_cause = 'retention')
ORDER BY s.finished_at`

// judgeRetention is invariant I4: what was marked since the last look may go by
// the rules, what may go is marked, and enough good ones are left.
func (w *World) judgeRetention() {
	w.t.Helper()
	now, at := map[string]kept{}, w.clock.now()
	going := map[string]kept{}
	bySource := map[string][]string{}
	for _, row := range w.rows(viewed) {
		since, err := time.ParseDuration(row[2] + "s")
		if err != nil {
			w.t.Fatal(err)
		}
		k := kept{good{row[1], time.Unix(0, 0).Add(since), row[3] == "true"}, row[4] == "marked"}
		bySource[row[0]] = append(bySource[row[0]], k.id)
		if row[4] == "going" {
			going[k.id] = k
			continue
		}
		now[k.id] = k
	}
	for _, s := range w.sources {
		w.judgeSource(s, bySource[s.id], now, going, at)
	}
	w.looked = at
}

// judgeSource judges one source. Between two looks retention may have run after each
// snapshot that came, so that it may have known any number of them.
func (w *World) judgeSource(s *source, ids []string, now, going map[string]kept, at time.Time) {
	w.t.Helper()
	var view []good // as it was at the last look, then with what came since
	var came []good
	for _, id := range ids {
		k, there := now[id]
		if !there {
			k = going[id]
		}
		if _, known := s.seen[id]; known {
			view = append(view, k.good)
		} else if there {
			came = append(came, k.good)
		}
	}
	rules := s.rules()
	may := w.mayGo(rules, view, came, w.looked, at)
	final := mustStay(rules, append(view, came...), at)
	next, left := map[string]kept{}, 0
	for _, id := range ids {
		k, there := now[id]
		earlier, known := s.seen[id]
		switch {
		case there && !k.marked:
			left++
			if final != nil && !final[id] && !k.held && len(came) > 0 && !w.strayed {
				w.report.violation("retention: snapshot %s of source %s (%s) stays though no rule keeps it", id, s.id, k.at.UTC().Format(time.DateTime))
			}
		case there && known && earlier.marked:
		case known || there:
			w.report.judged++
			if !may[id] {
				w.report.violation("I4: snapshot %s of source %s (%s) goes though a rule keeps it at %s", id, s.id, k.at.UTC().Format(time.DateTime), at.Format(time.DateTime))
			}
		}
		if there {
			next[id] = k
		}
	}
	if floor := s.floor(); left < min(floor, len(next)) || left == 0 && len(s.seen) > 0 && len(next)+len(came) > 0 {
		w.report.violation("I4: source %s has %d good snapshots left, and %d must be", s.id, left, floor)
	}
	s.seen = next
}

// mayGo are those that some run of retention since the last look may have removed.
func (w *World) mayGo(rules []keeper, view, came []good, at ...time.Time) map[string]bool {
	may := map[string]bool{}
	for n := range len(came) + 1 {
		all := append(slices.Clone(view), came[:n]...)
		for _, when := range at {
			stay := mustStay(rules, all, when)
			for _, g := range all {
				if stay != nil && !stay[g.id] {
					may[g.id] = true
				}
			}
		}
	}
	return may
}

func (s *source) rules() []keeper {
	rules := make([]keeper, len(s.schedules))
	for i, c := range s.schedules {
		rules[i] = keeper{c.policy, c.location()}
	}
	return rules
}

func (s *source) floor() int {
	least := 1
	for _, c := range s.schedules {
		least = max(least, c.policy.Min)
	}
	return least
}
