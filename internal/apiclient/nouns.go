package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"xvault/internal/bandwidth"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// Tenant is one customer account.
type Tenant struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Plan      string    `json:"plan"`
	PublicKey string    `json:"public_key"`
	CreatedAt time.Time `json:"created_at"`
}

// Credential is a stored secret, without the secret.
type Credential struct {
	ID         string    `json:"id"`
	TenantID   string    `json:"tenant_id"`
	Name       string    `json:"name"`
	Kind       string    `json:"kind"`
	SecretType string    `json:"secret_type"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
}

// Source is one thing to back up.
type Source struct {
	ID           string          `json:"id"`
	TenantID     string          `json:"tenant_id"`
	Type         string          `json:"type"`
	Name         string          `json:"name"`
	Status       string          `json:"status"`
	CredentialID string          `json:"credential_id"`
	Config       json.RawMessage `json:"config"`
	// Bandwidth is nil where there is no limit.
	Bandwidth *bandwidth.Plan `json:"bandwidth"`
	// MaxAgeHours is 0 where nothing has to have succeeded lately.
	MaxAgeHours int `json:"max_age_hours"`
	// VerifyEvery and ReverifyAfter are empty for never.
	VerifyEvery   string    `json:"verify_every"`
	VerifyKind    string    `json:"verify_kind"`
	ReverifyAfter string    `json:"reverify_after"`
	CreatedAt     time.Time `json:"created_at"`
}

// Schedule says when a source is backed up.
type Schedule struct {
	ID              string          `json:"id"`
	TenantID        string          `json:"tenant_id"`
	SourceID        string          `json:"source_id"`
	Cron            string          `json:"cron"`
	IntervalMinutes int             `json:"interval_minutes"`
	Timezone        string          `json:"timezone"`
	Enabled         bool            `json:"enabled"`
	JitterSeconds   int             `json:"jitter_seconds"`
	Window          string          `json:"window"`
	RetentionPolicy json.RawMessage `json:"retention_policy"`
	Words           string          `json:"words"`
	NextRuns        []time.Time     `json:"next_runs"`
	CreatedAt       time.Time       `json:"created_at"`
}

// Slot is what became of a time of a schedule.
type Slot struct {
	ID      string     `json:"id"`
	Slot    time.Time  `json:"slot"`
	Through *time.Time `json:"through"`
	Outcome string     `json:"outcome"`
	JobID   string     `json:"job_id"`
}

// Job is one unit of work.
type Job struct {
	ID             string          `json:"id"`
	TenantID       string          `json:"tenant_id"`
	SourceID       string          `json:"source_id"`
	Type           job.Kind        `json:"type"`
	Status         job.Status      `json:"status"`
	WaitingReason  string          `json:"waiting_reason"`
	Priority       int             `json:"priority"`
	TargetWorkerID string          `json:"target_worker_id"`
	WorkerID       string          `json:"worker_id"`
	Attempt        int             `json:"attempt"`
	MaxAttempts    int             `json:"max_attempts"`
	Progress       *job.Progress   `json:"progress"`
	Result         json.RawMessage `json:"result"`
	Error          *JobError       `json:"error"`
	SnapshotID     string          `json:"snapshot_id"`
	RunAfter       *time.Time      `json:"run_after"`
	CreatedAt      time.Time       `json:"created_at"`
	StartedAt      *time.Time      `json:"started_at"`
	FinishedAt     *time.Time      `json:"finished_at"`
}

// JobError is why a job, or its latest attempt, failed.
type JobError struct {
	Code      job.Code `json:"code"`
	Message   string   `json:"message"`
	Retryable bool     `json:"retryable"`
}

// Snapshot is the result of one backup.
type Snapshot struct {
	ID             string            `json:"id"`
	TenantID       string            `json:"tenant_id"`
	SourceID       string            `json:"source_id"`
	JobID          string            `json:"job_id"`
	Status         string            `json:"status"`
	SizeBytes      int64             `json:"size_bytes"`
	StartedAt      time.Time         `json:"started_at"`
	FinishedAt     time.Time         `json:"finished_at"`
	DurationMS     int64             `json:"duration_ms"`
	Manifest       Manifest          `json:"manifest"`
	Recipient      string            `json:"encryption_recipient"`
	StorageBackend string            `json:"storage_backend"`
	WorkerID       string            `json:"worker_id"`
	LocalPath      string            `json:"local_path"`
	Hold           bool              `json:"hold"`
	Note           string            `json:"note"`
	VerifiedAt     *time.Time        `json:"verified_at"`
	DrilledAt      *time.Time        `json:"drilled_at"`
	VerifyResult   *job.VerifyResult `json:"verify_result"`
	Suspicion      string            `json:"suspicion"`
	AcceptedAt     *time.Time        `json:"accepted_at"`
	MissingSince   *time.Time        `json:"missing_since"`
	DeleteAfter    *time.Time        `json:"delete_after"`
	DeletedAt      *time.Time        `json:"deleted_at"`
	CreatedAt      time.Time         `json:"created_at"`
}

// Manifest is the part of a snapshot's manifest that people look at.
type Manifest struct {
	Format   string `json:"format"`
	Artifact struct {
		SizeBytes int64  `json:"size_bytes"`
		SHA256    string `json:"sha256"`
	} `json:"artifact"`
	Content struct {
		Files            int64 `json:"files"`
		Dirs             int64 `json:"dirs"`
		Links            int64 `json:"links"`
		Bytes            int64 `json:"bytes"`
		Skipped          int64 `json:"skipped"`
		ChangedWhileRead int64 `json:"changed_while_read"`
		Errors           int64 `json:"errors"`
	} `json:"content"`
	Source struct {
		Type      string    `json:"type"`
		WordPress *Software `json:"wordpress"`
	} `json:"source"`
}

// Software is which versions of what a site is made of.
type Software struct {
	Version   string      `json:"version"`
	Plugins   []Component `json:"plugins"`
	MUPlugins []Component `json:"mu_plugins"`
	Themes    []Component `json:"themes"`
	Omitted   int         `json:"omitted"`
}

// Component is a plugin or a theme.
type Component struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Active  bool   `json:"active"`
}

// Worker is one process that makes backups.
type Worker struct {
	ID             string    `json:"id"`
	Name           string    `json:"name"`
	Status         string    `json:"status"`
	Version        string    `json:"version"`
	Slots          int       `json:"slots"`
	SlotsBusy      int       `json:"slots_busy"`
	StorageState   string    `json:"storage_state"`
	StorageBase    string    `json:"storage_base_path"`
	DiskFreeBytes  int64     `json:"disk_free_bytes"`
	DiskTotalBytes int64     `json:"disk_total_bytes"`
	LastSeenAt     time.Time `json:"last_seen_at"`
	CreatedAt      time.Time `json:"created_at"`
}

// APIKey is a key without its secret. Key is set in the answer that makes it.
type APIKey struct {
	ID         string      `json:"id"`
	TenantID   string      `json:"tenant_id"`
	Name       string      `json:"name"`
	Key        secret.Text `json:"key"`
	ExpiresAt  *time.Time  `json:"expires_at"`
	LastUsedAt *time.Time  `json:"last_used_at"`
	CreatedAt  time.Time   `json:"created_at"`
}

// AuditEvent tells who did what to which object.
type AuditEvent struct {
	ID         string          `json:"id"`
	TenantID   string          `json:"tenant_id"`
	ActorType  string          `json:"actor_type"`
	ActorID    string          `json:"actor_id"`
	Action     string          `json:"action"`
	ObjectType string          `json:"object_type"`
	ObjectID   string          `json:"object_id"`
	Detail     json.RawMessage `json:"detail"`
	RemoteAddr string          `json:"remote_addr"`
	CreatedAt  time.Time       `json:"created_at"`
}

// Tenants are the customer accounts.
func (c *Client) Tenants() Resource[Tenant] { return Resource[Tenant]{c, "tenants"} }

// Credentials are the stored secrets.
func (c *Client) Credentials() Resource[Credential] { return Resource[Credential]{c, "credentials"} }

// Sources are the things to back up.
func (c *Client) Sources() Resource[Source] { return Resource[Source]{c, "sources"} }

// Schedules say when sources are backed up.
func (c *Client) Schedules() Resource[Schedule] { return Resource[Schedule]{c, "schedules"} }

// Slots are what became of the times of a schedule.
func (c *Client) Slots(scheduleID string) Resource[Slot] {
	return Resource[Slot]{c, c.Schedules().of(scheduleID) + "/slots"}
}

// Jobs are the units of work.
func (c *Client) Jobs() Resource[Job] { return Resource[Job]{c, "jobs"} }

// Snapshots are the results of backups.
func (c *Client) Snapshots() Resource[Snapshot] { return Resource[Snapshot]{c, "snapshots"} }

// Workers are the processes that make backups.
func (c *Client) Workers() Resource[Worker] { return Resource[Worker]{c, "workers"} }

// APIKeys are the keys that the hub made.
func (c *Client) APIKeys() Resource[APIKey] { return Resource[APIKey]{c, "api-keys"} }

// AuditEvents are the trail.
func (c *Client) AuditEvents() Resource[AuditEvent] { return Resource[AuditEvent]{c, "audit-events"} }

// RecoveryKey is what opens a tenant's artifacts with no hub at all.
type RecoveryKey struct {
	Identity  secret.Text `json:"identity"`
	PublicKey string      `json:"public_key"`
}

// ExportKey gives a tenant's recovery key. The hub notes who asked.
func (c *Client) ExportKey(ctx context.Context, tenantID string) (RecoveryKey, error) {
	raw, err := c.call(ctx, http.MethodPost, c.Tenants().of(tenantID)+"/export-key", nil, nil)
	if err != nil {
		return RecoveryKey{}, err
	}
	var key RecoveryKey
	if err := json.Unmarshal(raw, &key); err != nil {
		return RecoveryKey{}, fmt.Errorf("decode recovery key: %w", err)
	}
	return key, nil
}

// Probe asks a worker to look whether a source can be reached.
func (c *Client) Probe(ctx context.Context, sourceID string) (Item[Job], error) {
	return c.Jobs().decode(c.call(ctx, http.MethodPost, c.Sources().of(sourceID)+"/probe", nil, nil))
}

// NewCredential is the body that makes a credential; it holds the secret and is
// only ever encoded to be sent.
type NewCredential struct {
	TenantID string          `json:"tenant_id,omitempty"`
	Name     string          `json:"name,omitempty"`
	Kind     string          `json:"kind"`
	Secret   json.RawMessage `json:"secret"` // job.Credential's encoding
}

// SetSecret replaces a credential's secret.
func (c *Client) SetSecret(ctx context.Context, id string, encoded json.RawMessage) error {
	// A struct names the body like the one that makes a credential.
	body := struct {
		Secret json.RawMessage `json:"secret"`
	}{encoded}
	_, err := c.call(ctx, http.MethodPut, c.Credentials().of(id)+"/secret", nil, body)
	return err
}
