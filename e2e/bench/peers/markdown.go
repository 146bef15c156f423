package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Marks in a document between which the table stands.
const (
	tableBegin = "<!-- make bench: begin -->\n"
	tableEnd   = "<!-- make bench: end -->\n"
)

// fill puts the table into a document, in place of the one that is there.
func (r *report) fill(path string) error {
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(before, []byte(tableBegin))
	_, tail, closed := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !closed {
		return fmt.Errorf("%s has no place for the table: lines %q and %q", path, strings.TrimSpace(tableBegin), strings.TrimSpace(tableEnd))
	}
	if r.Quick {
		return errors.New("a quick run is nothing to keep")
	}
	return os.WriteFile(path, []byte(string(head)+tableBegin+r.markdown()+tableEnd+string(tail)), 0o644)
}

// markdown is the table as documents have it.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s cores of %s, %s GiB, Linux %s; %s.\n\n", r.Date.Format(time.DateOnly), r.Machine["cores"], r.Machine["cpu"],
		r.Machine["memory_gib"], r.Machine["kernel"], r.Machine["go"])
	b.WriteString("| case | what | xVault | peer | | ratio | aim | | runs |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, one := range r.Rows {
		verdict := one.verdict()
		if verdict == verdictMissed {
			verdict = "**missed**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", one.Case, one.What, one.figure(one.Ours), one.figure(one.Peers),
			strings.ReplaceAll(one.Peer, "|", "\\|"), one.ratioText(), one.limitText(), verdict, one.runsText())
	}
	return b.String()
}
