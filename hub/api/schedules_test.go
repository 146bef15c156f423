package api_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

const scheduleKeys = `id tenant_id source_id cron interval_minutes timezone enabled jitter_seconds window retention_policy
	words next_runs created_at updated_at`

type scheduleFields struct {
	ID              uuid.UUID
	SourceID        uuid.UUID `json:"source_id"`
	Cron            *string
	IntervalMinutes *int `json:"interval_minutes"`
	Timezone        string
	Enabled         bool
	JitterSeconds   int `json:"jitter_seconds"`
	Window          *string
	RetentionPolicy map[string]any `json:"retention_policy"`
	Words           string
	NextRuns        []time.Time `json:"next_runs"`
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	var made scheduleFields
	r := a.post("/schedules", map[string]any{
		"source_id": a.source, "cron": "30 2 * * *", "timezone": "Europe/Berlin", "jitter_seconds": 600, "window": "22:00-06:00",
		"retention_policy": map[string]any{"keep_daily": 7, "keep_last": 3},
	})
	r.created(&made)
	r.keys(scheduleKeys)
	r.nulls("interval_minutes")
	if made.Words != "Every day at 02:30, only from 22:00 to 06:00, Europe/Berlin time, up to 10 minutes later." ||
		len(made.NextRuns) != 5 || !made.Enabled || made.RetentionPolicy["keep_daily"] != 7.0 {
		t.Errorf("made %s", r.body)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	d.must(err)
	for _, run := range made.NextRuns {
		if at := run.In(berlin).Format("15:04"); at != "02:30" && at != "03:00" {
			t.Errorf("next run %v", run)
		}
	}
	path := "/schedules/" + made.ID.String()
	var plain scheduleFields
	r = a.post("/schedules", map[string]any{"source_id": a.source, "interval_minutes": 90})
	r.created(&plain)
	if plain.Timezone != "UTC" || plain.Words != "Every 90 minutes." || plain.NextRuns[1].Sub(plain.NextRuns[0]) != 90*time.Minute {
		t.Errorf("made %s", r.body)
	}
	var other scheduleFields
	d.operator().post("/schedules", map[string]any{"tenant_id": b.id, "source_id": b.source, "cron": "@daily", "enabled": false}).created(&other)
	if len(other.NextRuns) != 0 {
		t.Errorf("one that is not enabled runs at %v", other.NextRuns)
	}
	ids := []string{plain.ID.String(), made.ID.String()}
	for query, want := range map[string][]string{"": ids, "source_id=" + a.source.String() + "&": ids, "source_id=" + b.source.String() + "&": nil} {
		if got := a.list("/schedules?"+query, "1"); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
	}
	if got := d.operator().list("/schedules?source_id="+b.source.String()+"&", "5"); !slices.Equal(got, []string{other.ID.String()}) {
		t.Errorf("the operator's list of a source: %v", got)
	}
	var got scheduleFields
	a.send("PATCH", path, map[string]any{"interval_minutes": 60, "window": "", "timezone": "Asia/Kolkata"}).ok(&got)
	if got.Cron != nil || got.Window != nil || got.Words != "Every hour, up to 10 minutes later." || got.RetentionPolicy["keep_last"] != 3.0 {
		t.Errorf("changed to %+v", got)
	}
	got = scheduleFields{}
	a.send("PATCH", path, map[string]any{"cron": "@hourly", "retention_policy": map[string]any{}, "enabled": false}).ok(&got)
	if got.IntervalMinutes != nil || got.Enabled || len(got.NextRuns) != 0 || len(got.RetentionPolicy) != 0 {
		t.Errorf("changed to %+v", got)
	}
	if n := d.one("SELECT count(*)::text FROM schedules WHERE id = $1 AND next_due IS NULL", made.ID); n != "1" {
		t.Error("one that is not enabled has something due")
	}
	for _, foreign := range []answer{
		b.get(path), b.send("PATCH", path, map[string]any{"enabled": true}), b.send("DELETE", path, nil), b.get(path + "/slots"),
		b.post("/schedules", map[string]any{"source_id": a.source, "cron": "@daily"}),
		a.post("/schedules", map[string]any{"source_id": uuid.New(), "cron": "@daily"}),
	} {
		foreign.refused(http.StatusNotFound, "not_found")
	}
	a.send("DELETE", path, nil).is(http.StatusNoContent, nil)
	a.get(path).refused(http.StatusNotFound, "not_found")
	if n := d.one("SELECT string_agg(action, ' ' ORDER BY id) FROM audit_events WHERE object_id = $1", made.ID.String()); n !=
		"schedule.create schedule.update schedule.update schedule.delete" {
		t.Errorf("audit events %s", n)
	}
}

func TestAWrongScheduleNamesTheField(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	for _, c := range []struct {
		field string
		body  map[string]any
	}{
		{"body.cron", map[string]any{}},
		{"body.cron", map[string]any{"cron": "61 * * * *"}},
		{"body.cron", map[string]any{"cron": "* * * * * *"}},
		{"body.cron", map[string]any{"cron": "@every 1h"}},
		{"body.interval_minutes", map[string]any{"cron": "@daily", "interval_minutes": 5}},
		{"body.interval_minutes", map[string]any{"interval_minutes": -5}},
		{"body.interval_minutes", map[string]any{"interval_minutes": "often"}},
		{"body.timezone", map[string]any{"cron": "@daily", "timezone": "Moon/Crater"}},
		{"body.window", map[string]any{"cron": "@daily", "window": "late"}},
		{"body.window", map[string]any{"cron": "@daily", "window": "01:00-02:00"}},
		{"body.jitter_seconds", map[string]any{"cron": "@daily", "jitter_seconds": -1}},
		{"body.retention_policy.keep_daily", map[string]any{"cron": "@daily", "retention_policy": map[string]any{"keep_daily": -1}}},
		{"body.retention_policy.keep_forever", map[string]any{"cron": "@daily", "retention_policy": map[string]any{"keep_forever": 1}}},
		{"body.retention_policy", map[string]any{"cron": "@daily", "retention_policy": 7}},
		{"body.color", map[string]any{"cron": "@daily", "color": "red"}},
	} {
		c.body["source_id"] = a.source
		a.post("/schedules", c.body).names(c.field)
	}
	a.post("/schedules", map[string]any{"cron": "@daily"}).names("body.source_id")
	var made scheduleFields
	a.post("/schedules", map[string]any{"source_id": a.source, "cron": "@daily"}).created(&made)
	a.send("PATCH", "/schedules/"+made.ID.String(), map[string]any{"cron": "nonsense", "timezone": "x"}).names("body.timezone")
	a.send("PATCH", "/schedules/"+made.ID.String(), map[string]any{"cron": "@daily", "interval_minutes": 5}).names("body.interval_minutes")
	a.send("PATCH", "/schedules/"+made.ID.String(), map[string]any{"window": "01:00-02:00"}).names("body.window")
}

// A slot that has passed and that no hub has acted on yet is not lost to a change.
func TestAChangeLosesNoSlot(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	var made scheduleFields
	a.post("/schedules", map[string]any{"source_id": a.source, "cron": "@daily"}).created(&made)
	d.exec("UPDATE schedules SET next_slot = date_trunc('day', xvault_now()), next_due = date_trunc('day', xvault_now())")
	for _, change := range []map[string]any{{"cron": "@hourly"}, {"retention_policy": map[string]any{"keep_last": 2}}, {"jitter_seconds": 5}} {
		a.send("PATCH", "/schedules/"+made.ID.String(), change).ok(nil)
		if n := d.one("SELECT count(*)::text FROM schedules WHERE next_slot = date_trunc('day', xvault_now()) AND next_due <= xvault_now()"); n != "1" {
			t.Errorf("%v: the slot is lost", change)
		}
	}
}

func TestAScheduleIsMadeOnceForAKey(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	body := map[string]any{"source_id": a.source, "cron": "@daily"}
	first := a.send("POST", "/schedules", body, "Idempotency-Key", "k")
	again := a.send("POST", "/schedules", body, "Idempotency-Key", "k")
	if first.status != http.StatusCreated || string(first.body) != string(again.body) {
		t.Errorf("first %s, again %s", first.body, again.body)
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	var made scheduleFields
	a.post("/schedules", map[string]any{"source_id": a.source, "cron": "@daily"}).created(&made)
	path := "/schedules/" + made.ID.String() + "/slots"
	for i, outcome := range []string{"missed", "skipped_overlap", "job"} {
		d.exec(`INSERT INTO schedule_slots (id, tenant_id, schedule_id, slot, outcome, job_id)
			VALUES (('01900000-0000-7000-8000-00000000000' || $1)::uuid, $2, $3, xvault_now() + $1::integer * interval '1 h', $4, CASE WHEN $4 = 'job' THEN $3::uuid END)`,
			strconv.Itoa(i), a.id, made.ID, outcome)
	}
	d.exec("UPDATE schedule_slots SET through = slot + interval '30 min' WHERE outcome = 'missed'")
	ids := a.list(path+"?", "2")
	if len(ids) != 3 || !strings.HasSuffix(ids[0], "2") {
		t.Errorf("slots %v", ids)
	}
	r := a.get(path + "?outcome=missed")
	var page struct {
		Items []struct {
			Slot, Through time.Time
			Outcome       string
		}
	}
	r.ok(&page)
	if len(page.Items) != 1 || page.Items[0].Through.Sub(page.Items[0].Slot) != 30*time.Minute {
		t.Errorf("missed: %s", r.body)
	}
	a.get(path + "?outcome=lost").names("query.outcome")
}
