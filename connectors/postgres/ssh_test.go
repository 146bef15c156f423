package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/entry"
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

// Through an SSH server, to a port and to a socket there.
func TestOverSSH(t *testing.T) {
	t.Parallel()
	d := planted(t)
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
	config, env := d.config(nil), d.env()
	throughSSH(config, &env, ssh, ssh.Host(), ssh.Port())
	config["port"] = 1
	_, err := probe(t, config, env)
	wantCode(t, err, job.ConnectFailed, "ssh server cannot reach")
}

// A dump that is canceled, or whose source is closed, ends soon where the tunnel's far
// end says nothing any more, long before the tunnel itself is found to be broken.
func TestCanceledWhileTheTunnelIsSilent(t *testing.T) {
	t.Parallel()
	d := large(t)
	ssh := testenv.SSHD(t, testenv.SSHOptions{})
	canceled := errors.New("canceled by its owner")
	for _, what := range []string{"canceled", "closed"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			link := testenv.SlowLink(t, ssh.Addr(), 0)
			config, env := d.config(nil), d.env()
			throughSSH(config, &env, ssh, link.Host, link.Port)
			source := open(t, postgres.Options{}, config, env)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var begin time.Time
			var ending sync.WaitGroup
			err := source.Read(ctx, func(item connectors.Item) error {
				body := &counted{Reader: item.Body}
				if strings.HasSuffix(item.Path, ".dump") {
					if _, err := io.CopyN(io.Discard, body, 1<<20); err != nil {
						return err
					}
					link.Stall()
					ending.Go(func() {
						body.dry(t)
						begin = time.Now()
						if what == "canceled" {
							cancel(canceled)
						} else if err := source.Close(); err != nil {
							t.Error(err)
						}
					})
				}
				_, err := io.Copy(io.Discard, body)
				return err
			})
			took := time.Since(begin)
			ending.Wait()
			if took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if err == nil || what == "canceled" && !errors.Is(err, canceled) {
				t.Error(err)
			}
		})
	}
}

// counted counts what is read.
type counted struct {
	io.Reader
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// dry waits until nothing comes any more.
func (c *counted) dry(t *testing.T) {
	t.Helper()
	looks, before := 0, int64(0)
	testenv.Eventually(t, 2*time.Minute, func() bool {
		n := c.n.Load()
		if looks++; n != before {
			looks, before = 0, n
		}
		return looks >= 10
	}, "it still comes")
}

// What a restore made is removed through another tunnel where its own broke.
func TestHalfIsRemovedThroughAnotherTunnel(t *testing.T) {
	t.Parallel()
	d := planted(t)
	dump := d.dump()
	ssh := testenv.SSHD(t, testenv.SSHOptions{})
	link := testenv.SlowLink(t, ssh.Addr(), 0)
	config, env := d.config(nil), d.env()
	throughSSH(config, &env, ssh, link.Host, link.Port)
	target := openTarget(t, config, env, connectors.TargetOptions{Existing: job.ExistingSkip})
	canceled := errors.New("canceled by its owner")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	half := io.LimitReader(bytes.NewReader(dump), int64(len(dump)/2))
	body := io.MultiReader(half, reader(func() (int, error) {
		// The program may connect only after the first cut, through a tunnel of its own.
		testenv.Eventually(t, 2*time.Minute, func() bool {
			link.Cut()
			return !link.Used()
		}, "the line still stands")
		cancel(canceled)
		return 0, canceled
	}))
	err := target.Put(ctx, connectors.TargetItem{Header: entry.Header{Path: d.member(), Kind: entry.File}, Body: body})
	if !errors.Is(err, canceled) {
		t.Error(err)
	}
	left := d.databases(strings.ReplaceAll(restoreJob, "-", "") + "-" + d.name)
	if notes := target.Report().Notes; len(left) > 0 || len(notes) > 0 {
		t.Errorf("left %q, told %q", left, notes)
	}
}

// reader is a reader of one call.
type reader func() (int, error)

func (r reader) Read([]byte) (int, error) { return r() }
