package system

import (
	"bytes"
	"cmp"
	"path/filepath"
	"testing"
	"time"

	"xvault/internal/testenv"
)

// Scene is one tenant with one source on one SSH server, in a Lab.
type Scene struct {
	*Lab
	SSH      *testenv.SSHServer
	Path     string // of the source on the server
	Want     Tree   // the source as it stood
	Type     string // of the source
	Tenant   Tenant
	Identity string // the tenant's, out of the recovery kit
	SourceID string
}

// SceneOptions says what stands on the server.
type SceneOptions struct {
	// Type is the source's, SFTP or SSH; "" means SFTP.
	Type  string
	Seed  uint64
	Files int // ordinary ones; 0 means 60
	// Small leaves out the two large files.
	Small bool
	// Empty leaves the planting to the test.
	Empty bool
}

// NewScene sets one up through the public API.
func (l *Lab) NewScene(t testing.TB, o SceneOptions) *Scene {
	t.Helper()
	s := &Scene{Lab: l, SSH: testenv.SSHD(t, testenv.SSHOptions{}), Type: cmp.Or(o.Type, SFTP)}
	s.Path = filepath.Join(s.SSH.Root, "src")
	if !o.Empty {
		if o.Files == 0 {
			o.Files = 60
		}
		plant(t, s.Path, o.Seed, o.Files, !o.Small)
		s.Want = Scan(t, s.Path)
	}
	s.Tenant = l.API.CreateTenant(t, "a tenant")
	s.Identity = l.API.ExportKey(t, s.Tenant.ID)
	credential := l.API.CreateCredential(t, s.Tenant.ID, PrivateKey(s.SSH.ClientKeyPEM))
	s.SourceID = l.API.CreateSourceOf(t, s.Type, s.Tenant.ID, credential, s.SSH.Config(s.Path))
	return s
}

// Backup posts a backup job.
func (s *Scene) Backup() Job {
	s.t.Helper()
	return s.API.StartBackup(s.t, s.SourceID)
}

// Delete asks for a snapshot to be deleted; query is "" or "?now=true".
func (s *Scene) Delete(snapshotID, query string) Job {
	s.t.Helper()
	return s.API.DeleteSnapshot(s.t, snapshotID, query)
}

// Acknowledged waits until the backup is reported as completed, looks how it was
// read, and writes it into the ledger.
func (s *Scene) Acknowledged(jobID string, timeout time.Duration) Job {
	s.t.Helper()
	j := s.MustComplete(jobID, timeout)
	snap := s.API.Snapshot(s.t, j.SnapshotID)
	if snap.Status != "completed" || snap.JobID != jobID {
		s.t.Fatalf("%s has snapshot %+v", j, snap)
	}
	s.CheckWay(jobID)
	s.Ledger.Acknowledge(Ack{Snapshot: snap, Identity: s.Identity, Path: s.Path, Want: s.Want})
	return j
}

// PostFor posts n backups and waits until at least one of them runs; it gives
// the ids that the hub acknowledged.
func (s *Scene) PostFor(n int) []string {
	s.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = s.Backup().ID
	}
	testenv.Eventually(s.t, 3*time.Minute, func() bool {
		return s.One(s.t, `SELECT count(*)::text FROM jobs WHERE id = ANY($1::uuid[]) AND status IN ('running', 'finalizing')`, ids) != "0"
	}, "none of the jobs runs")
	return ids
}

// WaitQueued waits until at least n tasks stand in Redis.
func (l *Lab) WaitQueued(n int) {
	l.t.Helper()
	testenv.Eventually(l.t, 3*time.Minute, func() bool {
		return bytes.Count(DumpRedis(l.t, l.Redis.Addr), []byte("asynq:{backup}:t:")) >= n
	}, "no job stands in Redis")
}
