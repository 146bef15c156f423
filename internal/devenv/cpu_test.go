package devenv

import "testing"

func TestBusyTicks(t *testing.T) {
	t.Parallel()
	for stat, want := range map[string]int64{
		"cpu  1 20 300 4000 50000 600000 7000000 80000000 1 20\ncpu0 9 9 9 9 9 9 9 9 9 9\n": 7600321,
		"cpu  1 20 300 4000 50000 600000 7000000":                                           7600321,
	} {
		if got, err := busyTicks(stat); err != nil || got != want {
			t.Errorf("%q: %d, %v", stat, got, err)
		}
	}
	for _, stat := range []string{"", "cpu  1 2 3 4 5 6", "cpu  1 2 x 4 5 6 7 8", "intr 1 2 3 4 5 6 7 8"} {
		if got, err := busyTicks(stat); err == nil {
			t.Errorf("%q: %d", stat, got)
		}
	}
}
