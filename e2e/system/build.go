package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"xvault/internal/devenv"
)

// Flavor is a way of building the binary.
type Flavor string

// The flavors. A test that runs under -race gets race-built children where it
// asks for Failpoints; Released is always the binary that people get.
const (
	Released   Flavor = "released"
	Failpoints Flavor = "failpoints"
)

// binaries builds each flavor at most once a test process.
type binaries struct {
	mu    sync.Mutex
	dir   string
	built map[Flavor]string
}

var shared = binaries{built: map[Flavor]string{}}

// Binary gives the path of the binary in the wanted flavor.
func Binary(t testing.TB, flavor Flavor) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if path, ok := shared.built[flavor]; ok {
		return path
	}
	path, err := shared.build(flavor)
	if err != nil {
		t.Fatalf("build xvault (%s): %v", flavor, err)
	}
	shared.built[flavor] = path
	return path
}

// RemoveBinaries is for the end of TestMain.
func RemoveBinaries() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.dir == "" {
		return nil
	}
	dir := shared.dir
	shared.dir, shared.built = "", map[Flavor]string{}
	return os.RemoveAll(dir)
}

func (b *binaries) build(flavor Flavor) (string, error) {
	if b.dir == "" {
		dir, err := devenv.Scratch()
		if err != nil {
			return "", err
		}
		b.dir = dir
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, string(flavor), "xvault")
	cmd := exec.Command("go", append([]string{"build", "-o", path}, append(buildFlags(flavor), ".")...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo(flavor))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

// buildFlags of the released binary are those of the Makefile, so that the two
// share what the compiler made.
func buildFlags(flavor Flavor) []string {
	if flavor == Released {
		return []string{"-trimpath", "-ldflags", "-s -w"}
	}
	flags := []string{"-tags", "failpoints"}
	if raceEnabled {
		flags = append(flags, "-race")
	}
	return flags
}

// cgo is what the race detector needs and the released binary must not have.
func cgo(flavor Flavor) string {
	if flavor == Failpoints && raceEnabled {
		return "1"
	}
	return "0"
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if !filepath.IsAbs(mod) {
		return "", fmt.Errorf("not inside the module: GOMOD=%q", mod)
	}
	return filepath.Dir(mod), nil
}
