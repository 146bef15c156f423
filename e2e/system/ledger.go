package system

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"xvault/internal/testenv"
)

// Ledger remembers, outside of xVault, what the hub acknowledged and how the
// source stood.
type Ledger struct {
	mu   sync.Mutex
	acks []Ack
}

// Ack is one snapshot that the hub said is good.
type Ack struct {
	Snapshot Snapshot
	Identity string // of the tenant
	Path     string // of the source on its server
	Want     Tree
}

// Acknowledge writes an entry.
func (l *Ledger) Acknowledge(a Ack) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks = append(l.acks, a)
}

// Check is invariant I1: every acknowledged snapshot restores with the stock
// tools to what the source was.
func (l *Ledger) Check(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	acks := slices.Clone(l.acks)
	l.mu.Unlock()
	if len(acks) == 0 {
		t.Error("the ledger is empty: nothing was proved")
	}
	for _, a := range acks {
		MustRestoreTo(t, a.Snapshot.LocalPath, a.Identity, a.Path, a.Want)
	}
}

// Check verifies I1, I2 and I3 of a whole Lab.
func (l *Lab) Check() {
	l.t.Helper()
	l.Ledger.Check(l.t)
	l.CheckRecords()
	if v := l.CheckDisks(l.t, l.Storages()...); len(v) > 0 {
		l.t.Errorf("I3, disks and catalog differ:\n%s", strings.Join(v, "\n"))
	}
}

// CheckRecords verifies I2.
func (l *Lab) CheckRecords() {
	l.t.Helper()
	if v := l.CheckOneWinner(l.t); len(v) > 0 {
		l.t.Errorf("I2 is broken:\n%s", strings.Join(v, "\n"))
	}
}

// WaitJob polls a job until it has ended.
func (l *Lab) WaitJob(id string, timeout time.Duration) Job {
	l.t.Helper()
	return l.WaitJobUntil(id, timeout, "ended", Job.Ended)
}

// WaitJobUntil polls a job until state holds. A hub that does not answer is
// asked again.
func (l *Lab) WaitJobUntil(id string, timeout time.Duration, what string, state func(Job) bool) Job {
	l.t.Helper()
	var last Job
	start := time.Now()
	testenv.Eventually(l.t, timeout, func() bool {
		r, err := l.API.Try("GET", "/api/v1/jobs/"+id, nil)
		if err != nil || r.Status != 200 {
			if time.Since(start) > timeout-time.Second {
				l.t.Logf("last answer about job %s: %v %v", id, r, err)
			}
			return false
		}
		last = decode[Job](l.t, r)
		if time.Since(start) > timeout-time.Second {
			l.t.Logf("last seen: %s", last)
		}
		return state(last)
	}, "job %s is not %s", id, what)
	return last
}

// MustComplete waits for a job that must end well.
func (l *Lab) MustComplete(id string, timeout time.Duration) Job {
	l.t.Helper()
	j := l.WaitJob(id, timeout)
	if j.Status != "completed" {
		l.t.Fatalf("not completed: %s", j)
	}
	return j
}

// WaitBack waits until a job is in the queue again after an attempt.
func (l *Lab) WaitBack(id string, attempt int) Job {
	l.t.Helper()
	j := l.WaitJobUntil(id, 3*time.Minute, "back in the queue", func(j Job) bool {
		return j.Ended() || j.Status == "queued" && j.Attempt == attempt
	})
	if j.Ended() {
		l.t.Fatalf("given up too early: %s", j)
	}
	return j
}

// Starts counts how often workers began to work on a job, by their logs.
func (l *Lab) Starts(jobID string) int {
	n := 0
	for _, w := range l.Workers {
		for line := range bytes.Lines(w.Log()) {
			if bytes.Contains(line, []byte(jobID)) && bytes.Contains(line, []byte(`"msg":"job started"`)) {
				n++
			}
		}
	}
	return n
}
