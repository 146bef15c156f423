package worker

import (
	"sync"
	"time"

	"xvault/internal/job"
)

// Phases of a job's progress, in words for people.
const (
	phaseConnecting = "connecting"
	phaseReading    = "reading"
	phaseSealing    = "sealing"
	phaseStoring    = "storing"
	phaseRecording  = "recording"
	phaseDone       = "done"
)

// progress is what an attempt tells with its renewals. The job's goroutine
// writes it, the renewing one reads it.
type progress struct {
	mu      sync.Mutex
	phase   string
	count   func() (files, bytes int64) // nil: nothing to count yet
	total   int64                       // bytes that there will be; 0: nobody knows
	last    int64                       // bytes at the last look
	lastAt  time.Time
	rateBPS int64
}

func (p *progress) enter(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = phase
}

// counts names who knows how far the job is.
func (p *progress) counts(count func() (files, bytes int64)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count = count
}

// expects says how many bytes there will be.
func (p *progress) expects(total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = total
}

// sum gives the figures of the whole attempt, which took that long.
func (p *progress) sum(took time.Duration) *job.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := job.Progress{Phase: phaseDone}
	if p.count == nil {
		return &out
	}
	out.Files, out.Bytes = p.count()
	if took > 0 {
		out.RateBPS = int64(float64(out.Bytes) / took.Seconds())
	}
	return &out
}

// look gives the figures as of now; the rate is the one since the last look.
func (p *progress) look(now time.Time) job.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := job.Progress{Phase: p.phase, BytesTotal: p.total}
	if p.count == nil {
		p.lastAt = now
		return out
	}
	out.Files, out.Bytes = p.count()
	if took := now.Sub(p.lastAt); !p.lastAt.IsZero() && took >= 100*time.Millisecond {
		p.rateBPS = int64(float64(out.Bytes-p.last) / took.Seconds())
		p.last, p.lastAt = out.Bytes, now
	} else if p.lastAt.IsZero() {
		p.last, p.lastAt = out.Bytes, now
	}
	out.RateBPS = p.rateBPS
	return out
}
