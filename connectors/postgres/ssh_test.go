package postgres_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/connectors/sshtunnel"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// throughSSH changes a configuration and what is lent, so that a server at an address
// is the only one that is dialed.
func throughSSH(config map[string]any, env *connectors.Env, ssh *testenv.SSHServer, host string, port int) {
	config["ssh"] = map[string]any{
		"host": host, "port": port, "username": ssh.User, "host_keys": []string{ssh.HostKey()}, "credential_id": "0197b3c4-0000-7000-8000-0123456789ab",
	}
	env.SSHCredential = job.Credential{Type: "private_key", PrivateKey: secret.New(ssh.ClientKeyPEM)}
	env.Dial = only{port}
}

// only dials one port: what goes through a tunnel dials nothing else.
type only struct{ port int }

func (o only) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	addr, err := net.ResolveTCPAddr(network, address)
	if err != nil || addr.Port != o.port {
		return nil, &net.AddrError{Err: "not to be dialed", Addr: address}
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Through an SSH server, to a port and to a socket there; and when that breaks.
func TestOverSSH(t *testing.T) {
	t.Parallel()
	d := large(t)
	ssh := testenv.SSHD(t, testenv.SSHOptions{})
	socket := filepath.Join(testenv.QueryPostgres(t, d.url.String(), "SHOW unix_socket_directories")[0], ".s.PGSQL."+d.url.Port())
	for what, more := range map[string]map[string]any{"port": {}, "socket": {"socket": socket, "host": nil, "port": nil}} {
		config, env := d.config(more), d.env()
		throughSSH(config, &env, ssh, ssh.Host(), ssh.Port())
		found, err := probe(t, config, env)
		if err != nil || !strings.Contains(found.Transport, "through ssh") || found.HostKey != ssh.HostKey() || warned(found, "not encrypted") {
			t.Errorf("%s: %+v, %v", what, found, err)
		}
		got := mustCollect(t, open(t, postgres.Options{}, config, env))
		d.wantRestored(got.content[d.member()])
	}
	for what, harm := range map[string]func(*testenv.Link){"cut": (*testenv.Link).Cut, "silent": (*testenv.Link).Stall} {
		link := testenv.SlowLink(t, ssh.Addr(), 0)
		config, env := d.config(nil), d.env()
		throughSSH(config, &env, ssh, link.Host, link.Port)
		o := postgres.Options{Tunnel: sshtunnel.Options{KeepAlive: 500 * time.Millisecond}}
		err := midTable(t, open(t, o, config, env), func() { harm(link) })
		if job.CodeOf(err) != job.ConnectFailed {
			t.Errorf("%s: %v", what, err)
		}
		link.Resume()
	}
	config, env := d.config(nil), d.env()
	throughSSH(config, &env, ssh, ssh.Host(), ssh.Port())
	config["port"] = 1
	_, err := probe(t, config, env)
	wantCode(t, err, job.ConnectFailed, "ssh server cannot reach")
}
