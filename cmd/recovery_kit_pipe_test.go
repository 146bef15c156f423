package cmd

import (
	"os"
	"path/filepath"
	"testing"
)

// A redirected export goes where it was sent, and leaves no file beside it.
func TestARedirectedKitNeedsNoFile(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "kit"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	for _, tt := range []struct {
		out  *printer
		want string
	}{
		{&printer{w: f}, "-"},
		{&printer{w: f, json: true}, "-"},
		{&printer{w: nil, json: true}, "-"},
		{&printer{w: nil}, "xvault-recovery-t1.txt"},
	} {
		if got := (&session{out: tt.out}).kitPath("t1"); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.out, got, tt.want)
		}
	}
}
