package bandwidth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter is a plan in force. Whatever passes through it shares the limit. It may
// be used by many goroutines; there is nothing to close.
type Limiter struct {
	now func() time.Time

	mu     sync.Mutex
	hours  hours
	limit  int64     // in force; 0: none
	until  time.Time // when the hours are looked at again
	bucket *rate.Limiter
}

const (
	// step is how long a connection is held back for what it takes at once: short,
	// so that it is never silent for long, however slow it is.
	step = 50 * time.Millisecond
	// maxStep bounds what is taken at once, in bytes.
	maxStep = 256 << 10
	// lookEvery is how often the hours are looked at, by a clock that may be set.
	lookEvery = time.Minute
)

// NewLimiter puts a plan into force. A nil now means time.Now.
func NewLimiter(p Plan, now func() time.Time) (*Limiter, error) {
	if now == nil {
		now = time.Now
	}
	l := &Limiter{now: now, bucket: rate.NewLimiter(rate.Inf, 0)}
	return l, l.Set(p)
}

// Set replaces the plan; what passes from then on keeps to the new one.
func (l *Limiter) Set(p Plan) error {
	h, faults := p.compile()
	if len(faults) > 0 {
		return faults[0]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hours, l.until = h, time.Time{}
	return nil
}

// Limit is what is in force now, in bytes a second; 0: no limit.
func (l *Limiter) Limit() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look(l.now())
	return l.limit
}

// look brings the hours' limit into force. The clocks' next minute is the
// earliest at which another may hold.
func (l *Limiter) look(now time.Time) {
	if !l.until.IsZero() && now.Before(l.until) {
		return
	}
	l.until = now.Add(min(lookEvery, now.Truncate(time.Minute).Add(time.Minute).Sub(now)))
	limit := l.hours.at(now)
	if limit == l.limit {
		return
	}
	l.limit = limit
	if limit == 0 {
		l.bucket = rate.NewLimiter(rate.Inf, 0)
		return
	}
	// What was not used is lost but for two steps' worth: a limit is no budget.
	l.bucket = rate.NewLimiter(rate.Limit(limit), 2*atOnce(limit))
}

// atOnce is how much may be taken at once under a limit.
func atOnce(limit int64) int {
	return int(min(max(limit*int64(step)/int64(time.Second), 1), maxStep))
}

// most is how much may be taken at once now; 0: as much as there is.
func (l *Limiter) most() int {
	limit := l.Limit()
	if limit == 0 {
		return 0
	}
	return atOnce(limit)
}

// take notes that n bytes passed, at most most of them, and says for how long
// nothing more may.
func (l *Limiter) take(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.look(now)
	if l.limit == 0 {
		return 0
	}
	var wait time.Duration
	for n > 0 { // it is more than the bucket holds where the limit changed meanwhile
		part := min(n, l.bucket.Burst())
		wait = l.bucket.ReserveN(now, part).DelayFrom(now)
		n -= part
	}
	return wait
}
