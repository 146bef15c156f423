package schedule

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Words tells the schedule in a sentence, for people: "Every day at 02:30,
// Europe/Berlin time."
func (s *Schedule) Words() string {
	text := s.times.words()
	if s.window.limited {
		text += fmt.Sprintf(", only from %s to %s", clock(s.window.from), clock(s.window.until))
	}
	if s.spec.Cron != "" || s.window.limited {
		text += ", " + s.zone.String() + " time"
	}
	if s.spec.JitterSeconds > 0 {
		text += ", up to " + span(time.Duration(s.spec.JitterSeconds)*time.Second) + " later"
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func clock(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }

// span is a length of time in the largest unit that fits.
func span(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(d / unit.length); d%unit.length == 0 && n > 0 {
			return plural(n, unit.name)
		}
	}
	return plural(int(d/time.Second), "second")
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return strconv.Itoa(n) + " " + unit + "s"
}

// every is "every hour", "every 2 hours".
func every(n int, unit string) string {
	if n == 1 {
		return "every " + unit
	}
	return "every " + plural(n, unit)
}

func (i intervalTimes) words() string {
	minutes := int(i.every / time.Minute)
	if minutes%60 == 0 {
		return every(minutes/60, "hour")
	}
	return every(minutes, "minute")
}

func (c cronTimes) words() string {
	day := c.dayWords()
	at, recurs := c.timeWords()
	switch {
	case recurs && day == "":
		return at
	case recurs:
		return at + ", " + day
	case day == "":
		return "every day " + at
	default:
		return day + " " + at
	}
}

const (
	allMinutes  = 1<<60 - 1
	allDays     = 1<<32 - 2
	allMonths   = 1<<13 - 2
	allWeekdays = 1<<7 - 1
	// fewTimes is how many times of the day are listed one by one.
	fewTimes = 6
)

// timeWords are the times of the day; recurs: they tell of a distance ("every 15
// minutes") and not of moments.
func (c cronTimes) timeWords() (text string, recurs bool) {
	minutes, hours := members(c.fields.Minute&allMinutes), members(c.fields.Hour&allHours)
	step, stepped := stepOf(minutes, 60)
	hourStep, hourStepped := stepOf(hours, 24)
	switch {
	case len(minutes)*len(hours) <= fewTimes:
		var times []string
		for _, h := range hours {
			for _, m := range minutes {
				times = append(times, clock(h*60+m))
			}
		}
		return "at " + list(times), false
	case stepped && len(hours) == 24:
		return every(step, "minute"), true
	case stepped && contiguous(hours):
		return fmt.Sprintf("%s from %s to %s", every(step, "minute"), clock(hours[0]*60), clock(hours[len(hours)-1]*60+minutes[len(minutes)-1])), true
	case stepped:
		return fmt.Sprintf("%s in the hours %s", every(step, "minute"), list(numbers(hours))), true
	case len(hours) == 24:
		return "every hour at " + minuteWords(minutes), true
	case hourStepped:
		return fmt.Sprintf("%s at %s", every(hourStep, "hour"), minuteWords(minutes)), true
	case contiguous(hours):
		return fmt.Sprintf("every hour from %s to %s at %s", clock(hours[0]*60), clock(hours[len(hours)-1]*60), minuteWords(minutes)), true
	default:
		return fmt.Sprintf("at %s of the hours %s", minuteWords(minutes), list(numbers(hours))), true
	}
}

func minuteWords(minutes []int) string {
	if len(minutes) == 1 {
		return "minute " + strconv.Itoa(minutes[0])
	}
	return "the minutes " + list(numbers(minutes))
}

// dayWords are the days; empty for every day.
func (c cronTimes) dayWords() string {
	days, months, weekdays := c.fields.Dom&allDays, c.fields.Month&allMonths, c.fields.Dow&allWeekdays
	monthNames := list(named(members(months), func(m int) string { return time.Month(m).String() }))
	weekdayNames := weekdayWords(members(weekdays))
	ordinals := "the " + list(named(members(days), ordinal))
	someDays, someWeekdays := days != allDays, weekdays != allWeekdays
	var text string
	switch {
	case someDays && someWeekdays && c.either():
		text = "on " + ordinals + " and on every " + weekdayNames
	case someDays && someWeekdays:
		text = "on " + ordinals + " if it is a " + weekdayNames
	case someDays:
		text = "on " + ordinals
	case someWeekdays:
		text = "every " + weekdayNames
	case months != allMonths:
		return "every day in " + monthNames
	default:
		return ""
	}
	if months != allMonths {
		return text + " in " + monthNames
	}
	if someDays && !someWeekdays {
		return text + " of every month"
	}
	return text
}

// either: of two restricted fields cron takes a day that fits one. A star, and a
// range that takes in all, does not restrict.
func (c cronTimes) either() bool {
	const star = 1 << 63
	return c.fields.Dom&star == 0 && c.fields.Dow&star == 0
}

func weekdayWords(days []int) string {
	name := func(d int) string { return time.Weekday(d % 7).String() }
	// The week begins on Monday.
	week := make([]int, 0, len(days))
	for _, d := range days {
		week = append(week, (d+6)%7)
	}
	slices.Sort(week)
	if len(week) > 2 && contiguous(week) {
		return "day from " + name(week[0]+1) + " to " + name(week[len(week)-1]+1)
	}
	return list(named(week, func(d int) string { return name(d + 1) }))
}

// members lists the bits that are set.
func members(set uint64) []int {
	var out []int
	for ; set != 0; set &= set - 1 {
		out = append(out, bits.TrailingZeros64(set))
	}
	return out
}

// stepOf tells of numbers that go through the whole range in equal steps.
func stepOf(numbers []int, size int) (step int, ok bool) {
	if len(numbers) < 2 || numbers[0] != 0 || size%len(numbers) != 0 {
		return 0, false
	}
	step = size / len(numbers)
	for i, n := range numbers {
		if n != i*step {
			return 0, false
		}
	}
	return step, true
}

func contiguous(numbers []int) bool {
	return len(numbers) > 1 && numbers[len(numbers)-1]-numbers[0] == len(numbers)-1
}

func numbers(of []int) []string { return named(of, strconv.Itoa) }

func named(of []int, name func(int) string) []string {
	out := make([]string, len(of))
	for i, n := range of {
		out[i] = name(n)
	}
	return out
}

// list is "a", "a and b", "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func ordinal(n int) string {
	suffix := "th"
	if n/10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}
