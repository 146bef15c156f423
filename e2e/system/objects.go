package system

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// The objects of the contract, with the fields that the tests look at.
type (
	// Tenant is a customer account.
	Tenant struct {
		ID        string `json:"id"`
		Name      string `json:"name"`
		PublicKey string `json:"public_key"`
	}
	// Object is anything of which only the id counts.
	Object struct {
		ID string `json:"id"`
	}
	// Job is one unit of work.
	Job struct {
		ID             string          `json:"id"`
		TenantID       string          `json:"tenant_id"`
		SourceID       string          `json:"source_id"`
		Type           string          `json:"type"`
		Status         string          `json:"status"`
		WaitingReason  string          `json:"waiting_reason"`
		WorkerID       string          `json:"worker_id"`
		Attempt        int             `json:"attempt"`
		LeaseExpiresAt *time.Time      `json:"lease_expires_at"`
		Result         json.RawMessage `json:"result"`
		SnapshotID     string          `json:"snapshot_id"`
		Error          *JobError       `json:"error"`
		CreatedAt      time.Time       `json:"created_at"`
		StartedAt      *time.Time      `json:"started_at"`
		FinishedAt     *time.Time      `json:"finished_at"`
	}
	// JobError is why it failed.
	JobError struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Retryable bool   `json:"retryable"`
	}
	// Snapshot is the result of a backup.
	Snapshot struct {
		ID             string          `json:"id"`
		TenantID       string          `json:"tenant_id"`
		SourceID       string          `json:"source_id"`
		JobID          string          `json:"job_id"`
		Status         string          `json:"status"`
		SizeBytes      int64           `json:"size_bytes"`
		Manifest       json.RawMessage `json:"manifest"`
		Recipient      string          `json:"encryption_recipient"`
		StorageBackend string          `json:"storage_backend"`
		WorkerID       string          `json:"worker_id"`
		LocalPath      string          `json:"local_path"`
	}
)

// Ended tells whether the job is in a state that it never leaves.
func (j Job) Ended() bool {
	return j.Status == "completed" || j.Status == "failed" || j.Status == "canceled"
}

func (j Job) String() string {
	s := fmt.Sprintf("job %s: %s %s, attempt %d on %q", j.ID, j.Type, j.Status, j.Attempt, j.WorkerID)
	if j.WaitingReason != "" {
		s += ", waiting: " + j.WaitingReason
	}
	if j.Error != nil {
		s += fmt.Sprintf(", error %s: %s", j.Error.Code, j.Error.Message)
	}
	return s
}

// CreateTenant makes a tenant.
func (c *Client) CreateTenant(t testing.TB, name string) Tenant {
	t.Helper()
	return Post[Tenant](t, c, "/api/v1/tenants", map[string]any{"name": name})
}

// ExportKey is the recovery kit's identity.
func (c *Client) ExportKey(t testing.TB, tenantID string) string {
	t.Helper()
	r := c.Do(t, "POST", "/api/v1/tenants/"+tenantID+"/export-key", nil, 200)
	return decode[struct {
		Identity string `json:"identity"`
	}](t, r).Identity
}

// CreateKey gives a tenant's own API key; "" makes one of the operator's.
func (c *Client) CreateKey(t testing.TB, tenantID, name string) string {
	t.Helper()
	body := map[string]any{"name": name}
	if tenantID != "" {
		body["tenant_id"] = tenantID
	}
	return Post[struct {
		Key string `json:"key"`
	}](t, c, "/api/v1/api-keys", body).Key
}

// PrivateKey is the secret of a credential with a PEM key.
func PrivateKey(pem string) map[string]any {
	return map[string]any{"type": "private_key", "private_key": pem}
}

// Password is the secret of a credential with a password.
func Password(password string) map[string]any {
	return map[string]any{"type": "password", "password": password}
}

// CreateCredential makes a source credential.
func (c *Client) CreateCredential(t testing.TB, tenantID string, secret map[string]any) string {
	t.Helper()
	return Post[Object](t, c, "/api/v1/credentials", map[string]any{
		"tenant_id": tenantID, "kind": "source", "secret": secret,
	}).ID
}

// CreateSource makes a source of type sftp.
func (c *Client) CreateSource(t testing.TB, tenantID, credentialID string, config map[string]any) string {
	t.Helper()
	return c.CreateSourceOf(t, SFTP, tenantID, credentialID, config)
}

// CreateSourceOf makes a source of a type that reads a server's files.
func (c *Client) CreateSourceOf(t testing.TB, kind, tenantID, credentialID string, config map[string]any) string {
	t.Helper()
	return Post[Object](t, c, "/api/v1/sources", map[string]any{
		"tenant_id": tenantID, "type": kind, "name": "a server",
		"credential_id": credentialID, "config": config,
	}).ID
}

// StartBackup posts a backup job.
func (c *Client) StartBackup(t testing.TB, sourceID string) Job {
	t.Helper()
	return Post[Job](t, c, "/api/v1/jobs", map[string]any{"source_id": sourceID})
}

// Job reads one job.
func (c *Client) Job(t testing.TB, id string) Job {
	t.Helper()
	return Get[Job](t, c, "/api/v1/jobs/"+id)
}

// Snapshot reads one snapshot.
func (c *Client) Snapshot(t testing.TB, id string) Snapshot {
	t.Helper()
	return Get[Snapshot](t, c, "/api/v1/snapshots/"+id)
}

// DeleteSnapshot asks for a snapshot to be deleted and gives the job.
func (c *Client) DeleteSnapshot(t testing.TB, id, query string) Job {
	t.Helper()
	return decode[Job](t, c.Do(t, "DELETE", "/api/v1/snapshots/"+id+query, nil, 201))
}
