package system

import (
	"strconv"
	"time"

	"xvault/internal/testenv"
)

// Verify asks for a verification of a snapshot; kind may be "".
func (s *Scene) Verify(snapshotID, kind string) Job {
	s.t.Helper()
	body := map[string]any{}
	if kind != "" {
		body["kind"] = kind
	}
	return Post[Job](s.t, s.API, "/api/v1/snapshots/"+snapshotID+"/verify", body)
}

// WaitBackups waits until the source has more backups than before, by so many, and
// all have completed.
func (s *Scene) WaitBackups(before string, more int) {
	s.t.Helper()
	n, err := strconv.Atoi(before)
	if err != nil {
		s.t.Fatal(err)
	}
	counts := func() string {
		return s.One(s.t, `SELECT count(*) || ' ' || count(*) FILTER (WHERE status = 'completed') FROM jobs WHERE source_id = $1 AND type = 'backup'`, s.SourceID)
	}
	want := strconv.Itoa(n + more)
	testenv.Eventually(s.t, 2*time.Minute, func() bool { return counts() == want+" "+want }, "not %s backups, all completed: %s", want, counts())
}
