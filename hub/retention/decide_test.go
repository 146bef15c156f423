package retention_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/hub/retention"
)

// good makes one good snapshot for each time, named by it.
func good(times ...time.Time) []retention.Snapshot {
	var all []retention.Snapshot
	for _, at := range times {
		all = append(all, retention.Snapshot{ID: at.Format("2006-01-02 15:04"), Time: at, Worth: retention.Good})
	}
	return all
}

// every makes n times, the last of them at end, with a step between.
func every(n int, end time.Time, step func(time.Time, int) time.Time) []time.Time {
	times := make([]time.Time, n)
	for i := range n {
		times[n-1-i] = step(end, i)
	}
	return times
}

func daysBefore(t time.Time, n int) time.Time  { return t.AddDate(0, 0, -n) }
func weeksBefore(t time.Time, n int) time.Time { return t.AddDate(0, 0, -7*n) }

func kept(decisions []retention.Decision) []string {
	var ids []string
	for _, d := range decisions {
		if d.Keep {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

func reasonsOf(decisions []retention.Decision, word string) int {
	n := 0
	for _, d := range decisions {
		if slices.ContainsFunc(d.Reasons, func(r string) bool { return strings.HasPrefix(r, word) }) {
			n++
		}
	}
	return n
}

func mustParse(t *testing.T, raw string) retention.Policy {
	t.Helper()
	p, err := retention.ParsePolicy([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestResticTwelveSundays is the example in restic's manual: one snapshot on
// each of twelve Sundays, of which keep-daily 4 keeps the last four.
func TestResticTwelveSundays(t *testing.T) {
	t.Parallel()
	end := time.Date(2019, 11, 17, 11, 0, 0, 0, time.UTC)
	out := retention.Apply(mustParse(t, `{"keep_daily":4}`), good(every(12, end, weeksBefore)...), end.Add(time.Hour), nil)
	want := []string{"2019-11-17 11:00", "2019-11-10 11:00", "2019-11-03 11:00", "2019-10-27 11:00"}
	if got := kept(out); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	if n := len(out) - len(want); n != 8 || reasonsOf(out, "no_rule") != 8 || reasonsOf(out, "keep_daily") != 4 {
		t.Errorf("decisions: %+v", out)
	}
}

// TestResticHundredYears is the other one: daily snapshots for 100 years, and
// keep-daily 7, keep-weekly 5, keep-monthly 12, keep-yearly 75. It keeps 7 daily
// ones, 4 more of the weeks, 12 or 11 of the months, and 75 or 74 of the years.
func TestResticHundredYears(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC) // a Wednesday
	out := retention.Apply(mustParse(t, `{"keep_daily":7,"keep_weekly":5,"keep_monthly":12,"keep_yearly":75}`),
		good(every(100*365, end, daysBefore)...), end, nil)
	for word, want := range map[string]int{"keep_daily": 7, "keep_weekly": 5, "keep_monthly": 12, "keep_yearly": 75} {
		if got := reasonsOf(out, word); got != want {
			t.Errorf("%s keeps %d, want %d", word, got, want)
		}
	}
	// Today is the newest of its day, week, month and year; last Sunday is the
	// newest of its day and its week.
	const shared = 3 + 1
	if got, want := len(kept(out)), 7+5+12+75-shared-1; got != want { // and 31 December is a month's and a year's
		t.Errorf("kept %d in all, want %d", got, want)
	}
}

// TestProxmoxExample is the policy that Proxmox Backup Server's manual takes
// apart: daily backups, more at need, for ten years. Its words cover what the
// manual says of each; where rules overlap they are counted here as restic does.
func TestProxmoxExample(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 11, 25, 22, 0, 0, 0, time.UTC)
	times := every(4000, end, daysBefore)
	extra := end.Add(-6 * time.Hour) // before an upgrade
	out := retention.Apply(mustParse(t, `{"keep_last":3,"keep_daily":13,"keep_weekly":8,"keep_monthly":11,"keep_yearly":9}`),
		good(append(times, extra)...), end, nil)
	got := kept(out)
	if !slices.Contains(got, extra.Format("2006-01-02 15:04")) {
		t.Error("keep_last lost the extra backup")
	}
	for word, want := range map[string]int{"keep_last": 3, "keep_daily": 13, "keep_weekly": 8, "keep_monthly": 11, "keep_yearly": 9} {
		if n := reasonsOf(out, word); n != want {
			t.Errorf("%s keeps %d, want %d", word, n, want)
		}
	}
	for i := range 13 {
		if day := daysBefore(end, i).Format("2006-01-02 15:04"); !slices.Contains(got, day) {
			t.Errorf("day %s is gone", day)
		}
	}
	if oldest := got[len(got)-1]; !strings.HasPrefix(oldest, "2018-12-31") {
		t.Errorf("the oldest kept is %s, want the last of the ninth year", oldest)
	}
}

// TestProxmoxLatestOfPeriod: of several in one period the newest stays, weeks
// are ISO weeks, and periods without a backup do not count.
func TestProxmoxLatestOfPeriod(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		parsed, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	snapshots := good(at("2020-12-27 23:00"), at("2020-12-28 01:00"), at("2020-12-31 10:00"), at("2021-01-01 10:00"),
		at("2021-01-03 23:59"), at("2021-01-04 00:00"), at("2021-03-01 12:00"), at("2021-03-01 12:59"), at("2021-03-01 13:00"))
	now := at("2021-03-02 00:00")
	tests := []struct {
		policy string
		want   []string
	}{
		{`{"keep_weekly":3}`, []string{"2021-03-01 13:00", "2021-01-04 00:00", "2021-01-03 23:59"}}, // 2020-W53 ends on 3 January
		{`{"keep_hourly":2}`, []string{"2021-03-01 13:00", "2021-03-01 12:59"}},
		{`{"keep_daily":2}`, []string{"2021-03-01 13:00", "2021-01-04 00:00"}},
		{`{"keep_monthly":3}`, []string{"2021-03-01 13:00", "2021-01-04 00:00", "2020-12-31 10:00"}},
		{`{"keep_yearly":2}`, []string{"2021-03-01 13:00", "2020-12-31 10:00"}},
		{`{"keep_yearly":3}`, []string{"2021-03-01 13:00", "2020-12-31 10:00", "2020-12-27 23:00"}}, // too few: the oldest too
		{`{"keep_within":"1h"}`, []string{"2021-03-01 13:00", "2021-03-01 12:59"}},
		{`{"keep_within":"2m"}`, []string{"2021-03-01 13:00", "2021-03-01 12:59", "2021-03-01 12:00", "2021-01-04 00:00", "2021-01-03 23:59"}},
		{`{"keep_last":1,"min_keep":3}`, []string{"2021-03-01 13:00", "2021-03-01 12:59", "2021-03-01 12:00"}},
	}
	for _, tt := range tests {
		if got := kept(retention.Apply(mustParse(t, tt.policy), snapshots, now, nil)); !slices.Equal(got, tt.want) {
			t.Errorf("%s kept %q, want %q", tt.policy, got, tt.want)
		}
	}
}

// TestZones: a day is a day where the schedule is, and the hour that a night in
// autumn has twice is two hours.
func TestZones(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	evening := time.Date(2026, 10, 24, 21, 30, 0, 0, time.UTC) // 23:30 in Berlin
	later := evening.Add(time.Hour)                            // 00:30 in Berlin, the same day in UTC
	snapshots, now := good(evening, later), later.Add(time.Hour)
	policy := mustParse(t, `{"keep_daily":1}`)
	policy2 := mustParse(t, `{"keep_daily":2}`)
	if n := len(kept(retention.Apply(policy, snapshots, now, berlin))); n != 1 {
		t.Errorf("in Berlin one day keeps %d", n)
	}
	if n := reasonsOf(retention.Apply(policy2, snapshots, now, berlin), "keep_daily (2026"); n != 2 {
		t.Errorf("in Berlin they are of %d days, want 2", n)
	}
	if n := reasonsOf(retention.Apply(policy2, snapshots, now, time.UTC), "keep_daily (2026"); n != 1 {
		t.Errorf("in UTC they are of %d days, want 1", n)
	}
	twice := time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC) // 02:30 summer time
	out := retention.Apply(mustParse(t, `{"keep_hourly":2}`), good(twice, twice.Add(time.Hour), twice.Add(-time.Hour)), now.Add(24*time.Hour), berlin)
	if got := kept(out); !slices.Equal(got, []string{"2026-10-25 01:30", "2026-10-25 00:30"}) {
		t.Errorf("kept %q", got)
	}
}

// TestOnlyGoodOnesCount: what is not good neither counts nor pushes out.
func TestOnlyGoodOnesCount(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	snapshots := good(every(3, daysBefore(now, 40), daysBefore)...)
	for i := range 30 {
		worth := []retention.Worth{retention.Partial, retention.Suspicious, retention.Corrupt, retention.Missing}[i%4]
		snapshots = append(snapshots, retention.Snapshot{ID: fmt.Sprint("bad", i), Time: daysBefore(now, i), Worth: worth})
	}
	snapshots = append(snapshots, retention.Snapshot{ID: "old partial", Time: daysBefore(now, 60), Worth: retention.Partial})
	out := retention.Apply(mustParse(t, `{"keep_last":2}`), snapshots, now, nil)
	var removed []string
	for _, d := range out {
		if !d.Keep {
			removed = append(removed, d.ID)
		}
	}
	// The third good one, and a partial one that a good one followed.
	if want := []string{daysBefore(now, 42).Format("2006-01-02 15:04"), "old partial"}; !slices.Equal(removed, want) {
		t.Errorf("removed %q, want %q", removed, want)
	}
}

func TestWhatAlwaysStays(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	ten := func() []retention.Snapshot { return good(every(10, now.Add(-time.Minute), daysBefore)...) }
	last := ten()[9].ID
	t.Run("an empty policy removes nothing", func(t *testing.T) {
		t.Parallel()
		for _, raw := range []string{`{}`, `{"keep_last":0}`, `{"min_keep":2}`} {
			if n := len(kept(retention.Apply(mustParse(t, raw), ten(), now, nil))); n != 10 {
				t.Errorf("%s keeps %d of 10", raw, n)
			}
		}
	})
	t.Run("a held one", func(t *testing.T) {
		t.Parallel()
		snapshots := ten()
		snapshots[0].Held = true
		snapshots[1].InUse = true
		want := []string{last, snapshots[1].ID, snapshots[0].ID}
		if got := kept(retention.Apply(mustParse(t, `{"keep_last":1}`), snapshots, now, nil)); !slices.Equal(got, want) {
			t.Errorf("kept %q, want %q", got, want)
		}
	})
	t.Run("the last good one", func(t *testing.T) {
		t.Parallel()
		one := good(now.AddDate(-9, 0, 0))
		out := retention.Apply(mustParse(t, `{"keep_within":"1h"}`), one, now, nil)
		if len(kept(out)) != 1 || reasonsOf(out, "last_good") != 1 {
			t.Errorf("%+v", out)
		}
	})
	t.Run("what is dated ahead does not count", func(t *testing.T) {
		t.Parallel()
		snapshots := append(ten(), good(now.AddDate(1, 0, 0), now.AddDate(1, 0, 1))...)
		out := retention.Apply(mustParse(t, `{"keep_last":3}`), snapshots, now, nil)
		if n := len(kept(out)); n != 5 || reasonsOf(out, "keep_last") != 3 || reasonsOf(out, "future") != 2 {
			t.Errorf("%+v", out)
		}
	})
	t.Run("what any of several rules keeps", func(t *testing.T) {
		t.Parallel()
		rules := []retention.Rule{
			{Policy: mustParse(t, `{"keep_last":1}`)},
			{Policy: mustParse(t, `{"keep_last":4,"min_keep":1}`)},
			{}, // a schedule without a policy has no say
		}
		if n := len(kept(retention.Decide(rules, ten(), now))); n != 4 {
			t.Errorf("keeps %d of 10", n)
		}
	})
}
