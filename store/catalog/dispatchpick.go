package catalog

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// waitingJob is a job that could be dispatched.
type waitingJob struct {
	TenantID uuid.UUID
	ID       uuid.UUID
	SourceID uuid.UUID
	Type     string
	Priority int16
	RunAfter time.Time
	Host     string
}

// picker chooses jobs in turn over tenants, within limits. What is in Redis or at
// work counts in all of it. Limits hold for backups and verifications.
type picker struct {
	limits             Limits
	bySource, byTenant map[uuid.UUID]int
	byHost             map[string]int
	verifying          int
	lines              map[uuid.UUID]*tenantLine
	queue              lineHeap
	picked             []uuid.UUID
}

// tenantLine is a tenant's waiting jobs.
type tenantLine struct {
	place  int // in the list of tenants
	turns  int // that it had
	jobs   []waitingJob
	looked int  // how many of its jobs are known
	heldUp bool // a source or host held up one of them
}

func newPicker(limits Limits, tenants []uuid.UUID, busy []query.BusyJobsRow) *picker {
	p := &picker{
		limits: limits, bySource: map[uuid.UUID]int{}, byTenant: map[uuid.UUID]int{}, byHost: map[string]int{},
		lines: make(map[uuid.UUID]*tenantLine, len(tenants)),
	}
	for i, tenant := range tenants {
		p.lines[tenant] = &tenantLine{place: i}
	}
	for _, b := range busy {
		if line := p.lines[b.TenantID]; line != nil {
			line.turns++
		}
		p.count(waitingJob{TenantID: b.TenantID, SourceID: b.SourceID, Type: b.Type, Host: b.Host})
	}
	return p
}

func (p *picker) count(j waitingJob) {
	if j.Type == string(job.Verify) {
		p.verifying++
	}
	if j.Type != string(job.Backup) {
		return
	}
	p.bySource[j.SourceID]++
	p.byTenant[j.TenantID]++
	if j.Host != "" {
		p.byHost[j.Host]++
	}
}

// add makes a job known; pick looks at it next time.
func (p *picker) add(j waitingJob) {
	line := p.lines[j.TenantID]
	line.looked++
	if !slices.Contains(p.picked, j.ID) {
		line.jobs = append(line.jobs, j)
	}
}

// pick takes jobs until there are room of them, or none is left that may be taken.
func (p *picker) pick(room int) {
	p.queue = p.queue[:0]
	for _, line := range p.lines {
		slices.SortFunc(line.jobs, func(a, b waitingJob) int {
			return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.RunAfter.Compare(b.RunAfter), slices.Compare(a.ID[:], b.ID[:]))
		})
		line.jobs = slices.CompactFunc(line.jobs, func(a, b waitingJob) bool { return a.ID == b.ID })
		if p.advance(line) {
			p.queue = append(p.queue, line)
		}
	}
	heap.Init(&p.queue)
	for len(p.queue) > 0 && len(p.picked) < room {
		line := p.queue[0]
		next := line.jobs[0]
		if p.blocked(line, next) { // what was taken since left no room for it
			p.settle(line)
			continue
		}
		p.count(next)
		p.picked = append(p.picked, next.ID)
		line.jobs, line.turns = line.jobs[1:], line.turns+1
		p.settle(line)
	}
}

// settle puts the first line where it belongs after a change.
func (p *picker) settle(line *tenantLine) {
	if p.advance(line) {
		heap.Fix(&p.queue, 0)
		return
	}
	heap.Pop(&p.queue)
}

// advance drops jobs that limits hold up, which no pick changes, and reports
// whether one is left that may be taken.
func (p *picker) advance(line *tenantLine) bool {
	for len(line.jobs) > 0 && p.blocked(line, line.jobs[0]) {
		line.jobs = line.jobs[1:]
	}
	return len(line.jobs) > 0
}

// maxVerifying is how many verifications one worker has at once. They may take
// hours, and nobody should wait that long for a restore.
const maxVerifying = 1

func (p *picker) blocked(line *tenantLine, j waitingJob) bool {
	if j.Type == string(job.Verify) {
		return p.verifying >= maxVerifying
	}
	if j.Type != string(job.Backup) {
		return false
	}
	if over(p.bySource[j.SourceID], p.limits.PerSource) || j.Host != "" && over(p.byHost[j.Host], p.limits.PerHost) {
		line.heldUp = true
		return true
	}
	return over(p.byTenant[j.TenantID], p.limits.PerTenant)
}

func over(n, limit int) bool { return limit > 0 && n >= limit }

// stuck lists tenants of which there may be others behind what a source or a host
// holds up.
func (p *picker) stuck(depth int) []uuid.UUID {
	var stuck []uuid.UUID
	for tenant, line := range p.lines {
		if line.heldUp && line.looked >= depth && !over(p.byTenant[tenant], p.limits.PerTenant) {
			stuck = append(stuck, tenant)
		}
	}
	return stuck
}

// lineHeap orders tenants by who is to be served next.
type lineHeap []*tenantLine

func (h *lineHeap) Len() int { return len(*h) }

func (h *lineHeap) Less(i, j int) bool {
	a, b := (*h)[i], (*h)[j]
	return cmp.Or(cmp.Compare(a.turns, b.turns), cmp.Compare(b.jobs[0].Priority, a.jobs[0].Priority), cmp.Compare(a.place, b.place)) < 0
}

func (h *lineHeap) Swap(i, j int) { (*h)[i], (*h)[j] = (*h)[j], (*h)[i] }

// Push is not used: lines are there from the start.
func (h *lineHeap) Push(any) {}

// Pop implements heap.Interface.
func (h *lineHeap) Pop() any {
	last := len(*h) - 1
	*h = (*h)[:last]
	return nil
}
