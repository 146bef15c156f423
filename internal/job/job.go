// Package job is what hub and worker share: kinds and states of jobs, error
// codes, queue names and the messages of the internal API. Both sides may be
// of different versions, so fields are only ever added and unknown ones are
// ignored.
package job

import "time"

// Kind is the type of a job.
type Kind string

// The kinds of jobs.
const (
	Backup         Kind = "backup"
	Restore        Kind = "restore"
	DeleteSnapshot Kind = "delete_snapshot"
	Verify         Kind = "verify"
	Probe          Kind = "probe"
)

// Status is where a job stands: queued -> running -> finalizing -> completed,
// failed or canceled.
type Status string

// The states of a job. Finalizing means that the bytes are durable and only
// the record is missing; from there a job can no longer be canceled.
const (
	Queued     Status = "queued"
	Running    Status = "running"
	Finalizing Status = "finalizing"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Canceled   Status = "canceled"
)

// Terminal reports whether the job has ended for good.
func (s Status) Terminal() bool { return s == Completed || s == Failed || s == Canceled }

// Timing of the lease protocol.
const (
	// Lease is how long a claim or a renewal holds.
	Lease = 60 * time.Second
	// RenewEvery is how often a worker renews.
	RenewEvery = 15 * time.Second
	// FenceAfter is when a job that acts on the outside world stops itself for
	// want of a successful renewal, on the worker's monotonic clock.
	FenceAfter = 50 * time.Second
	// MaxAttempts is how often a job is tried unless it says otherwise.
	MaxAttempts = 5
	// MaxProbes is how often a probe is tried: somebody waits for its answer.
	MaxProbes = 2
	// HeartbeatEvery is how often a worker says that it lives.
	HeartbeatEvery = 10 * time.Second
	// OfflineAfter is the silence after which a worker counts as offline.
	OfflineAfter = 45 * time.Second
)
