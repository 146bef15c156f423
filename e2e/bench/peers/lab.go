package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"xvault/archive/seal"
	"xvault/e2e/bench/delay"
	"xvault/internal/devenv"
	"xvault/internal/secret"
)

// Distances between the worker and its source.
const (
	near   = 0
	near20 = 20 * time.Millisecond
	near80 = 80 * time.Millisecond
)

// leastFree is what a run may need on the disk, in bytes, its data included; and
// a quick one.
const (
	leastFree      = 14 << 30
	leastFreeQuick = 3 << 30
)

// lab is where it is measured: a server, keys, data, and a folder for results.
type lab struct {
	opts     options
	out      io.Writer
	self     string // this program
	data     *data
	work     string // folder of this run, on the disk that is measured
	scratch  string // folder of server and keys
	sshd     *devenv.SSHD
	proxies  []*delay.Proxy
	ports    map[time.Duration]int
	identity string // path of the key that opens every artifact
	receiver string // its public half

	build    sync.Once
	program  string // the released binary
	buildErr error
	made     map[string]string // artifacts by column
	kept     []string          // results that are removed later
}

// runPrefix is followed by the process id of the run.
const runPrefix = "run-"

func newLab(ctx context.Context, o options, out io.Writer) (_ *lab, err error) {
	l := &lab{opts: o, out: out, ports: map[time.Duration]int{}, made: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.self, err = os.Executable(); err != nil {
		return nil, err
	}
	cache, err := filepath.Abs(o.cache)
	if err != nil {
		return nil, err
	}
	if err := l.makeFolders(cache); err != nil {
		return nil, err
	}
	l.data = &data{dir: filepath.Join(cache, "data"), quick: o.quick, say: l.say}
	if err := os.MkdirAll(l.data.dir, 0o755); err != nil {
		return nil, err
	}
	if err := l.makeKey(); err != nil {
		return nil, err
	}
	return l, l.startServers(ctx)
}

// makeFolders makes those of this run, and removes those of runs that died.
func (l *lab) makeFolders(cache string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(cache, runPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range old {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), runPrefix))
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(cache, &st); err != nil {
		return fmt.Errorf("look for space in %s: %w", cache, err)
	}
	least := int64(leastFree)
	if l.opts.quick {
		least = leastFreeQuick
	}
	if free := int64(st.Bavail) * st.Bsize; free < least {
		return fmt.Errorf("%s has %d GiB free, and up to %d are needed: -cache names another folder", cache, free>>30, least>>30)
	}
	l.work = filepath.Join(cache, runPrefix+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(l.work, 0o755); err != nil {
		return err
	}
	l.scratch, err = devenv.Scratch()
	return err
}

func (l *lab) makeKey() error {
	identity, recipient, err := seal.NewIdentity()
	if err != nil {
		return err
	}
	l.identity, l.receiver = filepath.Join(l.scratch, "identity.txt"), recipient
	return os.WriteFile(l.identity, []byte(identity.Reveal()+"\n"), 0o600)
}

func (l *lab) startServers(ctx context.Context) (err error) {
	if l.sshd, err = devenv.NewSSHD(ctx, devenv.SSHDConfig{Dir: filepath.Join(l.scratch, "sshd"), Extra: []string{"MaxSessions 100"}}); err != nil {
		return err
	}
	l.ports[near] = l.sshd.Port()
	for _, d := range []time.Duration{near20, near80} {
		p, err := delay.Start(delay.Config{Target: l.sshd.Addr(), RoundTrip: d})
		if err != nil {
			return err
		}
		l.proxies = append(l.proxies, p)
		l.ports[d] = p.Port()
	}
	return l.writeClientFiles()
}

// writeClientFiles makes what OpenSSH's client and what uses it need.
func (l *lab) writeClientFiles() error {
	known := "xvault-bench " + l.sshd.HostKey() + "\n"
	var config strings.Builder
	for d, port := range l.ports {
		fmt.Fprintf(&config, "Host %s\n  Port %d\n", hostName(d), port)
	}
	fmt.Fprintf(&config, "Host *\n  HostName %s\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n"+
		"  GlobalKnownHostsFile none\n  HostKeyAlias xvault-bench\n  StrictHostKeyChecking yes\n  BatchMode yes\n  ControlMaster no\n",
		l.sshd.Host(), l.sshd.User, l.clientKey(), filepath.Join(l.scratch, "known_hosts"))
	return errors.Join(
		os.WriteFile(l.clientKey(), []byte(l.sshd.ClientKeyPEM), 0o600),
		os.WriteFile(filepath.Join(l.scratch, "known_hosts"), []byte(known), 0o600),
		os.WriteFile(l.sshConfig(), []byte(config.String()), 0o600))
}

func hostName(d time.Duration) string { return fmt.Sprintf("bench-%d", d.Milliseconds()) }

func (l *lab) clientKey() string { return filepath.Join(l.scratch, "client_key") }
func (l *lab) sshConfig() string { return filepath.Join(l.scratch, "ssh_config") }

// order is what the worker is told to do.
func (l *lab) order(kind, source string, distance time.Duration, storage string) order {
	return order{
		Type: kind, Host: l.sshd.Host(), Port: l.ports[distance], User: l.sshd.User,
		Path: source, HostKey: l.sshd.HostKey(), Key: secret.New(l.sshd.ClientKeyPEM).Reveal(),
		Recipient: l.receiver, Storage: storage,
	}
}

// xvault gives the released binary, which the first call builds.
func (l *lab) xvault(ctx context.Context) (string, error) {
	l.build.Do(func() {
		l.program = filepath.Join(l.scratch, "xvault")
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", l.program, "xvault")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			l.buildErr = fmt.Errorf("build xvault: %w\n%s", err, out)
		}
	})
	return l.program, l.buildErr
}

// dir makes a fresh folder for one result.
func (l *lab) dir() (string, error) { return os.MkdirTemp(l.work, "") }

// sweep removes the results that were kept.
func (l *lab) sweep() error {
	var errs []error
	for _, dir := range l.kept {
		errs = append(errs, os.RemoveAll(dir))
	}
	l.kept = nil
	return errors.Join(errs...)
}

func (l *lab) say(format string, args ...any) {
	_, _ = fmt.Fprintf(l.out, format+"\n", args...) // the table is what counts
}

func (l *lab) close() error {
	var errs []error
	for _, p := range l.proxies {
		errs = append(errs, p.Close())
	}
	if l.sshd != nil {
		errs = append(errs, l.sshd.Stop())
	}
	for _, dir := range []string{l.work, l.scratch} {
		if dir != "" {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}
