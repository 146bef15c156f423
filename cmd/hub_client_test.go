package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// source makes a tenant, a credential and a source, and gives the source's id.
func (d *desk) source(name string) string {
	d.t.Helper()
	d.ok("tenant", "create", name)
	d.stdin = "correct horse"
	d.ok("credential", "create", name, "--tenant", name, "--password-file", "-")
	return d.id("source", "create", name, "--tenant", name, "--type", "sftp", "--host", "127.0.0.1", "--port", "1",
		"--username", "u", "--path", "/srv", "--credential", name, "--trust-on-first-use")
}

func TestEveryNounFromBeginningToEnd(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	sourceID := d.source("acme")

	for _, c := range [][2]string{
		{"tenant ls", "acme"},
		{"tenant show acme", "age1"},
		{"tenant update acme --plan big", "big"},
		{"credential ls", "password"},
		{"credential show acme", "source"},
		{"source ls", "u@127.0.0.1:1"},
		{"source show acme", "/srv"},
		{"source disable acme", "disabled"},
		{"source enable acme", "active"},
		{"source update acme --path /a --path /b", "/a, /b"},
		{"source update acme --bandwidth 20MB/s,08:00-18:00=5MB/s", "20MB/s, 08:00-18:00=5MB/s"},
		{"source update acme --bandwidth none", "none"},
		{"job ls", "ID"},
		{"snapshot ls", "ID"},
		{"worker ls", "ID"},
		{"key ls", "ID"},
		{"audit ls", "tenant.create"},
	} {
		if out := d.ok(strings.Fields(c[0])...); !strings.Contains(out, c[1]) {
			t.Errorf("xvault %s lacks %q:\n%s", c[0], c[1], out)
		}
	}
	d.stdin = "another one"
	d.ok("credential", "replace", "acme", "--password-file", "-")

	jobID := d.id("job", "run", "acme", "--priority", "9")
	if out := d.ok("job", "show", jobID); !strings.Contains(out, "none is online") || !strings.Contains(out, "backup") {
		t.Errorf("a job without workers:\n%s", out)
	}
	if out := d.ok("job", "ls", "--source", "acme", "--status", "queued"); !strings.Contains(out, jobID) {
		t.Errorf("the job is not listed:\n%s", out)
	}
	if out := d.ok("job", "ls", "--status", "failed"); strings.Contains(out, jobID) {
		t.Errorf("a queued job is listed as failed:\n%s", out)
	}
	if out := d.ok("job", "cancel", jobID); !strings.Contains(out, "canceled") {
		t.Errorf("canceled:\n%s", out)
	}
	d.fails(exitJobFailed, "was canceled", "job", "wait", jobID)
	d.fails(exitRefused, "", "credential", "rm", "acme")
	if got := d.json("source", "show", sourceID); got["id"] != sourceID {
		t.Errorf("source show by id: %v", got)
	}
	d.ok("source", "rm", "acme")
	d.ok("credential", "rm", "acme")
	d.ok("tenant", "rm", "acme")
	d.fails(exitNotFound, "no tenant", "tenant", "show", "acme")
}

func TestWhatIsRefusedIsExplained(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.source("acme")
	d.fails(exitRefused, "config.paths", "source", "create", "bad", "--tenant", "acme", "--credential", "acme",
		"--host", "h", "--username", "u", "--path", "not/absolute", "--trust-on-first-use")
	d.stdin = `{"host":"h","username":"u","paths":["/a"],"no_such_field":1}`
	d.fails(exitRefused, "no_such_field", "source", "create", "bad", "--tenant", "acme", "--credential", "acme", "--config", "-")
	d.fails(exitUsage, "name is missing", "tenant", "create")
	d.fails(exitUsage, "given twice", "tenant", "create", "a", "--name", "b")
	d.fails(exitUsage, "required", "tenant", "update", "acme")
	d.fails(exitUsage, "table or json", "tenant", "ls", "-o", "xml")
	d.fails(exitNotFound, "no source", "job", "run", "nothing")
	d.fails(exitNotFound, "no source", "source", "rm", id[:8]) // the start of an id is not enough to delete
	d.ok("tenant", "create", "twin")
	d.ok("tenant", "create", "twin")
	d.fails(exitUsage, "means 2 tenants", "tenant", "show", "twin")

	d.key = "a-key-that-nobody-ever-made-of-any-length"
	d.fails(exitDenied, "XVAULT_KEY", "tenant", "ls")
	d.key = testOperatorKey
	d.stop()
	d.fails(exitUnreachable, "Is the hub running", "tenant", "ls")
}

func TestATenantsKeySeesThatTenantAlone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	acme, other := d.source("acme"), d.source("other")
	key, ok := d.json("key", "create", "script", "--tenant", "acme", "--expires", "1d")["key"].(string)
	if !ok || !strings.HasPrefix(key, "xv_") {
		t.Fatalf("key create printed %q", key)
	}
	d.key = key
	if out := d.ok("source", "ls"); !strings.Contains(out, acme) || strings.Contains(out, other) {
		t.Errorf("sources of acme's key:\n%s", out)
	}
	d.fails(exitNotFound, "", "source", "show", other)
	d.fails(exitNotFound, "no source", "job", "run", "other")
	d.fails(exitDenied, "", "worker", "ls")
	d.fails(exitDenied, "", "tenant", "export-key", "acme", "--file", filepath.Join(t.TempDir(), "kit"))
}

func TestTheRecoveryKitIsWrittenOnceAndForNobodyElse(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.ok("tenant", "create", "acme")
	path := filepath.Join(t.TempDir(), "kit.txt")
	d.ok("tenant", "export-key", "acme", "--file", path)
	kit, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(kit), "\nAGE-SECRET-KEY-1") {
		t.Errorf("the kit: %v\n%s", err, kit)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	d.fails(exitUsage, "exists", "tenant", "export-key", "acme", "--file", path)
	// The time of the export may differ, the key may not.
	identity := string(kit[strings.Index(string(kit), "AGE-SECRET-KEY-1"):])
	if out := d.ok("tenant", "export-key", "acme", "--file", "-"); !strings.HasSuffix(out, identity) {
		t.Error("on standard output there is another key")
	}
	if printed := d.json("tenant", "export-key", "acme"); printed["identity"] != strings.TrimSpace(identity) || printed["tenant_id"] == "" ||
		printed["public_key"] == "" {
		t.Error("for programs there is another key")
	}
	if out := d.ok("audit", "ls"); strings.Count(out, "export") != 3 {
		t.Errorf("exports in the audit trail:\n%s", out)
	}
	// A key that could not be had leaves no empty kit behind.
	missing := filepath.Join(t.TempDir(), "none.txt")
	d.fails(exitNotFound, "", "tenant", "export-key", "01900000-0000-7000-8000-000000000000", "--file", missing)
	if _, err := os.Stat(missing); err == nil {
		t.Error("an empty kit is left behind")
	}
}

func TestInterruptingTheWaitLeavesTheJobAlone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.source("acme")
	ctx, cancel := canceled(500 * time.Millisecond)
	defer cancel()
	r := d.runIn(ctx, "job", "run", "acme", "--wait")
	if r.code != exitInterrupted || !strings.Contains(r.err, "the job goes on") || !strings.Contains(r.err, "waits for a worker") {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	if out := d.ok("job", "ls"); !strings.Contains(out, "queued") {
		t.Errorf("after the interrupt:\n%s", out)
	}
}

func TestCompletionKnowsTheObjects(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.source("acme")
	for _, words := range [][]string{
		{"tenant", "show"}, {"source", "show"}, {"credential", "rm"}, {"job", "run"}, {"source", "create", "x", "--tenant"},
	} {
		// The words being typed come last, after the settings.
		args := append([]string{"__complete"}, words[:2]...)
		args = append(args, "--server", d.server, "--key", testOperatorKey)
		args = append(append(args, words[2:]...), "ac")
		r := d.complete(args)
		if !strings.Contains(r, "acme\t") {
			t.Errorf("xvault %s <tab>:\n%s", strings.Join(words, " "), r)
		}
	}
}
