package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/secret"
)

func validConfig(t *testing.T) Config {
	t.Helper()
	dir := t.TempDir()
	return Config{
		HubURL: "http://127.0.0.1:1", RedisURL: secret.New("redis://127.0.0.1:1/0"),
		StorageBase: filepath.Join(dir, "storage"), StateDir: filepath.Join(dir, "state"), TempDir: filepath.Join(dir, "temp"),
		SourceTypes: connectors.NewRegistry(), Dial: connectors.NewDialer(connectors.DialerConfig{}),
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	const password = "hunter2secret"
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"id":                       {func(c *Config) { c.ID = "a b" }, "WORKER_ID"},
		"no Redis":                 {func(c *Config) { c.RedisURL = secret.Text{} }, "REDIS_URL"},
		"no such Redis":            {func(c *Config) { c.RedisURL = secret.New("http://:" + password + "@h") }, "REDIS_URL"},
		"a Redis that is no URL":   {func(c *Config) { c.RedisURL = secret.New("redis://:" + password + "@h:%zz") }, "REDIS_URL"},
		"a sentinel that is none":  {func(c *Config) { c.RedisURL = secret.New("redis-sentinel://:" + password + "@%zz") }, "REDIS_URL"},
		"no hub":                   {func(c *Config) { c.HubURL = "" }, "HUB_BASE_URL"},
		"plain http":               {func(c *Config) { c.HubURL = "http://hub.example.net" }, "WORKER_ALLOW_PLAIN_HTTP"},
		"relative storage":         {func(c *Config) { c.StorageBase = "backups" }, "WORKER_STORAGE_BASE"},
		"state in the storage":     {func(c *Config) { c.StateDir = filepath.Join(c.StorageBase, "state") }, "WORKER_STATE_DIR"},
		"state is the storage":     {func(c *Config) { c.StateDir = c.StorageBase + "/" }, "WORKER_STATE_DIR"},
		"temporary in the storage": {func(c *Config) { c.TempDir = c.StorageBase + "/../storage/t" }, "WORKER_TEMP_DIR"},
		"too many at once":         {func(c *Config) { c.Concurrency = 1000 }, "WORKER_CONCURRENCY"},
		"no connectors":            {func(c *Config) { c.SourceTypes = nil }, "connectors"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := validConfig(t)
			tt.change(&cfg)
			_, err := New(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one about %s", err, tt.want)
			}
			if strings.Contains(err.Error(), password) {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func TestALinkDoesNotHideTheStateInTheStorage(t *testing.T) {
	t.Parallel()
	cfg := validConfig(t)
	if err := os.Mkdir(cfg.StorageBase, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(cfg.StorageBase, link); err != nil {
		t.Fatal(err)
	}
	cfg.StateDir = filepath.Join(link, "state")
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "WORKER_STATE_DIR") {
		t.Errorf("error: %v", err)
	}
}

func TestStateIsKeptAndPrivate(t *testing.T) {
	t.Parallel()
	cfg := validConfig(t)
	if err := os.Mkdir(cfg.StateDir, 0o755); err != nil {
		t.Fatal(err)
	}
	first, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	if first.ID() == "" || !strings.HasPrefix(first.recipient, "age1") {
		t.Fatalf("id %q, recipient %q", first.ID(), first.recipient)
	}
	second, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if second.ID() != first.ID() || second.recipient != first.recipient {
		t.Error("id or identity changed at the second start")
	}
	if err := second.close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(cfg.StateDir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("state folder: %v, %v", info.Mode(), err)
	}
	searchFiles(t, cfg.StateDir, "nothing at all")

	cfg.ID = "someone-else"
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "belongs to worker") {
		t.Errorf("another id: %v", err)
	}
	cfg.ID = ""
	// The id is looked at first.
	for _, damage := range [][2]string{{identityFile, "identity is damaged"}, {workerIDFile, "worker id is damaged"}} {
		name, want := damage[0], damage[1]
		if err := os.WriteFile(filepath.Join(cfg.StateDir, name), []byte("AGE-SECRET-KEY-1 damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "AGE-SECRET") {
			t.Errorf("damaged %s: %v", name, err)
		}
	}
}

func TestOneProcessHasAStateFolder(t *testing.T) {
	t.Parallel()
	cfg := validConfig(t)
	first, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "WORKER_STATE_DIR "+cfg.StateDir+" is in use") {
		t.Errorf("the second one: %v", err)
	}
	if err := first.close(); err != nil {
		t.Error(err)
	}
	newWorker(t, cfg)
}

func newWorker(t *testing.T, cfg Config) *Worker {
	t.Helper()
	w, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestTempDirIsPrivate(t *testing.T) {
	t.Parallel()
	elsewhere := t.TempDir()
	tests := map[string]func(dir string) error{
		"open to others": func(dir string) error { return os.Mkdir(dir, 0o755) },
		"a link":         func(dir string) error { return os.Symlink(elsewhere, dir) },
	}
	for name, arrange := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "temp")
			if err := arrange(dir); err != nil {
				t.Fatal(err)
			}
			if d, _, err := openTempDir(t.Context(), dir); err == nil {
				t.Error("accepted", d.close())
			}
		})
	}
}

func TestTempDirOfAWorkerAtWorkIsNotSwept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "temp")
	first, _, err := openTempDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(dir, newID().String())
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	second, swept, err := openTempDir(t.Context(), dir)
	if err != nil || swept != 0 {
		t.Fatalf("swept %d, %v", swept, err)
	}
	for _, d := range []*tempDir{first, second} {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}
	third, swept, err := openTempDir(t.Context(), dir)
	if err != nil || swept != 1 {
		t.Fatalf("swept %d, %v", swept, err)
	}
	if err := third.close(); err != nil {
		t.Error(err)
	}
}
