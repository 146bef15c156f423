//go:build long

package e2e

import (
	"testing"
	"time"

	"xvault/e2e/simulation"
)

// Sixty days of faults.
func TestSixtyDays(t *testing.T) {
	t.Parallel()
	simulation.Run(t, simulation.Months(simulation.Seed(t, uint64(time.Now().UnixNano()))))
}
