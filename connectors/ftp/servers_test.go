package ftp_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"xvault/connectors"
	"xvault/connectors/ftp"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

var kinds = []string{"proftpd", "vsftpd", "pure-ftpd"}

func credential(c job.Credential) func(*connectors.Env) {
	return func(e *connectors.Env) { e.Credential = c }
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// More names than servers are known to list by default: all of them, or an error.
func TestTenThousandNames(t *testing.T) {
	t.Parallel()
	const many = 10_001
	root := testenv.FTPD(t, testenv.FTPOptions{Kind: "proftpd"}).Root // each serves everything
	for i := range many {
		put(t, filepath.Join(root, "many", strconv.Itoa(i)), nil)
	}
	for _, kind := range []string{"proftpd", "vsftpd", "pure-ftpd", "pure-ftpd -L"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			name, limit, raised := strings.Cut(kind, " ")
			opts := testenv.FTPOptions{Kind: name}
			if raised {
				opts.Extra = []string{limit, "20000:8"}
			}
			s := testenv.FTPD(t, opts)
			got, err := read(t, ftp.New(quick), s.Config(root), credential(s.Credential()))
			if err != nil {
				t.Fatal(err)
			}
			flawed := got.errors[strings.TrimPrefix(root, "/")+"/many"]
			switch {
			case kind == "pure-ftpd" && (!codeIn(flawed, job.PermissionDenied) || !strings.Contains(flawed.Error(), "LimitRecursion")):
				t.Errorf("a listing that was cut at %d of %d names has the error %v", len(got.content), many, flawed)
			case kind != "pure-ftpd" && (flawed != nil || len(got.content) != many):
				t.Errorf("%d of %d files, %v", len(got.content), many, flawed)
			}
			t.Log(len(got.content), flawed)
		})
	}
}

// A server that takes few connections is read over few.
func TestFewConnections(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind, MaxClients: 2})
			for i := range 50 {
				put(t, filepath.Join(s.Root, strconv.Itoa(i%5), strconv.Itoa(i)), []byte("content"))
			}
			got, err := read(t, ftp.New(quick), s.Config(s.Root), credential(s.Credential()))
			if err != nil || len(got.errors) > 0 || len(got.content) != 50 {
				t.Errorf("%d files, %v, %v", len(got.content), got.errors, err)
			}
		})
	}
}

func TestImplicitTLS(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"proftpd", "vsftpd"} {
		s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind, Implicit: true})
		put(t, filepath.Join(s.Root, "file"), []byte("content"))
		config := s.Config(s.Root)
		config["tls"] = "implicit"
		got, err := read(t, ftp.New(quick), config, credential(s.Credential()))
		if err != nil || len(got.content) != 1 {
			t.Errorf("%s: %v, %v", kind, got.errors, err)
		}
	}
}

// A certificate that nobody vouches for, or for another name, ends it before the
// password is sent.
func TestCertificates(t *testing.T) {
	t.Parallel()
	s, other := testenv.FTPD(t, testenv.FTPOptions{Kind: "proftpd"}), testenv.FTPD(t, testenv.FTPOptions{Kind: "proftpd"})
	put(t, filepath.Join(s.Root, "file"), []byte("content"))
	for what, change := range map[string]func(config map[string]any){
		"without ca_pem":              func(c map[string]any) { delete(c, "ca_pem") },
		"with another authority":      func(c map[string]any) { c["ca_pem"] = other.CAPEM },
		"for another name":            func(c map[string]any) { c["host"] = "127.0.0.2" },
		"as implicit TLS, explicitly": func(c map[string]any) { c["tls"] = "implicit" },
	} {
		config := s.Config(s.Root)
		change(config)
		_, err := read(t, ftp.New(quick), config, credential(s.Credential()))
		wantCode(t, what, err, job.ConnectFailed)
	}
	config := s.Config(s.Root)
	config["host"] = "localhost"
	if _, err := read(t, ftp.New(quick), config, credential(s.Credential())); err != nil {
		t.Errorf("by the certificate's other name: %v", err)
	}
}

func TestLogins(t *testing.T) {
	t.Parallel()
	for kind, passwords := range map[string][]string{
		"proftpd": {"wrong", "", "with\r\nDELE x", "wörng\xff"}, "vsftpd": {"wrong", "wörng\xff"},
		"pure-ftpd": {"wrong"}, // it makes those wait who do not know the password
	} {
		s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind})
		for _, password := range passwords {
			_, err := read(t, ftp.New(unhurried), s.Config(s.Root), credential(job.Credential{Type: "password", Password: secret.New(password)}))
			wantCode(t, fmt.Sprintf("%s: the password %q", kind, password), err, job.AuthFailed)
		}
		if kind == "pure-ftpd" {
			continue
		}
		config := s.Config(s.Root)
		config["username"] = "nobody at all"
		_, err := read(t, ftp.New(unhurried), config, credential(s.Credential()))
		wantCode(t, kind+": another user", err, job.AuthFailed)
	}
}

// dataCut is a dialer whose data connections break: one after a number of bytes, and
// those after it at once, as many as are to break.
type dataCut struct {
	connectors.Dialer
	control string
	writes  bool // what is written counts, not what is read
	after   atomic.Int64
	breaks  atomic.Int64
}

func cutting(control string, after, breaks int64) *dataCut {
	d := &dataCut{Dialer: connectors.NewDialer(connectors.DialerConfig{}), control: control}
	d.after.Store(after)
	d.breaks.Store(breaks)
	return d
}

func (d *dataCut) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil || address == d.control {
		return conn, err
	}
	return &cutConn{Conn: conn, d: d, left: d.after.Load()}, nil
}

type cutConn struct {
	net.Conn
	d    *dataCut
	left int64
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.d.writes {
		return c.Conn.Read(p)
	}
	if c.left == 0 && c.breaks() {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	if !c.d.writes {
		return c.Conn.Write(p)
	}
	if int64(len(p)) <= c.left {
		c.left -= int64(len(p))
		return c.Conn.Write(p)
	}
	passed, _ := c.Conn.Write(p[:c.left]) // what came before the break
	if c.breaks() {
		return passed, net.ErrClosed
	}
	n, err := c.Conn.Write(p[passed:])
	return passed + n, err
}

// breaks breaks the connection, unless enough did.
func (c *cutConn) breaks() bool {
	c.left = 1 << 40
	if c.d.breaks.Add(-1) < 0 {
		return false
	}
	c.d.after.Store(0)
	_ = c.Close()
	return true
}

// A data connection that breaks at 1, 50 and 99 % of a file: it comes whole if that
// happens once, and the reading fails if all later ones break too.
func TestDataConnectionBreaks(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	content := make([]byte, size)
	seed := [32]byte{5}
	_, _ = rand.NewChaCha8(seed).Read(content) // never fails
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind})
			put(t, filepath.Join(s.Root, "large"), content)
			for _, percent := range []int64{1, 50, 99} {
				for _, breaks := range []int64{1, 1000} {
					cut := cutting(s.Addr(), size*percent/100, breaks)
					got, err := read(t, ftp.New(quick), s.Config(s.Root+"/large"), credential(s.Credential()), func(e *connectors.Env) { e.Dial = cut })
					read := got.content[strings.TrimPrefix(s.Root, "/")+"/large"]
					whole := sha256.Sum256([]byte(read)) == sha256.Sum256(content)
					if once := breaks == 1; whole != once || once != (err == nil && len(got.errors) == 0) {
						t.Errorf("%d breaks at %d %%: %d bytes, %v, %v", breaks, percent, len(read), got.errors, err)
					}
				}
			}
		})
	}
}

// A server that is killed in the middle of a transfer fails the reading.
func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind})
			put(t, filepath.Join(s.Root, "large"), make([]byte, 48<<20))
			source := opened(t, ftp.New(quick), s.Config(s.Root), connectors.Env{Credential: s.Credential(), Dial: connectors.NewDialer(connectors.DialerConfig{})})
			var once sync.Once
			err := source.Read(t.Context(), func(item connectors.Item) error {
				if item.Body == nil {
					return nil
				}
				if _, err := io.CopyN(io.Discard, item.Body, 1<<20); err != nil {
					return err
				}
				once.Do(s.Kill)
				_, err := drain(item.Body)
				return err
			})
			wantCode(t, "read", err, job.ConnectFailed)
		})
	}
}
