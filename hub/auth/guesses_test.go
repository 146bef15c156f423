package auth

import (
	"fmt"
	"testing"
	"time"
)

func TestGuesses(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	g := NewGuesses(3, func() time.Time { return now })
	bad := func(addr string, want time.Duration) {
		t.Helper()
		if got := g.Bad(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	for i := range 3 {
		bad(fmt.Sprintf("192.0.2.1:%d", 1000+i), 0)
	}
	now = now.Add(20 * time.Second)
	bad("192.0.2.1:9", 40*time.Second)
	bad("[::ffff:192.0.2.1]:9", 40*time.Second)
	bad("192.0.2.2:9", 0)
	for i := range 3 {
		bad(fmt.Sprintf("[2001:db8::%d]:1", i+1), 0)
	}
	bad("[2001:db8::ffff]:1", time.Minute)
	bad("[2001:db8:0:1::1]:1", 0)
	now = now.Add(40 * time.Second)
	bad("192.0.2.1:9", 0)
	for range 3 {
		g.Bad("no address")
	}
	bad("none either", time.Minute)
}

func TestGuessesAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	g := NewGuesses(1, func() time.Time { return now })
	for i := range 3 * maxGuessSources {
		g.Bad(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255))
		if len(g.windows) > maxGuessSources {
			t.Fatalf("%d addresses are remembered", len(g.windows))
		}
	}
	if none := NewGuesses(0, time.Now); none.Bad("192.0.2.1:1")+none.Bad("192.0.2.1:1") != 0 || len(none.windows) != 0 {
		t.Error("no limit is one")
	}
}
