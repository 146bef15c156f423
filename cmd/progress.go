package cmd

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"xvault/internal/apiclient"
	"xvault/internal/job"
)

// progress shows how a job goes: one line that changes on a terminal, a line
// for each change of state elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	width    int
	begin    time.Time
	last     string // what was said last
	shown    bool   // a changing line stands on the terminal
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, begin: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal = true
		p.width, _, _ = term.GetSize(int(f.Fd())) // 0 where it is unknown
	}
	return p
}

func (p *progress) update(j apiclient.Job) {
	if p.terminal {
		p.redraw(fmt.Sprintf("%s  %s", took(time.Since(p.begin).Truncate(time.Second)), describe(j, true)))
		return
	}
	p.note(describe(j, false))
}

// note says something that is not the job's state, once.
func (p *progress) note(text string) {
	if text == p.last {
		return
	}
	p.last = text
	if p.terminal {
		p.redraw(text)
		return
	}
	_, _ = fmt.Fprintf(p.w, "%s %s\n", time.Now().Format(time.TimeOnly), text) // progress is a courtesy
}

func (p *progress) redraw(text string) {
	if r := []rune(text); p.width > 1 && len(r) >= p.width {
		text = string(r[:p.width-1])
	}
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	p.shown = true
}

// done leaves the terminal on a line of its own.
func (p *progress) done() {
	if p.shown {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// describe tells a job's state in one line; with figures only where the line is
// drawn again and again.
func describe(j apiclient.Job, figures bool) string {
	parts := []string{fmt.Sprintf("%s %s", j.Type, j.Status)}
	if j.Attempt > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", j.Attempt))
	}
	switch {
	case j.Status == job.Queued && j.Attempt > 0 && j.Error != nil:
		parts = append(parts, fmt.Sprintf("tried again after %s: %s", j.Error.Code, printable(j.Error.Message)))
	case j.Status == job.Queued && j.WaitingReason != "":
		parts = append(parts, "waits for "+printable(waitsFor(j.WaitingReason)))
	case j.Status == job.Running && j.WorkerID != "" && !figures:
		parts = append(parts, "on "+printable(j.WorkerID))
	}
	if figures && j.Progress != nil && !j.Status.Terminal() {
		parts = append(parts, progressText(*j.Progress))
	}
	return strings.Join(parts, ", ")
}

// progressText gives phase, files, bytes and rate.
func progressText(p job.Progress) string {
	var parts []string
	if p.Phase != "" {
		parts = append(parts, printable(p.Phase))
	}
	if p.Files > 0 {
		parts = append(parts, count(p.Files)+" files")
	}
	switch {
	case p.BytesTotal > 0:
		parts = append(parts, fmt.Sprintf("%s of %s (%d %%)", size(p.Bytes), size(p.BytesTotal), min(100*p.Bytes/p.BytesTotal, 100)))
	case p.Bytes > 0:
		parts = append(parts, size(p.Bytes))
	}
	if p.RateBPS > 0 {
		parts = append(parts, size(p.RateBPS)+"/s")
	}
	return strings.Join(parts, ", ")
}
