package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xvault/internal/job"
)

// Healthy reports what is wrong with the worker whose state folder this is: nil
// where the hub took one of its heartbeats lately.
func Healthy(stateDir string, now time.Time) error {
	content, err := os.ReadFile(filepath.Join(stateDir, aliveFile))
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("the worker has not reached its hub yet")
	}
	if err != nil {
		return fmt.Errorf("look for the worker's sign of life: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(content)))
	if err != nil {
		return errors.New("the worker's sign of life is damaged")
	}
	if ago := now.Sub(at); ago > job.OfflineAfter {
		return fmt.Errorf("the hub last heard of the worker %s ago", ago.Round(time.Second))
	}
	return nil
}
