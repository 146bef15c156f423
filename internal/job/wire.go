package job

import (
	"crypto/ed25519"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"xvault/internal/secret"
)

// RegisterRequest is the body of POST /internal/workers/register. The bearer
// token is the join token for an id that the hub does not know, and the
// worker's own token for one that it does.
type RegisterRequest struct {
	WorkerID        string       `json:"worker_id"`
	Name            string       `json:"name"`
	Version         string       `json:"version"`
	Capabilities    Capabilities `json:"capabilities"`
	AgeRecipient    string       `json:"age_recipient"`
	StorageBasePath string       `json:"storage_base_path"`
	// StorageID is the content of the marker file at the storage's root.
	StorageID uuid.UUID `json:"storage_id"`
	PublicURL string    `json:"public_url,omitempty"`
	Slots     int       `json:"slots"`
	// RegistrationID is a fresh random UUID (version 4) of this start. A worker
	// keeps it in its state folder from before it calls until the answer's
	// token is kept there too: if the answer was lost, the same id together with
	// the token used then (join or own) registers once more. It counts as a
	// secret, and ends with the first heartbeat under the new token.
	RegistrationID uuid.UUID `json:"registration_id,omitzero"`
}

// Capabilities says what a worker can do.
type Capabilities struct {
	SourceTypes []string `json:"source_types"`
	JobTypes    []Kind   `json:"job_types"`
	Storage     []string `json:"storage"` // "local_fs", "s3"
}

// RegisterResponse hands out the token of this incarnation. The earlier one's
// token and leases end with it.
type RegisterResponse struct {
	Token       string `json:"token"`
	Incarnation int64  `json:"incarnation"`
	// RedisURL is never sent: a worker has its own setting.
	HeartbeatEveryMS int64 `json:"heartbeat_every_ms"`
	// KnownSince is when this catalog first knew the worker, by its own clock:
	// what is on the storage from before may be another catalog's.
	KnownSince time.Time `json:"known_since,omitzero"`
	// TicketKeys are the Ed25519 public keys by which download tickets are known.
	TicketKeys []ed25519.PublicKey `json:"ticket_keys,omitempty"`
}

// Storage states of a heartbeat.
const (
	StorageOK      = "ok"
	StorageMissing = "missing" // not there, empty where it was not, or not writable
	StorageForeign = "foreign" // another storage's marker
)

// Heartbeat is the body of POST /internal/workers/heartbeat.
type Heartbeat struct {
	Status         string    `json:"status"` // "online" or "draining"
	Slots          int       `json:"slots"`
	SlotsBusy      int       `json:"slots_busy"`
	DiskFreeBytes  int64     `json:"disk_free_bytes"`
	DiskTotalBytes int64     `json:"disk_total_bytes"`
	StorageState   string    `json:"storage_state"`
	StorageID      uuid.UUID `json:"storage_id"`
}

// HeartbeatResponse may ask the worker to drain, or to take jobs again.
type HeartbeatResponse struct {
	Drain bool `json:"drain"`
	// StorageForeign: snapshots of this worker stand on another storage than the
	// one it shows; what it would store there is not taken.
	StorageForeign bool `json:"storage_foreign,omitempty"`
	// List asks for a listing of the storage, under this id; none where it is zero.
	List uuid.UUID `json:"list,omitzero"`
}

// ClaimRequest is the body of POST /internal/jobs/claim. Repeating a claim_id
// gets the same answer as long as that attempt is current.
type ClaimRequest struct {
	JobID   uuid.UUID `json:"job_id"`
	ClaimID uuid.UUID `json:"claim_id"`
}

// Claim is what a worker needs to do a job.
type Claim struct {
	JobID     uuid.UUID `json:"job_id"`
	TenantID  uuid.UUID `json:"tenant_id"`
	Kind      Kind      `json:"type"`
	Attempt   int       `json:"attempt"` // the fencing token
	LeaseMS   int64     `json:"lease_ms"`
	CreatedAt time.Time `json:"created_at"` // of the job
	StartedAt time.Time `json:"started_at"` // of this attempt, database time
	// SnapshotID is fresh for each attempt of a backup; for restore, verify and
	// delete it is the snapshot to work on.
	SnapshotID uuid.UUID       `json:"snapshot_id,omitzero"`
	Source     *ClaimSource    `json:"source,omitempty"`
	TenantKey  *ClaimTenantKey `json:"tenant_key,omitempty"`
	// SealedCredential is an age file that opens with the worker's own identity
	// only; its plaintext is the JSON of Credential.
	SealedCredential []byte `json:"sealed_credential,omitempty"`
	// SealedSSHCredential is the same of the machine through which the source is
	// reached; none where it is reached directly.
	SealedSSHCredential []byte          `json:"sealed_ssh_credential,omitempty"`
	Payload             json.RawMessage `json:"payload,omitempty"`
	// Snapshot is what the catalog knows of SnapshotID, for jobs that read it.
	Snapshot *ClaimSnapshot `json:"snapshot,omitempty"`
	// SealedIdentity is the tenant's identity that opens that snapshot, as an age
	// file that opens with the worker's own identity only.
	SealedIdentity []byte `json:"sealed_identity,omitempty"`
}

// ClaimSnapshot is a snapshot that is to be read.
type ClaimSnapshot struct {
	// SourceID is the source that it is of, which need not be the one that the
	// job works on. Earlier hubs do not tell: then it is.
	SourceID  uuid.UUID `json:"source_id,omitzero"`
	SizeBytes int64     `json:"size_bytes"`
	SHA256    string    `json:"sha256"` // of the artifact, lower-case hex
	Recipient string    `json:"recipient"`
	// Manifest is what the catalog has of manifest.json, for a verification.
	Manifest json.RawMessage `json:"manifest,omitempty"`
}

// ClaimSource is the source of a claimed job.
type ClaimSource struct {
	ID           uuid.UUID       `json:"id"`
	Type         string          `json:"type"`
	Config       json.RawMessage `json:"config"`
	CredentialID uuid.UUID       `json:"credential_id,omitzero"`
	// PinnedHostKeys are keys that the hub pinned on first use, beside
	// those in Config.
	PinnedHostKeys []string `json:"pinned_host_keys,omitempty"`
	// Bandwidth is the JSON of a bandwidth.Plan; none: no limit.
	Bandwidth json.RawMessage `json:"bandwidth,omitempty"`
}

// ClaimTenantKey is the recipient to seal to.
type ClaimTenantKey struct {
	ID        uuid.UUID `json:"id"`
	Algorithm string    `json:"algorithm"` // "age-x25519"
	PublicKey string    `json:"public_key"`
}

// Credential is the plaintext of a source's secret. It is the one type whose
// JSON form does hold secrets: it is only ever encoded to be sealed.
type Credential struct {
	Type       string      // "password" or "private_key"
	Password   secret.Text // type password
	PrivateKey secret.Text // type private_key: PEM
	Passphrase secret.Text // type private_key, optional
}

type credentialJSON struct {
	Type       string `json:"type"`
	Password   string `json:"password,omitempty"`
	PrivateKey string `json:"private_key,omitempty"`
	Passphrase string `json:"passphrase,omitempty"`
}

// Encode gives the JSON that is sealed or enveloped.
func (c Credential) Encode() ([]byte, error) {
	return json.Marshal(credentialJSON{c.Type, c.Password.Reveal(), c.PrivateKey.Reveal(), c.Passphrase.Reveal()})
}

// DecodeCredential reads what Encode wrote.
func DecodeCredential(b []byte) (Credential, error) {
	var j credentialJSON
	if err := json.Unmarshal(b, &j); err != nil {
		// json's error may quote the input: a secret.
		return Credential{}, Errorf(Internal, "the credential is not valid JSON")
	}
	return Credential{j.Type, secret.New(j.Password), secret.New(j.PrivateKey), secret.New(j.Passphrase)}, nil
}

// Progress is what a worker tells of a running job with each renewal.
type Progress struct {
	Phase      string `json:"phase"`
	Files      int64  `json:"files"`
	Bytes      int64  `json:"bytes"`
	BytesTotal int64  `json:"bytes_total,omitempty"`
	RateBPS    int64  `json:"rate_bps"`
}

// RenewRequest is the body of POST /internal/jobs/{id}/renew.
type RenewRequest struct {
	Attempt  int      `json:"attempt"`
	Progress Progress `json:"progress"`
}

// RenewResponse says how long the lease now holds.
type RenewResponse struct {
	LeaseMS         int64 `json:"lease_ms"`
	CancelRequested bool  `json:"cancel_requested"`
}

// HostKeyRequest is the body of POST /internal/jobs/{id}/host-key.
type HostKeyRequest struct {
	Attempt int    `json:"attempt"`
	Key     string `json:"key"` // "ssh-ed25519 AAAA..."
}

// HostKeyResponse says whether the worker may go on to authenticate with it.
type HostKeyResponse struct {
	Pinned bool `json:"pinned"`
}

// AttemptRequest is the body of POST /internal/jobs/{id}/finalize and /release.
type AttemptRequest struct {
	Attempt int `json:"attempt"`
}

// CompleteRequest is the body of POST /internal/jobs/{id}/complete.
type CompleteRequest struct {
	Attempt  int             `json:"attempt"`
	Status   Status          `json:"status"` // completed, failed or canceled
	Snapshot *SnapshotRecord `json:"snapshot,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    *WireError      `json:"error,omitempty"`
	// Progress is how far the attempt came in the end, of a backup that leaves a
	// snapshot; without it the last renewal's stands.
	Progress *Progress `json:"progress,omitempty"`
}

// WireError is an Error on the wire. The hub, not the worker, decides whether
// it is retried.
type WireError struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// SnapshotRecord is what a worker reports of a durable artifact.
type SnapshotRecord struct {
	ID             uuid.UUID       `json:"id"`
	Status         string          `json:"status"` // "completed" or "partial"
	SizeBytes      int64           `json:"size_bytes"`
	SHA256         string          `json:"sha256"`
	StartedAt      time.Time       `json:"started_at"`
	DurationMS     int64           `json:"duration_ms"`
	Manifest       json.RawMessage `json:"manifest"`
	KeyID          uuid.UUID       `json:"encryption_key_id"`
	Recipient      string          `json:"encryption_recipient"`
	StorageBackend string          `json:"storage_backend"` // "local_fs"
	LocalPath      string          `json:"local_path,omitempty"`
	Bucket         string          `json:"bucket,omitempty"`
	ObjectKey      string          `json:"object_key,omitempty"`
	ETag           string          `json:"etag,omitempty"`
}

// ReconcileRequest lists, in batches, the snapshots on a worker's storage.
type ReconcileRequest struct {
	StorageID uuid.UUID   `json:"storage_id"`
	Snapshots []uuid.UUID `json:"snapshots"`
	// Complete says that Snapshots is all there is, so that the hub may answer
	// which are missing.
	Complete bool `json:"complete"`
	// ListingMS is how long ago the listing began: what the catalog got to know
	// since is not missing. Without it nothing is noted as missing.
	ListingMS int64 `json:"listing_ms,omitempty"`
}

// SweepReport is the body of POST /internal/workers/sweep: what a worker found
// when it compared its storage with the catalog. Bytes are those of artifacts.
type SweepReport struct {
	StorageID    uuid.UUID `json:"storage_id"`
	Snapshots    int64     `json:"snapshots"`     // on the storage
	Orphans      int64     `json:"orphans"`       // of them unknown to the hub, and not removed yet
	Kept         int64     `json:"kept"`          // of the orphans, those that are never removed
	OrphanBytes  int64     `json:"orphan_bytes"`  //
	Missing      int64     `json:"missing"`       // known to the hub, and not on the storage
	Removed      int64     `json:"removed"`       // orphans removed from this storage, ever
	RemovedBytes int64     `json:"removed_bytes"` //
}

// DeletePayload is the payload of a delete_snapshot job. No path: the worker
// makes it from ids.
type DeletePayload struct {
	// StorageID is the storage that the snapshot was put on.
	StorageID uuid.UUID `json:"storage_id,omitzero"`
}

// DeleteResult is what a delete_snapshot job found out.
type DeleteResult struct {
	FreedBytes int64 `json:"freed_bytes"`
	// Missing: there were no files any more on the right storage.
	Missing bool `json:"missing,omitempty"`
}

// ReconcileResponse tells where disk and catalog differ. Both lists are empty
// where the storage is not the one that the worker registered. Missing counts
// what the catalog knew when it answered, so a snapshot that was stored after
// the worker listed its disk may be among them: look again before acting.
type ReconcileResponse struct {
	Unknown []uuid.UUID `json:"unknown"`
	Missing []uuid.UUID `json:"missing"`
	// Compared says that the storage is the right one: what is not Unknown is known.
	Compared bool `json:"compared,omitempty"`
	// Deleted are those of Unknown that the hub knows to have been deleted.
	Deleted []uuid.UUID `json:"deleted,omitempty"`
}

// PublicKeyResponse answers GET /internal/tenants/{id}/public-key.
type PublicKeyResponse = ClaimTenantKey

// SealedCredentialResponse answers GET /internal/credentials/{id}.
type SealedCredentialResponse struct {
	SealedCredential []byte `json:"sealed_credential"`
}
