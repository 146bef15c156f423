package wordpress

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/mysql"
	"xvault/connectors/sftp"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// lab is a site that is no more than what is looked at: files, and a table of options.
type lab struct {
	t        *testing.T
	db       *testenv.MariaDBServer
	ssh      *testenv.SSHServer
	root     string
	name     string // of the database
	account  string
	config   map[string]any
	options  Options
	log      strings.Builder
	pinned   []string
	env      connectors.Env
	password string
}

const labPassword = `it's a "password" with \ and $dollar 🎉`

func newLab(t *testing.T) *lab {
	t.Helper()
	return newLabOn(t, testenv.MariaDB(t), testenv.SSHOptions{})
}

func newLabOn(t *testing.T, db *testenv.MariaDBServer, o testenv.SSHOptions) *lab {
	t.Helper()
	l := &lab{t: t, db: db, ssh: testenv.SSHD(t, o), password: labPassword}
	l.root = filepath.Join(l.ssh.Root, "site")
	l.name = l.db.Database()
	l.account = l.db.Account(l.password, "ALL PRIVILEGES ON "+testenv.QuoteName(l.name)+".*")
	l.db.Do(l.name, "CREATE TABLE wp_options (option_name VARCHAR(191), option_value LONGTEXT)",
		`INSERT INTO wp_options VALUES ('siteurl', 'https://a.example'), ('home', 'https://a.example'), ('stylesheet', 'bare'), ('active_plugins', 'a:1:{i:0;s:9:"a/a b.php";}')`)
	for name, content := range map[string]string{
		"wp-load.php": "<?php", "wp-settings.php": "<?php", "wp-includes/version.php": "<?php\n$wp_version = '6.5.4';\n",
		"wp-content/plugins/a/a b.php":     "<?php\n/*\n * Plugin Name: A & B\n * Version: 1.2 */",
		"wp-content/plugins/a/other.php":   "<?php // no header",
		"wp-content/plugins/hello.php":     "<?php /*\r Plugin Name: Hello\r Version: 2\r*/",
		"wp-content/mu-plugins/must.php":   "<?php /* Plugin Name: Must */",
		"wp-content/themes/bare/style.css": "/*\nTheme Name: Bare\nVersion: 3\n*/",
		"wp-content/cache/page.html":       "made anew", "wp-content/uploads/cat.jpg": "a picture",
	} {
		l.write("site/"+name, content)
	}
	l.configure("site/wp-config.php", "")
	l.options = Options{SSH: sftp.Options{KeepAlive: 10 * time.Second}, MySQL: mysql.Options{Patience: time.Minute}}
	l.config = l.ssh.Config()
	delete(l.config, "paths")
	l.config["root"] = l.root
	dir := t.TempDir()
	l.env = connectors.Env{
		Credential: job.Credential{Type: "private_key", PrivateKey: secret.New(l.ssh.ClientKeyPEM)},
		Log:        slog.New(slog.NewTextHandler(&l.log, nil)),
		TempDir:    func() (string, error) { return dir, nil },
		PinHostKey: func(_ context.Context, key string) error { l.pinned = append(l.pinned, key); return nil },
	}
	return l
}

func (l *lab) write(name, content string) {
	l.t.Helper()
	path := filepath.Join(l.ssh.Root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// configure writes wp-config.php, with more of it before the end.
func (l *lab) configure(name, more string) {
	l.t.Helper()
	quote := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'" }
	l.write(name, "<?php\ndefine('DB_NAME', "+quote(l.name)+");\ndefine('DB_USER', "+quote(l.account)+");\ndefine('DB_PASSWORD', "+quote(l.password)+
		");\ndefine('DB_HOST', "+quote("localhost:"+l.db.Socket())+");\n$table_prefix = 'wp_';\n"+more+"\nrequire_once ABSPATH . 'wp-settings.php';\n")
}

// raw is the configuration as a person gives it.
func (l *lab) raw() []byte {
	l.t.Helper()
	raw, err := json.Marshal(l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	return raw
}

func (l *lab) source() connectors.Source {
	l.t.Helper()
	config, faults := Validate(l.raw())
	if len(faults) > 0 {
		l.t.Fatalf("%s: %v", l.raw(), faults)
	}
	s, err := New(l.options).Open(config, l.env)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		for range 2 {
			if err := s.Close(); err != nil {
				l.t.Error(err)
			}
		}
	})
	return s
}

// read gives the members, files with their content; during is called for each.
func (l *lab) read(during func(connectors.Item)) (members map[string]string, order []string, err error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	members = map[string]string{}
	err = l.source().Read(ctx, func(item connectors.Item) error {
		if during != nil {
			during(item)
		}
		order = append(order, item.Path)
		members[item.Path] = item.LinkTarget
		if item.Kind != entry.File {
			return nil
		}
		b, err := io.ReadAll(item.Body)
		members[item.Path] = string(b)
		return err
	})
	return members, order, err
}

// failed expects a code, no member at all, and words.
func (l *lab) failed(what string, code job.Code, tells ...string) {
	l.t.Helper()
	_, order, err := l.read(nil)
	if job.CodeOf(err) != code || err == nil || len(order) > 0 {
		l.t.Errorf("%s: %v, %d members; want code %s and none", what, err, len(order), code)
		return
	}
	for _, tell := range tells {
		if !strings.Contains(err.Error(), tell) {
			l.t.Errorf("%s: %v does not tell %q", what, err, tell)
		}
	}
	if strings.Contains(err.Error(), "dollar") {
		l.t.Errorf("%s: %v tells the password", what, err)
	}
}
