package hub_test

import (
	"testing"
	"time"

	"xvault/hub"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

// Two hubs run their schedules from the moment that they serve; a slot is one job,
// and what waits says for what.
func TestHubsActOnSchedules(t *testing.T) {
	t.Parallel()
	limits := func(c *hub.Config) { c.Limits = catalog.Limits{PerSource: 1} }
	l := start(t, limits)
	l.another(limits)
	tenant, key := l.tenant("a")
	source := l.source(key, tenant, l.credential(key, tenant, "pw"))
	var made object
	l.must(201, key, "POST", "/api/v1/schedules", object{"source_id": source, "cron": "0 3 * * *", "timezone": "Europe/Berlin"}, &made)
	l.exec("UPDATE schedules SET next_slot = xvault_now(), next_due = xvault_now()")
	testenv.Eventually(t, 2*time.Minute, func() bool {
		return l.count("SELECT count(*) FROM jobs WHERE source_id = $1 AND type = 'backup'", source) == 1
	}, "the slot has its job")
	var slots struct{ Items []object }
	l.must(200, key, "GET", "/api/v1/schedules/"+made.id()+"/slots", nil, &slots)
	if len(slots.Items) != 1 || slots.Items[0].text("outcome") != "job" {
		t.Fatalf("slots %v", slots.Items)
	}
	// Another one of the same source waits for the first.
	var second, seen object
	l.must(201, key, "POST", "/api/v1/jobs", object{"source_id": source}, &second)
	l.exec("INSERT INTO workers (id, status, age_recipient, token_hash, slots) VALUES ('w', 'online', 'age1x', 'x', 4)")
	testenv.Eventually(t, 2*time.Minute, func() bool {
		first := l.count("SELECT count(*) FROM jobs WHERE dispatched_at IS NOT NULL")
		return first == 1
	}, "one of the two is handed out")
	waits := 0
	for _, id := range []string{second.id(), slots.Items[0].text("job_id")} {
		l.must(200, key, "GET", "/api/v1/jobs/"+id, nil, &seen)
		if seen.text("waiting_reason") == "source_busy" {
			waits++
		}
	}
	if waits != 1 {
		t.Errorf("%d jobs wait for their source", waits)
	}
}
