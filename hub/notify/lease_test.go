package notify_test

import (
	"testing"
	"time"
)

// Several hubs send each event once.
func TestSeveralHubs(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	h := newHook(t, nil)
	d.channel("webhook", webhookTo(h))
	for range 3 {
		d.notifier()
	}
	const events = 30
	d.exec(`INSERT INTO notification_events (id, tenant_id, event_key, kind, source_id)
		SELECT xvault_new_id(), $1, 'job_failed:' || n, 'job_failed', $2 FROM generate_series(1, 30) n`, d.tenant, d.source)
	d.settled()
	ids := map[string]bool{}
	for _, c := range h.seen() {
		ids[c.header.Get("Webhook-Id")] = true
	}
	if len(ids) != events || len(h.seen()) != events {
		t.Errorf("%d calls with %d ids for %d events", len(h.seen()), len(ids), events)
	}
}

// A hub that dies between claiming and recording holds its lease; when that is
// over another one sends, with the same id.
func TestHubDiesWhileSending(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	h := newHook(t, nil)
	c := d.channel("webhook", webhookTo(h))
	d.fail("It broke.")
	_, err := d.db.HandOutEvents(t.Context(), 10)
	d.must(err)
	taken, err := d.db.TakeChannels(t.Context(), 10, nil, nil)
	d.must(err)
	n, err := d.db.ClaimNotification(t.Context(), c.ID)
	d.must(err)
	again, err := d.db.TakeChannels(t.Context(), 10, nil, nil)
	d.must(err)
	if len(taken) != 1 || len(again) != 0 {
		t.Fatalf("%d and %d channels were taken", len(taken), len(again))
	}
	d.ahead(3 * time.Minute)
	d.notifier()
	d.settled()
	calls := h.seen()
	if len(calls) != 1 || calls[0].header.Get("Webhook-Id") != n.ID.String() {
		t.Fatalf("calls %+v, want one of %s", calls, n.ID)
	}
	// What the first one says now comes too late, and changes nothing.
	if _, err := d.db.NotificationFailed(t.Context(), n, "late", time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := d.count("SELECT count(*) FROM notifications WHERE status = 'sent' AND attempts = 2"); got != 1 {
		t.Errorf("%d notifications are sent", got)
	}
}
