package devenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// FTPDConfig says how to run a private FTP server.
type FTPDConfig struct {
	// Kind is "proftpd", "pure-ftpd" or "vsftpd". The latter two need root.
	Kind string
	// Dir holds keys and configuration; it is made if it does not exist. Whoever
	// made it removes it.
	Dir string
	// Root makes the files' user root where the server has that: ProFTPD. Otherwise
	// it is one without privileges, or this process's own where it is not root.
	Root bool
	// Implicit begins TLS with the first byte: ProFTPD and vsftpd.
	Implicit bool
	// MaxClients bounds connections; 0 means no bound that matters.
	MaxClients int
	// Extra are more lines of the server's configuration, or arguments of pure-ftpd.
	Extra []string
}

// FTPPassword opens every FTP server, with a bit of everything that passwords have.
const FTPPassword = `it's a "s3cret" 100% \ pässword`

// ftpPasswordHash is that in the manner of crypt(3).
const ftpPasswordHash = `$6$rounds=1000$xvaulttest$755O.8Y2QYoehnXaSldagKb7uAXDFW/2ifBXv86sWM.4eD4ceeNfqeB6qbSdlz1y0AfkWaRdC1VldZ1TzIa34.`

// ftpKind is one of the servers.
type ftpKind interface {
	// prepare writes the configuration and gives the command.
	prepare(f *FTPD) (Command, error)
	// account is whose rights files are served with.
	account(cfg FTPDConfig) (*Account, error)
	user() string
}

// FTPD is a private FTP server with one user, who logs in with FTPPassword. It
// serves the whole file system under its own paths.
type FTPD struct {
	User string
	// CAPEM is the certificate that its own is signed by, which is for 127.0.0.1
	// and localhost.
	CAPEM string

	cfg     FTPDConfig
	kind    ftpKind
	bundle  string // where the programs are
	account *Account
	port    int
	first   int // of the passive ports
	process *Process
	output  *Tail
}

// passivePorts is how many ports there are for data connections.
const passivePorts = 200

// NewFTPD makes keys and configuration and starts the server.
func NewFTPD(ctx context.Context, cfg FTPDConfig) (*FTPD, error) {
	var kind ftpKind
	switch cfg.Kind {
	case "proftpd":
		kind = proftpd{}
	case "pure-ftpd":
		kind = pureFTPD{}
	case "vsftpd":
		kind = vsftpd{}
	default:
		return nil, fmt.Errorf("there is no FTP server %q", cfg.Kind)
	}
	bundle, err := ftpBundle()
	if err != nil {
		return nil, err
	}
	f := &FTPD{cfg: cfg, kind: kind, bundle: bundle, User: kind.user()}
	if f.account, err = kind.account(cfg); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "empty"), 0o755); err != nil { //nolint:gosec // the servers' other users pass through it
		return nil, err
	}
	if f.CAPEM, err = f.makeCertificate(); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		if f.port, err = FreePort(); err != nil {
			return nil, err
		}
		if f.first, err = freeRange(passivePorts); err != nil {
			return nil, err
		}
		if err = f.Start(ctx); err == nil {
			return f, nil
		}
		if attempt == startAttempts || ctx.Err() != nil {
			return nil, err
		}
	}
}

// ftpBundle finds what packaging/ftpd.sh unpacked.
func ftpBundle() (string, error) { return unpacked("ftpd") }

// freeRange finds ports in a row on which nothing listens now. Servers try one after
// the other, so that single ones that are taken meanwhile do no harm.
func freeRange(ports int) (int, error) {
	const lowest, highest = 10_000, 32_000 // below those that the system gives out
	port, err := FreePort()
	if err != nil {
		return 0, err
	}
	span := (highest - lowest) / ports
	return lowest + port*7919%span*ports, nil
}

func (f *FTPD) file(name string) string { return filepath.Join(f.cfg.Dir, name) }

// write puts a file of the configuration down.
func (f *FTPD) write(name string, lines ...string) error {
	return os.WriteFile(f.file(name), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// env tells the programs where what the machine lacks is.
func (f *FTPD) env() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(f.bundle, "usr/lib/*-linux-gnu*"))
	if err != nil {
		return nil, err
	}
	return append(plainEnv(), "LD_LIBRARY_PATH="+strings.Join(found, ":")), nil
}

// Start starts a server that was stopped, on the same port with the same keys, and
// waits until it answers.
func (f *FTPD) Start(ctx context.Context) error {
	command, err := f.kind.prepare(f)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", f.cfg.Kind, err)
	}
	if command.Env, err = f.env(); err != nil {
		return err
	}
	f.output = &Tail{}
	command.Dir, command.Output = f.cfg.Dir, f.output
	if f.process, err = Start(command); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := f.greet(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-f.process.Done():
			return fmt.Errorf("%s ended while starting: %w\n%s", f.cfg.Kind, errOr(f.process.Err(), "exit status 0 and no reason"), f.output.String())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not answer: %w\n%s", f.cfg.Kind, err, f.output.String()), f.Kill())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// greet waits for the server's first line, or with implicit TLS for its port.
func (f *FTPD) greet(ctx context.Context) error {
	dialer := net.Dialer{Timeout: connectTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", f.Addr())
	if err != nil || f.cfg.Implicit {
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	greeting := make([]byte, 512)
	n, err := conn.Read(greeting)
	if err == nil && !strings.HasPrefix(string(greeting[:n]), "220") {
		err = fmt.Errorf("unexpected greeting %q", greeting[:n])
	}
	if err == nil {
		_, err = conn.Write([]byte("QUIT\r\n")) // so that it no longer counts as a connection
	}
	if err == nil {
		for err == nil {
			_, err = conn.Read(greeting)
		}
		err = nil // it ended
	}
	return err
}

// Addr is host and port.
func (f *FTPD) Addr() string { return net.JoinHostPort(f.Host(), strconv.Itoa(f.port)) }

// Host is the address that it listens on.
func (f *FTPD) Host() string { return "127.0.0.1" }

// Port is the port that it listens on.
func (f *FTPD) Port() int { return f.port }

// Log is the last part of the server's output.
func (f *FTPD) Log() string { return f.output.String() }

// Own hands a file or folder to the user whose rights files are served with.
func (f *FTPD) Own(path string) error { return f.account.own(path) }

// Privileged reports whether that user may read everything.
func (f *FTPD) Privileged() bool { return os.Getuid() == 0 && f.account == nil }

// Kill ends the server and every session at once; connections break. Stopped
// already is no error.
func (f *FTPD) Kill() error {
	select {
	case <-f.process.Done():
		return nil
	default:
	}
	// A stopped server accepts no further connection while its sessions are looked
	// for.
	if err := f.process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	sessions, err := descendants(f.process.PID())
	return errors.Join(err, killAll(sessions), f.process.Kill())
}
