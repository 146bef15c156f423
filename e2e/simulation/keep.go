package simulation

import (
	"fmt"
	"slices"
	"time"
)

// policy is a retention policy as a person writes it.
type policy struct {
	Last    int    `json:"keep_last,omitempty"`
	Hourly  int    `json:"keep_hourly,omitempty"`
	Daily   int    `json:"keep_daily,omitempty"`
	Weekly  int    `json:"keep_weekly,omitempty"`
	Monthly int    `json:"keep_monthly,omitempty"`
	Within  string `json:"keep_within,omitempty"` // hours only, "36h"
	Min     int    `json:"min_keep,omitempty"`
}

// keeper is a policy in its schedule's zone.
type keeper struct {
	policy
	zone *time.Location
}

// good is a good snapshot, in the judge's eyes.
type good struct {
	id   string
	at   time.Time
	held bool // or in use
}

// mustStay says which good snapshots the rules keep at a time, restated from the
// documentation; nil: all of them, for no rule says anything.
func mustStay(rules []keeper, snapshots []good, now time.Time) map[string]bool {
	if !slices.ContainsFunc(rules, func(k keeper) bool { k.Min = 0; return k.policy != policy{} }) {
		return nil
	}
	all := slices.Clone(snapshots)
	slices.SortFunc(all, func(a, b good) int { return b.at.Compare(a.at) })
	stay := map[string]bool{}
	var past []good // newest first, without what is dated ahead
	for _, s := range all {
		if s.at.After(now) || s.held {
			stay[s.id] = true
		}
		if !s.at.After(now) {
			past = append(past, s)
		}
	}
	least := 1
	for _, k := range rules {
		k.keep(past, stay)
		least = max(least, k.Min)
	}
	if len(all) > 0 {
		stay[all[0].id] = true
	}
	for _, s := range all {
		if len(stay) >= least {
			break
		}
		stay[s.id] = true
	}
	return stay
}

func (k keeper) keep(past []good, stay map[string]bool) {
	for i, s := range past {
		if i < k.Last {
			stay[s.id] = true
		}
		if k.Within != "" {
			span, err := time.ParseDuration(k.Within)
			if err != nil {
				panic(err)
			}
			if past[0].at.Sub(s.at) < span {
				stay[s.id] = true
			}
		}
	}
	k.periods(past, stay, k.Hourly, func(t time.Time) string { return t.Format("06-01-02 15 -0700") })
	k.periods(past, stay, k.Daily, func(t time.Time) string { return t.Format("06-01-02") })
	k.periods(past, stay, k.Weekly, func(t time.Time) string { return monday(t).Format("06-01-02") })
	k.periods(past, stay, k.Monthly, func(t time.Time) string { return fmt.Sprint(t.Year(), int(t.Month())) })
}

// monday is the first day of t's week.
func monday(t time.Time) time.Time { return t.AddDate(0, 0, -(int(t.Weekday())+6)%7) }

// periods keeps the newest of each of the last n periods, and where there are not
// so many the very oldest.
func (k keeper) periods(past []good, stay map[string]bool, n int, period func(time.Time) string) {
	newest := map[string]string{}
	var order []string
	for _, s := range past {
		p := period(s.at.In(k.zone))
		if _, known := newest[p]; !known {
			newest[p] = s.id
			order = append(order, p)
		}
	}
	for _, p := range order[:min(n, len(order))] {
		stay[newest[p]] = true
	}
	if n > len(order) && len(past) > 0 {
		stay[past[len(past)-1].id] = true
	}
}
