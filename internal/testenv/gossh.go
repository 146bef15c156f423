package testenv

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// GoSSHOptions says how an in-process SSH server behaves.
type GoSSHOptions struct {
	// Password lets the user "user" in. Empty means that none does.
	Password string
	// Interactive asks for the password in a dialog, as PAM does, in place of
	// plain password authentication.
	Interactive bool
	// AnyKey lets the user in with any key.
	AnyKey bool
	// SFTP serves the subsystem "sftp"; nil means the tests' own files, through
	// the server of github.com/pkg/sftp.
	SFTP func(channel ssh.Channel)
	// NoSFTP refuses the subsystem.
	NoSFTP bool
	// OpenSSH greets as that does.
	OpenSSH bool
	// Opened, where it is not nil, is called with each session that is opened.
	Opened func(channel ssh.Channel)
}

// GoSSHServer is an SSH server inside the test process, for what OpenSSH cannot
// be made to do: passwords without accounts, and misbehavior.
type GoSSHServer struct {
	Addr    string
	Host    string
	Port    int
	User    string
	HostKey string // public key line

	mu       sync.Mutex
	attempts []string

	opts     GoSSHOptions
	config   *ssh.ServerConfig
	listener net.Listener
	ctx      context.Context //nolint:containedctx // the server's own lifetime
	running  sync.WaitGroup
}

// GoSSH starts an in-process SSH server; it is gone after the test.
func GoSSH(t testing.TB, opts GoSSHOptions) *GoSSHServer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start ssh server: %v", err)
	}
	address := listener.Addr().(*net.TCPAddr) //nolint:errcheck // of a TCP listener
	s := &GoSSHServer{
		Addr: address.String(), Host: address.IP.String(), Port: address.Port, User: "user",
		HostKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), opts: opts, listener: listener,
	}
	s.config = s.serverConfig()
	s.config.AddHostKey(signer)
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	s.running.Go(s.accept)
	t.Cleanup(func() {
		cancel()
		if err := listener.Close(); err != nil {
			t.Errorf("stop ssh server: %v", err)
		}
		s.running.Wait()
	})
	return s
}

// Attempts lists the credentials that were offered so far, in order: "password"
// or "key" each.
func (s *GoSSHServer) Attempts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.attempts...)
}

// Config is the configuration of an sftp source that reads the paths.
func (s *GoSSHServer) Config(paths ...string) map[string]any {
	return map[string]any{
		"host": s.Host, "port": s.Port, "username": s.User, "paths": paths, "host_keys": []string{s.HostKey},
	}
}

var errRefused = errors.New("refused")

func (s *GoSSHServer) judge(kind string, ok bool) (*ssh.Permissions, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = append(s.attempts, kind)
	if !ok {
		return nil, errRefused
	}
	return nil, nil //nolint:nilnil // permissions without limits
}

func (s *GoSSHServer) serverConfig() *ssh.ServerConfig {
	config := &ssh.ServerConfig{MaxAuthTries: 6}
	if s.opts.OpenSSH {
		config.ServerVersion = "SSH-2.0-OpenSSH_9.2"
	}
	right := func(password string) bool { return s.opts.Password != "" && password == s.opts.Password }
	if s.opts.Interactive {
		config.KeyboardInteractiveCallback = func(c ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			return s.judge("password", err == nil && c.User() == s.User && len(answers) == 1 && right(answers[0]))
		}
	} else {
		config.PasswordCallback = func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			return s.judge("password", c.User() == s.User && right(string(password)))
		}
	}
	config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		return s.judge("key", s.opts.AnyKey)
	}
	return config
}

func (s *GoSSHServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.running.Go(func() { s.serve(conn) })
	}
}

func (s *GoSSHServer) serve(conn net.Conn) {
	stop := context.AfterFunc(s.ctx, func() { _ = conn.Close() })
	defer stop()
	server, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return // the client's tests judge what it makes of that
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer server.Close()
	serving.Go(func() { ssh.DiscardRequests(requests) })
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		if s.opts.Opened != nil {
			s.opts.Opened(channel)
		}
		serving.Go(func() { s.session(channel, requests) })
	}
}

func (s *GoSSHServer) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	var serving sync.WaitGroup
	defer serving.Wait()
	for r := range requests {
		ok := r.Type == "subsystem" && !s.opts.NoSFTP
		_ = r.Reply(ok, nil) // a client that has gone
		if ok {
			serving.Go(func() {
				s.sftp(channel)
				_ = channel.Close()
			})
		}
	}
}

func (s *GoSSHServer) sftp(channel ssh.Channel) {
	if s.opts.SFTP != nil {
		s.opts.SFTP(channel)
		return
	}
	server, err := sftp.NewServer(channel, sftp.ReadOnly())
	if err != nil {
		return
	}
	_ = server.Serve() // ends with the client
}
