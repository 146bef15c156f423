package wordpress

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xvault/connectors/wordpress/php"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

func TestEnvFile(t *testing.T) {
	t.Parallel()
	known := map[string]php.Known{"GIVEN": {Text: "counts", Set: true}}
	err := parseEnv([]byte("\uFEFF# a comment\r\n\nA=plain\r\nexport B='it has $dollar # and \"quotes\"' # c\nC=\"a \\\"b\\\" \\\\ \\$x\"\nD=\nE=value # comment\nGIVEN=not\nGIVEN='not'\nF=a=b\nA='plain'\n"), known)
	for name, want := range map[string]string{"A": "plain", "B": `it has $dollar # and "quotes"`, "C": `a "b" \ $x`, "D": "", "E": "value", "GIVEN": "counts", "F": "a=b"} {
		if err != nil || known[name].Text != want || !known[name].Set {
			t.Errorf("%s: %+v, %v; not %q", name, known[name], err, want)
		}
	}
	for _, bad := range []string{"A", "A=${B}", `A="$B"`, `A="${B}"`, "A=pa$word", "A=a b", "A='a", `A="a`, `A="a\n"`, `A='a\'b'`, "A='a' b", "1=a", "A=word\n# c\nexport A=other"} {
		if err := parseEnv([]byte(bad), map[string]php.Known{}); err == nil || strings.Contains(err.Error(), "word") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// Programs do not agree on which of two counts.
	err = parseEnv([]byte("GIVEN=a\n\nGIVEN=b"), map[string]php.Known{"GIVEN": {Text: "counts", Set: true}})
	if err == nil || !strings.Contains(err.Error(), "line 3") || !strings.Contains(err.Error(), "GIVEN") {
		t.Errorf("a name set twice: %v", err)
	}
}

func TestReadWP(t *testing.T) {
	t.Parallel()
	s, err := readWP([]byte(`[{"key":"table_prefix","value":"wp_","type":"variable"},{"name":"DB_NAME","value":"a","type":"constant"},{"name":"MULTISITE","value":true,"type":"constant"},{"name":"N","value":5,"type":"constant"},{"name":"wp-settings.php","value":"x","type":"include"}]`))
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := s.Constant("DB_NAME")
	prefix, _, _ := s.Variable("table_prefix")
	many, _ := s.True("MULTISITE")
	if number, _, _ := s.Constant("N"); name != "a" || prefix != "wp_" || !many || number != "5" {
		t.Errorf("%q %q %v %q", name, prefix, many, number)
	}
	for _, bad := range []string{"", "[]", "Warning: x\n[]", `{"a":1}`, `[{"name":"a"}] trailing`, "[" + strings.Repeat(" ", maxWPAnswer) + "]"} {
		if _, err := readWP([]byte(bad)); job.CodeOf(err) != job.ConfigInvalid {
			t.Errorf("%.30q: %v", bad, err)
		}
	}
}

// Sites that choose their settings while they run are backed up where somebody says what
// they choose by, and put back.
func TestChosenSettings(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	l := newLabOn(t, testenv.MariaDB(t), testenv.SSHOptions{Env: []string{"PATH=" + bin + ":/usr/bin:/bin"}})
	l.mayMake()
	whole := l.file("site/wp-config.php")
	hosts := filepath.Join(l.ssh.Root, "hosts")
	l.write("hosts/config-blog.example.php", whole)
	l.write("site/wp-config.php", `<?php
$host = strtolower(preg_replace('/:.*/', '', $_SERVER['HTTP_HOST']));
if (isset($_SERVER['CHOICE'])) { $host = $_SERVER['CHOICE']; }
if (file_exists('`+hosts+`/config-' . $host . '.php')) { require_once '`+hosts+`/config-' . $host . '.php'; } else { exit(1); }
require_once ABSPATH . 'wp-settings.php';
`)
	l.failed("by host", job.ConfigInvalid, "url")
	l.config["url"], l.config["environment"] = "https://Blog.example/", []string{"CHOICE"}
	if members, _, err := l.read(nil); err != nil || members["mysql/"+l.name+".sql"] == "" {
		t.Errorf("by host: %v", err)
	}
	delete(l.config, "url")

	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(l.password) + `"`
	l.write("shared/.env", "DB_PASSWORD="+quoted+"\nDB_USER="+l.account+"\n")
	l.write("site/wp-config.php", `<?php
define('DB_NAME', getenv('DB_NAME') ?: '`+l.name+`'); define('DB_USER', getenv('DB_USER')); define('DB_PASSWORD', getenv_docker('DB_PASSWORD', 'x')); define('DB_HOST', 'localhost:`+l.db.Socket()+`');
$table_prefix = 'wp_';
require_once ABSPATH . 'wp-settings.php';
`)
	l.failed("by environment", job.ConfigInvalid, "getenv('DB_NAME')", "env_file")
	l.config["env_file"], l.config["environment"] = filepath.Join(l.ssh.Root, "shared/.env"), []string{"DB_NAME"}
	s := l.stored()
	config := l.file("site/wp-config.php")
	l.siteRestored(s, "site_restored_aaaaaaaa/wp-config.php", "define('DB_NAME', '"+l.name+"_restored_aaaaaaaa'); define('DB_USER', getenv('DB_USER'));")

	delete(l.config, "env_file")
	delete(l.config, "environment")
	l.config["wp_cli"] = true
	l.failed("without wp-cli", job.ConfigInvalid, "wp-cli", "getenv('DB_NAME')")
	answer := `[{"name":"DB_NAME","value":"` + l.name + `","type":"constant"},{"name":"DB_USER","value":"` + l.account + `","type":"constant"},{"name":"DB_PASSWORD","value":"` +
		strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(l.password) + `","type":"constant"},{"name":"DB_HOST","value":"localhost:` + l.db.Socket() + `","type":"constant"},{"name":"table_prefix","value":"wp_","type":"variable"}]`
	if err := os.WriteFile(filepath.Join(bin, "answer"), []byte(answer), 0o600); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\ncase \"$*\" in *--path=" + l.root + "*'config list DB_NAME '*'--strict --format=json') cat " + bin + "/answer ;; *) echo \"$*\" >&2; exit 1 ;; esac\n"
	if err := os.WriteFile(filepath.Join(bin, "wp"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if members, _, err := l.read(nil); err != nil || members["files/wp-config.php"] != config || members["mysql/"+l.name+".sql"] == "" {
		t.Errorf("by wp-cli: %v", err)
	}
	if strings.Contains(l.log.String(), "dollar") {
		t.Error("the password shows in the log")
	}
}
