package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// What a worker may send at most. Longer texts are cut, longer objects refused.
const (
	maxMessageRunes  = 2000
	maxPhaseRunes    = 64
	maxResultBytes   = 64 << 10
	maxManifestBytes = 1 << 20
	maxPathBytes     = 4096
)

// report is a completion after the checks that need no catalog: texts are
// bounded and clean, numbers make sense, the parts fit each other.
type report struct {
	status   job.Status
	result   json.RawMessage
	code     job.Code // of a failure
	message  string
	snapshot *job.SnapshotRecord
	progress *job.Progress // beside a snapshot; may be nil
}

func checkReport(req job.CompleteRequest) (report, error) {
	r := report{status: req.Status, snapshot: req.Snapshot, progress: req.Progress}
	var err error
	if r.result, err = checkObject("result", req.Result, maxResultBytes); err != nil {
		return report{}, err
	}
	switch req.Status {
	case job.Completed:
		if req.Error != nil {
			return report{}, invalidReport("a completed attempt has no error")
		}
	case job.Failed, job.Canceled:
		r.code, r.message = checkError(req)
	default:
		return report{}, invalidReport(fmt.Sprintf("an attempt cannot end as %.20q", req.Status))
	}
	if r.snapshot != nil {
		return r, r.checkSnapshot()
	}
	return r, nil
}

// checkError never refuses: a failure that is told badly is still a failure.
func checkError(req job.CompleteRequest) (job.Code, string) {
	if req.Status == job.Canceled {
		return job.CodeCanceled, canceledWhileRunning
	}
	if req.Error == nil {
		return job.Internal, "The worker gave no reason for the failure; its log may have one."
	}
	code := req.Error.Code
	if !code.Valid() || code == job.CodeCanceled {
		code = job.Internal
	}
	return code, cleanText(req.Error.Message, maxMessageRunes)
}

// lastProgress is nil where the report tells none.
func (r report) lastProgress() (json.RawMessage, error) {
	if r.progress == nil {
		return nil, nil
	}
	progress, err := json.Marshal(boundedProgress(*r.progress))
	if err != nil {
		return nil, fmt.Errorf("encode progress: %w", err)
	}
	return progress, nil
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (r report) checkSnapshot() error {
	s := r.snapshot
	fits := r.status == job.Completed && s.Status == string(SnapshotCompleted) ||
		r.status == job.Failed && s.Status == string(SnapshotPartial)
	switch {
	case !fits:
		return invalidReport("a completed attempt has a completed snapshot, a failed one a partial snapshot")
	case s.StorageBackend != "local_fs":
		return invalidReport(fmt.Sprintf("storage backend %.20q is not known", s.StorageBackend))
	case s.SizeBytes < 0 || s.DurationMS < 0:
		return invalidReport("sizes and durations are not negative")
	case !sha256Hex.MatchString(s.SHA256):
		return invalidReport("sha256 is not 64 lower-case hex digits")
	case len(s.LocalPath) > maxPathBytes || !utf8.ValidString(s.LocalPath) || strings.ContainsRune(s.LocalPath, 0):
		return invalidReport("local_path is not a path")
	case len(s.Manifest) == 0:
		return invalidReport("the manifest is missing")
	}
	_, err := checkObject("manifest", s.Manifest, maxManifestBytes)
	return err
}

// checkObject takes a JSON object of bounded size, or nothing at all.
func checkObject(name string, b json.RawMessage, limit int) (json.RawMessage, error) {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0 || string(b) == "null":
		return nil, nil
	case len(b) > limit:
		return nil, invalidReport(fmt.Sprintf("%s is larger than %d bytes", name, limit))
	case b[0] != '{' || !json.Valid(b):
		return nil, invalidReport(name + " is not a JSON object")
	}
	return b, nil
}

// repeats reports whether the attempt, which has ended, ended by these words.
func (r report) repeats(s query.AttemptStateRow) bool {
	switch {
	case !is(s.AttemptOutcome, string(r.status)):
		return false
	case r.snapshot != nil:
		return is(s.SnapshotID, r.snapshot.ID)
	default: // other kinds name the snapshot that they work on
		return s.Type != string(job.Backup) || s.SnapshotID == nil
	}
}

// contradiction says what in the report cannot be true of a current attempt.
func (r report) contradiction(f Fence, s query.AttemptStateRow) error {
	switch {
	case r.snapshot == nil:
		return invalidReport("a backup completes with its snapshot")
	case s.Type != string(job.Backup):
		return invalidReport("only a backup makes a snapshot")
	case !is(s.AttemptSnapshotID, r.snapshot.ID):
		return invalidReport("the snapshot's id is not the one of this attempt")
	case r.snapshot.LocalPath != snapshotPath(s):
		return invalidReport("local_path is not the snapshot's place under the storage base of worker " + f.WorkerID)
	default:
		return invalidReport("the encryption key is not one of the tenant, or has another recipient")
	}
}

func snapshotPath(s query.AttemptStateRow) string {
	if s.StorageBasePath == "" || s.AttemptSnapshotID == nil {
		return ""
	}
	return SnapshotPath(s.StorageBasePath, s.TenantID, s.SourceID, *s.AttemptSnapshotID)
}

// SnapshotPath is the folder of a snapshot on a worker's storage.
func SnapshotPath(base string, tenant, source, snapshot uuid.UUID) string {
	return fmt.Sprintf("%s/tenants/%s/sources/%s/snapshots/%s", strings.TrimRight(base, "/"), tenant, source, snapshot)
}

func (r report) errorCode() *string {
	if r.status == job.Completed {
		return nil
	}
	code := string(r.code)
	return &code
}

func (r report) errorMessage() *string {
	if r.status == job.Completed {
		return nil
	}
	return &r.message
}

func invalidReport(message string) *Conflict {
	return &Conflict{Code: "invalid_report", Message: message}
}

func boundedProgress(p job.Progress) job.Progress {
	p.Phase = cleanText(p.Phase, maxPhaseRunes)
	p.Files, p.Bytes = max(p.Files, 0), max(p.Bytes, 0)
	p.BytesTotal, p.RateBPS = max(p.BytesTotal, 0), max(p.RateBPS, 0)
	return p
}

// cleanText makes a text that Postgres can store, of at most limit runes.
func cleanText(s string, limit int) string {
	if len(s) > 4*limit {
		s = s[:4*limit]
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if utf8.RuneCountInString(s) > limit {
		runes := []rune(s)
		s = string(runes[:limit-1]) + "…"
	}
	return s
}
