package mysql

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// noForwarding is an SSH server that lets programs run, and nothing through.
func noForwarding(t *testing.T) *testenv.SSHServer {
	t.Helper()
	return testenv.SSHD(t, onlyPrograms)
}

var onlyPrograms = testenv.SSHOptions{Extra: []string{"AllowTcpForwarding no", "AllowStreamLocalForwarding no"}}

// overSSH leads a lab through an SSH server, reached at an address, in a way.
func (l *lab) overSSH(s *testenv.SSHServer, host string, port int, dump string) {
	l.t.Helper()
	l.config["ssh"] = map[string]any{
		"host": host, "port": port, "username": s.User, "host_keys": []string{s.HostKey()},
		"credential_id": "0197b3c4-0000-7000-8000-0123456789ab", "dump": dump,
	}
	l.env.SSHCredential = job.Credential{Type: "private_key", PrivateKey: secret.New(s.ClientKeyPEM)}
	l.env.TempDir = nil // nothing of it is needed here
}

func (l *lab) onSocket() {
	delete(l.config, "host")
	delete(l.config, "port")
	l.config["socket"] = l.Socket()
}

const awkwardName = "-a $e; $(id) ü|&<%"

// By the ssh host's own programs, over a socket and over a port: all comes back.
func TestRemoteDump(t *testing.T) {
	t.Parallel()
	hidden := testenv.NewMariaDB(t, testenv.MariaDBOptions{SocketOnly: true, NoTLS: true})
	ssh := noForwarding(t)
	for what, server := range map[string]*testenv.MariaDBServer{"remote": testenv.MariaDB(t), "auto": hidden} {
		name := awkwardName + what
		server.DatabaseNamed(name)
		copied := server.Database()
		server.Plant(name, 200)
		l := newLab(t, server, []string{"SELECT, SHOW VIEW, TRIGGER, EVENT ON " + quotePattern(name) + ".*", "SELECT ON mysql.proc"}, name)
		l.overSSH(ssh, ssh.Host(), ssh.Port(), what)
		if server == hidden {
			l.onSocket()
		}
		found, err := l.probe()
		if err != nil || !strings.Contains(found.Transport, "by the ssh host's own program") || found.HostKey != ssh.HostKey() || len(found.Paths) != 1 || !found.Paths[0].Reachable {
			t.Errorf("%s: %+v, %v", what, found, err)
		}
		for _, dump := range l.mustRead() {
			if err := server.Load(copied, dump); err != nil {
				t.Error(err)
			}
		}
		server.SameContent(server.Content(name), server.Content(copied))
		if logged := strings.Contains(l.log.String(), "own programs dump it"); logged != (what == "auto") {
			t.Errorf("%s: the log: %s", what, l.log.String())
		}
	}
	testSocketLogin(t, hidden, ssh)
}

// A server that trusts whoever is logged in at its machine needs no password at all.
func testSocketLogin(t *testing.T, m *testenv.MariaDBServer, ssh *testenv.SSHServer) {
	t.Helper()
	name := m.Database()
	m.Do(name, "CREATE TABLE a AS SELECT 1 AS b")
	l := newLab(t, m, nil, name)
	l.config["username"] = ssh.User
	account := testenv.QuoteText(ssh.User) + "@localhost"
	m.Do("", "CREATE USER "+account+" IDENTIFIED VIA unix_socket", "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON *.* TO "+account)
	l.overSSH(ssh, ssh.Host(), ssh.Port(), "auto")
	l.onSocket()
	delete(l.config["ssh"].(map[string]any), "credential_id") //nolint:errcheck // overSSH has made it
	l.env.Credential = l.env.SSHCredential
	l.mustRead()
}

// What is missing, denied and wrong is known over there, too.
func TestRemoteSurvey(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	ssh := noForwarding(t)
	name := m.Database()
	m.Plant(name, 10)
	remote := func(grants []string, databases ...string) *lab {
		l := newLab(t, m, grants, databases...)
		l.overSSH(ssh, ssh.Host(), ssh.Port(), "remote")
		return l
	}
	_, err := remote(fullGrants(name), name, "no'where\\").read()
	wantError(t, "missing", err, job.PathNotFound, "no'where")
	_, err = remote([]string{"SELECT ON " + name + ".*"}, name).read()
	wantError(t, "denied", err, job.PermissionDenied, "GRANT", "TRIGGER")
	l := remote(fullGrants(name), name)
	l.env.Credential.Password = secret.New("wrong\npassword")
	_, err = l.read()
	wantError(t, "wrong password", err, job.AuthFailed, "1045")
	l = remote(fullGrants(name), name)
	l.config["port"] = 1
	_, err = l.read()
	wantError(t, "nothing listens", err, job.ConnectFailed)
	l = remote(fullGrants(name), name)
	bare := testenv.Dir(t)
	for _, program := range []string{"env", "sh", "sleep"} {
		if err := os.Symlink("/bin/"+program, filepath.Join(bare, program)); err != nil {
			t.Fatal(err)
		}
	}
	empty := testenv.SSHD(t, testenv.SSHOptions{Env: []string{"PATH=" + bare}, Extra: []string{"AllowTcpForwarding no", "ForceCommand /bin/sh -c \"$SSH_ORIGINAL_COMMAND\""}})
	l.overSSH(empty, empty.Host(), empty.Port(), "remote")
	l.options.Folders = []string{bare}
	_, err = l.read()
	wantError(t, "no programs", err, job.ConfigInvalid, "mariadb-client")
	raw, err := json.Marshal(l.config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(l.options).OpenTarget(raw, l.env, connectors.TargetOptions{})
	wantError(t, "a restore", err, job.ConfigInvalid, "tunnel")
	l = remote(fullGrants(name), name)
	l.config["ssh"].(map[string]any)["dump"] = "tunnel" //nolint:errcheck // overSSH has made it
	_, err = l.read()
	wantError(t, "a tunnel only", err, job.PermissionDenied, "AllowTcpForwarding")
	l = remote(fullGrants(name), name)
	l.config["ssh"].(map[string]any)["dump"] = "auto" //nolint:errcheck // overSSH has made it
	l.config["ca_pem"] = m.CertificatePEM
	_, err = l.read()
	wantError(t, "certificates are to be checked", err, job.PermissionDenied, "certificates")
}

// F7: whatever breaks over there, nothing passes for a dump.
func TestRemoteBreaks(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	ssh := noForwarding(t)
	name := large(t, m)
	l := newLab(t, m, fullGrants(name), name)
	l.overSSH(ssh, ssh.Host(), ssh.Port(), "remote")
	if err := l.during(func() {
		if shown := shows(t, l.password); len(shown) > 0 {
			t.Errorf("the password is in %q", shown)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for what, script := range map[string]string{
		"exits 1 after a whole dump": "/usr/bin/mariadb-dump \"$@\"; exit 1",
		"exits 0 with half a dump":   "/usr/bin/mariadb-dump \"$@\" | head -c 5000; exit 0",
		"lacks the last byte":        "/usr/bin/mariadb-dump \"$@\" | head -c -1; exit 0",
		"is killed":                  "/usr/bin/mariadb-dump \"$@\" | head -c 5000; kill -9 $$",
	} {
		l.tool(script)
		_, err := l.read()
		wantError(t, what, err, job.DumpFailed, "the dump of database")
	}
}

// shows lists the command lines and environments of processes that hold a text.
func shows(t *testing.T, text string) (found []string) {
	t.Helper()
	for _, file := range []string{"cmdline", "environ"} {
		paths, err := filepath.Glob("/proc/[0-9]*/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), text) {
				found = append(found, path)
			}
		}
	}
	return found
}

func TestBatch(t *testing.T) {
	t.Parallel()
	rows, err := batch("a\\tb\tc\\nd\\\\n\\0\n\t\n", 2)
	if err != nil || len(rows) != 2 || rows[0][0] != "a\tb" || rows[0][1] != "c\nd\\n\x00" || len(rows[1]) != 2 {
		t.Errorf("%q, %v", rows, err)
	}
	if _, err := batch("a", 2); err == nil {
		t.Error("half an answer passes")
	}
	if _, err := batch("a\nb\nc\n", 2); err == nil {
		t.Error("too many rows pass")
	}
}
