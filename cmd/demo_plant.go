package cmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// plantOddities makes a folder of what backups trip over: links of every kind,
// empty folders, closed files, old times, and names that hurt shells.
func plantOddities(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear the folder of oddities: %w", err)
	}
	for _, sub := range []string{"", "empty", "deep/er/still", "closed"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil { //nolint:gosec // shown to sshd's user
			return fmt.Errorf("plant oddities: %w", err)
		}
	}
	files := map[string]os.FileMode{
		"plain": 0o644, "closed/private": 0o600, "closed/read-only": 0o400, "program": 0o755, "deep/er/still/here": 0o640,
		"line\nend": 0o644, "quo'te\"s": 0o644, "$(reboot)": 0o644, "-rf": 0o644, " spaces ": 0o644, "not utf-8 \xff\xfe": 0o644,
		strings.Repeat("long", 63) + "ish": 0o644,
	}
	var errs []error
	for name, mode := range files {
		path := filepath.Join(dir, name)
		errs = append(errs, os.WriteFile(path, []byte("content of "+name), mode), os.Chmod(path, mode))
	}
	for name, target := range map[string]string{
		"link": "plain", "folder-link": "deep", "dangling": "nowhere", "loop": "loop", "absolute": "/etc/hostname",
	} {
		errs = append(errs, os.Symlink(target, filepath.Join(dir, name)))
	}
	past := time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC)
	errs = append(errs,
		os.Chtimes(filepath.Join(dir, "plain"), past, past),
		os.Chtimes(filepath.Join(dir, "empty"), past, past),
		os.Chmod(filepath.Join(dir, "closed"), 0o700)) //nolint:gosec // a folder
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("plant oddities: %w", err)
	}
	return nil
}
