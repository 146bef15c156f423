package schedule_test

import (
	"strings"
	"testing"
	"time"

	"xvault/hub/schedule"
)

func parse(t testing.TB, spec schedule.Spec) *schedule.Schedule {
	t.Helper()
	if spec.Anchor.IsZero() {
		spec.Anchor = at("2018-01-01T00:00:00Z")
	}
	s, faults := schedule.Parse(spec)
	if len(faults) > 0 {
		t.Fatalf("%+v: %v", spec, faults)
	}
	return s
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

// changes is the rule for clocks that change, zone by zone: what slots follow
// the first moment.
var changes = []struct{ zone, cron, after, want string }{
	// Skipped: made up for at the moment of the change, once.
	{"Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"},
	{"Europe/Berlin", "*/20 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T00:00:00Z"},
	{"Europe/Berlin", "0 2,3 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T00:00:00Z"},
	{"Europe/Berlin", "59 1 * * *", "2026-03-28T12:00:00Z", "2026-03-29T00:59:00Z 2026-03-29T23:59:00Z"},
	{"Europe/Berlin", "0 3 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T01:00:00Z"},
	// Shown twice: the first time counts.
	{"Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
	{"Europe/Berlin", "0 2,3 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z 2026-10-25T02:00:00Z"},
	{"Europe/Berlin", "30 2 * * *", "2026-10-25T00:45:00Z", "2026-10-26T01:30:00Z"},
	// Every hour: by the elapsed time.
	{"Europe/Berlin", "0 * * * *", "2026-10-24T23:30:00Z", "2026-10-25T00:00:00Z 2026-10-25T01:00:00Z 2026-10-25T02:00:00Z"},
	{"Europe/Berlin", "*/30 * * * *", "2026-03-29T00:15:00Z", "2026-03-29T00:30:00Z 2026-03-29T01:00:00Z 2026-03-29T01:30:00Z"},
	{"Europe/Berlin", "@hourly", "2026-03-29T00:15:00Z", "2026-03-29T01:00:00Z 2026-03-29T02:00:00Z"},
	{"America/New_York", "15 2 * * 0", "2026-03-07T12:00:00Z", "2026-03-08T07:00:00Z 2026-03-15T06:15:00Z"},
	{"America/New_York", "30 1 * * *", "2026-10-31T12:00:00Z", "2026-11-01T05:30:00Z 2026-11-02T06:30:00Z"},
	{"America/New_York", "0 0 * * *", "2026-10-31T12:00:00Z", "2026-11-01T04:00:00Z 2026-11-02T05:00:00Z"},
	// Half an hour.
	{"Australia/Lord_Howe", "15 2 * * *", "2026-10-02T20:00:00Z", "2026-10-03T15:30:00Z 2026-10-04T15:15:00Z"},
	{"Australia/Lord_Howe", "45 2 * * *", "2026-10-02T20:00:00Z", "2026-10-03T15:45:00Z 2026-10-04T15:45:00Z"},
	{"Australia/Lord_Howe", "45 1 * * *", "2026-04-03T20:00:00Z", "2026-04-04T14:45:00Z 2026-04-05T15:15:00Z"},
	{"Australia/Lord_Howe", "15 * * * *", "2026-04-04T14:00:00Z", "2026-04-04T14:15:00Z 2026-04-04T15:45:00Z"},
	// Midnight itself.
	{"America/Sao_Paulo", "0 0 * * *", "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z 2018-11-05T02:00:00Z"},
	{"America/Sao_Paulo", "30 23 * * *", "2018-02-17T12:00:00Z", "2018-02-18T01:30:00Z 2018-02-19T02:30:00Z"},
	{"America/Sao_Paulo", "0 3 * * *", "2026-11-01T00:00:00Z", "2026-11-01T06:00:00Z 2026-11-02T06:00:00Z"},
	{"Africa/Cairo", "30 0 * * *", "2026-04-23T12:00:00Z", "2026-04-23T22:00:00Z 2026-04-24T21:30:00Z"},
	{"Africa/Cairo", "30 23 * * *", "2026-10-28T22:00:00Z", "2026-10-29T20:30:00Z 2026-10-30T21:30:00Z"},
	{"Asia/Beirut", "@daily", "2026-03-28T12:00:00Z", "2026-03-28T22:00:00Z 2026-03-29T21:00:00Z"},
	{"Asia/Beirut", "30 23 * * *", "2026-10-24T12:00:00Z", "2026-10-24T20:30:00Z 2026-10-25T21:30:00Z"},
	// None.
	{"Asia/Kolkata", "0 3 * * *", "2026-03-28T12:00:00Z", "2026-03-28T21:30:00Z 2026-03-29T21:30:00Z"},
	{"UTC", "30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T02:30:00Z 2026-03-30T02:30:00Z"},
	// A whole day.
	{"Pacific/Apia", "0 12 30 12 *", "2011-01-01T00:00:00Z", "2011-12-30T10:00:00Z 2012-12-29T22:00:00Z"},
}

func TestClocksThatChange(t *testing.T) {
	t.Parallel()
	for _, c := range changes {
		s := parse(t, schedule.Spec{Cron: c.cron, Timezone: c.zone})
		var got []string
		for _, run := range s.NextRuns(at(c.after), len(strings.Fields(c.want))) {
			got = append(got, run.UTC().Format(time.RFC3339))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %q after %s:\n%v, want\n%v", c.zone, c.cron, c.after, strings.Join(got, " "), c.want)
		}
	}
}

func TestCron(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cron, after, want string }{
		{"0 0 1 * mon", "2026-06-01T00:00:00Z", "2026-06-08T00:00:00Z 2026-06-15T00:00:00Z 2026-06-22T00:00:00Z 2026-06-29T00:00:00Z 2026-07-01T00:00:00Z"},
		{"0 0 */2 * mon", "2026-06-01T00:00:00Z", "2026-06-03T00:00:00Z 2026-06-05T00:00:00Z 2026-06-07T00:00:00Z 2026-06-08T00:00:00Z"},
		{"0 0 29 2 *", "2096-01-01T00:00:00Z", "2096-02-29T00:00:00Z 2104-02-29T00:00:00Z"},
		{"0 22-1 * * *", "2026-06-01T12:00:00Z", "2026-06-01T22:00:00Z 2026-06-01T23:00:00Z 2026-06-02T00:00:00Z 2026-06-02T01:00:00Z 2026-06-02T22:00:00Z"},
		{"0 0 * * 7", "2026-06-01T12:00:00Z", "2026-06-07T00:00:00Z"},
		{"@yearly", "2026-06-01T12:00:00Z", "2027-01-01T00:00:00Z 2028-01-01T00:00:00Z"},
		{"@Monthly", "2026-06-01T12:00:00Z", "2026-07-01T00:00:00Z"},
		{"@weekly", "2026-06-01T12:00:00Z", "2026-06-07T00:00:00Z"},
	} {
		s := parse(t, schedule.Spec{Cron: c.cron})
		var got []string
		for _, run := range s.NextRuns(at(c.after), len(strings.Fields(c.want))) {
			got = append(got, run.Format(time.RFC3339))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q after %s:\n%v, want\n%v", c.cron, c.after, strings.Join(got, " "), c.want)
		}
	}
}

func TestFaultsNameTheField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		field string
		spec  schedule.Spec
	}{
		{"cron", schedule.Spec{}},
		{"cron", schedule.Spec{Cron: "* * * *"}},
		{"cron", schedule.Spec{Cron: "* * * * * *"}},
		{"cron", schedule.Spec{Cron: "60 * * * *"}},
		{"cron", schedule.Spec{Cron: "*/0 * * * *"}},
		{"cron", schedule.Spec{Cron: "1,,2 * * * *"}},
		{"cron", schedule.Spec{Cron: "0 0 0 * *"}},
		{"cron", schedule.Spec{Cron: "0 0 L * *"}},
		{"cron", schedule.Spec{Cron: "H H * * *"}},
		{"cron", schedule.Spec{Cron: "0 0 * * nonday"}},
		{"cron", schedule.Spec{Cron: "0 0 30 2 *"}},
		{"cron", schedule.Spec{Cron: "@every 5m"}},
		{"cron", schedule.Spec{Cron: "@reboot"}},
		{"cron", schedule.Spec{Cron: "TZ=UTC 0 0 * * *"}},
		{"cron", schedule.Spec{Cron: "TZ=UTC 0 0 * *"}},
		{"cron", schedule.Spec{Cron: "CRON_TZ=UTC @daily"}},
		{"cron", schedule.Spec{Cron: strings.Repeat("1,", 150) + "1 * * * *"}},
		{"interval_minutes", schedule.Spec{Cron: "@daily", IntervalMinutes: 5}},
		{"interval_minutes", schedule.Spec{IntervalMinutes: -1}},
		{"interval_minutes", schedule.Spec{IntervalMinutes: 527041}},
		{"timezone", schedule.Spec{Cron: "@daily", Timezone: "Middle/Earth"}},
		{"timezone", schedule.Spec{Cron: "@daily", Timezone: "Local"}},
		{"timezone", schedule.Spec{Cron: "@daily", Timezone: "../../etc/passwd"}},
		{"jitter_seconds", schedule.Spec{Cron: "@daily", JitterSeconds: -1}},
		{"jitter_seconds", schedule.Spec{Cron: "@daily", JitterSeconds: 86401}},
		{"window", schedule.Spec{Cron: "@daily", Window: "22-6"}},
		{"window", schedule.Spec{Cron: "@daily", Window: "22:00-24:30"}},
		{"window", schedule.Spec{Cron: "@daily", Window: "22:00-22:00"}},
		{"window", schedule.Spec{Cron: "@daily", Window: "01:00-05:00"}},
		{"window", schedule.Spec{IntervalMinutes: 1440, Window: "01:00-05:00", Anchor: at("2026-06-01T12:00:00Z")}},
	} {
		if c.spec.Anchor.IsZero() {
			c.spec.Anchor = at("2026-06-01T00:00:00Z")
		}
		_, faults := schedule.Parse(c.spec)
		if len(faults) != 1 || faults[0].Field != c.field || faults[0].Message == "" {
			t.Errorf("%+v: %v, want one of %s", c.spec, faults, c.field)
		}
	}
	_, faults := schedule.Parse(schedule.Spec{Cron: "x", Timezone: "y", Window: "z", JitterSeconds: -1})
	if len(faults) != 4 {
		t.Errorf("four wrong fields: %v", faults)
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for want, spec := range map[string]schedule.Spec{
		"Every day at 02:30, Europe/Berlin time.":                                          {Cron: "30 2 * * *", Timezone: "Europe/Berlin"},
		"Every day at 00:00, UTC time.":                                                    {Cron: "@daily"},
		"Every hour at minute 0, UTC time.":                                                {Cron: "@hourly"},
		"Every Sunday at 00:00, UTC time.":                                                 {Cron: "@weekly"},
		"On the 1st of every month at 00:00, UTC time.":                                    {Cron: "@monthly"},
		"On the 1st in January at 00:00, UTC time.":                                        {Cron: "@yearly"},
		"Every minute, UTC time.":                                                          {Cron: "* * * * *"},
		"Every 15 minutes, UTC time.":                                                      {Cron: "*/15 * * * *"},
		"Every 15 minutes from 08:00 to 17:45, every day from Monday to Friday, UTC time.": {Cron: "*/15 8-17 * * 1-5"},
		"Every 2 hours at minute 10, UTC time.":                                            {Cron: "10 */2 * * *"},
		"Every day at 06:00, 12:00 and 18:00, UTC time.":                                   {Cron: "0 6,12,18 * * *"},
		"Every Monday and Thursday at 04:05, UTC time.":                                    {Cron: "5 4 * * 1,4"},
		"Every Saturday and Sunday at 04:05, UTC time.":                                    {Cron: "5 4 * * 6-7"},
		"On the 1st and 15th and on every Friday at 03:00, UTC time.":                      {Cron: "0 3 1,15 * fri"},
		"On the 1st and 15th of every month at 03:00, UTC time.":                           {Cron: "0 3 1,15 * *"},
		"Every day in March and June at 03:00, UTC time.":                                  {Cron: "0 3 * 3,6 *"},
		"Every hour from 08:00 to 20:00 at the minutes 5 and 35, UTC time.":                {Cron: "5,35 8-20 * * *"},
		"Every 90 minutes.":                                                                {IntervalMinutes: 90},
		"Every hour.":                                                                      {IntervalMinutes: 60},
		"Every 24 hours.":                                                                  {IntervalMinutes: 1440},
		"Every minute, up to 90 seconds later.":                                            {IntervalMinutes: 1, JitterSeconds: 90},
		"Every hour, only from 22:00 to 06:00, Asia/Kolkata time, up to 10 minutes later.": {
			IntervalMinutes: 60, Window: "22:00-06:00", Timezone: "Asia/Kolkata", JitterSeconds: 600,
		},
	} {
		if got := parse(t, spec).Words(); got != want {
			t.Errorf("%+v: %q, want %q", spec, got, want)
		}
	}
}
