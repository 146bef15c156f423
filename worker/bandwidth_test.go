package worker

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/bandwidth"
	"xvault/internal/job"
)

// A job dials within the limits of its source and of the worker, which others
// share, and plainly where there are none.
func TestConnectionsKeepToTheLimits(t *testing.T) {
	t.Parallel()
	plain := connectors.NewDialer(connectors.DialerConfig{})
	a := &job.ClaimSource{ID: newID(), Bandwidth: json.RawMessage(`{"limit_bps":1000000}`)}
	b := &job.ClaimSource{ID: newID()}
	dial := func(l *limits, s *job.ClaimSource) connectors.Dialer {
		d, err := l.dialer(plain, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	count := func(d connectors.Dialer) int {
		limited, ok := d.(bandwidth.Dialer)
		if !ok {
			return 0
		}
		return len(limited.Limiters)
	}

	none, err := newLimits(bandwidth.Plan{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	own, err := newLimits(bandwidth.Plan{LimitBPS: 5e6}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*limits{none, own} {
		defer l.hold(a)()
		defer l.hold(b)()
	}
	if n := count(dial(none, b)); n != 0 {
		t.Errorf("no limit at all: %d limiters", n)
	}
	if n := count(dial(none, a)); n != 1 {
		t.Errorf("the source's limit: %d limiters", n)
	}
	if n := count(dial(own, b)); n != 1 {
		t.Errorf("the worker's limit: %d limiters", n)
	}
	if n := count(dial(own, a)); n != 2 {
		t.Errorf("both: %d limiters", n)
	}

	// Two jobs of one source share its limit; the plan claimed last counts, and
	// nothing is kept when both are over.
	first := none.hold(a)
	one, two := dial(none, a).(bandwidth.Dialer), dial(none, a).(bandwidth.Dialer) //nolint:errcheck,forcetypeassert // see above
	if one.Limiters[0] != two.Limiters[0] {
		t.Error("the source's jobs do not share its limit")
	}
	dial(none, &job.ClaimSource{ID: a.ID, Bandwidth: json.RawMessage(`{"limit_bps":2000000}`)})
	if got := one.Limiters[0].Limit(); got != 2e6 {
		t.Errorf("the limit is %d", got)
	}
	first()
	// A plan that this worker cannot read is no reason to do without.
	_, err = none.dialer(plain, &job.ClaimSource{ID: a.ID, Bandwidth: json.RawMessage(`{"limit_bps":"slow"}`)})
	if job.CodeOf(err) != job.ConfigInvalid || !strings.Contains(err.Error(), "bandwidth") {
		t.Errorf("a plan that makes no sense: %v", err)
	}
	if n := len(none.sources); n != 2 {
		t.Errorf("%d sources are held", n)
	}
}

// sends is a server that gives everybody so many bytes.
func sends(t *testing.T, bytes int) net.Addr {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = conn.Write(make([]byte, bytes))
				_ = conn.Close()
			}()
		}
	}()
	return listener.Addr()
}

// fetch reads all that a server sends, and gives how many bytes that were.
func fetch(ctx context.Context, env connectors.Env, from net.Addr) (int64, error) {
	conn, err := env.Dial.DialContext(ctx, "tcp", from.String())
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	return io.Copy(io.Discard, conn)
}

// The worker's own limit holds for the bytes of all its sources together: two jobs at
// once take as long as the limit wants for both, however fast the machine is. That
// they take longer on a busy one proves nothing, so only the least is asked for.
func TestWorkersLimitHoldsForAllSourcesTogether(t *testing.T) {
	t.Parallel()
	const each, limit = 500e3, 1e6
	target := sends(t, each)
	l := newLab(t)
	l.cfg.Bandwidth = bandwidth.Plan{LimitBPS: limit}
	var began sync.Once
	var begin time.Time
	var bytes atomic.Int64
	l.source.during = func(ctx context.Context, env connectors.Env) error {
		began.Do(func() { begin = time.Now() })
		n, err := fetch(ctx, env, target)
		bytes.Add(n)
		return err
	}
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	l.deliver(l.hub.addJob(job.Backup))
	for _, c := range l.waitCalls("complete", 2) {
		if done := decode[job.CompleteRequest](t, c.body); done.Status != job.Completed {
			t.Fatalf("%+v", done.Error)
		}
	}
	// What passes at once, 100 kB, is not waited for.
	if took, least := time.Since(begin), 800*time.Millisecond; bytes.Load() != 2*each || took < least {
		t.Errorf("%d bytes at %.0f bytes a second took %v", bytes.Load(), limit, took)
	}
}

// What the hub sends reaches the connector's dialer.
func TestBackupDialsWithinTheClaimedLimit(t *testing.T) {
	t.Parallel()
	target := sends(t, 1e6)
	l := newLab(t)
	took := make(chan time.Duration, 1)
	l.source.during = func(ctx context.Context, env connectors.Env) error {
		begin := time.Now()
		_, err := fetch(ctx, env, target)
		took <- time.Since(begin)
		return err
	}
	l.start()
	c := l.hub.addJob(job.Backup)
	c.Source.Bandwidth = json.RawMessage(`{"limit_bps":1000000}`)
	l.deliver(c)
	if done := l.completion(); done.Status != job.Completed {
		t.Fatalf("%+v", done.Error)
	}
	if d := <-took; d < 900*time.Millisecond || d > 2*time.Second {
		t.Errorf("1 MB at 1 MB/s took %v", d)
	}
}
