package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"xvault/archive"
	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/secret"
)

func TestBackupIsStoredAndReported(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	c := l.hub.addJob(job.Backup)
	l.deliver(c)
	done := l.completion()

	if done.Status != job.Completed || done.Error != nil || done.Snapshot == nil {
		t.Fatalf("completion: %+v", done)
	}
	s := done.Snapshot
	if s.ID != c.SnapshotID || s.Status != "completed" || s.LocalPath != l.snapshotDir(c) || s.StorageBackend != "local_fs" ||
		s.KeyID != c.TenantKey.ID || s.Recipient != c.TenantKey.PublicKey {
		t.Errorf("record: %+v", s)
	}
	if p := done.Progress; p == nil || p.Phase != "done" || p.Files != 2 || p.Bytes != 10 || p.RateBPS <= 0 {
		t.Errorf("progress at the end: %+v", p)
	}
	artifact, err := os.ReadFile(filepath.Join(s.LocalPath, "backup.tar.zst.enc"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(artifact)
	if hex.EncodeToString(sum[:]) != s.SHA256 || int64(len(artifact)) != s.SizeBytes {
		t.Error("the record does not describe the artifact")
	}
	manifest, err := os.ReadFile(filepath.Join(s.LocalPath, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := archive.DecodeManifest(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if m.Content.Files != 2 || m.Content.Dirs != 1 || m.Content.Bytes != 10 || m.WorkerID != "w1" || m.Source.Type != "memory" {
		t.Errorf("manifest: %s", manifest)
	}
	var stored, reported any
	if json.Unmarshal(manifest, &stored) != nil || json.Unmarshal(s.Manifest, &reported) != nil || !equalJSON(t, stored, reported) {
		t.Errorf("the stored manifest is not the reported one: %s", s.Manifest)
	}
	if names := l.hub.names(); strings.Join(names, " ") != "claim finalize complete" {
		t.Errorf("calls: %v", names)
	}
	l.stagingIsEmpty()
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}

// TestHowABackupFails: each failure has its own code, and leaves no snapshot
// that looks good.
func TestHowABackupFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		items   []connectors.Item
		during  func(context.Context, connectors.Env) error
		want    job.Code
		partial bool
	}{
		{name: "nothing at all", want: job.SourceEmpty},
		{name: "folders only", items: []connectors.Item{dir("srv"), dir("srv/empty")}, want: job.SourceEmpty},
		{name: "devices only", items: []connectors.Item{{Header: entry.Header{Path: "fifo", Kind: entry.FIFO}}}, want: job.SourceEmpty},
		{
			name:  "an unreadable file",
			items: append(smallTree(), unreadable("srv/c\n.txt", job.PermissionDenied, "permission denied")), want: job.PermissionDenied, partial: true,
		},
		{
			name:  "nothing but unreadable files",
			items: []connectors.Item{dir("srv"), unreadable("srv/c", job.PermissionDenied, "permission denied")}, want: job.PermissionDenied,
		},
		{
			name: "a file that came short",
			items: append(smallTree(), connectors.Item{
				Header: entry.Header{Path: "srv/log", Kind: entry.File, Size: 9 << 20}, Body: strings.NewReader("short"),
			}), want: job.SourceChanged, partial: true,
		},
		{
			name: "the source went away", items: smallTree(), want: job.ConnectFailed,
			during: func(context.Context, connectors.Env) error {
				return job.Errorf(job.ConnectFailed, "The connection was lost.")
			},
		},
		{
			name: "the connector broke", items: smallTree(), want: job.Internal,
			during: func(context.Context, connectors.Env) error { panic("a mistake") },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.source.items, l.source.during = tt.items, tt.during
			l.start()
			c := l.hub.addJob(job.Backup)
			l.deliver(c)
			done := l.completion()
			if done.Status != job.Failed || done.Error == nil || done.Error.Code != tt.want {
				t.Fatalf("completion: %+v %+v", done, done.Error)
			}
			if done.Error.Message == "" {
				t.Error("no message")
			}
			if (done.Snapshot != nil) != tt.partial || l.exists(l.snapshotDir(c)) != tt.partial {
				t.Errorf("snapshot %+v, on disk %v", done.Snapshot, l.exists(l.snapshotDir(c)))
			}
			if tt.partial {
				checkPartial(t, done)
			}
			l.stagingIsEmpty()
		})
	}
}

func checkPartial(t *testing.T, done job.CompleteRequest) {
	t.Helper()
	if done.Snapshot.Status != "partial" {
		t.Errorf("status %s", done.Snapshot.Status)
	}
	res := decode[missingResult](t, done.Result)
	if res.Errors != 1 || len(res.Paths) != 1 || strings.ContainsRune(res.Paths[0], '\n') {
		t.Errorf("result: %s", done.Result)
	}
	if strings.ContainsRune(done.Error.Message, '\n') {
		t.Errorf("message: %q", done.Error.Message)
	}
}

func TestStorageFull(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	if err := os.Mkdir(l.cfg.StorageBase, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", l.cfg.StorageBase, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mount a small tmpfs (run the tests as root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(l.cfg.StorageBase, 0); err != nil {
			t.Error(err)
		}
	})
	noise := make([]byte, 200_000)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	l.source.items = []connectors.Item{file("noise", string(noise))}
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	if done := l.completion(); done.Error == nil || done.Error.Code != job.StorageFull || done.Snapshot != nil {
		t.Errorf("completion: %+v %+v", done, done.Error)
	}
	l.stagingIsEmpty()
	l.stop()
	if err := l.end(); err != nil {
		t.Error(err)
	}
}

func TestSecretsStayInMemory(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const canary = "canary-Zb4Q9-password"
	l.hub.secrets = job.Credential{Type: "password", Password: secret.New(canary)}
	seen := ""
	l.source.during = func(_ context.Context, env connectors.Env) error {
		seen = env.Credential.Password.Reveal()
		env.Log.Info("logging in", "credential", env.Credential)
		return nil
	}
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	if done := l.completion(); done.Status != job.Completed {
		t.Fatalf("completion: %+v", done.Error)
	}
	l.stop()
	if err := l.end(); err != nil {
		t.Error(err)
	}
	if seen != canary {
		t.Fatalf("the connector got %q", seen)
	}
	for _, needle := range []string{canary, "token-1", joinToken, l.worker.identity.Reveal()} {
		if strings.Contains(l.log.String(), needle) {
			t.Errorf("the log holds %q", needle)
		}
	}
	for _, dir := range []string{l.cfg.StorageBase, l.cfg.TempDir, l.cfg.StateDir} {
		searchFiles(t, dir, canary)
	}
}

func searchFiles(t *testing.T, dir, needle string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %s", path, info.Mode())
		}
		content, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(content), needle) {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
