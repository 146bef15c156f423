package mysql

import (
	"strings"
	"testing"

	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// noForwarding is an SSH server that lets programs run, and nothing through.
func noForwarding(t *testing.T) *testenv.SSHServer {
	t.Helper()
	return testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"AllowTcpForwarding no", "AllowStreamLocalForwarding no"}})
}

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
}
