package sftp_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// source opens a source of a configuration that must be right.
func source(t *testing.T, config map[string]any, env connectors.Env) (connectors.Source, error) {
	t.Helper()
	return sourceWith(t, quick, config, env)
}

func sourceWith(t testing.TB, o sftp.Options, config map[string]any, env connectors.Env) (connectors.Source, error) {
	t.Helper()
	return sourceOf(t, sftp.New(o), config, env)
}

func sourceOf(t testing.TB, kind connectors.Type, config map[string]any, env connectors.Env) (connectors.Source, error) {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	canonical, faults := kind.Validate(raw)
	if len(faults) > 0 {
		t.Fatalf("%s is refused: %v", raw, faults)
	}
	s, err := kind.Open(canonical, env)
	if err == nil {
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return s, err
}

// probe is the error of a probe.
func probe(t *testing.T, config map[string]any, env connectors.Env) error {
	t.Helper()
	s, err := source(t, config, env)
	if err != nil {
		return err
	}
	_, err = s.Probe(t.Context())
	return err
}

func password(text string) connectors.Env {
	return connectors.Env{Credential: job.Credential{Type: "password", Password: secret.New(text)}}
}

func wantCode(t *testing.T, what string, err error, code job.Code, words ...string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: success, want %s", what, code)
		return
	case job.CodeOf(err) != code:
		t.Errorf("%s: %v, want code %s", what, err, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q does not say %q", what, err, w)
		}
	}
}

func TestPasswordsLogIn(t *testing.T) {
	t.Parallel()
	for _, interactive := range []bool{false, true} {
		s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "opensesame", Interactive: interactive})
		if err := probe(t, s.Config("/etc"), password("opensesame")); err != nil {
			t.Errorf("interactive %v: %v", interactive, err)
		}
		err := probe(t, s.Config("/etc"), password("openbarley"))
		wantCode(t, "wrong password", err, job.AuthFailed, "password", `"user"`)
		if err != nil && strings.Contains(err.Error(), "openbarley") {
			t.Errorf("the error quotes the password: %v", err)
		}
	}
}

func TestKeysLogIn(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	key := func(pem, passphrase string) connectors.Env {
		return connectors.Env{Credential: job.Credential{Type: "private_key", PrivateKey: secret.New(pem), Passphrase: secret.New(passphrase)}}
	}
	locked, passphrase := s.LockedClientKey()
	for what, env := range map[string]connectors.Env{
		"plain key": key(s.ClientKeyPEM, ""), "plain key and a passphrase": key(s.ClientKeyPEM, "not needed"),
		"key with passphrase": key(locked, passphrase),
	} {
		if err := probe(t, s.Config("/etc"), env); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, c := range []struct {
		what string
		env  connectors.Env
		code job.Code
		says string
	}{
		{"wrong passphrase", key(locked, "wrong"), job.AuthFailed, "passphrase"},
		{"no passphrase", key(locked, ""), job.AuthFailed, "passphrase"},
		{"no key", key("hello", ""), job.ConfigInvalid, "PEM"},
		{"half a key", key(s.ClientKeyPEM[:120], ""), job.ConfigInvalid, "PEM"},
		{"public key", key("ssh-ed25519 AAAA", ""), job.ConfigInvalid, "public"},
		{"PuTTY's key", key("PuTTY-User-Key-File-3: ssh-ed25519", ""), job.ConfigInvalid, "PuTTYgen"},
		{"a password where only keys are taken", password("x"), job.AuthFailed, "password"},
		{"no credential", connectors.Env{}, job.ConfigInvalid, "private key"},
	} {
		wantCode(t, c.what, probe(t, s.Config("/etc"), c.env), c.code, c.says)
	}
	wrongUser := s.Config("/etc")
	wrongUser["username"] = "nobody-at-all"
	wantCode(t, "unknown user", probe(t, wrongUser, key(s.ClientKeyPEM, "")), job.AuthFailed, "nobody-at-all")
}

// A server that nobody pinned, or another than the pinned one, learns nothing.
func TestNothingIsSentToAStranger(t *testing.T) {
	t.Parallel()
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "secret", AnyKey: true})
	other := testenv.GoSSH(t, testenv.GoSSHOptions{})
	unknown, changed, first := s.Config("/etc"), s.Config("/etc"), s.Config("/etc")
	unknown["host_keys"] = []string{}
	changed["host_keys"] = []string{other.HostKey}
	first["host_keys"], first["trust_on_first_use"] = []string{}, true
	env := password("secret")
	wantCode(t, "unknown", probe(t, unknown, env), job.HostKeyUnknown)
	wantCode(t, "changed", probe(t, changed, env), job.HostKeyChanged)
	env.PinHostKey = func(context.Context, string) error {
		if n := len(s.Attempts()); n > 0 {
			t.Errorf("%d credentials were offered before the key was pinned", n)
		}
		return job.Errorf(job.ConnectFailed, "the hub is away")
	}
	wantCode(t, "the hub cannot pin", probe(t, first, env), job.ConnectFailed, "hub is away")
	if a := s.Attempts(); len(a) > 0 {
		t.Errorf("offered to the stranger: %q", a)
	}
	env.PinHostKey = nil
	wantCode(t, "nowhere to pin", probe(t, first, env), job.Internal)
}

// A server has host keys of several kinds. The pinned one is asked for, and a
// fingerprint, which does not tell its kind, is found among them.
func TestPinnedKindOfHostKey(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{HostKeyTypes: []string{"ed25519", "ecdsa", "rsa"}})
	env := connectors.Env{Credential: keyOf(s)}
	for _, key := range s.HostKeys() {
		for _, pin := range []string{key.Line, key.Fingerprint, key.Line + " a comment"} {
			config := s.Config("/etc")
			config["host_keys"] = []string{pin}
			if err := probe(t, config, env); err != nil {
				t.Errorf("pinned as %s: %v", pin, err)
			}
		}
	}
	old := s.HostKeys()
	s.ReplaceHostKeys()
	for _, key := range old {
		for _, pin := range []string{key.Line, key.Fingerprint} {
			config := s.Config("/etc")
			config["host_keys"] = []string{pin}
			wantCode(t, "pinned as "+pin, probe(t, config, env), job.HostKeyChanged)
		}
	}
	// A kind that the server does not have any more is a change as well.
	gone := testenv.SSHD(t, testenv.SSHOptions{HostKeyTypes: []string{"ecdsa"}})
	config := gone.Config("/etc")
	config["host_keys"] = []string{old[0].Line}
	wantCode(t, "the pinned kind is gone", probe(t, config, connectors.Env{Credential: keyOf(gone)}), job.HostKeyChanged, gone.HostKeyFingerprint())
}

func TestServersWithoutSFTP(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{NoSFTP: true})
	wantCode(t, "no subsystem", probe(t, s.Config("/etc"), connectors.Env{Credential: keyOf(s)}), job.ConfigInvalid, "Subsystem sftp")
	for what, command := range map[string]string{
		"a shell that greets": "echo Welcome to the machine; exec sleep 100", "a command that ends": "exit 1",
	} {
		script := filepath.Join(testenv.Dir(t), "subsystem")
		if err := os.WriteFile(script, []byte(command+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := testenv.SSHD(t, testenv.SSHOptions{NoSFTP: true, Extra: []string{"Subsystem sftp /bin/sh " + script}})
		err := probe(t, s.Config("/etc"), connectors.Env{Credential: keyOf(s)})
		wantCode(t, what, err, job.ConfigInvalid)
		if words := []string{"Welcome", "nothing"}; err != nil && !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(err.Error(), w) }) {
			t.Errorf("%s: the message does not show the server's words: %v", what, err)
		}
	}
}

// What answers on the port may be no SSH server at all.
func TestNoSSHServer(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	link := testenv.SlowLink(t, r.Addr, 0)
	s := testenv.GoSSH(t, testenv.GoSSHOptions{})
	config := s.Config("/etc")
	config["port"] = link.Port
	o := quick
	o.HandshakeTimeout = 500_000_000
	src, err := sourceWith(t, o, config, password("x"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = src.Probe(t.Context())
	wantCode(t, "redis", err, job.ConnectFailed)
}
