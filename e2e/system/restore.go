package system

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Artifact is the name of the sealed file within a snapshot's folder.
const Artifact = "backup.tar.zst.enc"

// StockRestore opens an artifact with age, zstd and tar alone, and gives the
// folder into which tar extracted it.
func StockRestore(t testing.TB, artifact, identity string) string {
	t.Helper()
	out, msg := stockRestore(t, artifact, identity)
	if msg != "" {
		t.Fatalf("age -d | zstd -d | tar x of %s failed:\n%s", artifact, msg)
	}
	return out
}

// StockRefuses reports whether the stock tools find the artifact broken.
func StockRefuses(t testing.TB, artifact, identity string) bool {
	t.Helper()
	_, msg := stockRestore(t, artifact, identity)
	return msg != ""
}

func stockRestore(t testing.TB, artifact, identity string) (dir, failure string) {
	t.Helper()
	dir = t.TempDir()
	key := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(key, []byte(identity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := `set -euo pipefail; age -d -i "$1" "$2" | zstd -q -d -c | tar -x -p --numeric-owner -f - -C "$3"`
	cmd := exec.Command("bash", "-c", script, "restore", key, artifact, dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return dir, err.Error() + "\n" + stderr.String()
	}
	if stderr.Len() > 0 {
		return dir, "complaints on stderr:\n" + stderr.String()
	}
	return dir, ""
}

// MustRestoreTo proves that a snapshot's artifact restores, with stock tools, to
// exactly want, the tree that stood at the absolute path sourcePath.
func MustRestoreTo(t testing.TB, snapshotDir, identity, sourcePath string, want Tree) {
	t.Helper()
	out := StockRestore(t, filepath.Join(snapshotDir, Artifact), identity)
	want.MustEqual(t, Scan(t, filepath.Join(out, sourcePath)))
}

// StockMatches compares an artifact with the tree at the absolute path, without
// extracting it: tar itself reports every difference.
func StockMatches(t testing.TB, artifact, identity, path string) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(key, []byte(identity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := `set -euo pipefail
		age -d -i "$1" "$2" | zstd -q -d -c | tar --diff --numeric-owner -f - -C / >&2
		age -d -i "$1" "$2" | zstd -q -d -c | tar -t -f - | wc -l
		find "$3" \( -type f -o -type d -o -type l \) -printf x | wc -c`
	cmd := exec.Command("bash", "-c", script, "compare", key, artifact, path)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("tar --diff: %v\n%.3000s%.3000s", err, stdout.String(), stderr.String())
	}
	var stored, there int
	if _, err := fmt.Sscan(stdout.String(), &stored, &there); err != nil {
		t.Fatalf("%v in %q", err, stdout.String())
	}
	if stored != there {
		t.Errorf("%d entries are stored, %d are there", stored, there)
	}
}

// OpenTree opens an artifact with the stock tools and gives the tree that stood at
// the absolute path sourcePath. It leaves nothing behind, for tests that open
// many.
func OpenTree(artifact, identity, sourcePath string) (tree Tree, err error) {
	dir, err := os.MkdirTemp("", "xvault-open-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	key, out := filepath.Join(dir, "key.txt"), filepath.Join(dir, "out")
	if err := errors.Join(os.WriteFile(key, []byte(identity+"\n"), 0o600), os.Mkdir(out, 0o700)); err != nil {
		return nil, err
	}
	script := `set -euo pipefail; age -d -i "$1" "$2" | zstd -q -d -c | tar -x -p --numeric-owner -f - -C "$3"`
	if b, err := exec.Command("bash", "-c", script, "restore", key, artifact, out).CombinedOutput(); err != nil || len(b) > 0 {
		return nil, fmt.Errorf("age -d | zstd -d | tar x: %w: %.500s", err, b)
	}
	return scan(filepath.Join(out, sourcePath))
}

// ExtractTar has tar extract a stream into a folder.
func ExtractTar(stream io.Reader, dir string) error {
	cmd := exec.Command("tar", "-x", "-p", "--numeric-owner", "-f", "-", "-C", dir)
	cmd.Stdin = stream
	if b, err := cmd.CombinedOutput(); err != nil || len(b) > 0 {
		return fmt.Errorf("tar x: %w: %.500s", err, b)
	}
	return nil
}

// ScanTree is Scan for other places than tests.
func ScanTree(dir string) (Tree, error) { return scan(dir) }
