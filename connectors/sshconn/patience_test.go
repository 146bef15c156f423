package sshconn

import (
	"testing"
	"time"
)

func TestPatienceDoesNotCountWhatWasHeldBack(t *testing.T) {
	t.Parallel()
	var p Patience
	for i, step := range []struct{ silent, held, want int }{
		{0, 0, 0},
		{10, 100, 10}, // what was held before counts for nothing
		{20, 109, 11}, // nearly all of the time since was held
		{30, 109, 21},
		{5, 150, 5}, // something came
		{15, 160, 5},
		{0, 170, 0},
		{10, 180, 10},
	} {
		if got := p.Lasted(seconds(step.silent), seconds(step.held)); got != seconds(step.want) {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
