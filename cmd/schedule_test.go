package cmd

import (
	"strings"
	"testing"
)

func TestSchedulesFromBeginningToEnd(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.source("acme")
	id := d.id("schedule", "create", "acme", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--jitter", "10m", "--keep-daily", "7")
	for _, c := range [][2]string{
		{"schedule ls", "Every day at 02:30, Europe/Berlin time, up to 10 minutes later."},
		{"schedule ls --source acme", id},
		{"schedule show " + id, "keep daily 7"},
		{"schedule show " + id[:13], "next runs"},
		{"schedule set " + id + " --every 6h --window 20:00-08:00", "Every 6 hours, only from 20:00 to 08:00"},
		{"schedule set " + id + " --keep-monthly 12", "keep daily 7, keep monthly 12"},
		{"schedule disable " + id, "no"},
		{"schedule enable " + id, "next runs"},
		{"schedule slots " + id, "OUTCOME"},
		{"schedule slots " + id + " --outcome missed", "OUTCOME"},
	} {
		if out := d.ok(strings.Fields(c[0])...); !strings.Contains(out, c[1]) {
			t.Errorf("xvault %s lacks %q:\n%s", c[0], c[1], out)
		}
	}
	if got := d.json("schedule", "show", id); got["cron"] != nil || got["interval_minutes"] != 360.0 {
		t.Errorf("show: %v", got)
	}
	d.fails(exitRefused, "cron", "schedule", "create", "acme", "--cron", "99 * * * *")
	d.fails(exitRefused, "timezone", "schedule", "create", "acme", "--cron", "@daily", "--timezone", "Nowhere")
	d.fails(exitRefused, "retention_policy.keep_daily", "schedule", "create", "acme", "--cron", "@daily", "--keep-daily", "-1")
	d.fails(exitUsage, "whole minutes", "schedule", "create", "acme", "--every", "90s")
	d.fails(exitNotFound, "no source", "schedule", "create", "nothing", "--cron", "@daily")
	d.ok("schedule", "rm", id)
	d.fails(exitNotFound, "", "schedule", "show", id)
}
