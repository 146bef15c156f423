package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/connectors/registry"
	"xvault/hub"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

const testOperatorKey = "operator-key-of-the-command-line-tests"

// desk is a real hub and a person who types commands.
type desk struct {
	t      *testing.T
	server string
	key    string // what the person uses
	stdin  string
	hub    *part
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	h, err := hub.New(t.Context(), hub.Config{
		DatabaseURL: secret.New(testenv.Catalog(t)), RedisURL: secret.New(testenv.Redis(t).URL), ListenAddr: "127.0.0.1:0",
		EncryptionKEK: secret.New("a passphrase for tests"), OperatorKey: secret.New(testOperatorKey),
		JoinToken: secret.New(testOperatorKey + "-join"), SourceTypes: registry.All(), Version: "test",
		ShutdownTimeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, server: "http://" + h.Addr().String(), key: testOperatorKey, hub: startPart(t.Context(), "hub", h.Serve)}
	t.Cleanup(d.stop)
	return d
}

func (d *desk) stop() {
	if d.hub == nil {
		return
	}
	if err := d.hub.stop(); err != nil {
		d.t.Errorf("stop hub: %v", err)
	}
	d.hub = nil
}

// result is what a command printed and how it ended.
type result struct {
	out, err string
	code     int
}

// run types a command.
func (d *desk) run(args ...string) result {
	d.t.Helper()
	return d.runIn(d.t.Context(), args...)
}

func (d *desk) runIn(ctx context.Context, args ...string) result {
	d.t.Helper()
	keyFile := filepath.Join(d.t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(d.key+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	var out, errs bytes.Buffer
	root := NewRoot()
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetIn(strings.NewReader(d.stdin))
	root.SetArgs(append(args, "--server", d.server, "--key-file", keyFile))
	r := result{code: exitOK}
	if err := root.ExecuteContext(ctx); err != nil {
		r.code = report(&errs, err)
	}
	r.out, r.err = out.String(), errs.String()
	return r
}

// ok is run for a command that must work; it gives what was printed.
func (d *desk) ok(args ...string) string {
	d.t.Helper()
	r := d.run(args...)
	if r.code != exitOK {
		d.t.Fatalf("xvault %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// json is ok with -o json, decoded.
func (d *desk) json(args ...string) map[string]any {
	d.t.Helper()
	var v map[string]any
	out := d.ok(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		d.t.Fatalf("xvault %s -o json: %v\n%s", strings.Join(args, " "), err, out)
	}
	return v
}

// id is the id of the object that a command prints.
func (d *desk) id(args ...string) string {
	d.t.Helper()
	id, ok := d.json(args...)["id"].(string)
	if !ok {
		d.t.Fatalf("xvault %s: no id", strings.Join(args, " "))
	}
	return id
}

// fails runs a command that must end with the code and say the words.
func (d *desk) fails(code int, words string, args ...string) {
	d.t.Helper()
	r := d.run(args...)
	if r.code != code || !strings.Contains(r.err, words) {
		d.t.Errorf("xvault %s: exit %d, want %d; %q lacks %q", strings.Join(args, " "), r.code, code, r.err, words)
	}
}

func canceled(after time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	timer := time.AfterFunc(after, func() { cancel(errors.New("the person pressed ctrl-C")) })
	return ctx, func() { timer.Stop(); cancel(nil) }
}

// complete asks for what could follow, as a shell does.
func (d *desk) complete(args []string) string {
	d.t.Helper()
	var out bytes.Buffer
	root := NewRoot()
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	root.SetArgs(args)
	if err := root.ExecuteContext(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
	return out.String()
}
