package system

import (
	"bytes"
	"testing"
	"time"

	"xvault/internal/testenv"
)

// The types of sources that read a server's files over SSH.
const (
	SFTP = "sftp" // over SFTP alone
	SSH  = "ssh"  // with find and tar on the server beside it
)

// Transports are those types, for tests of what must hold over each.
func Transports() []string { return []string{SFTP, SSH} }

// CheckWay verifies, by the workers' logs, that a job's source was read the way of its
// type: over ssh a tar on the server brought files until all were read, and over sftp
// no program was asked for. Without it a test over both may be one over SFTP twice.
func (s *Scene) CheckWay(jobID string) {
	s.t.Helper()
	tar := s.Said(jobID, "the source is read through its shell", "GNU tar")
	alone := s.Said(jobID, "the source is read over SFTP alone")
	early := s.Said(jobID, "the tar on the server ended early")
	want := 0
	if s.Type == SSH {
		want = 1
	}
	if min(tar, 1) != want || alone > 0 || early > 0 {
		s.t.Errorf("job %s of a source of type %s was read %d times with tar and %d times over SFTP alone, and tar ended early %d times", jobID, s.Type, tar, alone, early)
	}
}

// Said counts the lines of the workers' logs that hold all of these words.
func (l *Lab) Said(words ...string) int {
	n := 0
	for _, w := range l.Workers {
		if w.Process == nil {
			continue // it never ran
		}
		for line := range bytes.Lines(w.Log()) {
			if containsAll(line, words) {
				n++
			}
		}
	}
	return n
}

func containsAll(line []byte, words []string) bool {
	for _, word := range words {
		if !bytes.Contains(line, []byte(word)) {
			return false
		}
	}
	return true
}

// CheckServerIsLeft verifies that nothing runs on the source's server any more: no
// session, and no find or tar of one.
func (s *Scene) CheckServerIsLeft(t testing.TB) {
	t.Helper()
	testenv.Eventually(t, 2*time.Minute, func() bool {
		left, err := s.SSH.Sessions()
		if err != nil {
			t.Fatal(err)
		}
		return len(left) == 0
	}, "sessions are left on the server of a worker that is gone")
}
