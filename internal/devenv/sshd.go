package devenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// SSHDConfig says how to run a private OpenSSH server.
type SSHDConfig struct {
	// Dir holds keys and configuration; it is made if it does not exist.
	// Whoever made it removes it.
	Dir string
	// User is who may log in; empty means this process's user. Another user
	// needs root, and gets SFTP only, whatever their shell is.
	User string
	// HostKeyTypes are the kinds of host keys to make: "ed25519", "ecdsa",
	// "rsa". Empty means ed25519 alone.
	HostKeyTypes []string
	// NoSFTP leaves the SFTP subsystem out.
	NoSFTP bool
	// Env are variables of its sessions, NAME=VALUE without spaces. HOME is an empty
	// folder unless it is among them: start files of whoever runs this take time, and may
	// do anything.
	Env []string
	// Extra are more lines of sshd_config, none of them SetEnv.
	Extra []string
}

// SSHD is a private OpenSSH server with one user, who logs in with a key.
type SSHD struct {
	User string
	// ClientKeyPEM opens the server.
	ClientKeyPEM string

	lock     func() (lockedKey, error)
	cfg      SSHDConfig
	path     string
	port     int
	hostKeys []HostKey
	process  *Process
	output   *Tail
}

// NewSSHD makes keys and configuration and starts the server.
func NewSSHD(ctx context.Context, cfg SSHDConfig) (*SSHD, error) {
	path, err := find("sshd", "/usr/sbin", "/usr/local/sbin")
	if err != nil {
		return nil, err
	}
	s := &SSHD{cfg: cfg, path: path, User: cfg.User}
	if len(s.cfg.HostKeyTypes) == 0 {
		s.cfg.HostKeyTypes = []string{"ed25519"}
	}
	if s.User == "" {
		me, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("look up this process's user: %w", err)
		}
		s.User = me.Username
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("prepare sshd: %w", err)
	}
	for attempt := 1; ; attempt++ {
		if s.port, err = FreePort(); err != nil {
			return nil, err
		}
		if err = s.Start(ctx); err == nil {
			return s, nil
		}
		if attempt == startAttempts || ctx.Err() != nil {
			return nil, err
		}
	}
}

// prepare writes every file but the configuration, which names the port.
func (s *SSHD) prepare() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o711); err != nil { //nolint:gosec // sshd reads the authorized keys as the user
		return err
	}
	if err := os.MkdirAll(s.file("home"), 0o755); err != nil { //nolint:gosec // of whoever logs in
		return err
	}
	if os.Getuid() == 0 {
		// sshd's privilege separation insists on this folder, which the
		// system's own service makes in the same way.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { //nolint:gosec // as sshd wants it
			return err
		}
	}
	if err := s.makeClientKey(); err != nil {
		return err
	}
	return s.makeHostKeys()
}

func (s *SSHD) makeClientKey() error {
	key, err := newClientKey()
	if err != nil {
		return err
	}
	s.ClientKeyPEM, s.lock = key.plain, key.lock
	return os.WriteFile(s.file("authorized_keys"), []byte(key.public+"\n"), 0o644) //nolint:gosec // public
}

// LockedClientKey gives the key of ClientKeyPEM under a new passphrase, and that.
func (s *SSHD) LockedClientKey() (pem, passphrase string, err error) {
	key, err := s.lock()
	return key.pem, key.passphrase, err
}

func (s *SSHD) makeHostKeys() error {
	s.hostKeys = nil
	for _, kind := range s.cfg.HostKeyTypes {
		key, err := newHostKey(kind)
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.file("host_"+kind), key.private, 0o600); err != nil {
			return err
		}
		s.hostKeys = append(s.hostKeys, key.HostKey)
	}
	return nil
}

func (s *SSHD) file(name string) string { return filepath.Join(s.cfg.Dir, name) }

// config is the whole sshd_config. PAM is off: nothing of the machine's own
// accounts takes part but name, ids and shell.
func (s *SSHD) config() string {
	lines := []string{
		"ListenAddress 127.0.0.1:" + strconv.Itoa(s.port),
		"PidFile none",
		"StrictModes no",
		"UsePAM no",
		"UseDNS no",
		"PermitRootLogin prohibit-password",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"AuthorizedKeysFile " + s.file("authorized_keys"),
		"AllowUsers " + s.User,
		"PrintMotd no",
		"PrintLastLog no",
		"MaxStartups 1000",
		"LogLevel VERBOSE",
		"SetEnv " + strings.Join(s.env(), " "),
	}
	for _, kind := range s.cfg.HostKeyTypes {
		lines = append(lines, "HostKey "+s.file("host_"+kind))
	}
	if !s.cfg.NoSFTP {
		lines = append(lines, "Subsystem sftp internal-sftp")
	}
	// Options before the first Match only; the forced command is one.
	lines = append(lines, s.cfg.Extra...)
	if s.cfg.User != "" && !s.cfg.NoSFTP {
		lines = append(lines, "Match User "+s.User, "ForceCommand internal-sftp")
	}
	return strings.Join(lines, "\n") + "\n"
}

// env is that of its sessions.
func (s *SSHD) env() []string {
	isHome := func(line string) bool { return strings.HasPrefix(line, "HOME=") }
	if slices.ContainsFunc(s.cfg.Env, isHome) {
		return s.cfg.Env
	}
	return append(slices.Clone(s.cfg.Env), "HOME="+s.file("home"))
}

// Start starts a server that was stopped, on the same port with the same keys,
// and waits until it answers.
func (s *SSHD) Start(ctx context.Context) error {
	if err := os.WriteFile(s.file("sshd_config"), []byte(s.config()), 0o600); err != nil {
		return fmt.Errorf("prepare sshd: %w", err)
	}
	s.output = &Tail{}
	proc, err := Start(Command{
		Path: s.path, Args: []string{"-D", "-e", "-f", s.file("sshd_config")}, Dir: s.cfg.Dir, Output: s.output,
	})
	if err != nil {
		return err
	}
	s.process = proc
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := s.greet(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-proc.Done():
			return fmt.Errorf("sshd ended while starting: %w\n%s", errOr(proc.Err(), "exit status 0"), s.output.String())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("sshd does not answer: %w\n%s", err, s.output.String()), s.Kill())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// greet waits for the server's first line.
func (s *SSHD) greet(ctx context.Context) error {
	dialer := net.Dialer{Timeout: connectTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	greeting := make([]byte, len("SSH-2.0-"))
	n, err := conn.Read(greeting)
	if err == nil && string(greeting[:n]) != "SSH-2.0-" {
		err = fmt.Errorf("unexpected greeting %q", greeting[:n])
	}
	return err
}

// Addr is host and port.
func (s *SSHD) Addr() string { return net.JoinHostPort(s.Host(), strconv.Itoa(s.port)) }

// Host is the address that it listens on.
func (s *SSHD) Host() string { return "127.0.0.1" }

// Port is the port that it listens on.
func (s *SSHD) Port() int { return s.port }

// HostKeys are the server's public keys, in the order of SSHDConfig.HostKeyTypes.
func (s *SSHD) HostKeys() []HostKey { return s.hostKeys }

// HostKey is the first host key as a public key line: "ssh-ed25519 AAAA...".
func (s *SSHD) HostKey() string { return s.hostKeys[0].Line }

// HostKeyFingerprint is the first host key's "SHA256:...".
func (s *SSHD) HostKeyFingerprint() string { return s.hostKeys[0].Fingerprint }

// AuthorizedKeys is the file whose keys may log in.
func (s *SSHD) AuthorizedKeys() string { return s.file("authorized_keys") }

// Log is the last part of the server's log.
func (s *SSHD) Log() string { return s.output.String() }

// Sessions lists the processes below the server: its own for each connection, and what
// runs in them. What outlived its connection is not among them.
func (s *SSHD) Sessions() ([]int, error) { return descendants(s.process.PID()) }

// Stop is Kill: sshd, told to end, would leave its sessions open. Stopped
// already is no error.
func (s *SSHD) Stop() error { return s.Kill() }

// Kill ends the server and every session at once; connections break.
func (s *SSHD) Kill() error {
	select {
	case <-s.process.Done():
		return nil
	default:
	}
	// A stopped server accepts no further connection while its sessions, which
	// leave its process group, are looked for.
	if err := s.process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	sessions, err := descendants(s.process.PID())
	return errors.Join(err, killAll(sessions), s.process.Kill())
}

// ReplaceHostKeys gives the server other host keys of the same kinds, as a
// reinstalled machine or an impostor has, and restarts it.
func (s *SSHD) ReplaceHostKeys(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	if err := s.makeHostKeys(); err != nil {
		return fmt.Errorf("replace host keys: %w", err)
	}
	return s.Start(ctx)
}
