package dumptool_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// server answers every connection in the way of a test.
func server(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func relay(t *testing.T, c dumptool.RelayConfig) *dumptool.Relay {
	t.Helper()
	r, err := dumptool.NewRelay(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return r
}

func connect(t *testing.T, network, address string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func open() connectors.Dialer { return connectors.NewDialer(connectors.DialerConfig{}) }

func TestRelayPassesOn(t *testing.T) {
	t.Parallel()
	content := make([]byte, 3<<20)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	// Answers with what it was sent, when it got all of it.
	address := server(t, func(c net.Conn) {
		got := make([]byte, len(content))
		if _, err := io.ReadFull(c, got); err == nil {
			_, _ = c.Write(got)
		}
	})
	for name, dir := range map[string]string{"socket": testenv.Dir(t), "port": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := relay(t, dumptool.RelayConfig{Dir: dir, Open: dumptool.Dialing(open(), address)})
			network := "unix"
			if dir == "" {
				network = "tcp"
			}
			for range 3 {
				conn := connect(t, network, r.LocalAddr())
				go func() { _, _ = conn.Write(content) }()
				got, err := io.ReadAll(conn)
				if err != nil || !bytes.Equal(got, content) {
					t.Fatalf("got %d bytes and %v", len(got), err)
				}
			}
			if err := r.Err(); err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if dir == "" {
				if conn, err := net.Dial(network, r.Addr()); err == nil {
					_ = conn.Close()
					t.Error("a closed relay still listens")
				}
			} else if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left in the socket's folder: %v, %v", left, err)
			}
		})
	}
}

func TestRelayRefusesOthers(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Log("as another user than root only the path for root's own processes is tested")
	}
	reached := make(chan struct{}, 1)
	address := server(t, func(net.Conn) { reached <- struct{}{} })
	r := relay(t, dumptool.RelayConfig{Open: dumptool.Dialing(open(), address)})
	if os.Getuid() == 0 {
		c := shell(`exec setpriv --reuid=65534 --regid=65534 --clear-groups -- bash -c "exec 3<>/dev/tcp/127.0.0.1/$0; cat <&3"`)
		c.Args = append(c.Args, strconv.Itoa(r.Port()))
		_, _ = dump(t.Context(), t, c) // it is hung up on
		select {
		case <-reached:
			t.Error("another user's process was let in")
		default:
		}
	}
	connect(t, "tcp", r.Addr())
	<-reached
}

func TestRelayWithoutServer(t *testing.T) {
	t.Parallel()
	r := relay(t, dumptool.RelayConfig{Open: dumptool.Dialing(open(), "127.0.0.1:1")})
	c := shell(`exec bash -c "exec 3<>/dev/tcp/127.0.0.1/$0; cat <&3; exit 1"`)
	c.Args, c.Relay = append(c.Args, strconv.Itoa(r.Port())), r
	_, err := dump(t.Context(), t, c)
	wantFailure(t, err, job.ConnectFailed, "127.0.0.1:1", "cannot be reached")
}

func TestRelayKeepsTheGuard(t *testing.T) {
	t.Parallel()
	guarded := connectors.NewDialer(connectors.DialerConfig{RefusePrivate: true})
	r := relay(t, dumptool.RelayConfig{Open: dumptool.Dialing(guarded, "127.0.0.1:1")})
	if _, err := io.ReadAll(connect(t, "tcp", r.Addr())); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 2*time.Minute, func() bool { return r.Err() != nil }, "no error")
	wantFailure(t, r.Err(), job.ConfigInvalid, "not allowed")
}

// broken is a program that reads its connection and fails when it ends.
func broken(r *dumptool.Relay) dumptool.Command {
	c := shell(`exec bash -c "exec 3<>/dev/tcp/127.0.0.1/$0; cat <&3; echo 'lost connection' >&2; exit 1"`)
	c.Args, c.Relay = append(c.Args, strconv.Itoa(r.Port())), r
	return c
}

func TestRelayTellsOfAReset(t *testing.T) {
	t.Parallel()
	address := server(t, func(c net.Conn) {
		_, _ = c.Write([]byte("half"))
		_ = c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // of a TCP listener
	})
	link := testenv.SlowLink(t, address, 0)
	link.CutAfter(2)
	r := relay(t, dumptool.RelayConfig{Open: dumptool.Dialing(open(), link.Addr)})
	_, err := dump(t.Context(), t, broken(r))
	wantFailure(t, err, job.ConnectFailed, "lost connection")
}

func TestSilentServer(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	address := server(t, func(c net.Conn) {
		_, _ = c.Write([]byte("half"))
		<-held
	})
	r := relay(t, dumptool.RelayConfig{Open: dumptool.Dialing(open(), address)})
	c := broken(r)
	c.Patience = 100 * time.Millisecond
	got, err := dump(t.Context(), t, c)
	wantFailure(t, err, job.Timeout, "the server", `"shop"`)
	if got != "half" {
		t.Errorf("got %q", got)
	}
}

// A server that talks while the program has nothing to print is not silent.
func TestBusyServer(t *testing.T) {
	t.Parallel()
	address := server(t, func(c net.Conn) {
		for range 20 {
			_, _ = c.Write([]byte("x"))
			time.Sleep(20 * time.Millisecond)
		}
	})
	r := relay(t, dumptool.RelayConfig{Open: dumptool.Dialing(open(), address)})
	c := shell(`exec bash -c "exec 3<>/dev/tcp/127.0.0.1/$0; wc -c <&3"`)
	c.Args, c.Relay, c.Patience = append(c.Args, strconv.Itoa(r.Port())), r, 200*time.Millisecond
	got, err := dump(t.Context(), t, c)
	if err != nil || strings.TrimSpace(got) != "20" {
		t.Errorf("got %q and %v", got, err)
	}
}

// heldConn says that a limit on bandwidth held all of its reading back.
type heldConn struct {
	net.Conn
	since time.Time
}

func (c heldConn) Held() time.Duration { return time.Since(c.since) }

func TestHeldBackIsNoSilence(t *testing.T) {
	t.Parallel()
	address := server(t, func(c net.Conn) {
		time.Sleep(300 * time.Millisecond)
		_, _ = c.Write([]byte("all"))
	})
	r := relay(t, dumptool.RelayConfig{Open: func(ctx context.Context, local net.Conn) (net.Conn, error) {
		conn, err := dumptool.Dialing(open(), address)(ctx, local)
		return heldConn{conn, time.Now()}, err
	}})
	c := shell(`exec bash -c "exec 3<>/dev/tcp/127.0.0.1/$0; cat <&3"`)
	c.Args, c.Relay, c.Patience = append(c.Args, strconv.Itoa(r.Port())), r, 100*time.Millisecond
	if got, err := dump(t.Context(), t, c); err != nil || got != "all" {
		t.Errorf("got %q and %v", got, err)
	}
}

func TestRelayEndsWithItsContext(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	address := server(t, func(net.Conn) { <-held })
	ctx, cancel := context.WithCancel(t.Context())
	r, err := dumptool.NewRelay(ctx, dumptool.RelayConfig{Dir: testenv.Dir(t), Name: ".s.PGSQL.5432", Open: dumptool.Dialing(open(), address)})
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, "unix", r.LocalAddr())
	cancel()
	if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// However long the name of the worker's folder is.
func TestLongPath(t *testing.T) {
	if path := os.Getenv("XVAULT_TEST_SOCKET"); path != "" {
		client(t, path)
		return
	}
	t.Parallel()
	dir := testenv.Dir(t) + "/" + strings.Repeat("d", 200)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	address := server(t, func(c net.Conn) { _, _ = c.Write([]byte("all")) })
	r := relay(t, dumptool.RelayConfig{Dir: dir, Open: dumptool.Dialing(open(), address)})
	secret, err := dumptool.Secret([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	got, err := dump(t.Context(), t, dumptool.Command{
		Path: exe, Args: []string{"-test.run", "^TestLongPath$"}, What: "the client", Relay: r, Files: []*os.File{secret},
		Env: []string{"XVAULT_TEST_SOCKET=" + r.Addr(), "XVAULT_TEST_SECRET=" + dumptool.FilePath(0)},
	})
	if err != nil || !strings.HasPrefix(got, "secret all\n") {
		t.Errorf("got %q and %v", got, err)
	}
}

// client is the other process of TestLongPath.
func client(t *testing.T, path string) {
	t.Helper()
	secret, err := os.ReadFile(os.Getenv("XVAULT_TEST_SECRET"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(connect(t, "unix", path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(os.Stdout, "%s %s\n", secret, all); err != nil {
		t.Fatal(err)
	}
}
