package worker

import (
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"xvault/connectors"
	"xvault/internal/bandwidth"
	"xvault/internal/job"
)

// limits keep connections to sources within the worker's own limit, which all
// jobs share, and within each source's, which the jobs of that source share.
type limits struct {
	own *bandwidth.Limiter // nil: there is none
	now func() time.Time

	mu      sync.Mutex
	sources map[uuid.UUID]*sourceLimit // of the jobs at work
}

type sourceLimit struct {
	limiter *bandwidth.Limiter // nil: none so far
	jobs    int
}

func newLimits(own bandwidth.Plan, now func() time.Time) (*limits, error) {
	l := &limits{now: now, sources: map[uuid.UUID]*sourceLimit{}}
	if own.IsZero() {
		return l, nil
	}
	var err error
	l.own, err = bandwidth.NewLimiter(own, now)
	return l, err
}

// hold keeps the limit of a job's source until the job has ended.
func (l *limits) hold(source *job.ClaimSource) (release func()) {
	if source == nil {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sources[source.ID]
	if s == nil {
		s = &sourceLimit{}
		l.sources[source.ID] = s
	}
	s.jobs++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if s.jobs--; s.jobs == 0 {
			delete(l.sources, source.ID)
		}
	}
}

// dialer gives what a job whose source is held dials with. Where nothing is
// limited it is the plain one, which costs nothing.
func (l *limits) dialer(plain connectors.Dialer, source *job.ClaimSource) (connectors.Dialer, error) {
	plan, err := bandwidth.Decode(source.Bandwidth)
	if err != nil {
		return nil, &job.Error{Code: job.ConfigInvalid, Message: "This worker cannot keep to the source's bandwidth limit; update the worker, or set the limit anew.", Err: err}
	}
	limiter, err := l.of(source.ID, plan)
	if err != nil {
		return nil, err
	}
	d := bandwidth.Dialer{Dial: plain}
	for _, one := range []*bandwidth.Limiter{l.own, limiter} {
		if one != nil {
			d.Limiters = append(d.Limiters, one)
		}
	}
	if len(d.Limiters) == 0 {
		return plain, nil
	}
	return d, nil
}

// of gives the limiter of a source, with the plan that was claimed last; nil where
// there never was one.
func (l *limits) of(source uuid.UUID, plan bandwidth.Plan) (*bandwidth.Limiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sources[source]
	if s == nil {
		return nil, errors.New("the limits of a source are asked for that no job holds")
	}
	if s.limiter != nil {
		return s.limiter, s.limiter.Set(plan)
	}
	if plan.IsZero() {
		return nil, nil
	}
	var err error
	s.limiter, err = bandwidth.NewLimiter(plan, l.now)
	return s.limiter, err
}
