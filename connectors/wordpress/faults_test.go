package wordpress

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// large gives the site a database and a file of some megabytes.
func (l *lab) large() {
	l.t.Helper()
	l.db.Do(l.name, "CREATE TABLE zz_big (id INT PRIMARY KEY, t TEXT)", "INSERT INTO zz_big SELECT seq, REPEAT(MD5(seq), 50) FROM seq_1_to_4000")
	l.write("site/wp-content/uploads/film", strings.Repeat("0123456789abcdef", 200_000))
}

// broken expects a read that failed, whatever came of it before: what tells that a
// snapshot is whole is not there.
func (l *lab) broken(what string, code job.Code) {
	l.t.Helper()
	_, order, err := l.read(nil)
	if err == nil || job.CodeOf(err) != code || slices.Contains(order, aboutName) {
		l.t.Errorf("%s: %v, members %q; want %s", what, err, order, code)
	}
	if err != nil && strings.Contains(err.Error(), "dollar") {
		l.t.Errorf("%s: %v tells the password", what, err)
	}
}

// F7: the database's server is killed in the middle of a table; a tool prints something
// plausible and fails, or half a dump and succeeds.
func TestDumpFaults(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.large()
	folder := testenv.Dir(t)
	l.options.MySQL.Folders = []string{folder}
	for what, script := range map[string]string{
		"exits 1 after a whole dump": "/usr/bin/mariadb-dump \"$@\"; exit 1",
		"exits 0 with half a dump":   "/usr/bin/mariadb-dump \"$@\" | head -c 400000; exit 0",
	} {
		for _, held := range []int64{0, 1} {
			l.options.Held = held
			script := "#!/bin/sh\n[ \"$1\" = --version ] && exec /usr/bin/mariadb-dump --version\n" + script
			if err := os.WriteFile(filepath.Join(folder, "mariadb-dump"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			l.broken(fmt.Sprintf("%s, held %d", what, held), job.DumpFailed)
		}
	}
	l = newLabOn(t, testenv.NewMariaDB(t, testenv.MariaDBOptions{}), testenv.SSHOptions{})
	l.large()
	l.options.Held = 1
	crashed := false
	_, order, err := l.read(func(item connectors.Item) {
		if !crashed && item.Kind == entry.File {
			crashed = true
			l.db.Crash()
		}
	})
	if job.CodeOf(err) != job.ConnectFailed || slices.Contains(order, aboutName) {
		t.Errorf("the server is killed: %v, members %q", err, order)
	}
}

// Every password that the server takes gets in, as wp-config.php writes it, and comes into
// the one that is restored.
func TestPasswords(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, password := range []string{
		`it's "q" #hash 100% back\slash`, "new\nline\r\n", "ünïcødé 🎉", `trail\`, " lead and trail ", `\'`, "?>", "<?php", "$x{$y}",
	} {
		l.db.Do("", "ALTER USER "+l.account+"@'%' IDENTIFIED BY "+testenv.QuoteText(password))
		l.password = password
		l.configure("site/wp-config.php", "")
		err := l.source().Read(t.Context(), func(item connectors.Item) error {
			if item.Body == nil {
				return nil
			}
			_, err := io.Copy(io.Discard, item.Body)
			return err
		})
		if err != nil {
			t.Errorf("%q: %v", password, err)
		}
	}
}
