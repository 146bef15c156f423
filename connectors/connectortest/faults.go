package connectortest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
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
	name := s.fill(t, some)
	whole := testenv.SlowLink(t, s.Addr, 0)
	if _, err := collect(deadline(t), opened(t, s, s.Config(whole.Host, whole.Port, name)), nil); err != nil {
		t.Fatal(err)
	}
	for _, percent := range []int64{1, 10, 50, 90, 99} {
		total := whole.Passed()
		for try := 1; ; try++ {
			at := total * percent / 100
			link := testenv.SlowLink(t, s.Addr, 0)
			link.CutAfter(at)
			_, err := collect(deadline(t), opened(t, s, s.Config(link.Host, link.Port, name)), nil)
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
	s := start(t, Options{Hasty: true})
	name := s.fill(t, much)
	var stalled sync.WaitGroup // both at once, for all that they do is wait
	for _, before := range []bool{true, false} {
		link := testenv.SlowLink(t, s.Addr, 0)
		if before {
			link.Stall()
		}
		source := opened(t, s, s.Config(link.Host, link.Port, name))
		ctx := deadline(t)
		stalled.Go(func() {
			begin := time.Now()
			_, err := collect(ctx, &halfway{source, early, func() {
				link.Stall()
				begin = time.Now()
			}}, nil)
			wantCode(t, "a server that falls silent", err, job.ConnectFailed, job.Timeout)
			if took := time.Since(begin); took > s.Patience+20*time.Second {
				t.Errorf("noticed after %v, patience is %v", took, s.Patience)
			}
		})
	}
	stalled.Wait()
}

// A server, or its part in what is read, dies in the middle of it.
func testKilled(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{Own: true})
	if len(s.Kills) == 0 {
		t.Fatal("there is no way to kill the server")
	}
	name := s.fill(t, much)
	for _, kill := range s.Kills {
		killed := false
		_, err := collect(deadline(t), &halfway{opened(t, s, direct(t, s, name)), early, func() {
			killed = true
			kill.Do()
		}}, nil)
		if !killed {
			t.Fatalf("%s: too little was read to be in the middle of it: %v", kill.What, err)
		}
		codes := kill.Codes
		if len(codes) == 0 {
			codes = []job.Code{job.ConnectFailed}
		}
		wantCode(t, kill.What+" was killed", err, codes...)
		if kill.Again != nil {
			kill.Again()
		}
	}
	s.idle(t)
}

func testRefused(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	name := s.fill(t, little)
	s.Stop()
	source := opened(t, s, direct(t, s, name))
	wantCode(t, "read", source.Read(deadline(t), nothing), job.ConnectFailed)
	_, err := source.Probe(deadline(t))
	wantCode(t, "probe", err, job.ConnectFailed)
}

func testNoSuchHost(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	_, port := hostPort(t, s.Addr)
	name := s.fill(t, little)
	wantCode(t, "a name nobody has", opened(t, s, s.Config("no-such-host.invalid", port, name)).Read(deadline(t), nothing), job.ConnectFailed)
	err := opened(t, s, s.Config("169.254.169.254", port, name)).Read(deadline(t), nothing)
	wantCode(t, "a forbidden address", err, job.ConfigInvalid)
}

func testWrongCredential(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	raw := direct(t, s, s.fill(t, little))
	wrong := map[string]func(*connectors.Env){"the credential": func(e *connectors.Env) { e.Credential = s.WrongCredential }}
	if s.WrongSSH.Type != "" {
		wrong["the credential of the machine in between"] = func(e *connectors.Env) { e.SSHCredential = s.WrongSSH }
	}
	for what, change := range wrong {
		wantCode(t, what+", read", opened(t, s, raw, change).Read(deadline(t), nothing), job.AuthFailed)
		_, err := opened(t, s, raw, change).Probe(deadline(t))
		wantCode(t, what+", probe", err, job.AuthFailed)
	}
	none, err := s.Type.Open(canonical(t, s, raw), connectors.Env{})
	if err == nil {
		err = none.Read(deadline(t), nothing)
		if err := none.Close(); err != nil {
			t.Error(err)
		}
	}
	wantCode(t, "no credential", err, job.ConfigInvalid, job.AuthFailed)
}

// missing is something that is there, and names of what is not.
func missing(t *testing.T, s *Server) (there string, names []string) {
	t.Helper()
	if s.Content != nil {
		return s.fill(t, little), []string{s.Content.Missing}
	}
	tr := tree{t, s.Root}
	tr.file("there", 5)
	tr.link("dangling", "nowhere")
	return tr.path("there"), []string{tr.path("missing"), tr.path("missing/deeper"), tr.path("there/below-a-file"), tr.path("dangling")}
}

func testMissingPath(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	there, names := missing(t, s)
	for _, name := range names {
		source := opened(t, s, direct(t, s, there, name))
		visits := 0
		err := source.Read(deadline(t), func(connectors.Item) error { visits++; return nil })
		wantCode(t, name, err, job.PathNotFound)
		if visits > 0 {
			t.Errorf("%s: %d entries visited before the missing path was noticed", name, visits)
		}
		probe, err := source.Probe(deadline(t))
		wantCode(t, "probe of "+name, err, job.PathNotFound)
		if len(probe.Paths) == 2 && probe.Paths[0].Path == name { // some tell them in the archive's order
			slices.Reverse(probe.Paths)
		}
		if len(probe.Paths) != 2 || !probe.Paths[0].Reachable || probe.Paths[1].Reachable || probe.Paths[1].Error.Code != job.PathNotFound {
			t.Errorf("%s: probe tells %+v", name, probe.Paths)
		}
	}
}

var errUnwanted = errors.New("no longer wanted")

func testCancel(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	name := s.fill(t, some)
	for _, at := range s.visits(0, 1, 100, 203) {
		delay := time.Millisecond
		if at == 0 {
			delay = 20 * time.Millisecond // slow enough that a connection takes a while
		}
		link := testenv.SlowLink(t, s.Addr, delay)
		ctx, cancel := context.WithCancelCause(deadline(t))
		if at == 0 {
			timer := time.AfterFunc(50*time.Millisecond, func() { cancel(errUnwanted) })
			defer timer.Stop()
		}
		n := 0
		var canceled time.Time
		err := opened(t, s, s.Config(link.Host, link.Port, name)).Read(ctx, func(connectors.Item) error {
			if n++; n == at {
				canceled = time.Now()
				cancel(errUnwanted)
			}
			return nil
		})
		if !errors.Is(err, errUnwanted) {
			t.Errorf("canceled at entry %d: %v", at, err)
		}
		if took := time.Since(canceled); at > 0 && took > 5*time.Second {
			t.Errorf("canceled at entry %d: ended after %v", at, took)
		}
		cancel(nil)
	}
	ctx, cancel := context.WithCancelCause(deadline(t))
	defer cancel(nil)
	_, err := collect(ctx, &halfway{opened(t, s, direct(t, s, name)), early, func() { cancel(errUnwanted) }}, nil)
	if !errors.Is(err, errUnwanted) {
		t.Errorf("canceled in the middle of content: %v", err)
	}
	s.idle(t)
}

func testVisitFails(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	name := s.fill(t, some)
	why := errors.New("the disk is full")
	for _, at := range s.visits(1, 2, 100, 204) {
		n := 0
		err := opened(t, s, direct(t, s, name)).Read(deadline(t), func(connectors.Item) error {
			if n++; n == at {
				return why
			}
			return nil
		})
		if err != why { //nolint:errorlint // as it is, not wrapped
			t.Errorf("visit %d failed: %v", at, err)
		}
	}
	s.idle(t)
}

func testCloseEndsRead(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	source := opened(t, s, direct(t, s, s.fill(t, much)))
	_, err := collect(deadline(t), &halfway{source, early, func() {
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	}}, nil)
	if err == nil {
		t.Error("a source that was closed in the middle was read to its end")
	}
	s.idle(t)
}

// A probe leaves a source that can be read.
func testReadAfterProbe(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	source := opened(t, s, direct(t, s, s.fill(t, little)))
	probe, err := source.Probe(deadline(t))
	if err != nil || len(probe.Paths) == 0 {
		t.Fatalf("probe tells %+v, error %v", probe, err)
	}
	for _, p := range probe.Paths {
		if !p.Reachable || p.Error != nil || s.Content != nil && p.Kind != s.Content.Kind {
			t.Errorf("probe tells %+v", p)
		}
	}
	if s.HostKeys != nil && (probe.HostKey != s.HostKeys.Current() || probe.HostKeyFingerprint != s.HostKeys.Fingerprint()) {
		t.Errorf("probe tells of the host key %q, %q", probe.HostKey, probe.HostKeyFingerprint)
	}
	s.idle(t)
	if visited, err := collect(deadline(t), source, nil); err != nil || len(visited) == 0 {
		t.Errorf("read after probe: %d entries, error %v", len(visited), err)
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
	if _, err := os.Stat(tr.path("dir/file")); err != nil {
		t.Error(err)
	}
	if visited, err := collect(deadline(t), source, nil); err != nil || len(visited) != 2 {
		t.Errorf("read after probe: %d entries, error %v", len(visited), err)
	}
}
