package devenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// scratchPrefix is followed by the process id of the owner and a random part.
const scratchPrefix = "xvault-env-"

// Scratch makes a temporary folder that other users may pass through but not
// list, and first removes those whose process no longer exists.
func Scratch() (string, error) {
	if err := sweepScratch(os.TempDir()); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", scratchPrefix, os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("make scratch folder: %w", err)
	}
	// Postgres and sshd run as other users below it.
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // see above
		return "", fmt.Errorf("make scratch folder: %w", err)
	}
	return dir, nil
}

func sweepScratch(parent string) error {
	found, err := filepath.Glob(filepath.Join(parent, scratchPrefix+"*"))
	if err != nil {
		return fmt.Errorf("sweep scratch folders: %w", err)
	}
	for _, dir := range found {
		rest := strings.TrimPrefix(filepath.Base(dir), scratchPrefix)
		number, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		if err != nil || pid <= 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		// Another process may be sweeping the same; what stays is tried again.
		_ = os.RemoveAll(dir)
	}
	return nil
}
