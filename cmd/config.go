package cmd

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"xvault/internal/bandwidth"
	"xvault/internal/secret"
)

// Settings of the servers come from flags, the environment and a file, in that
// order. A setting has one name everywhere: HUB_LISTEN_ADDR in the environment
// is hub_listen_addr in the file. Every secret has a twin with _FILE behind it,
// which names a file to read it from; secrets have no flags, for argv can be
// read by everybody on the machine.
const settingsHelp = `Settings come from flags, the environment and a file (--config), in that order.
A secret NAME may be given as NAME_FILE instead: a file that holds it.`

// configSetting names the file; it may itself come from the environment.
const configSetting = "XVAULT_CONFIG"

const maxSecretFile = 64 << 10

// settingAnnotation ties a flag to its setting.
const settingAnnotation = "xvault_setting"

// settings reads the settings of one command.
type settings struct {
	v      *viper.Viper
	getenv func(string) string
}

// settingFlag adds a flag that sets the named setting.
func settingFlag(c *cobra.Command, flag, name, usage string) {
	c.Flags().String(flag, "", usage+" ("+name+")")
	bindFlag(c, flag, name)
}

// settingSwitch adds a boolean flag that sets the named setting.
func settingSwitch(c *cobra.Command, flag, name, usage string) {
	c.Flags().Bool(flag, false, usage+" ("+name+")")
	bindFlag(c, flag, name)
}

func bindFlag(c *cobra.Command, flag, name string) {
	// The flag was added just now, so that it is there.
	_ = c.Flags().SetAnnotation(flag, settingAnnotation, []string{name})
}

// configFlag adds --config to a command that reads settings.
func configFlag(c *cobra.Command) {
	settingFlag(c, "config", configSetting, "file with settings, YAML, TOML or JSON")
}

// loadSettings reads the file, where there is one, and ties the command's flags
// to their settings. The file may name known settings only: a misspelled one
// would silently leave a default in place.
func loadSettings(c *cobra.Command, known []string) (*settings, error) {
	s := &settings{v: viper.New(), getenv: os.Getenv}
	var err error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		for _, name := range f.Annotations[settingAnnotation] {
			if bindErr := s.v.BindPFlag(name, f); bindErr != nil {
				err = bindErr
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if file := s.text(configSetting, ""); file != "" {
		if err := s.readFile(file, known); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *settings) readFile(file string, known []string) error {
	s.v.SetConfigFile(file)
	if err := s.v.ReadInConfig(); err != nil {
		// A parser's error may quote the line, which may hold a secret.
		if os.IsNotExist(err) || os.IsPermission(err) {
			return usagef("settings file: %w", err)
		}
		return usagef("settings file %s: it is not valid YAML, TOML or JSON (its name's ending says which)", file)
	}
	for _, key := range s.v.AllKeys() {
		name := strings.ToUpper(key)
		if s.v.InConfig(key) && !slices.Contains(known, strings.TrimSuffix(name, "_FILE")) && !slices.Contains(known, name) {
			return usagef("settings file %s: there is no setting %q", file, key)
		}
	}
	return nil
}

// text gives a setting, or def where it is not set.
func (s *settings) text(name, def string) string {
	// Bound on use, so that a name need not be listed twice.
	_ = s.v.BindEnv(name, name) // fails only without a name
	if value := s.v.GetString(name); value != "" {
		return value
	}
	return def
}

// boolean gives a setting that is true or false.
func (s *settings) boolean(name string, def bool) (bool, error) {
	value, err := strconv.ParseBool(s.text(name, strconv.FormatBool(def)))
	if err != nil {
		return false, usagef("%s must be true or false", name)
	}
	return value, nil
}

// number gives a setting that is a whole number of at least 1.
func (s *settings) number(name string, def int) (int, error) {
	value, err := strconv.Atoi(s.text(name, strconv.Itoa(def)))
	if err != nil || value < 1 {
		return 0, usagef("%s must be a whole number of at least 1", name)
	}
	return value, nil
}

// limit gives a number that bounds something; 0: nothing does.
func (s *settings) limit(name string, def int) (int, error) {
	value, err := strconv.Atoi(s.text(name, strconv.Itoa(def)))
	if err != nil || value < 0 {
		return 0, usagef("%s must be a whole number, or 0 for no limit", name)
	}
	return value, nil
}

// duration gives a setting such as 30s or 5m.
func (s *settings) duration(name string, def time.Duration) (time.Duration, error) {
	value, err := time.ParseDuration(s.text(name, def.String()))
	if err != nil || value <= 0 {
		return 0, usagef("%s must be a duration such as 30s or 5m", name)
	}
	return value, nil
}

// wait is a duration that may also be nothing: 0s.
func (s *settings) wait(name string, def time.Duration) (time.Duration, error) {
	value, err := time.ParseDuration(s.text(name, def.String()))
	if err != nil || value < 0 {
		return 0, usagef("%s must be a duration such as 24h, or 0s for none", name)
	}
	return value, nil
}

// secret gives a secret setting, from itself or from its _FILE twin. What the
// environment says in either form beats the file.
func (s *settings) secret(name string) (secret.Text, error) {
	for _, lookup := range []func(string) string{s.getenv, s.fromFile} {
		value, path := lookup(name), lookup(name+"_FILE")
		switch {
		case value != "" && path != "":
			return secret.Text{}, usagef("%s and %s_FILE are both set; keep one", name, name)
		case value != "":
			return secret.New(value), nil
		case path != "":
			return readSettingFile(name, path)
		}
	}
	return secret.Text{}, nil
}

// requiredSecret is secret, and an error where it is not set.
func (s *settings) requiredSecret(name string) (secret.Text, error) {
	value, err := s.secret(name)
	if err == nil && value.IsZero() {
		err = usagef("%s is not set (nor %s_FILE)", name, name)
	}
	return value, err
}

func (s *settings) fromFile(name string) string {
	if key := strings.ToLower(name); s.v.InConfig(key) {
		return s.v.GetString(key)
	}
	return ""
}

func readSettingFile(name, path string) (_ secret.Text, err error) {
	f, err := os.Open(path)
	if err != nil {
		return secret.Text{}, usagef("%s_FILE: %w", name, err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = closeErr
		}
	}()
	content, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return secret.Text{}, usagef("%s_FILE: %w", name, err)
	}
	value := strings.TrimRight(string(content), "\r\n")
	if len(content) > maxSecretFile || value == "" {
		return secret.Text{}, usagef("%s_FILE: %s is empty or too large", name, path)
	}
	return secret.New(value), nil
}

// knownSettings are the names that a settings file may use. One file may serve
// several commands.
func knownSettings() []string {
	return slices.Concat([]string{"DATABASE_URL", "REDIS_URL", "LOG_LEVEL", "LOG_FORMAT"}, hubSettings(), workerSettings())
}

func workerSettings() []string {
	return []string{
		"HUB_BASE_URL", "WORKER_ID", "WORKER_NAME", "WORKER_STORAGE_BASE", "WORKER_STATE_DIR", "WORKER_TEMP_DIR",
		"WORKER_JOIN_TOKEN", "WORKER_CONCURRENCY", "WORKER_LISTEN_ADDR", "WORKER_PUBLIC_URL", "WORKER_TLS_CERT_FILE", "WORKER_TLS_KEY_FILE", "WORKER_DOWNLOADS", "WORKER_DRAIN_TIMEOUT",
		"WORKER_RECONCILE_EVERY", "WORKER_ORPHAN_GRACE", "WORKER_VERIFY_WRITES", "WORKER_REFUSE_PRIVATE", "WORKER_ALLOW_PLAIN_HTTP",
		"WORKER_BANDWIDTH_LIMIT", "WORKER_DRILL_USER",
	}
}

// reader reads many settings and keeps the first error, so that a command can
// list them without a check behind each.
type reader struct {
	s   *settings
	err error
}

func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) secret(name string) secret.Text {
	value, err := r.s.secret(name)
	r.keep(err)
	return value
}

func (r *reader) required(name string) secret.Text {
	value, err := r.s.requiredSecret(name)
	r.keep(err)
	return value
}

func (r *reader) boolean(name string, def bool) bool {
	value, err := r.s.boolean(name, def)
	r.keep(err)
	return value
}

func (r *reader) number(name string, def int) int {
	value, err := r.s.number(name, def)
	r.keep(err)
	return value
}

func (r *reader) limit(name string, def int) int {
	value, err := r.s.limit(name, def)
	r.keep(err)
	return value
}

func (r *reader) wait(name string, def time.Duration) time.Duration {
	value, err := r.s.wait(name, def)
	r.keep(err)
	return value
}

func (r *reader) duration(name string, def time.Duration) time.Duration {
	value, err := r.s.duration(name, def)
	r.keep(err)
	return value
}

// bandwidth gives a limit such as 20MB/s; none where it is not set.
func (r *reader) bandwidth(name string) bandwidth.Plan {
	plan, err := bandwidth.ParseText(r.s.text(name, "none"))
	if err != nil {
		r.keep(usagef("%s: %w", name, err))
	}
	return plan
}
