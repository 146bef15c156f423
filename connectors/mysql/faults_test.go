package mysql

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// large is a database of 25 megabytes, more than lies in buffers on the way, most of it in one table.
func large(t *testing.T, m *testenv.MariaDBServer) string {
	t.Helper()
	name := m.Database()
	m.Do(name, "CREATE TABLE big (id INT PRIMARY KEY, t TEXT)", "INSERT INTO big SELECT seq, REPEAT(MD5(seq), 50) FROM seq_1_to_16000")
	return name
}

// F8: the server's bytes come in pieces of a few. The relay gives them to the dump
// program as they come.
func TestConnectionIsSliced(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Do(name, "CREATE TABLE t (id INT PRIMARY KEY, t TEXT)", "INSERT INTO t SELECT seq, REPEAT(MD5(seq), 50) FROM seq_1_to_500")
	l := newLab(t, m, fullGrants(name), name)
	read := func() map[string]string {
		dumps := l.mustRead()
		for path, text := range dumps {
			dumps[path], _, _ = strings.Cut(text, "\n-- Dump completed on ") // the time follows
		}
		return dumps
	}
	want := read()
	l.env.Dial = testenv.Slices{Dial: l.env.Dial}
	if got := read(); len(want) == 0 || !maps.Equal(got, want) {
		t.Errorf("%d dumps, whole %d, and not the same", len(got), len(want))
	}
}

// during runs harm once a dump is under way, and gives how the dump ended.
func (l *lab) during(harm func()) error {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	return l.source().Read(ctx, func(item connectors.Item) error {
		if _, err := io.ReadFull(item.Body, make([]byte, 100_000)); err != nil {
			return err
		}
		harm()
		_, err := io.Copy(io.Discard, item.Body)
		return err
	})
}

// tool puts a program in front of the real ones.
func (l *lab) tool(script string) {
	l.t.Helper()
	folder := testenv.Dir(l.t)
	path := filepath.Join(folder, "mariadb-dump")
	script = "#!/bin/sh\n[ \"$1\" = --version ] && exec /usr/bin/mariadb-dump --version\n" + script
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		l.t.Fatal(err)
	}
	l.options.Folders = []string{folder}
}

// F7: a tool that prints something plausible and fails, or half a dump and succeeds.
func TestToolIsNotToBeTrusted(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Plant(name, 100)
	l := newLab(t, m, fullGrants(name), name)
	for what, script := range map[string]string{
		"exits 1 after a whole dump":       "/usr/bin/mariadb-dump \"$@\"; exit 1",
		"exits 0 with half a dump":         "/usr/bin/mariadb-dump \"$@\" | head -c 5000; exit 0",
		"lacks the last byte":              "/usr/bin/mariadb-dump \"$@\" | head -c -1; exit 0",
		"says something after its end":     "/usr/bin/mariadb-dump \"$@\"; echo; exit 0",
		"prints nothing":                   "exit 0",
		"ends with a row that looks right": "printf -- \"INSERT INTO x VALUES ('\\n-- Dump completed on 2026-01-01');\\n\"",
		"is killed":                        "/usr/bin/mariadb-dump \"$@\"; kill -9 $$",
	} {
		l.tool(script)
		_, err := l.read()
		wantError(t, what, err, job.DumpFailed, "the dump of database")
	}
	l.tool("/usr/bin/mariadb-dump \"$@\"; echo 'something to say' >&2; exit 0")
	l.mustRead()
	l.options.Folders = []string{testenv.Dir(t)}
	_, err := l.read()
	wantError(t, "no tool", err, job.ConfigInvalid, "install mariadb-client")
}

func TestNoSecretShows(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := large(t, m)
	l := newLab(t, m, fullGrants(name), name)
	searched := 0
	err := l.during(func() {
		for _, pid := range children(t) {
			for _, file := range []string{"cmdline", "environ"} {
				b, err := os.ReadFile(filepath.Join("/proc", pid, file))
				if err != nil {
					continue // it has ended
				}
				searched++
				if strings.Contains(string(b), "password") || strings.Contains(string(b), "quotes") {
					t.Errorf("%s of %s: %q", file, pid, b)
				}
			}
		}
	})
	if err != nil || searched < 2 {
		t.Errorf("%v, after %d files", err, searched)
	}
	l.env.Credential.Password = secret.New("another " + labPassword)
	_, err = l.read()
	wantError(t, "wrong password", err, job.AuthFailed)
	l.env.Credential.Password = secret.New(labPassword)
	l.tool(`cat "${1#--defaults-file=}" >&2; exit 1`)
	_, err = l.read()
	wantError(t, "a tool that tells", err, job.DumpFailed)
	if strings.Contains(err.Error()+l.log.String(), "quotes") {
		t.Errorf("the password is in %v", err)
	}
}

// children are the processes that this one started.
func children(t *testing.T) (pids []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		after := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(after) > 1 && after[1] == fmt.Sprint(os.Getpid()) && strings.Contains(string(b), "(mariadb-dump)") {
			pids = append(pids, filepath.Base(filepath.Dir(stat)))
		}
	}
	return pids
}

// Every password that the server takes gets in.
func TestPasswords(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Do(name, "CREATE TABLE a (b INT)")
	for _, password := range []string{
		"simple", "it's \"q\" #hash %d back\\slash", "new\nline", "tab\tcr\rx", "ünïcødé 🎉", "trail\\", " lead and trail ", "#", `\n literal`, "'", `"`,
		"[client]", "!include x", "\x08bs\x01ctl", `\"\`, "$(x)`y`", strings.Repeat("x", 1900), "",
	} {
		l := newLab(t, m, nil, name)
		l.Do("", "ALTER USER "+l.account+"@'%' IDENTIFIED BY "+testenv.QuoteText(password))
		for _, grant := range fullGrants(name) {
			l.Do("", "GRANT "+grant+" TO "+l.account+"@'%'")
		}
		l.env.Credential.Password = secret.New(password)
		if _, err := l.read(); err != nil {
			t.Errorf("%q: %v", password, err)
		}
	}
}
