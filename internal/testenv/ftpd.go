package testenv

import (
	"os"
	"path/filepath"
	"testing"

	"xvault/internal/devenv"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// FTPOptions says how a test's FTP server runs; see devenv.FTPDConfig.
type FTPOptions struct {
	Kind       string
	Root       bool
	Implicit   bool
	MaxClients int
	Extra      []string
}

// FTPServer is an FTP server of one test's own.
type FTPServer struct {
	*devenv.FTPD
	// Root is an empty folder for the tree to serve, removed after the test. The
	// server's user may write to it.
	Root string
	t    testing.TB
}

// FTPD starts a private FTP server; it is gone after the test.
func FTPD(t testing.TB, opts FTPOptions) *FTPServer {
	t.Helper()
	dir := Dir(t)
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil { //nolint:gosec // see Root
		t.Fatalf("make folder to serve: %v", err)
	}
	ctx, cancel := startContext()
	defer cancel()
	server, err := devenv.NewFTPD(ctx, devenv.FTPDConfig{
		Kind: opts.Kind, Dir: filepath.Join(dir, "ftpd"), Root: opts.Root, Implicit: opts.Implicit, MaxClients: opts.MaxClients, Extra: opts.Extra,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Errorf("stop %s: %v", opts.Kind, err)
		}
		if t.Failed() {
			log := server.Log()
			t.Logf("the end of the server's output:\n%s", log[max(0, len(log)-1000):])
		}
	})
	if err := server.Own(root); err != nil {
		t.Fatal(err)
	}
	return &FTPServer{server, root, t}
}

// Config is the configuration of an ftp source that reads the paths.
func (s *FTPServer) Config(paths ...string) map[string]any {
	return map[string]any{"host": s.Host(), "port": s.Port(), "username": s.User, "paths": paths, "ca_pem": s.CAPEM}
}

// Credential lets the user in.
func (s *FTPServer) Credential() job.Credential {
	return job.Credential{Type: "password", Password: secret.New(devenv.FTPPassword)}
}

// Kill ends the server and its sessions; connections are refused from then on.
func (s *FTPServer) Kill() {
	s.t.Helper()
	if err := s.FTPD.Kill(); err != nil {
		s.t.Fatal(err)
	}
}

// Start starts it again after Kill, at the same address.
func (s *FTPServer) Start() {
	s.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	if err := s.FTPD.Start(ctx); err != nil {
		s.t.Fatal(err)
	}
}
