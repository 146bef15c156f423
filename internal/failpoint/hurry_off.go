//go:build !failpoints

package failpoint

import "time"

// Hurry gives usual back: only a binary with failpoints can be hurried.
func Hurry(usual, _ time.Duration) time.Duration { return usual }
