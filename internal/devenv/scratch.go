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
	// Two marks tell others that it is in use: the process id in its name, and a
	// lock, which also counts across containers that share a folder. The
	// descriptor is never closed: the lock ends with the process.
	if fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0); err != nil {
		return "", fmt.Errorf("lock scratch folder: %w", err)
	} else if err := syscall.Flock(fd, syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		return "", fmt.Errorf("lock scratch folder: %w", err)
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
		if err != nil || pid <= 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || locked(dir) {
			continue
		}
		// Another process may be sweeping the same; what stays is tried again.
		_ = os.RemoveAll(dir)
	}
	return nil
}

// locked reports whether a process somewhere holds the folder.
func locked(dir string) bool {
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return true // not ours to look into, or gone
	}
	defer func() { _ = syscall.Close(fd) }() // nothing was written
	return syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) != nil
}
