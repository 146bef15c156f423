package sshconn

import (
	"testing"
	"time"
)

// What a server says of itself comes in pieces when it is busy, right after something was said
// to it: that tells nothing of the distance.
func TestDistanceIsThatOfAnswers(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	var d distance
	d.saying(1 * ms)
	d.heard(2 * ms)
	d.start()
	d.saying(100 * ms) // new keys
	d.heard(101 * ms)  // the server's
	d.saying(102 * ms) // may I log in?
	d.heard(103 * ms)  // what it can do
	d.heard(123 * ms)
	if d.least.Load() != 0 {
		t.Error("measured before the login")
	}
	d.saying(124 * ms) // how?
	d.heard(149 * ms)
	d.saying(150 * ms)
	d.heard(171 * ms)
	d.heard(172 * ms)
	d.stop()
	d.saying(200 * ms)
	d.heard(201 * ms)
	if got := time.Duration(d.least.Load()); got != 21*ms {
		t.Errorf("%v, not 21ms", got)
	}
}
