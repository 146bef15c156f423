//go:build long

package e2e

import (
	"testing"
	"time"
)

// All of Go's own tree: about 15,000 files.
func TestWholeRealTree(t *testing.T) {
	t.Parallel()
	s := realTree(t, goroot(t), 0)
	if len(s.Want) < 10_000 {
		t.Fatalf("only %d entries in %s", len(s.Want), s.Path)
	}
	s.AddWorker().Start()
	start := time.Now()
	s.Acknowledged(s.Backup().ID, 5*time.Minute)
	t.Logf("%d entries in %v", len(s.Want), time.Since(start).Round(time.Millisecond))
	s.Check()
}

func TestWholeRealTreeWorkerKilledThreeTimes(t *testing.T) {
	t.Parallel()
	killedThreeTimes(t, realTree(t, goroot(t), 0))
}
