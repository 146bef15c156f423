//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"time"
)

// leastPace is as often as anything is done, whatever the pace.
const leastPace = 100 * time.Millisecond

// Pace is how long to wait between two looks at something that changes with the
// catalog's time. XVAULT_PACE says how much faster than the machine's that time
// runs, where a test lives through days in seconds.
func Pace(d time.Duration) time.Duration {
	pace, err := strconv.Atoi(os.Getenv("XVAULT_PACE"))
	if err != nil || pace < 2 {
		return d
	}
	return max(d/time.Duration(pace), min(d, leastPace))
}
