//go:build failpoints

package failpoint

import (
	"os"
	"time"
)

// Hurry is how long to wait between two looks at something that changes with the
// catalog's time: as usual, or hurried where XVAULT_HURRY is set, for a test that
// lives through days in seconds.
func Hurry(usual, hurried time.Duration) time.Duration {
	if os.Getenv("XVAULT_HURRY") == "" {
		return usual
	}
	return hurried
}
