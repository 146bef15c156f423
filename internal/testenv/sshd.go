package testenv

import (
	"os"
	"path/filepath"
	"testing"

	"xvault/internal/devenv"
)

// SSHOptions says how a test's SSH server runs.
type SSHOptions struct {
	// User is who may log in; empty means the tests' own user. As root, "nobody"
	// makes a server whose sessions cannot read everything.
	User string
	// HostKeyTypes are the kinds of host keys: "ed25519" (default), "ecdsa", "rsa".
	HostKeyTypes []string
	// NoSFTP leaves the SFTP subsystem out.
	NoSFTP bool
	// Env are variables of its sessions, NAME=VALUE without spaces; HOME is an empty
	// folder unless it is among them.
	Env []string
	// Extra are more lines of sshd_config, none of them SetEnv.
	Extra []string
}

// SSHServer is an OpenSSH server of one test's own.
type SSHServer struct {
	*devenv.SSHD
	// Root is an empty folder for the tree to serve, removed after the test.
	// Every user can read it.
	Root string
	t    testing.TB
}

// SSHD starts a private OpenSSH server; it is gone after the test.
func SSHD(t testing.TB, opts SSHOptions) *SSHServer {
	t.Helper()
	dir := Dir(t)
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil { //nolint:gosec // see Root
		t.Fatalf("make folder to serve: %v", err)
	}
	ctx, cancel := startContext()
	defer cancel()
	server, err := devenv.NewSSHD(ctx, devenv.SSHDConfig{
		Dir: filepath.Join(dir, "sshd"), User: opts.User, HostKeyTypes: opts.HostKeyTypes, NoSFTP: opts.NoSFTP,
		Env: opts.Env, Extra: opts.Extra,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Errorf("stop sshd: %v", err)
		}
		if t.Failed() {
			log := server.Log()
			t.Logf("the end of sshd's log:\n%s", log[max(0, len(log)-1000):])
		}
	})
	return &SSHServer{server, root, t}
}

// Config is the configuration of an sftp source that reads the paths, with the
// host key pinned.
func (s *SSHServer) Config(paths ...string) map[string]any {
	return map[string]any{
		"host": s.Host(), "port": s.Port(), "username": s.User, "paths": paths, "host_keys": []string{s.HostKey()},
	}
}

// LockedClientKey gives the client's key under a passphrase, and that.
func (s *SSHServer) LockedClientKey() (pem, passphrase string) {
	s.t.Helper()
	pem, passphrase, err := s.SSHD.LockedClientKey()
	s.check(err)
	return pem, passphrase
}

// Stop ends the server and its sessions; connections are refused from then on.
func (s *SSHServer) Stop() {
	s.t.Helper()
	s.check(s.SSHD.Stop())
}

// Kill ends the server and its sessions as a crash of the machine does.
func (s *SSHServer) Kill() {
	s.t.Helper()
	s.check(s.SSHD.Kill())
}

// Start starts it again after Stop or Kill, at the same address.
func (s *SSHServer) Start() {
	s.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	s.check(s.SSHD.Start(ctx))
}

// ReplaceHostKeys restarts it with other host keys of the same kinds.
func (s *SSHServer) ReplaceHostKeys() {
	s.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	s.check(s.SSHD.ReplaceHostKeys(ctx))
}

func (s *SSHServer) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
