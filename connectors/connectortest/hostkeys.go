package connectortest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/job"
)

// withKeys starts a server that has something to read. in is the part of a configuration
// that has its host keys, and pin sets them, and gives the whole of it.
func withKeys(t *testing.T, start Factory) (s *Server, in map[string]any, pin func(keys ...string) map[string]any) {
	t.Helper()
	s = start(t, Options{})
	if s.HostKeys == nil {
		return s, nil, nil
	}
	raw := direct(t, s, s.fill(t, little))
	in = raw
	if s.HostKeys.In != nil {
		in = s.HostKeys.In(raw)
	}
	return s, in, func(keys ...string) map[string]any {
		in["host_keys"] = append([]string{}, keys...)
		return raw
	}
}

func testHostKeyUnknown(t *testing.T, start Factory) {
	t.Helper()
	s, _, pin := withKeys(t, start)
	if s.HostKeys == nil {
		return
	}
	source := opened(t, s, pin())
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
	for _, key := range []string{probe.HostKey, probe.HostKeyFingerprint} {
		if _, err := collect(deadline(t), opened(t, s, pin(key)), nil); err != nil {
			t.Errorf("pinned as %s: %v", key, err)
		}
	}
}

func testTrustOnFirstUse(t *testing.T, start Factory) {
	t.Helper()
	s, in, keys := withKeys(t, start)
	if s.HostKeys == nil {
		return
	}
	raw := keys()
	in["trust_on_first_use"] = true
	var pinned []string
	pin := func(e *connectors.Env) {
		e.PinHostKey = func(_ context.Context, key string) error {
			pinned = append(pinned, key)
			return nil
		}
	}
	if _, err := collect(deadline(t), opened(t, s, raw, pin), nil); err != nil {
		t.Fatal(err)
	}
	if len(pinned) != 1 || pinned[0] != s.HostKeys.Current() {
		t.Fatalf("pinned %q, want %q", pinned, s.HostKeys.Current())
	}
	// The second use finds it pinned at the hub, and pins nothing.
	hub := func(e *connectors.Env) { pin(e); e.PinnedHostKeys = pinned[:1] }
	if _, err := collect(deadline(t), opened(t, s, raw, hub), nil); err != nil || len(pinned) != 1 {
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
	s, _, pin := withKeys(t, start)
	if s.HostKeys == nil {
		return
	}
	line, fingerprint := s.HostKeys.Current(), s.HostKeys.Fingerprint()
	s.HostKeys.Replace()
	for _, key := range []string{line, fingerprint} {
		err := opened(t, s, pin(key)).Read(deadline(t), nothing)
		wantCode(t, "pinned as "+key, err, job.HostKeyChanged)
		if err != nil && !strings.Contains(err.Error(), s.HostKeys.Fingerprint()) {
			t.Errorf("the message does not show what the server has now: %v", err)
		}
		if job.HostKeyChanged.Retryable() {
			t.Error("a changed host key would be tried again")
		}
	}
	// One of several pins is enough.
	if _, err := collect(deadline(t), opened(t, s, pin(line, s.HostKeys.Current())), nil); err != nil {
		t.Errorf("old and new key pinned: %v", err)
	}
}
