package worker

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"xvault/archive"
	"xvault/connectors"
	"xvault/internal/job"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	found := connectors.ProbeResult{HostKeyFingerprint: "SHA256:abc", Paths: []connectors.ProbePath{{Path: "/srv", Reachable: true, Kind: "dir"}}}
	tests := []struct {
		name   string
		result connectors.ProbeResult
		err    error
		status job.Status
		code   job.Code
	}{
		{name: "all is well", result: found, status: job.Completed},
		{name: "it shows what it saw", result: found, err: job.Errorf(job.AuthFailed, "The password was refused."), status: job.Failed, code: job.AuthFailed},
		{name: "it saw nothing", err: job.Errorf(job.ConnectFailed, "Nobody listens there."), status: job.Failed, code: job.ConnectFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.source.probe = func(context.Context, connectors.Env) (connectors.ProbeResult, error) { return tt.result, tt.err }
			l.start()
			l.deliver(l.hub.addJob(job.Probe))
			done := l.completion()
			if done.Status != tt.status || done.Snapshot != nil || done.Error != nil && done.Error.Code != tt.code || (done.Error == nil) != (tt.err == nil) {
				t.Errorf("completion: %+v %+v", done, done.Error)
			}
			if len(tt.result.Paths) > 0 {
				if got := decode[connectors.ProbeResult](t, done.Result); got.HostKeyFingerprint != "SHA256:abc" || len(got.Paths) != 1 {
					t.Errorf("result: %s", done.Result)
				}
			} else if len(done.Result) > 0 {
				t.Errorf("result: %s", done.Result)
			}
		})
	}
}

func TestPinningOnFirstUse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		code   string
		want   job.Code // empty: completed
		silent bool     // the hub hears no more of it
	}{
		{name: "pinned", status: 0},
		{name: "another key is pinned", status: 409, code: job.RefusedHostKey, want: job.HostKeyChanged},
		{name: "the hub is away", status: 503, code: "unavailable", want: job.ConnectFailed},
		{name: "not trusted any more", status: 409, code: job.RefusedFirstUse, want: job.HostKeyUnknown},
		{name: "the hub takes it for no key", status: 409, code: "invalid_report", want: job.Internal},
		{name: "the lease is lost", status: 409, code: job.RefusedLeaseLost, silent: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if tt.status != 0 {
				l.hub.answer("host-key", func(call) (int, any) { return problem(tt.status, tt.code) })
			}
			const key = "ssh-ed25519 AAAA"
			l.source.during = func(ctx context.Context, env connectors.Env) error { return env.PinHostKey(ctx, key) }
			l.start()
			l.deliver(l.hub.addJob(job.Backup))
			req := decode[job.HostKeyRequest](t, l.waitCalls("host-key", 1)[0].body)
			if req.Key != key || req.Attempt != 1 {
				t.Errorf("request: %+v", req)
			}
			if tt.silent {
				l.stop()
				if err := l.end(); err != nil || len(l.hub.got("complete")) > 0 {
					t.Errorf("run: %v, %d completions", err, len(l.hub.got("complete")))
				}
				return
			}
			done := l.completion()
			if tt.want == "" && done.Status != job.Completed || tt.want != "" && (done.Error == nil || done.Error.Code != tt.want) {
				t.Errorf("completion: %+v %+v", done, done.Error)
			}
		})
	}
}

func TestUnknownKindsAndTypes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	kind, source := l.hub.addJob("defragment"), l.hub.addJob(job.Backup)
	source.Source.Type = "tape"
	l.deliver(kind)
	l.deliver(source)
	for _, c := range l.waitCalls("complete", 2) {
		if done := decode[job.CompleteRequest](t, c.body); done.Error == nil || done.Error.Code != job.ConfigInvalid {
			t.Errorf("completion: %+v", done)
		}
	}
}

// TestResultsFit: the hub takes 64 KiB.
func TestResultsFit(t *testing.T) {
	t.Parallel()
	found := connectors.ProbeResult{Paths: []connectors.ProbePath{}, Warnings: []string{"mind the gap"}}
	for i := range 1000 {
		p := connectors.ProbePath{Path: fmt.Sprintf("/%03d/%s", i, strings.Repeat("<x>", 500)), Reachable: i != 700}
		if i == 700 {
			p.Error = &connectors.ProbeErr{Code: job.PathNotFound, Message: strings.Repeat("x", 500)}
		}
		found.Paths = append(found.Paths, p)
	}
	result, err := encodeProbe(found)
	if err != nil || len(result) > 64<<10 {
		t.Fatalf("%d bytes, %v", len(result), err)
	}
	if got := decode[connectors.ProbeResult](t, result); len(got.Paths) < 5 || got.Paths[0].Reachable || got.Warnings[0] == "mind the gap" {
		t.Errorf("%d paths, warnings %q", len(got.Paths), got.Warnings)
	}
	b := &backup{a: &attempt{claim: job.Claim{Source: &job.ClaimSource{Type: "sftp"}}}}
	summary := archive.Summary{Content: archive.Content{Errors: 20}}
	for range 20 {
		summary.Problems = append(summary.Problems, archive.Problem{Path: archive.Escape(strings.Repeat("\xff", 4000)), Code: job.PermissionDenied})
	}
	missing := b.missing(summary)
	if res := decode[missingResult](t, missing); len(missing) > 64<<10 || len(res.Paths) != 20 || res.Errors != 20 || !strings.HasSuffix(res.Paths[19], "…") {
		t.Errorf("%d bytes: %.200s", len(missing), missing)
	}
}
