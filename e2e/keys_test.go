package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"xvault/e2e/system"
)

// unrelatedKey is a private key that no server knows.
func unrelatedKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(key, "canary")
	must(t, err)
	return string(pem.EncodeToMemory(block))
}

func splitLines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

// readState reads a file of a worker's state folder whose name holds word; only
// the worker's own user may read it.
func readState(t *testing.T, w *system.Worker, word string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(w.State, "*"+word+"*"))
	must(t, err)
	if len(paths) != 1 {
		t.Fatalf("files about %q in the worker's state folder: %v", word, paths)
	}
	info, err := os.Stat(paths[0])
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", paths[0], info.Mode())
	}
	b, err := os.ReadFile(paths[0])
	must(t, err)
	lines := splitLines(string(b))
	return lines[len(lines)-1]
}
