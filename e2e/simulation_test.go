package e2e

import (
	"testing"

	"xvault/e2e/simulation"
)

// Five days of faults, over the night in which clocks go on in Sao Paulo and back
// in New York. SIMULATION_SEED replays another life; the long tests have sixty days.
func TestFiveDays(t *testing.T) {
	t.Parallel()
	simulation.Run(t, simulation.Week(simulation.Seed(t, 1)))
}
