package bench

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
)

// BenchmarkBackup backs up all of Go's own tree, about 15,000 files, from an
// OpenSSH server on the same machine.
func BenchmarkBackup(b *testing.B) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		s := start(b, 1).NewScene(b, system.SceneOptions{Empty: true})
		credential := s.API.CreateCredential(b, s.Tenant.ID, system.PrivateKey(s.SSH.ClientKeyPEM))
		source := s.API.CreateSource(b, s.Tenant.ID, credential, s.SSH.Config(strings.TrimSpace(string(out))))
		b.StartTimer()
		job := s.MustComplete(s.API.StartBackup(b, source).ID, 10*time.Minute)
		b.StopTimer()
		var m struct {
			Content struct{ Files, Bytes int64 } `json:"content"`
		}
		snap := s.API.Snapshot(b, job.SnapshotID)
		if err := json.Unmarshal(snap.Manifest, &m); err != nil {
			b.Fatal(err)
		}
		took := job.FinishedAt.Sub(*job.StartedAt).Seconds()
		b.ReportMetric(float64(m.Content.Files)/took, "files/s")
		b.ReportMetric(float64(m.Content.Bytes)/took/1e6, "MB/s")
		b.ReportMetric(float64(snap.SizeBytes)/float64(m.Content.Bytes), "size-ratio")
		b.ReportMetric(float64(s.Workers[0].PeakMemory(b)>>20), "worker-MiB")
		b.StartTimer()
	}
}
