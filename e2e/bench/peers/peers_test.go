package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// TestMain lets the test's binary be what is measured.
func TestMain(m *testing.M) {
	if part(os.Args[1:]) != nil {
		if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// One case from beginning to end: servers, proxy, data, worker, pipe, table.
func TestQuickRunFillsTheTableAndLeavesOnlyTheCache(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	var table, told bytes.Buffer
	args := []string{"-cache", cache, "-quick", "-runs", "1", "-only", "20ms/small-ssh"}
	if err := run(t.Context(), args, nil, &table, &told); err != nil {
		t.Fatalf("%v\n%s", err, told.String())
	}
	if !strings.Contains(table.String(), "20ms/small-ssh  time") {
		t.Errorf("the table is\n%s", table.String())
	}
	var r report
	raw, err := os.ReadFile(filepath.Join(cache, "result.json"))
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	first := r.Rows[0]
	if first.Ours <= 0 || first.Peers <= 0 || first.Ratio <= 0 || first.Turns[0].Ours.Peak <= 0 || first.Turns[0].Ours.CPU <= 0 {
		t.Errorf("%+v", first)
	}
	left, err := filepath.Glob(filepath.Join(cache, runPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	for only, want := range map[string][]string{
		"ssh":                   {"ssh/go", "ssh/share", "ssh/text", "ssh/random"},
		"restore/text,ssh/text": {"ssh/text", "restore/text"},
		"onefile":               {"onefile"},
	} {
		got, err := choose(cases(), only)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range got {
			names = append(names, c.name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s: %v", only, names)
		}
	}
	if _, err := choose(cases(), "ssh,shs"); err == nil {
		t.Error("a name that is none was taken")
	}
}

func TestTurnsGoInTurn(t *testing.T) {
	t.Parallel()
	l := &lab{opts: options{runs: 3}, out: io.Discard, work: t.TempDir()}
	var order []string
	one := func(name string, runs int) contender {
		return contender{name: name, runs: runs,
			run: func(context.Context, string) (usage, error) {
				order = append(order, name)
				return usage{Wall: time.Second}, nil
			},
			check: func(string) error { order = append(order, "check "+name); return nil }}
	}
	got, err := l.turns(t.Context(), 7, one("a", 0), one("b", 0), one("c", 1))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a", "b", "c", "check c", "a", "b", "a", "check a", "b", "check b"}
	if !slices.Equal(order, want) || len(got["a"]) != 3 || len(got["c"]) != 1 {
		t.Errorf("%v", order)
	}
	broken := contender{name: "x", run: func(context.Context, string) (usage, error) { return usage{}, errors.New("broken") }}
	if _, err := l.turns(t.Context(), 1, broken); err == nil || !strings.Contains(err.Error(), "x: broken") {
		t.Errorf("%v", err)
	}
}

// A ratio is that of turns, not of medians, where each of ours has one of the peer's.
func TestRatioIsTheMedianOfTheTurns(t *testing.T) {
	t.Parallel()
	series := func(seconds ...float64) (all []usage) {
		for _, s := range seconds {
			all = append(all, usage{Wall: time.Duration(s * float64(time.Second))})
		}
		return all
	}
	ours, peers := series(1, 20, 3), series(2, 10, 4)
	r := compare("time", "peer", ours, peers, wall).atMost(0.8)
	if r.Ratio != 0.75 || r.Ours != 3 || r.Peers != 4 || !r.Met {
		t.Errorf("%+v", r)
	}
	if r := compare("time", "once", ours, series(6), wall); r.Ratio != 0.5 || r.runsText() != "3, peer 1" {
		t.Errorf("with a peer that took part once: %+v", r)
	}
	if r := amount("memory", 300).atMost(256); r.verdict() != verdictMissed {
		t.Errorf("%+v", r)
	}
}

func TestMeanNeedsEveryColumn(t *testing.T) {
	t.Parallel()
	var r report
	for i, ratio := range []float64{0.5, 1, 1, 2} {
		r.add(fmt.Sprint(i), []row{row{Peer: "pipe", Ratio: ratio}.inMean("mean", 0.88)})
		if i == 2 {
			r.sum()
			if len(r.Rows) != 3 {
				t.Fatal("a mean of three columns")
			}
		}
	}
	r.sum()
	if last := r.Rows[len(r.Rows)-1]; last.What != "mean" || last.Ratio != 1 || last.Met {
		t.Errorf("%+v", last)
	}
}

func TestTableGoesIntoADocument(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "doc.md")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := report{Date: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), Machine: map[string]string{"cores": "2"}}
	r.add("ssh/go", []row{row{What: "time", Peer: "age | tar", Unit: unitSeconds, Ours: 1.5, Peers: 2, Ratio: 0.75, Runs: 3}.atMost(0.7)})
	write("before\n" + tableBegin + "old\n" + tableEnd + "after\n")
	for range 2 {
		if err := r.fill(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := "| ssh/go | time | 1.50 s | 2.00 s | age \\| tar | 0.750 | 0.70 | **missed** | 3 |\n"
	if text := string(got); !strings.HasPrefix(text, "before\n"+tableBegin+"2026-01-02") || !strings.HasSuffix(text, line+tableEnd+"after\n") {
		t.Errorf("%s", text)
	}
	write("nothing")
	if err := r.fill(path); err == nil {
		t.Error("a document without marks was written to")
	}
}

// What fills a server compresses to about a quarter, and is the same each time.
func TestTextIsLikeLogsAndSource(t *testing.T) {
	t.Parallel()
	read := func() []byte {
		b, err := io.ReadAll(io.LimitReader(newText(1), 16<<20))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	content := read()
	if !bytes.Equal(content, read()) {
		t.Error("it is another the second time")
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	ratio := float64(len(enc.EncodeAll(content, nil))) / float64(len(content))
	if ratio < 0.15 || ratio > 0.35 {
		t.Errorf("it compresses to %.2f", ratio)
	}
}
