package system

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// The harness judges xVault, so it is itself judged: a tree that went through
// plain tar compares equal, and every kind of damage shows.
func TestTreeComparison(t *testing.T) {
	t.Parallel()
	src := filepath.Join(t.TempDir(), "src")
	Plant(t, src, 1, 100)
	want := Scan(t, src)
	out := t.TempDir()
	cmd := exec.Command("bash", "-c", `set -e -o pipefail; tar -C "$1" -cf - src | tar -x -p -C "$2" -f -`, "x", filepath.Dir(src), out)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, msg)
	}
	copied := filepath.Join(out, "src")
	want.MustEqual(t, Scan(t, copied))
	for name, damage := range map[string]string{
		"content":       `touch -r large-text.txt ../ref; printf X | dd of=large-text.txt bs=1 conv=notrunc seek=100; touch -r ../ref large-text.txt`,
		"mode":          `chmod 644 suid`,
		"time":          `touch owned`,
		"link target":   `ln -snf elsewhere link-to-dir`,
		"owner":         `chown 1:1 owned`,
		"missing":       `rm -- "awkward/-rf"`,
		"additional":    `touch additional`,
		"type":          `rm -r empty/dir && touch empty/dir`,
		"hidden bottom": `chmod 600 $(printf 'd%.0s' $(seq 200))`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			damaged := t.TempDir()
			script := `set -e; cp -a "$1/." "$2"; cd "$2"; ` + damage
			cmd := exec.Command("bash", "-c", script, "x", copied, damaged)
			cmd.Dir = damaged
			if msg, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("damage: %v\n%s", err, msg)
			}
			if len(want.Diff(Scan(t, damaged))) == 0 {
				t.Error("the damage went unseen")
			}
		})
	}
}
