package delay_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xvault/e2e/bench/delay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every connection with handle.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
				defer func() { _ = conn.Close() }()
				handle(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }

func start(t *testing.T, target string, roundTrip time.Duration) *net.TCPAddr {
	t.Helper()
	p, err := delay.Start(delay.Config{Target: target, RoundTrip: roundTrip})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p.Port()}
}

func dial(t *testing.T, addr *net.TCPAddr) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestRoundTripIsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	for _, roundTrip := range []time.Duration{20 * time.Millisecond, 80 * time.Millisecond} {
		conn := dial(t, start(t, serve(t, echo), roundTrip))
		var took []time.Duration
		for range 20 {
			began := time.Now()
			if _, err := conn.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		// The shortest: a machine that is busy makes the others longer.
		if least := slices.Min(took); least < roundTrip || least > 2*roundTrip {
			t.Errorf("a round trip of %v took %v", roundTrip, least)
		}
	}
}

// A connection costs one round trip before the client may send, and what it
// sends another.
func TestConnectionTakesTwoRoundTripsToAnswer(t *testing.T) {
	t.Parallel()
	const roundTrip = 50 * time.Millisecond
	began := time.Now()
	conn := dial(t, start(t, serve(t, func(c net.Conn) { _, _ = c.Write([]byte{1}) }), roundTrip))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*roundTrip {
		t.Errorf("the greeting came after %v, not two round trips of %v", took, roundTrip)
	}
}

// What the client sends at once arrives with the end of the handshake: SYN, SYN-ACK,
// and its answer comes after two round trips.
func TestFirstBytesGoOutWithTheHandshake(t *testing.T) {
	t.Parallel()
	const roundTrip = 80 * time.Millisecond
	addr := start(t, serve(t, echo), roundTrip)
	var took []time.Duration
	for range 10 {
		began := time.Now()
		conn := dial(t, addr)
		if _, err := conn.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	// The shortest: a machine that is busy makes the others longer.
	if least := slices.Min(took); least < 2*roundTrip || least > 2*roundTrip+roundTrip/3 {
		t.Errorf("the first bytes were answered after %v, of %v for a round trip", least, roundTrip)
	}
}

// Far more than any socket holds is under way while nobody takes anything, so that
// no window of either side limits what passes; and it comes out unharmed.
func TestDelayIsNoLimitOfThroughput(t *testing.T) {
	t.Parallel()
	const total = 256 << 20
	block := make([]byte, 1<<20)
	if _, err := rand.NewChaCha8([32]byte{1}).Read(block); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	target := serve(t, func(c net.Conn) {
		for range total / len(block) {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
		close(sent)
	})
	conn := dial(t, start(t, target, 80*time.Millisecond))
	select {
	case <-sent:
	case <-time.After(time.Minute):
		t.Fatal("the sender was held up")
	}
	got, want := sha256.New(), sha256.New()
	if _, err := io.Copy(got, conn); err != nil {
		t.Fatal(err)
	}
	for range total / len(block) {
		want.Write(block)
	}
	if !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		t.Error("the bytes came out differently")
	}
}

func TestHalfCloseAndEndArriveLate(t *testing.T) {
	t.Parallel()
	const roundTrip = 40 * time.Millisecond
	target := serve(t, func(c net.Conn) {
		all, _ := io.ReadAll(c)
		_, _ = c.Write(all)
	})
	conn := dial(t, start(t, target, roundTrip))
	if _, err := conn.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || string(answer) != "question" {
		t.Fatalf("%q, %v", answer, err)
	}
}

// A client that goes away in the middle leaves nothing behind: goleak looks.
func TestBrokenConnectionLeavesNothing(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	target := serve(t, func(c net.Conn) {
		defer close(gone)
		block := make([]byte, 1<<20)
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	conn := dial(t, start(t, target, 20*time.Millisecond))
	if _, err := io.ReadFull(conn, make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Fatal("the server never learned of it")
	}
}
