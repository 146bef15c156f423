package connectortest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/job"
)

// withKeys starts a server with one file.
func withKeys(t *testing.T, start Factory) *Server {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	tr.file("file", 5)
	return s
}

func testHostKeyUnknown(t *testing.T, start Factory) {
	t.Helper()
	s := withKeys(t, start)
	if s.HostKeys == nil {
		return
	}
	raw := direct(t, s, s.Root)
	raw["host_keys"] = []string{}
	source := opened(t, s, raw)
	err := source.Read(deadline(t), nothing)
	wantCode(t, "read", err, job.HostKeyUnknown)
	if !strings.Contains(err.Error(), s.HostKeys.Fingerprint()) {
		t.Errorf("the message does not show the fingerprint %s: %v", s.HostKeys.Fingerprint(), err)
	}
	probe, err := source.Probe(deadline(t))
	wantCode(t, "probe", err, job.HostKeyUnknown)
	if probe.HostKey != s.HostKeys.Current() {
		t.Errorf("the probe shows the key %q, not %q", probe.HostKey, s.HostKeys.Current())
	}
	// Each way to pin it.
	for _, pin := range []string{probe.HostKey, probe.HostKeyFingerprint} {
		raw["host_keys"] = []string{pin}
		if err := opened(t, s, raw).Read(deadline(t), nothing); err != nil {
			t.Errorf("pinned as %s: %v", pin, err)
		}
	}
}

func testTrustOnFirstUse(t *testing.T, start Factory) {
	t.Helper()
	s := withKeys(t, start)
	if s.HostKeys == nil {
		return
	}
	raw := direct(t, s, s.Root)
	raw["host_keys"], raw["trust_on_first_use"] = []string{}, true
	var pinned []string
	pin := func(e *connectors.Env) {
		e.PinHostKey = func(_ context.Context, key string) error {
			pinned = append(pinned, key)
			return nil
		}
	}
	if err := opened(t, s, raw, pin).Read(deadline(t), nothing); err != nil {
		t.Fatal(err)
	}
	if len(pinned) != 1 || pinned[0] != s.HostKeys.Current() {
		t.Fatalf("pinned %q, want %q", pinned, s.HostKeys.Current())
	}
	// The second use finds it pinned at the hub, and pins nothing.
	hub := func(e *connectors.Env) { pin(e); e.PinnedHostKeys = pinned[:1] }
	if err := opened(t, s, raw, hub).Read(deadline(t), nothing); err != nil || len(pinned) != 1 {
		t.Errorf("second use: %v, pinned %d times", err, len(pinned))
	}
	s.HostKeys.Replace()
	wantCode(t, "another key at the third use", opened(t, s, raw, hub).Read(deadline(t), nothing), job.HostKeyChanged)
	// What the hub says of a first use counts.
	refused := job.Errorf(job.HostKeyChanged, "the hub knows another key")
	no := func(e *connectors.Env) { e.PinHostKey = func(context.Context, string) error { return refused } }
	if err := opened(t, s, raw, no).Read(deadline(t), nothing); !errors.Is(err, refused) {
		t.Errorf("the hub refuses the key: %v", err)
	}
}

func testHostKeyChanged(t *testing.T, start Factory) {
	t.Helper()
	s := withKeys(t, start)
	if s.HostKeys == nil {
		return
	}
	raw := direct(t, s, s.Root)
	line, fingerprint := s.HostKeys.Current(), s.HostKeys.Fingerprint()
	s.HostKeys.Replace()
	for _, pin := range []string{line, fingerprint} {
		raw["host_keys"] = []string{pin}
		err := opened(t, s, raw).Read(deadline(t), nothing)
		wantCode(t, "pinned as "+pin, err, job.HostKeyChanged)
		if err != nil && !strings.Contains(err.Error(), s.HostKeys.Fingerprint()) {
			t.Errorf("the message does not show what the server has now: %v", err)
		}
		if job.HostKeyChanged.Retryable() {
			t.Error("a changed host key would be tried again")
		}
	}
	// One of several pins is enough.
	raw["host_keys"] = []string{line, s.HostKeys.Current()}
	if err := opened(t, s, raw).Read(deadline(t), nothing); err != nil {
		t.Errorf("old and new key pinned: %v", err)
	}
}
