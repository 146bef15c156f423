package simulation

import (
	"slices"
	"time"
)

// sourcePlan is one source of the simulated customers.
type sourcePlan struct {
	tenant    int
	server    int    // which SSH server it is on
	kind      string // its type
	schedules []schedulePlan
}

// schedulePlan is a schedule as the API takes it, and the judge's own idea of it.
type schedulePlan struct {
	cron   string
	every  time.Duration // instead of cron
	zone   string
	window string
	jitter time.Duration
	policy policy
	times  []string      // daily, by the wall clock
	only   *time.Weekday // of them
	minute int           // hourly
	since  int
	till   int
}

// rule is what the judge expects of it; anchor is where an interval counts from.
func (p schedulePlan) rule(anchor time.Time) slotRule {
	switch {
	case p.every > 0:
		return interval{anchor, p.every}
	case p.times != nil:
		return daily{p.location(), slices.Clone(p.times), p.only}
	default:
		return hourly{p.location(), p.minute, p.since, p.till}
	}
}

func (p schedulePlan) location() *time.Location {
	zone, err := time.LoadLocation(p.zone)
	if err != nil {
		panic(err)
	}
	return zone
}

// Kinds of servers.
const (
	rootServer   = iota // sessions may read everything
	nobodyServer        // sessions may read what everybody may, and run nothing
)

// smallFleet has a zone whose clocks go on and one whose go back on the same day,
// 4 November 2018.
func smallFleet() []sourcePlan {
	return []sourcePlan{
		{tenant: 0, server: rootServer, schedules: []schedulePlan{{
			cron: "30 1,13 * * *", times: []string{"01:30", "13:30"}, zone: "America/New_York", policy: policy{Daily: 2, Last: 2},
		}}},
		{tenant: 1, server: nobodyServer, schedules: []schedulePlan{{
			cron: "15 0 * * *", times: []string{"00:15"}, zone: "America/Sao_Paulo", policy: policy{Last: 2, Weekly: 1},
		}, {
			every: 15 * time.Hour, zone: "UTC", policy: policy{Daily: 2, Min: 2},
		}}},
		{tenant: 1, server: rootServer, schedules: []schedulePlan{{
			cron: "0 * * * *", minute: 0, since: 9, till: 11, zone: "Australia/Lord_Howe", window: "09:00-11:00", jitter: 5 * time.Minute,
			policy: policy{Hourly: 3, Within: "30h"},
		}}},
	}
}

// fullFleet adds zones with edges on other days, and longer memories. Between 24
// September and 23 November 2018 clocks go on in Auckland, Lord Howe, Sydney and
// Sao Paulo, and back in Beirut, Berlin and New York.
func fullFleet() []sourcePlan {
	sunday := time.Sunday
	return append(smallFleet(),
		sourcePlan{tenant: 0, server: nobodyServer, schedules: []schedulePlan{{
			cron: "30 2 * * *", times: []string{"02:30"}, zone: "Europe/Berlin", policy: policy{Daily: 7, Weekly: 3, Monthly: 2},
		}}},
		sourcePlan{tenant: 2, server: rootServer, schedules: []schedulePlan{{
			cron: "45 2 * * *", times: []string{"02:45"}, zone: "Australia/Sydney", policy: policy{Last: 3, Min: 5},
		}, {
			cron: "30 2 * * SUN", times: []string{"02:30"}, only: &sunday, zone: "Pacific/Auckland", policy: policy{},
		}}},
		sourcePlan{tenant: 2, server: nobodyServer, schedules: []schedulePlan{{
			cron: "10 0,12 * * *", times: []string{"00:10", "12:10"}, zone: "Asia/Beirut", policy: policy{Daily: 5, Weekly: 2},
		}}},
	)
}
