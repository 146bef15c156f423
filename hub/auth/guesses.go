package auth

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of what Guesses remembers.
const (
	guessWindow     = time.Minute
	maxGuessSources = 10_000
)

// Guesses counts the bad keys of each remote address, so that guessing and
// broken programs are slowed down. It never sees a good key: whoever has one is
// served, whatever others on the same address do. It is safe for concurrent use.
type Guesses struct {
	limit int
	now   func() time.Time

	mu      sync.Mutex
	windows map[netip.Prefix]window
}

// window is a minute of one address.
type window struct {
	began time.Time
	bad   int
}

// NewGuesses allows limit bad keys a minute and address; 0: any number.
func NewGuesses(limit int, now func() time.Time) *Guesses {
	return &Guesses{limit: limit, now: now, windows: map[netip.Prefix]window{}}
}

// Bad counts a bad key. Beyond the limit it gives how long the address should
// wait before it tries again; else 0.
func (g *Guesses) Bad(remoteAddr string) time.Duration {
	if g == nil || g.limit == 0 {
		return 0
	}
	source, now := sourceOf(remoteAddr), g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	w, known := g.windows[source]
	if known && now.Sub(w.began) >= guessWindow {
		known = false
	}
	if !known {
		g.makeRoom(now)
		w = window{began: now}
	}
	w.bad++
	g.windows[source] = w
	if w.bad <= g.limit {
		return 0
	}
	return max(time.Second, guessWindow-now.Sub(w.began))
}

// makeRoom forgets minutes that are over, and all of them where that is not
// enough: who has ten thousand addresses is not held up by a count for each.
func (g *Guesses) makeRoom(now time.Time) {
	if len(g.windows) < maxGuessSources {
		return
	}
	for source, w := range g.windows {
		if now.Sub(w.began) >= guessWindow {
			delete(g.windows, source)
		}
	}
	if len(g.windows) >= maxGuessSources {
		clear(g.windows)
	}
}

// sourceOf is an address without its port; of IPv6 the network of 64 bits, for
// one machine has all of it.
func sourceOf(remoteAddr string) netip.Prefix {
	addr, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return netip.Prefix{} // all that is none counts together
	}
	ip := addr.Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
