package bandwidth_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xvault/internal/bandwidth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func limiter(t *testing.T, text string, now func() time.Time) *bandwidth.Limiter {
	t.Helper()
	p, err := bandwidth.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	l, err := bandwidth.NewLimiter(p, now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// clock is a clock that runs, and can be set.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

// set lets it show a time of day from now on.
func (c *clock) set(t *testing.T, moment string) {
	t.Helper()
	at, err := time.Parse(time.RFC3339, moment)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = time.Until(at)
}

// pair gives a held connection and its other end.
func pair(t *testing.T, limiters ...*bandwidth.Limiter) (near *bandwidth.Conn, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialer := bandwidth.Dialer{Dial: &net.Dialer{}, Limiters: limiters}
	conn, err := dialer.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, ok := conn.(*bandwidth.Conn)
	if !ok {
		t.Fatalf("a %T", conn)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// send lets the other end write, for ever.
func send(far net.Conn) {
	block := make([]byte, 64<<10)
	go func() {
		for {
			if _, err := far.Write(block); err != nil {
				return
			}
		}
	}()
}

// receive reads n bytes and gives the rate.
func receive(t *testing.T, conn net.Conn, n int64) float64 {
	t.Helper()
	begin := time.Now()
	if _, err := io.CopyN(io.Discard, conn, n); err != nil {
		t.Error(err)
	}
	return float64(n) / time.Since(begin).Seconds()
}

// near allows for a machine that is busy otherwise, and for no more than the limit;
// TestRateIsExact says how close it is by a clock of its own.
func near(got, want float64) bool { return got > 0.6*want && got < 1.1*want }

func TestReadingKeepsToTheLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want float64
	}{{"100kB/s", 100e3}, {"4MB/s", 4e6}} {
		conn, far := pair(t, limiter(t, c.text, nil))
		send(far)
		if got := receive(t, conn, int64(2*c.want)); !near(got, c.want) {
			t.Errorf("%s: %.0f bytes a second", c.text, got)
		}
	}
}

func TestWritingKeepsToTheLimit(t *testing.T) {
	t.Parallel()
	conn, far := pair(t, limiter(t, "1MB/s", nil))
	go func() { _, _ = io.Copy(io.Discard, far) }()
	begin := time.Now()
	if n, err := conn.Write(make([]byte, 2e6)); n != 2e6 || err != nil {
		t.Fatal(n, err)
	}
	if got := 2e6 / time.Since(begin).Seconds(); !near(got, 1e6) {
		t.Errorf("%.0f bytes a second", got)
	}
}

// Several connections share one limit, and the slower of two limits counts.
func TestLimitIsShared(t *testing.T) {
	t.Parallel()
	shared := limiter(t, "2MB/s", nil)
	var wg sync.WaitGroup
	begin := time.Now()
	for range 4 {
		conn, far := pair(t, shared, limiter(t, "100MB/s", nil))
		send(far)
		wg.Go(func() { receive(t, conn, 1e6) })
	}
	wg.Wait()
	if got := 4e6 / time.Since(begin).Seconds(); !near(got, 2e6) {
		t.Errorf("%.0f bytes a second", got)
	}
}

// Another hour's limit holds for what is under way, and so does another plan.
func TestLimitChangesWhileRunning(t *testing.T) {
	t.Parallel()
	var c clock
	c.set(t, "2026-01-15T07:59:00Z")
	l := limiter(t, "none, 08:00-18:00=1MB/s", c.now)
	conn, far := pair(t, l)
	send(far)
	if got := receive(t, conn, 50e6); got < 20e6 {
		t.Errorf("without a limit: %.0f bytes a second", got)
	}
	c.set(t, "2026-01-15T08:00:01Z")
	receive(t, conn, 1e6) // what the clock's step cost is behind it then
	if got := receive(t, conn, 2e6); !near(got, 1e6) {
		t.Errorf("in the window: %.0f bytes a second", got)
	}
	if err := l.Set(bandwidth.Plan{LimitBPS: 3e6}); err != nil {
		t.Fatal(err)
	}
	receive(t, conn, 1e6)
	if got := receive(t, conn, 6e6); !near(got, 3e6) {
		t.Errorf("under the new plan: %.0f bytes a second", got)
	}
}

// What is held back is told apart from a silent peer.
func TestHeldIsTheLimitersDoing(t *testing.T) {
	t.Parallel()
	conn, far := pair(t, limiter(t, "100kB/s", nil))
	if _, err := far.Write(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	receive(t, conn, 1)
	if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("a silent peer said something")
	}
	if held := conn.Held(); held > 50*time.Millisecond {
		t.Errorf("held for %v while the peer was silent", held)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	send(far)
	receive(t, conn, 100e3)
	if held := conn.Held(); held < 700*time.Millisecond {
		t.Errorf("held for %v of a second", held)
	}
}

func TestClosingEndsTheWait(t *testing.T) {
	t.Parallel()
	shared := limiter(t, "10kB/s", nil)
	conn, far := pair(t, shared)
	go func() { _, _ = io.Copy(io.Discard, far) }()
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Write(make([]byte, 10e6))
		ended <- err
	}()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it still waits")
	}
}

func TestDialErrorsAreTheDialers(t *testing.T) {
	t.Parallel()
	d := bandwidth.Dialer{Dial: &net.Dialer{}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.DialContext(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
