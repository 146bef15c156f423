package cmd

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"xvault/internal/apiclient"
	"xvault/internal/job"
)

func TestFigures(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.00 kB", 12345: "12.3 kB", 999_499: "999 kB", 999_500: "1.00 MB",
		230_000_000: "230 MB", 1 << 40: "1.10 TB", 5_000_000_000_000_000: "5000 TB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		1234567: "1ms", 1234 * time.Millisecond: "1.2s", 90*time.Second + 400*time.Millisecond: "1m30s",
	} {
		if got := took(d); got != want {
			t.Errorf("took(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestHostileNamesCannotReachTheTerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := &printer{w: &b}
	names := []string{"plain", "größer 日本", "a\nb", "\x1b]0;title\x07", "tab\tbed", "\u202egnp.exe", "bad\xffutf8", "bell\u0007"}
	for _, name := range names {
		if err := p.table([]string{"NAME"}, [][]string{{name}}); err != nil {
			t.Fatal(err)
		}
		if err := p.fields("name", name); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(b.String(), "\n"); n != 3*len(names) {
		t.Errorf("%d lines for %d names:\n%s", n, len(names), b.String())
	}
	if strings.ContainsAny(b.String(), "\x1b\x07\t\u202e") {
		t.Errorf("control characters came through: %q", b.String())
	}
	if !strings.Contains(b.String(), "größer 日本") {
		t.Error("plain text of other languages was escaped")
	}
}

func TestProgressElsewhereThanOnATerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := newProgress(&b)
	j := apiclient.Job{Type: job.Backup, Status: job.Queued, WaitingReason: "worker_offline"}
	p.update(j)
	p.update(j)
	j.Status, j.WaitingReason, j.Attempt, j.WorkerID = job.Running, "", 1, "w1"
	for i := range int64(5) {
		j.Progress = &job.Progress{Phase: "reading", Files: i, Bytes: i << 20, RateBPS: 1 << 20}
		p.update(j)
	}
	p.note("the hub does not answer; trying again")
	j.Status, j.Attempt, j.Error = job.Queued, 1, &apiclient.JobError{Code: job.ConnectFailed, Message: "refused"}
	p.update(j)
	p.done()
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	want := []string{
		"backup queued, waits for its worker, which is offline", "backup running, on w1",
		"the hub does not answer; trying again", "backup queued, tried again after connect_failed: refused",
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), b.String())
	}
	for i := range want {
		if !strings.HasSuffix(lines[i], " "+want[i]) {
			t.Errorf("line %d is %q, want ... %q", i, lines[i], want[i])
		}
	}
}

func TestEveryJobCodeThatAPersonCanActOnHasAHint(t *testing.T) {
	t.Parallel()
	for _, code := range []job.Code{
		job.ConnectFailed, job.AuthFailed, job.HostKeyUnknown, job.HostKeyChanged, job.PathNotFound, job.PermissionDenied,
		job.SourceChanged, job.SourceEmpty, job.StorageFull, job.StorageFailed, job.ConfigInvalid, job.WorkerRemoved,
	} {
		if jobHint(job.Backup, code) == "" {
			t.Errorf("%s has no hint", code)
		}
	}
}

func TestDrillIsShown(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	d := &job.DrillResult{
		Server: "PostgreSQL 15.18", Notes: []string{"a note"},
		Databases: []job.DrillDatabase{
			{Name: "shop", Tables: 3, RowsExpected: 1002, Rows: 1001, Code: job.DumpFailed, Problem: "it differs",
				TableRows: []job.DrillTable{{Name: "public.a", Expected: 2, Rows: 1}, {Name: "public.b", Expected: 1000, Rows: 1000}}},
			{Name: "blog\x1b", OK: true, Checks: []job.DrillCheck{{Name: "indexes", Count: 7}}},
		},
	}
	if err := showDrill(&printer{w: &b}, d); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PostgreSQL 15.18", "shop: it differs", "a note", "7 indexes", "public.a", "differs", "1,000", "and 1 more", "dump_failed"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("not shown: %q", want)
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("a name reaches the terminal")
	}
	t.Log(b.String())
}
