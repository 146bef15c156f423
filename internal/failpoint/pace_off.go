//go:build !failpoints

package failpoint

import "time"

// Pace gives d back: only a binary with failpoints can be hurried.
func Pace(d time.Duration) time.Duration { return d }
