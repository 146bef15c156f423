package cmd

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"xvault/archive/seal"
	"xvault/internal/secret"
)

// settingsOf loads the settings of a command that was called with these arguments.
func settingsOf(t *testing.T, args ...string) (*settings, error) {
	t.Helper()
	var loaded *settings
	c := newHubServeCommand()
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		loaded, err = loadSettings(c, knownSettings())
		return err
	}
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	return loaded, c.Execute()
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clearSettings keeps this machine's environment out of the test.
func clearSettings(t *testing.T) {
	t.Helper()
	for _, name := range append(knownSettings(), configSetting) {
		t.Setenv(name, "")
		t.Setenv(name+"_FILE", "")
	}
}

func TestFlagsBeatTheEnvironmentBeatsTheFile(t *testing.T) {
	clearSettings(t)
	file := writeFile(t, "hub.yaml", "hub_listen_addr: file:1\nhub_migrate: false\nhub_shutdown_timeout: 3s\nworker_id: shared\n")
	t.Setenv("HUB_LISTEN_ADDR", "env:1")
	steps := []struct {
		args []string
		want string
	}{
		{[]string{"--config", file, "--listen", "flag:1"}, "flag:1"},
		{[]string{"--config", file}, "env:1"},
		{nil, "env:1"},
	}
	for _, step := range steps {
		s, err := settingsOf(t, step.args...)
		if err != nil || s.text("HUB_LISTEN_ADDR", "default:1") != step.want {
			t.Errorf("%v: %q, want %q, %v", step.args, s.text("HUB_LISTEN_ADDR", ""), step.want, err)
		}
	}
	t.Setenv("HUB_LISTEN_ADDR", "")
	t.Setenv(configSetting, file)
	s, err := settingsOf(t)
	if err != nil || s.text("HUB_LISTEN_ADDR", "") != "file:1" {
		t.Errorf("the file that the environment names: %v", err)
	}
	cfg, err := hubConfig(s)
	if err != nil || !cfg.SkipMigrations || cfg.ShutdownTimeout != 3*time.Second || cfg.DatabaseConns != 16 || cfg.AllowPlainHTTP {
		t.Errorf("%+v %v", cfg, err)
	}
	if s, err = settingsOf(t, "--allow-plain-http", "--migrate", "true"); err != nil {
		t.Fatal(err)
	}
	if cfg, err = hubConfig(s); err != nil || !cfg.AllowPlainHTTP || cfg.SkipMigrations {
		t.Errorf("flags: %+v %v", cfg, err)
	}
}

func TestSecretsHaveFiles(t *testing.T) {
	clearSettings(t)
	fromEnv, fromFile := writeFile(t, "a", "in a file\n"), writeFile(t, "b", "in b file\r\n")
	config := writeFile(t, "hub.yaml", "hub_operator_key_file: "+fromFile+"\nhub_worker_join_token: in the file itself\n")
	get := func(name string, args ...string) (secret.Text, error) {
		t.Helper()
		s, err := settingsOf(t, args...)
		if err != nil {
			return secret.Text{}, err
		}
		return s.secret(name)
	}
	check := func(what, name, want string, args ...string) {
		t.Helper()
		if got, err := get(name, args...); err != nil || got.Reveal() != want {
			t.Errorf("%s: %q, want %q, %v", what, got.Reveal(), want, err)
		}
	}
	check("not set", "HUB_OPERATOR_KEY", "")
	check("_FILE in the file", "HUB_OPERATOR_KEY", "in b file", "--config", config)
	check("in the file", "HUB_WORKER_JOIN_TOKEN", "in the file itself", "--config", config)
	t.Setenv("HUB_OPERATOR_KEY_FILE", fromEnv)
	check("_FILE in the environment", "HUB_OPERATOR_KEY", "in a file", "--config", config)
	t.Setenv("HUB_OPERATOR_KEY", "canary")
	if _, err := get("HUB_OPERATOR_KEY"); err == nil || !strings.Contains(err.Error(), "both") || strings.Contains(err.Error(), "canary") {
		t.Errorf("both: %v", err)
	}
	t.Setenv("HUB_OPERATOR_KEY_FILE", "")
	check("in the environment", "HUB_OPERATOR_KEY", "canary", "--config", config)
	for what, path := range map[string]string{
		"missing": "/nope", "empty": writeFile(t, "c", "\n"), "large": writeFile(t, "d", strings.Repeat("x", maxSecretFile+1)),
	} {
		t.Setenv("REDIS_URL_FILE", path)
		var usage *usageError
		if _, err := get("REDIS_URL"); !errors.As(err, &usage) || !strings.Contains(err.Error(), "REDIS_URL_FILE") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestMistakenSettingsAreNamed(t *testing.T) {
	clearSettings(t)
	for content, want := range map[string]string{
		"hub_listen_adr: x\n":                        `no setting "hub_listen_adr"`,
		"hub_operator_key: [canary\n":                "not valid YAML",
		"hub_operator_key: \"canary\n":               "not valid YAML",
		"canary\n":                                   "not valid YAML",
		"database_url: x\nhub_operator_keys: canary": `no setting "hub_operator_keys"`,
	} {
		_, err := settingsOf(t, "--config", writeFile(t, "hub.yaml", content))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
	if _, err := settingsOf(t, "--config", "/nope.yaml"); err == nil || !strings.Contains(err.Error(), "/nope.yaml") {
		t.Errorf("no such file: %v", err)
	}
	for name, value := range map[string]string{
		"HUB_ALLOW_PLAIN_HTTP": "maybe", "HUB_MIGRATE": "perhaps", "HUB_DATABASE_CONNS": "0", "HUB_SHUTDOWN_TIMEOUT": "soon",
	} {
		t.Setenv(name, value)
		s, err := settingsOf(t)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hubConfig(s); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
		t.Setenv(name, "")
	}
}

// What keygen prints is what serve takes.
func TestWorkersBandwidthIsASetting(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "none": 0, "1MB/s": 1e6, "1 megabyte": -1} {
		t.Setenv("WORKER_BANDWIDTH_LIMIT", text)
		s, err := settingsOf(t)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := workerConfig(s, slog.New(slog.DiscardHandler))
		if want < 0 {
			if err == nil || !strings.Contains(err.Error(), "WORKER_BANDWIDTH_LIMIT") {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil || cfg.Bandwidth.LimitBPS != want {
			t.Errorf("%q: %+v, %v", text, cfg.Bandwidth, err)
		}
	}
}

func TestKeygen(t *testing.T) {
	clearSettings(t)
	var out bytes.Buffer
	c := newHubKeygenCommand()
	c.SetOut(&out)
	c.SetArgs([]string{"--key-id", "k7"})
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	printed := map[string]string{}
	for line := range strings.Lines(out.String()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		printed[name] = value
	}
	keks, err := seal.ParseKEKs(secret.New(printed["HUB_ENCRYPTION_KEK"]))
	if err != nil || !keks.Has("k7") {
		t.Errorf("KEK: %v", err)
	}
	operator, join := printed["HUB_OPERATOR_KEY"], printed["HUB_WORKER_JOIN_TOKEN"]
	if len(operator) < 32 || len(join) < 32 || operator == join || len(printed) != 3 {
		t.Errorf("printed %d settings of %d and %d characters", len(printed), len(operator), len(join))
	}
	c = newHubKeygenCommand()
	c.SetArgs([]string{"--key-id", "a:b"})
	c.SilenceErrors, c.SilenceUsage = true, true
	if err := c.Execute(); err == nil {
		t.Error("a key id with a colon is taken")
	}
}
