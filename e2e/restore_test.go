package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"xvault/e2e/system"
)

// A whole snapshot comes over its ticket as it was, in each format.
func TestRestoreDownloads(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 11})
	done := s.Acknowledged(s.Backup().ID, time.Minute)
	for format, decode := range map[string]string{"": "cat", "tar": "cat", "tar.zst": "zstd -dq"} {
		body := map[string]any{}
		if format != "" {
			body["format"] = format
		}
		d := s.MustRestore(done.SnapshotID, body)
		resp, stream := system.MustFetch(t, d.URL, 200)
		if resp.ContentLength != int64(len(stream)) || d.SizeBytes != resp.ContentLength {
			t.Errorf("%s: %d bytes, Content-Length %d, announced %d", format, len(stream), resp.ContentLength, d.SizeBytes)
		}
		s.Want.MustEqual(t, system.Scan(t, filepath.Join(system.Untar(t, stream, decode), s.Path)))
	}
}
