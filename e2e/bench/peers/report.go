package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"text/tabwriter"
	"time"
)

// Units of a row's figures.
const (
	unitSeconds = "s"
	unitBytes   = "bytes"
	unitFactor  = "x"
)

// row is one line of the table.
type row struct {
	Case  string  `json:"case"`
	What  string  `json:"what"`
	Ours  float64 `json:"ours"` // median of the turns
	Peer  string  `json:"peer,omitempty"`
	Peers float64 `json:"peers,omitempty"`
	Unit  string  `json:"unit"`
	// Ratio is the median of the turns' ratios of ours to the peer's; where the
	// peer took part less often, it is the ratio of the medians.
	Ratio float64 `json:"ratio,omitempty"`
	// Limit is where the ratio, or our figure where there is no peer, should be
	// at most; 0: there is no limit.
	Limit float64 `json:"limit,omitempty"`
	Met   bool    `json:"met"`
	Runs  int     `json:"runs"`
	// Turns are all of it.
	Turns []turn `json:"turns,omitempty"`

	mean      string // the mean that this row's ratio goes into
	meanLimit float64
}

// turn is one turn of both.
type turn struct {
	Ours  usage  `json:"ours"`
	Peers *usage `json:"peers,omitempty"` // nil where the peer took no part
}

// compare makes a row of two series. The peer may have taken part less often.
func compare(what, peer string, ours, peers []usage, pick func(usage) float64) row {
	r := row{
		What: what, Peer: peer, Unit: unitSeconds, Runs: len(ours),
		Ours: median(ours, pick), Peers: median(peers, pick), Ratio: ratio(ours, peers, pick),
	}
	for i, u := range ours {
		t := turn{Ours: u}
		if i < len(peers) {
			t.Peers = &peers[i]
		}
		r.Turns = append(r.Turns, t)
	}
	return r
}

// amount makes a row of a number of bytes.
func amount(what string, n int64) row { return row{What: what, Ours: float64(n), Unit: unitBytes} }

func (r row) inBytes() row { r.Unit = unitBytes; return r }

func (r row) atMost(limit float64) row {
	r.Limit = limit
	r.Met = r.Ratio <= limit
	if r.Peer == "" {
		r.Met = r.Ours <= limit
	}
	return r
}

// inMean lets the ratio count in a geometric mean over several cases.
func (r row) inMean(name string, limit float64) row {
	r.mean, r.meanLimit = name, limit
	return r
}

// report is what a run found.
type report struct {
	Date    time.Time         `json:"date"`
	Quick   bool              `json:"quick"`
	Machine map[string]string `json:"machine"`
	Rows    []row             `json:"rows"`
}

func newReport(ctx context.Context, o options) *report {
	return &report{Date: time.Now().UTC().Truncate(time.Second), Quick: o.quick, Machine: machine(ctx)}
}

func (r *report) add(name string, rows []row) {
	for _, one := range rows {
		one.Case = name
		r.Rows = append(r.Rows, one)
	}
}

// sum adds the means, of cases that were all measured.
func (r *report) sum() {
	var names []string
	ratios, limits := map[string][]float64{}, map[string]float64{}
	for _, one := range r.Rows {
		if one.mean == "" {
			continue
		}
		if ratios[one.mean] == nil {
			names = append(names, one.mean)
		}
		ratios[one.mean] = append(ratios[one.mean], one.Ratio)
		limits[one.mean] = one.meanLimit
	}
	for _, name := range names {
		logs := 0.0
		for _, ratio := range ratios[name] {
			logs += math.Log(ratio)
		}
		if n := len(ratios[name]); n == len(columns()) {
			mean := row{Case: "all", What: name, Peer: "pipe", Unit: unitFactor, Ratio: math.Exp(logs / float64(n))}
			r.Rows = append(r.Rows, mean.atMost(limits[name]))
		}
	}
}

// print writes the table.
func (r *report) print(out io.Writer) error {
	var errs []error
	put := func(w io.Writer, format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	put(out, "\n%s, %s cores (%s), %s GiB, Linux %s, %s\n", r.Date.Format(time.DateOnly), r.Machine["cores"], r.Machine["cpu"],
		r.Machine["memory_gib"], r.Machine["kernel"], r.Machine["go"])
	if r.Quick {
		put(out, "A quick run: an eighth of the data. Its ratios are not the real ones.\n")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	put(w, "\ncase\twhat\txvault\tpeer\t\tratio\taim\t\truns\n")
	missed := 0
	for _, one := range r.Rows {
		put(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", one.Case, one.What, one.figure(one.Ours), one.figure(one.Peers), one.Peer,
			one.ratioText(), one.limitText(), one.verdict(), one.runsText())
		if one.verdict() == verdictMissed {
			missed++
		}
	}
	errs = append(errs, w.Flush())
	put(out, "\n%d of the aims missed.\n", missed)
	return errors.Join(errs...)
}

func (r row) figure(v float64) string {
	switch {
	case v == 0:
		return ""
	case r.Unit == unitSeconds && v < 1:
		return fmt.Sprintf("%.0f ms", v*1000)
	case r.Unit == unitSeconds:
		return fmt.Sprintf("%.2f s", v)
	case r.Unit == unitBytes:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

func (r row) ratioText() string {
	if r.Ratio == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", r.Ratio)
}

func (r row) limitText() string {
	switch {
	case r.Limit == 0:
		return ""
	case r.Peer != "":
		return fmt.Sprintf("%.2f", r.Limit)
	default:
		return r.figure(r.Limit)
	}
}

const (
	verdictMet    = "met"
	verdictMissed = "MISSED"
)

func (r row) verdict() string {
	switch {
	case r.Limit == 0:
		return ""
	case r.Met:
		return verdictMet
	default:
		return verdictMissed
	}
}

// runsText is how often each took part.
func (r row) runsText() string {
	peers := 0
	for _, t := range r.Turns {
		if t.Peers != nil {
			peers++
		}
	}
	switch {
	case r.Runs == 0:
		return ""
	case peers > 0 && peers < r.Runs:
		return fmt.Sprintf("%d, peer %d", r.Runs, peers)
	default:
		return fmt.Sprint(r.Runs)
	}
}

// write keeps everything as JSON.
func (r *report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
