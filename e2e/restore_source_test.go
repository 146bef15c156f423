package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"xvault/e2e/system"
)

// written is the result of a restore to a source.
type written struct {
	Files, Dirs, Links, Bytes, Overwritten, Skipped, Unchanged, Failed int64
	Warnings                                                           []struct{ Path, Code, Message string }
}

func resultOf(t *testing.T, j system.Job) (w written) {
	t.Helper()
	must(t, json.Unmarshal(j.Result, &w))
	return w
}

// The whole way: a source is backed up, damaged, and restored into its original
// place and into another folder; a look at the disk finds it as it was.
func TestRestoreToTheSource(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 21})
	done := s.Acknowledged(s.Backup().ID, time.Minute)

	must(t, os.RemoveAll(s.Path))
	j := s.MustComplete(s.API.StartRestore(t, done.SnapshotID, map[string]any{"destination": "source"}).ID, time.Minute)
	s.Want.MustEqual(t, system.Scan(t, s.Path))
	if w := resultOf(t, j); w.Files == 0 || w.Dirs == 0 || w.Failed+w.Skipped > 0 || w.Overwritten > 0 {
		t.Errorf("the result says %s", j.Result)
	}

	other := filepath.Join(s.SSH.Root, "elsewhere")
	j = s.MustComplete(s.API.StartRestore(t, done.SnapshotID, map[string]any{"destination": "source", "target_path": other}).ID, time.Minute)
	s.Want.MustEqual(t, system.Scan(t, filepath.Join(other, s.Path)))
	t.Logf("%s", j.Result)
	s.Check()
}
