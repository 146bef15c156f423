package scratch_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"xvault/connectors/scratch"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func newRoom(t *testing.T, c scratch.Config) *scratch.Room {
	t.Helper()
	dir := testenv.Dir(t)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.TempDir = func() (string, error) { return dir, nil }
	r, err := scratch.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
	return r
}

// script runs in a room, and gives what it said.
func script(t *testing.T, r *scratch.Room, text string) string {
	t.Helper()
	err := r.Run(t.Context(), scratch.Program{Path: "/bin/sh", Args: []string{"-c", text + "\nexit 7"}})
	ended, ok := errors.AsType[*scratch.EndedError](err)
	if !ok {
		t.Fatal(err)
	}
	return ended.Said
}

// What a program of a room cannot do: be root, gain rights, see other processes'
// numbers, use a network, or run what it wrote.
func TestConfined(t *testing.T) {
	t.Setenv("XVAULT_CANARY", "canary")
	r := newRoom(t, scratch.Config{})
	if err := r.Write("given", []byte("a text")); err != nil {
		t.Fatal(err)
	}
	said := script(t, r, `room=`+strings.TrimSuffix(r.Path("x"), "/x")+`
cat $room/given; echo
echo uid $(id -u) pid $$; id
grep -E '^(NoNewPrivs|CapEff)' /proc/self/status
env
ip link 2>/dev/null; cat /proc/net/dev | wc -l
printf '#!/bin/sh\necho ran\n' > $room/own; chmod 755 $room/own; $room/own`)
	for _, want := range []string{"a text", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"} {
		if !strings.Contains(said, strings.ReplaceAll(want, "\t", " ")) && !strings.Contains(said, want) {
			t.Errorf("not said: %q", want)
		}
	}
	for _, never := range []string{"uid 0 ", "canary", "ran\n"} {
		if strings.Contains(said, never) {
			t.Errorf("it says %q", never)
		}
	}
	notes := strings.Join(r.Notes(), "\n")
	if strings.Contains(said, "(nobody)") != strings.Contains(notes, "ran as nobody") {
		t.Errorf("as whom it ran: %s", notes)
	}
	if r.Low() {
		t.Error("there is no room")
	}
	if !strings.Contains(notes, "the kernel refused") && !strings.Contains(said, "pid 1\n") {
		t.Error("it sees other process numbers")
	}
	t.Log(said, r.Notes())
}

// Everything that a program started is gone with the room, and so is the room.
func TestClosedRoom(t *testing.T) {
	t.Parallel()
	r := newRoom(t, scratch.Config{})
	s, err := r.Start(scratch.Program{Path: "/bin/sh", Args: []string{"-c", "setsid sleep 987654 & sleep 987654"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if s.Ended() == nil {
		t.Error("it goes on")
	}
	if _, err := r.Start(scratch.Program{Path: "/bin/true"}); err == nil {
		t.Error("something starts in a closed room")
	}
}

func TestNoRoom(t *testing.T) {
	t.Parallel()
	dir := func() (string, error) { return testenv.Dir(t), nil }
	for _, tt := range []struct {
		config scratch.Config
		code   job.Code
		tells  string
	}{
		{scratch.Config{TempDir: dir, User: "no-such-user"}, job.Unprovable, "no-such-user"},
		{scratch.Config{TempDir: dir, Needs: 1 << 55}, job.StorageFull, "MiB"},
	} {
		_, err := scratch.Open(tt.config)
		if e, ok := errors.AsType[*job.Error](err); !ok || e.Code != tt.code || !strings.Contains(e.Message, tt.tells) {
			t.Errorf("%+v: %v", tt.config, err)
		}
	}
}

// A disk that fills up ends what goes on.
func TestWatch(t *testing.T) {
	t.Parallel()
	r := newRoom(t, scratch.Config{Needs: -1 << 60, Reserve: 1 << 59})
	ctx, done := r.Watch(t.Context())
	defer done()
	select {
	case <-ctx.Done():
		if job.CodeOf(context.Cause(ctx)) != job.StorageFull {
			t.Error(context.Cause(ctx))
		}
	case <-time.After(time.Minute):
		t.Error("nobody minds")
	}
}
