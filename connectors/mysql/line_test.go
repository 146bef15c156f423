package mysql

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// The certificate is checked for the connector's own connection and, on the line
// itself, for the dump's.
func TestTLS(t *testing.T) {
	t.Parallel()
	m, plain := testenv.MariaDB(t), testenv.NewMariaDB(t, testenv.MariaDBOptions{NoTLS: true})
	other := testenv.NewMariaDB(t, testenv.MariaDBOptions{}).CertificatePEM
	name := m.Database()
	plain.DatabaseNamed(name)
	for what, c := range map[string]struct {
		server         *testenv.MariaDBServer
		tls, ca, host  string
		code           job.Code // "" is success
		transport, log string
	}{
		"default with TLS":    {m, "", "", "127.0.0.1", "", "with TLS", "not checked"},
		"default without TLS": {plain, "", "", "127.0.0.1", "", "not encrypted", "not encrypted"},
		"disabled":            {m, "disabled", "", "127.0.0.1", "", "not encrypted", "not encrypted"},
		"required":            {m, "required", "", "127.0.0.1", "", "with TLS", "not checked"},
		"required, none":      {plain, "required", "", "127.0.0.1", job.ConnectFailed, "", ""},
		"identity":            {m, "", m.CertificatePEM, "localhost", "", "with TLS", ""},
		"identity by address": {m, "verify_identity", m.CertificatePEM, "127.0.0.1", "", "with TLS", ""},
		"another name":        {m, "verify_identity", m.CertificatePEM, "127.0.0.2", job.ConnectFailed, "", ""},
		"another name, by CA": {m, "verify_ca", m.CertificatePEM, "127.0.0.2", "", "with TLS", ""},
		"another CA":          {m, "verify_ca", other, "127.0.0.1", job.ConnectFailed, "", ""},
		"the system's CAs":    {m, "verify_identity", "", "localhost", job.ConnectFailed, "", ""},
		"identity, none":      {plain, "verify_identity", other, "127.0.0.1", job.ConnectFailed, "", ""},
	} {
		l := newLab(t, c.server, fullGrants(name), name)
		if c.tls != "" {
			l.config["tls"] = c.tls
		}
		if c.ca != "" {
			l.config["ca_pem"] = c.ca
		}
		if c.host != "127.0.0.2" {
			l.config["host"] = c.host
		} else { // the server listens on 127.0.0.1 alone
			l.config["host"] = c.host
			l.env.Dial = elsewhere{c.server.Addr()}
		}
		found, err := l.probe()
		if c.code != "" {
			wantError(t, what, err, c.code)
			_, err = l.read()
			wantError(t, what, err, c.code)
			continue
		}
		if err != nil || !strings.Contains(found.Transport, c.transport) {
			t.Errorf("%s: %q, %v", what, found.Transport, err)
		}
		l.mustRead()
		if !strings.Contains(l.log.String(), c.log) || c.log == "" && l.log.Len() > 0 {
			t.Errorf("%s: the log is %q", what, l.log.String())
		}
	}
}

// elsewhere dials another address than it is asked for.
type elsewhere struct{ address string }

func (e elsewhere) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, e.address)
}

// What the connector saw of the line holds for the dump: a server whose TLS goes
// away in between, or whose certificate changes, gets no password.
func TestTheDumpsLineIsChecked(t *testing.T) {
	t.Parallel()
	m, plain := testenv.MariaDB(t), testenv.NewMariaDB(t, testenv.MariaDBOptions{NoTLS: true})
	other := testenv.NewMariaDB(t, testenv.MariaDBOptions{})
	name := m.Database()
	plain.DatabaseNamed(name)
	for what, second := range map[string]*testenv.MariaDBServer{"TLS is gone": plain, "another certificate": other} {
		l := newLab(t, m, fullGrants(name), name)
		if second == other {
			l.config["tls"], l.config["ca_pem"] = "verify_ca", m.CertificatePEM
		}
		l.env.Dial = &redirected{to: second.Addr()}
		_, err := l.read()
		wantError(t, what, err, job.ConnectFailed, "Nothing was sent to it")
	}
}

// redirected dials the first connection as it should and all others elsewhere.
type redirected struct {
	to    string
	dials int
}

func (r *redirected) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if r.dials++; r.dials > 1 {
		address = r.to
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Through an SSH server, to a port and to a socket.
func TestOverSSH(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	hidden := testenv.NewMariaDB(t, testenv.MariaDBOptions{SocketOnly: true, NoTLS: true})
	ssh := testenv.SSHD(t, testenv.SSHOptions{})
	for what, server := range map[string]*testenv.MariaDBServer{"port": m, "socket": hidden} {
		name := server.Database()
		copied := server.Database()
		server.Plant(name, 2000)
		l := newLab(t, server, fullGrants(name), name)
		l.config["ssh"] = map[string]any{"host": ssh.Host(), "port": ssh.Port(), "username": ssh.User, "host_keys": []string{ssh.HostKey()}, "credential_id": "0197b3c4-0000-7000-8000-0123456789ab"}
		if server == hidden {
			delete(l.config, "host")
			delete(l.config, "port")
			l.config["socket"] = server.Socket()
		}
		l.env.SSHCredential = job.Credential{Type: "private_key", PrivateKey: secret.New(ssh.ClientKeyPEM)}
		l.env.Dial = only{ssh.Addr()}
		found, err := l.probe()
		if err != nil || !strings.Contains(found.Transport, "through ssh") || found.HostKey != ssh.HostKey() {
			t.Errorf("%s: %+v, %v", what, found, err)
		}
		for _, dump := range l.mustRead() {
			if err := server.Load(copied, dump); err != nil {
				t.Error(err)
			}
		}
		server.SameContent(server.Content(name), server.Content(copied))
	}
}

// only dials one address: what goes through a tunnel dials nothing else.
type only struct{ address string }

func (o only) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if address != o.address {
		return nil, &net.AddrError{Err: "not to be dialed", Addr: address}
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// A server that asks the dump program for a file of the worker gets none of it.
func TestAServerCannotHaveFiles(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Do(name, "CREATE TABLE a (b INT)")
	l := newLab(t, m, fullGrants(name), name)
	canary := filepath.Join(testenv.Dir(t), "canary")
	if err := os.WriteFile(canary, []byte("CANARY-CONTENT"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.config["tls"] = "disabled"
	thief := &thief{to: m.Addr(), file: canary}
	l.env.Dial = thief
	if _, err := l.read(); err == nil {
		t.Error("the dump is complete")
	} else {
		t.Log(err)
	}
	thief.mu.Lock()
	defer thief.mu.Unlock()
	if !thief.asked {
		t.Fatal("nothing was asked for: this proves nothing")
	}
	// An empty packet is the answer of a client that understood, and declines.
	if sent := thief.sent.String(); sent != "\x00\x00\x00\x02" {
		t.Errorf("the server has %q", sent)
	}
}

// thief dials a server; on the second connection it answers the first query itself,
// with the request for a file.
type thief struct {
	to, file string
	dials    int

	mu    sync.Mutex
	asked bool
	sent  strings.Builder // what the program sent
}

func (f *thief) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, f.to)
	if f.dials++; f.dials < 2 || err != nil {
		return conn, err
	}
	ours, theirs := net.Pipe()
	go func() {
		defer func() { _ = conn.Close() }()
		defer func() { _ = ours.Close() }()
		f.serve(ours, conn)
	}()
	return theirs, nil
}

func (f *thief) serve(program, server net.Conn) {
	// The login, without TLS.
	greeting, err := readPacket(server)
	if err != nil {
		return
	}
	at, err := capabilitiesIn(greeting.body)
	if err != nil {
		return
	}
	binary.LittleEndian.PutUint16(greeting.body[at:], binary.LittleEndian.Uint16(greeting.body[at:])&^capTLS)
	_ = greeting.writeTo(program)
	for {
		p, err := readPacket(program)
		if err != nil {
			return
		}
		_ = p.writeTo(server)
		if p, err = readPacket(server); err != nil {
			return
		}
		_ = p.writeTo(program)
		if p.body[0] == 0 {
			break
		}
	}
	// What the relay says before the program is in is answered as it should be.
	relays, err := readPacket(program)
	if err != nil {
		return
	}
	_ = relays.writeTo(server)
	if relays, err = readPacket(server); err != nil {
		return
	}
	_ = relays.writeTo(program)
	if _, err := readPacket(program); err != nil {
		return
	}
	_ = packet{1, append([]byte{0xfb}, f.file...)}.writeTo(program)
	f.mu.Lock()
	f.asked = true
	f.mu.Unlock()
	_ = program.SetReadDeadline(time.Now().Add(3 * time.Second))
	b, _ := io.ReadAll(program)
	f.mu.Lock()
	f.sent.Write(b)
	f.mu.Unlock()
}

func TestPasswordsAreNotSpokenInClear(t *testing.T) {
	t.Parallel()
	ask := func(method string) []byte { return append([]byte{0xfe}, method+"\x00challenge"...) }
	for what, c := range map[string]struct {
		body []byte
		safe bool
		mode TLSMode
		ok   bool
	}{
		"native":                     {ask("mysql_native_password"), false, TLSDisabled, true},
		"ed25519":                    {ask("client_ed25519"), false, TLSDisabled, true},
		"sha2":                       {ask("caching_sha2_password"), false, TLSDisabled, true},
		"sha2 in full":               {[]byte{1, 4}, false, TLSDisabled, false},
		"sha2 in full, TLS":          {[]byte{1, 4}, true, TLSRequired, true},
		"sha256":                     {ask("sha256_password"), false, TLSDisabled, false},
		"clear":                      {ask("mysql_clear_password"), false, TLSDisabled, false},
		"clear, TLS with whoever":    {ask("mysql_clear_password"), true, TLSRequired, false},
		"clear, TLS with the server": {ask("mysql_clear_password"), true, TLSVerifyIdentity, true},
		"dialog":                     {ask("dialog"), true, TLSPreferred, false},
		"the old one":                {[]byte{0xfe}, true, TLSVerifyIdentity, false},
		"unknown":                    {ask("x\x1b[31m"), true, TLSVerifyIdentity, false},
		"in":                         {[]byte{0, 0, 0}, false, TLSDisabled, true},
	} {
		l := login{safe: c.safe, mode: c.mode}
		err := l.permit(c.body)
		if (err == nil) != c.ok || err != nil && job.CodeOf(err) != job.AuthFailed {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Whatever a server says for a greeting, the login ends.
func FuzzLogin(f *testing.F) {
	for _, seed := range []string{
		"", "\x01\x00\x00\x00\x0a", "\x05\x00\x00\x00\xff\x15\x04no", "\xff\xff\xff\x00", "\x1a\x00\x00\x00\x0a8.0\x00\x01\x00\x00\x0012345678\x00\xff\xff\x00\x00\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, greeting []byte) {
		server, remote := net.Pipe()
		program, local := net.Pipe()
		var running sync.WaitGroup
		running.Go(func() {
			_, _ = server.Write(greeting)
			_ = server.Close()
		})
		running.Go(func() {
			_, _ = io.Copy(io.Discard, program)
		})
		running.Go(func() {
			_, _ = program.Write(append([]byte{32, 0, 0, 1}, make([]byte, 32)...))
		})
		l := login{local: local, remote: remote, mode: TLSDisabled}
		if in, err := l.run(t.Context()); in && err == nil {
			t.Error("let in")
		}
		_ = remote.Close()
		_ = local.Close()
		_ = program.Close()
		running.Wait()
	})
}
