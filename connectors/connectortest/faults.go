package connectortest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

func hostPort(t *testing.T, address string) (string, int) {
	t.Helper()
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

func nothing(connectors.Item) error { return nil }

// mixed is a tree of small and large files.
func mixed(tr tree) {
	tr.t.Helper()
	for i := range 200 {
		tr.file("small/"+strconv.Itoa(i), 5000)
	}
	tr.file("large", 8<<20)
	tr.file("z/last", 100)
}

func testCut(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	mixed(tree{t, s.Root})
	whole := testenv.SlowLink(t, s.Addr, 0)
	if _, err := collect(deadline(t), opened(t, s, s.Config(whole.Host, whole.Port, s.Root)), nil); err != nil {
		t.Fatal(err)
	}
	for _, percent := range []int64{1, 10, 50, 90, 99} {
		total := whole.Passed()
		for try := 1; ; try++ {
			at := total * percent / 100
			link := testenv.SlowLink(t, s.Addr, 0)
			link.CutAfter(at)
			_, err := collect(deadline(t), opened(t, s, s.Config(link.Host, link.Port, s.Root)), nil)
			// How much is asked for in vain is a matter of timing. One that came to its end
			// before the cut tells how little a whole reading may take.
			if passed := link.Passed(); err == nil && passed < at && try < 5 {
				total = passed
				continue
			}
			wantCode(t, fmt.Sprintf("cut at %d %%, %d of %d bytes", percent, link.Passed(), total), err, job.ConnectFailed)
			break
		}
	}
}

func testStall(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	ballast(tr)
	var stalled sync.WaitGroup // both at once, for all that they do is wait
	for _, before := range []bool{true, false} {
		link := testenv.SlowLink(t, s.Addr, 0)
		if before {
			link.Stall()
		}
		source := opened(t, s, s.Config(link.Host, link.Port, s.Root))
		ctx := deadline(t)
		stalled.Go(func() {
			begin := time.Now()
			_, err := collect(ctx, source, onFirstFile(func() {
				link.Stall()
				begin = time.Now()
			}))
			wantCode(t, "a server that falls silent", err, job.ConnectFailed, job.Timeout)
			if took := time.Since(begin); took > s.Patience+20*time.Second {
				t.Errorf("noticed after %v, patience is %v", took, s.Patience)
			}
		})
	}
	stalled.Wait()
}

func testRefused(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	s.Stop()
	source := opened(t, s, direct(t, s, s.Root))
	wantCode(t, "read", source.Read(deadline(t), nothing), job.ConnectFailed)
	_, err := source.Probe(deadline(t))
	wantCode(t, "probe", err, job.ConnectFailed)
}

func testNoSuchHost(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	_, port := hostPort(t, s.Addr)
	wantCode(t, "a name nobody has", opened(t, s, s.Config("no-such-host.invalid", port, s.Root)).Read(deadline(t), nothing), job.ConnectFailed)
	err := opened(t, s, s.Config("169.254.169.254", port, s.Root)).Read(deadline(t), nothing)
	wantCode(t, "a forbidden address", err, job.ConfigInvalid)
}

func testWrongCredential(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	source := opened(t, s, direct(t, s, s.Root), func(e *connectors.Env) { e.Credential = s.WrongCredential })
	wantCode(t, "read", source.Read(deadline(t), nothing), job.AuthFailed)
	source = opened(t, s, direct(t, s, s.Root), func(e *connectors.Env) { e.Credential = s.WrongCredential })
	_, err := source.Probe(deadline(t))
	wantCode(t, "probe", err, job.AuthFailed)
	none, err := s.Type.Open(canonical(t, s, direct(t, s, s.Root)), connectors.Env{})
	if err == nil {
		err = none.Read(deadline(t), nothing)
		if err := none.Close(); err != nil {
			t.Error(err)
		}
	}
	wantCode(t, "no credential", err, job.ConfigInvalid, job.AuthFailed)
}

func testMissingPath(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	tr.file("there", 5)
	tr.link("dangling", "nowhere")
	for _, name := range []string{"missing", "missing/deeper", "there/below-a-file", "dangling"} {
		source := opened(t, s, direct(t, s, tr.path("there"), tr.path(name)))
		visits := 0
		err := source.Read(deadline(t), func(connectors.Item) error { visits++; return nil })
		wantCode(t, name, err, job.PathNotFound)
		if visits > 0 {
			t.Errorf("%s: %d entries visited before the missing path was noticed", name, visits)
		}
		probe, err := source.Probe(deadline(t))
		wantCode(t, "probe of "+name, err, job.PathNotFound)
		if len(probe.Paths) != 2 || !probe.Paths[0].Reachable || probe.Paths[1].Reachable || probe.Paths[1].Error.Code != job.PathNotFound {
			t.Errorf("%s: probe tells %+v", name, probe.Paths)
		}
	}
}

func testCancel(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	mixed(tree{t, s.Root})
	why := errors.New("no longer wanted")
	for _, at := range []int{0, 1, 100, 203} {
		delay := time.Millisecond
		if at == 0 {
			delay = 20 * time.Millisecond // slow enough that a connection takes a while
		}
		link := testenv.SlowLink(t, s.Addr, delay)
		ctx, cancel := context.WithCancelCause(deadline(t))
		if at == 0 {
			timer := time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
			defer timer.Stop()
		}
		n := 0
		var canceled time.Time
		err := opened(t, s, s.Config(link.Host, link.Port, s.Root)).Read(ctx, func(connectors.Item) error {
			if n++; n == at {
				canceled = time.Now()
				cancel(why)
			}
			return nil
		})
		if !errors.Is(err, why) {
			t.Errorf("canceled at entry %d: %v", at, err)
		}
		if took := time.Since(canceled); at > 0 && took > 5*time.Second {
			t.Errorf("canceled at entry %d: ended after %v", at, took)
		}
		cancel(nil)
	}
}

func testVisitFails(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	mixed(tree{t, s.Root})
	why := errors.New("the disk is full")
	for _, at := range []int{1, 2, 100, 204} {
		n := 0
		err := opened(t, s, direct(t, s, s.Root)).Read(deadline(t), func(connectors.Item) error {
			if n++; n == at {
				return why
			}
			return nil
		})
		if err != why { //nolint:errorlint // as it is, not wrapped
			t.Errorf("visit %d failed: %v", at, err)
		}
	}
}

func testCloseEndsRead(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	ballast(tr)
	source := opened(t, s, direct(t, s, s.Root))
	err := source.Read(deadline(t), func(item connectors.Item) error {
		if item.Body != nil {
			if err := source.Close(); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if err == nil {
		t.Error("a source that was closed in the middle was read to its end")
	}
}

func testProbe(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	tr.file("dir/file", 5)
	source := opened(t, s, direct(t, s, tr.path("dir"), tr.path("dir/file")))
	probe, err := source.Probe(deadline(t))
	if err != nil || len(probe.Paths) != 2 {
		t.Fatalf("probe tells %+v, error %v", probe, err)
	}
	for i, kind := range []string{"dir", "file"} {
		if p := probe.Paths[i]; !p.Reachable || p.Kind != kind || p.Error != nil {
			t.Errorf("probe tells %+v", p)
		}
	}
	if s.HostKeys != nil && (probe.HostKey != s.HostKeys.Current() || probe.HostKeyFingerprint != s.HostKeys.Fingerprint()) {
		t.Errorf("probe tells of the host key %q, %q", probe.HostKey, probe.HostKeyFingerprint)
	}
	if _, err := os.Stat(tr.path("dir/file")); err != nil {
		t.Error(err)
	}
	// A probe leaves a source that can be read.
	if visited, err := collect(deadline(t), source, nil); err != nil || len(visited) != 2 {
		t.Errorf("read after probe: %d entries, error %v", len(visited), err)
	}
}
