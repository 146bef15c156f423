package prune_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"xvault/hub/prune"
	"xvault/store/catalog"
)

// zones with odd offsets, both hemispheres, and none.
var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"}

var statuses = []catalog.SnapshotStatus{
	catalog.SnapshotCompleted, catalog.SnapshotCompleted, catalog.SnapshotCompleted,
	catalog.SnapshotPartial, catalog.SnapshotSuspicious, catalog.SnapshotCorrupt, catalog.SnapshotFailed,
}

func drawPolicy(t *rapid.T) json.RawMessage {
	policy := map[string]any{}
	for _, rule := range []string{"keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", "min_keep"} {
		if rapid.IntRange(0, 3).Draw(t, rule+" is set") == 0 {
			policy[rule] = rapid.IntRange(0, 6).Draw(t, rule)
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "keep_within is set") == 0 {
		policy["keep_within"] = rapid.SampledFrom([]string{"1h", "7d", "1m", "1y2m", ""}).Draw(t, "keep_within")
	}
	raw, err := json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// drawHistory makes a source's past: backups some time apart, of any worth, a
// few of them held, in use or marked before.
func drawHistory(t *rapid.T, now time.Time) catalog.RetentionView {
	view := catalog.RetentionView{Now: now}
	for range rapid.IntRange(0, 3).Draw(t, "schedules") {
		view.Rules = append(view.Rules, catalog.RetentionRule{Policy: drawPolicy(t), Timezone: rapid.SampledFrom(zones).Draw(t, "zone")})
	}
	step := rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 24 * time.Hour, 30 * 24 * time.Hour}).Draw(t, "step")
	at := now.Add(rapid.SampledFrom([]time.Duration{0, 0, time.Hour, 400 * 24 * time.Hour}).Draw(t, "ahead"))
	for range rapid.IntRange(0, 25).Draw(t, "snapshots") {
		at = at.Add(-time.Duration(rapid.IntRange(0, 200).Draw(t, "pause")) * step / 100)
		id := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		s := catalog.RetainedSnapshot{
			ID: id, StartedAt: at, SizeBytes: int64(rapid.IntRange(1, 1000).Draw(t, "size")),
			Status: rapid.SampledFrom(statuses).Draw(t, "status"),
			Hold:   rapid.IntRange(0, 9).Draw(t, "hold") == 0, Missing: rapid.IntRange(0, 9).Draw(t, "missing") == 0,
		}
		switch rapid.IntRange(0, 9).Draw(t, "state") {
		case 0:
			s.InUse = true
		case 1:
			s.Marked, s.Hold = true, false
		}
		if !slices.ContainsFunc(view.Snapshots, func(o catalog.RetainedSnapshot) bool { return o.ID == id }) {
			view.Snapshots = append(view.Snapshots, s)
		}
	}
	return view
}

func isGood(s catalog.RetainedSnapshot) bool {
	return s.Status == catalog.SnapshotCompleted && !s.Missing
}

func floorOf(t *rapid.T, view catalog.RetentionView) int {
	floor := 1
	for _, r := range view.Rules {
		var p struct {
			Min int `json:"min_keep"`
		}
		if err := json.Unmarshal(r.Policy, &p); err != nil {
			t.Fatal(err)
		}
		floor = max(floor, p.Min)
	}
	return floor
}

// TestPreviewIsWhatARunDoes, on 10,000 random histories, together with what must
// hold of every run.
func TestPreviewIsWhatARunDoes(t *testing.T) {
	t.Parallel()
	histories := 0
	for histories < 10_000 {
		rapid.Check(t, func(t *rapid.T) {
			histories++
			view := drawHistory(t, time.Unix(rapid.Int64Range(1e9, 2e9).Draw(t, "now"), 0).UTC())
			plan, err := prune.Plan(view)
			if err != nil {
				t.Fatal(err)
			}
			rules, err := prune.Rules(view)
			if err != nil {
				t.Fatal(err)
			}
			samePlan(t, prune.Foresee(rules, view), plan)
			runKeepsItsWord(t, view, plan)
			othersDoNotCount(t, view, plan)
			nothingIsLeftToDo(t, view, plan)
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d histories", histories)
}

func samePlan(t *rapid.T, preview prune.Preview, plan catalog.RetentionPlan) {
	var removed, takenBack []uuid.UUID
	var freed int64
	for _, p := range preview.Remove {
		removed = append(removed, p.Snapshot.ID)
		freed += p.Snapshot.SizeBytes
	}
	for _, p := range preview.Keep {
		if p.Snapshot.Marked {
			takenBack = append(takenBack, p.Snapshot.ID)
		}
		if len(p.Reasons) == 0 {
			t.Fatalf("%s is kept for no reason", p.Snapshot.ID)
		}
	}
	if !slices.Equal(removed, plan.Remove) || !slices.Equal(takenBack, plan.TakeBack) || freed != preview.FreedBytes {
		t.Fatalf("the preview removes %v and takes back %v, the run %v and %v; freed %d of %d", removed, takenBack, plan.Remove, plan.TakeBack, preview.FreedBytes, freed)
	}
}

// after is the history once the plan is carried out.
func after(view catalog.RetentionView, plan catalog.RetentionPlan) catalog.RetentionView {
	next := view
	next.Snapshots = slices.Clone(view.Snapshots)
	for i, s := range next.Snapshots {
		if slices.Contains(plan.Remove, s.ID) {
			next.Snapshots[i].Marked = true
		}
		if slices.Contains(plan.TakeBack, s.ID) {
			next.Snapshots[i].Marked = false
		}
	}
	return next
}

func runKeepsItsWord(t *rapid.T, view catalog.RetentionView, plan catalog.RetentionPlan) {
	had, left, newest := 0, 0, catalog.RetainedSnapshot{}
	for _, s := range view.Snapshots {
		gone := slices.Contains(plan.Remove, s.ID) || s.Marked && !slices.Contains(plan.TakeBack, s.ID)
		switch {
		case gone && (s.Hold || s.InUse):
			t.Fatalf("%s is held or in use and goes", s.ID)
		case gone && !isGood(s) && s.Status != catalog.SnapshotPartial && s.Status != catalog.SnapshotFailed && !s.Marked:
			t.Fatalf("%s is %s and goes before a person decided", s.ID, s.Status)
		}
		if !isGood(s) {
			continue
		}
		had++
		if !gone {
			left++
		}
		if had == 1 || s.StartedAt.After(newest.StartedAt) {
			newest = s
		}
	}
	if want := min(had, floorOf(t, view)); left < want {
		t.Fatalf("%d good ones are left of %d, and %d must be", left, had, want)
	}
	if had > 0 && slices.Contains(plan.Remove, newest.ID) && left == 0 {
		t.Fatal("the last good one goes")
	}
}

// othersDoNotCount: without those that are not good, the same good ones stay.
func othersDoNotCount(t *rapid.T, view catalog.RetentionView, plan catalog.RetentionPlan) {
	only := view
	only.Snapshots = nil
	for _, s := range view.Snapshots {
		if isGood(s) {
			only.Snapshots = append(only.Snapshots, s)
		}
	}
	again, err := prune.Plan(only)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range only.Snapshots {
		if slices.Contains(plan.Remove, s.ID) != slices.Contains(again.Remove, s.ID) {
			t.Fatalf("%s: snapshots that are not good decide about it", s.ID)
		}
	}
}

// nothingIsLeftToDo: a second run right after the first does nothing, whether
// what was marked is still there or is deleted by then.
func nothingIsLeftToDo(t *rapid.T, view catalog.RetentionView, plan catalog.RetentionPlan) {
	marked := after(view, plan)
	deleted := marked
	deleted.Snapshots = slices.DeleteFunc(slices.Clone(marked.Snapshots), func(s catalog.RetainedSnapshot) bool { return s.Marked })
	again, err := prune.Plan(marked)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Remove)+len(again.TakeBack) > 0 {
		t.Fatalf("a second run removes %v and takes back %v", again.Remove, again.TakeBack)
	}
	again, err = prune.Plan(deleted)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Remove) > 0 {
		t.Fatalf("once they are deleted, a second run removes %v", again.Remove)
	}
}
