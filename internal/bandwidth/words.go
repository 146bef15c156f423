package bandwidth

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ParseText reads a plan as it is written on one line: limits with commas
// between, with the hours in which they hold before them, and a time zone.
//
//	20MB/s
//	20MB/s, 08:00-18:00=5MB/s
//	mon-fri 08:00-18:00=5MB/s, timezone=Europe/Berlin
//	none
func ParseText(text string) (Plan, error) {
	var p Plan
	plain := false
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		hours, rate, timed := strings.Cut(item, "=")
		hours = strings.TrimSpace(hours)
		switch {
		case item == "":
			return Plan{}, errors.New(`it is empty, or has an empty part; an example is "20MB/s, 08:00-18:00=5MB/s"`)
		case timed && hours == "timezone":
			p.Timezone = strings.TrimSpace(rate)
		case timed:
			w, err := parseWindow(hours, rate)
			if err != nil {
				return Plan{}, err
			}
			p.Windows = append(p.Windows, w)
		case plain:
			return Plan{}, fmt.Errorf("%q: there is a limit already; say the hours of this one, as in 08:00-18:00=5MB/s", item)
		default:
			var err error
			if p.LimitBPS, err = ParseRate(item); err != nil {
				return Plan{}, err
			}
			plain = true
		}
	}
	if faults := p.Check(); len(faults) > 0 {
		return Plan{}, faults[0]
	}
	return p, nil
}

// parseWindow reads "08:00-18:00" or "mon-fri 08:00-18:00", and its limit.
func parseWindow(hours, rate string) (Window, error) {
	var w Window
	names, span, found := strings.Cut(hours, " ")
	if !found {
		names, span = "", hours
	}
	var ok bool
	if w.From, w.To, ok = strings.Cut(strings.TrimSpace(span), "-"); !ok {
		return Window{}, fmt.Errorf("%q: the hours of a limit are written as in 08:00-18:00=5MB/s or mon-fri 08:00-18:00=5MB/s", hours)
	}
	var err error
	if w.Days, err = parseDays(names); err == nil {
		w.LimitBPS, err = ParseRate(strings.TrimSpace(rate))
	}
	return w, err
}

// parseDays reads "mon-fri", "sat+sun" or "fri-mon+wed".
func parseDays(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var list []string
	for span := range strings.SplitSeq(strings.ToLower(text), "+") {
		from, to, isRange := strings.Cut(span, "-")
		if !isRange {
			to = from
		}
		first, last := slices.Index(days(), from), slices.Index(days(), to)
		if first < 0 || last < 0 {
			return nil, fmt.Errorf("%q: days are written as in mon, mon-fri or sat+sun", text)
		}
		for day := first; ; day = (day + 1) % 7 {
			if !slices.Contains(list, days()[day]) {
				list = append(list, days()[day])
			}
			if day == last {
				break
			}
		}
	}
	return list, nil
}

// units of a rate, in bytes, without "/s" and in small letters; longer ones first.
var units = []struct {
	name string
	size float64
}{
	{"kibit", 1024. / 8}, {"mibit", 1 << 20 / 8}, {"gibit", 1 << 30 / 8}, {"kbit", 1e3 / 8}, {"mbit", 1e6 / 8}, {"gbit", 1e9 / 8},
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9},
	{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"b", 1}, {"", 1},
}

// ParseRate reads "20MB/s", "1.5 MiB/s", "100Mbit/s" or "none".
func ParseRate(text string) (int64, error) {
	rest := strings.ToLower(strings.TrimSpace(text))
	if rest == "none" || rest == "unlimited" {
		return 0, nil
	}
	rest = strings.TrimSuffix(rest, "/s")
	for _, u := range units {
		number, ok := strings.CutSuffix(rest, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || math.IsNaN(n) || n < 0 || n*u.size > Most {
			break
		}
		if bytes := int64(math.Round(n * u.size)); badLimit(bytes) == "" {
			return bytes, nil
		}
		return 0, fmt.Errorf("%q %s", text, badLimit(-1))
	}
	return 0, fmt.Errorf("%q is no rate; write it as in 20MB/s, 1.5MiB/s, 100Mbit/s or none", text)
}

// Text is the plan on one line, as ParseText reads it.
func (p *Plan) Text() string {
	items := []string{rateText(p.LimitBPS)}
	for _, w := range p.Windows {
		hours := w.From + "-" + w.To
		if len(w.Days) > 0 {
			hours = strings.Join(w.Days, "+") + " " + hours
		}
		items = append(items, hours+"="+rateText(w.LimitBPS))
	}
	if p.Timezone != "" {
		items = append(items, "timezone="+p.Timezone)
	}
	return strings.Join(items, ", ")
}

// rateText uses the largest unit that leaves a whole number.
func rateText(limit int64) string {
	switch {
	case limit == 0:
		return "none"
	case limit%1e9 == 0:
		return fmt.Sprintf("%dGB/s", limit/1e9)
	case limit%1e6 == 0:
		return fmt.Sprintf("%dMB/s", limit/1e6)
	case limit%1e3 == 0:
		return fmt.Sprintf("%dkB/s", limit/1e3)
	default:
		return fmt.Sprintf("%dB/s", limit)
	}
}
