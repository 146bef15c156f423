package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/connectors"
	"xvault/internal/job"
	"xvault/store/blob"
)

// Values of a snapshot record.
const (
	statusCompleted = "completed"
	statusPartial   = "partial"
	backendLocal    = "local_fs"
	toolName        = "xvault"
)

// describe makes the two files beside the artifact, and the record of it. The
// hub stores the manifest as it is here.
func (b *backup) describe(store blob.Store, s archive.Summary) (*job.SnapshotRecord, blob.Files, error) {
	m := b.manifest(s)
	manifest, err := m.Encode()
	if err != nil {
		return nil, blob.Files{}, err
	}
	about := m.Meta()
	meta, err := about.Encode()
	if err != nil {
		return nil, blob.Files{}, err
	}
	status := statusCompleted
	if !s.Complete() {
		status = statusPartial
	}
	c := b.a.claim
	record := &job.SnapshotRecord{
		ID: c.SnapshotID, Status: status, SizeBytes: s.SizeBytes, SHA256: s.SHA256,
		StartedAt: c.StartedAt, DurationMS: m.DurationMS, Manifest: json.RawMessage(manifest),
		KeyID: c.TenantKey.ID, Recipient: c.TenantKey.PublicKey,
		StorageBackend: backendLocal, LocalPath: store.Location(b.key),
	}
	return record, blob.Files{Size: s.SizeBytes, SHA256: s.SHA256, Manifest: manifest, Meta: meta}, nil
}

func (b *backup) manifest(s archive.Summary) *archive.Manifest {
	c := b.a.claim
	took := b.a.now().Sub(b.a.began)
	return &archive.Manifest{
		Format:   archive.Format,
		TenantID: c.TenantID, SourceID: c.Source.ID, SnapshotID: c.SnapshotID, JobID: c.JobID, WorkerID: b.w.id,
		// By the catalog's clock, for this machine's may be wrong by a year.
		CreatedAt:   c.StartedAt.Add(took).UTC().Truncate(time.Microsecond),
		Artifact:    archive.Artifact{Name: blob.Artifact, SizeBytes: s.SizeBytes, SHA256: s.SHA256},
		Content:     s.Content,
		Compression: archive.Compression{Algorithm: "zstd", Level: archive.DefaultLevel},
		Encryption:  archive.Encryption{Algorithm: seal.Algorithm, Recipients: []string{c.TenantKey.PublicKey}, KeyID: c.TenantKey.ID},
		Source:      archive.SourceInfo{Type: c.Source.Type, ConnectorVersion: b.version, WordPress: b.software},
		DurationMS:  took.Milliseconds(),
		Tool:        archive.Tool{Name: toolName, Version: b.w.cfg.Version},
	}
}

// softwareOf is what a source that was read tells of its programs; nil: nothing.
func softwareOf(source connectors.Source) *archive.Software {
	d, ok := source.(connectors.Described)
	if !ok {
		return nil
	}
	told := d.Software()
	if told == nil {
		return nil
	}
	s := told.Bounded()
	list := func(from []connectors.Component) []archive.Component {
		to := []archive.Component{}
		for _, c := range from {
			to = append(to, archive.Component{Name: c.Name, Version: c.Version, Active: c.Active})
		}
		return to
	}
	return &archive.Software{Version: s.Version, Plugins: list(s.Plugins), MUPlugins: list(s.MustUse), Themes: list(s.Themes), Omitted: s.Omitted}
}

// missingResult is the result of a job whose snapshot is partial, or during
// which entries vanished. Paths are escaped, the first maxNamed of each kind.
type missingResult struct {
	Paths         []string `json:"paths"` // that could not be read whole
	Errors        int64    `json:"errors"`
	Vanished      int64    `json:"vanished,omitempty"`
	VanishedPaths []string `json:"vanished_paths,omitempty"`
}

// maxNamed is how many paths a result names.
const maxNamed = 20

// missing names the paths, cut where they would be more than a result holds: a
// path of 4,000 bytes can become five times as long by its escapes.
func (b *backup) missing(s archive.Summary) []byte {
	if s.Complete() && b.vanished == 0 {
		return nil
	}
	for limit := 16 << 10; ; limit /= 2 {
		res := missingResult{Paths: []string{}, Errors: s.Content.Errors, Vanished: b.vanished}
		for _, p := range b.vanishedPaths {
			res.VanishedPaths = append(res.VanishedPaths, cutText(p, limit))
		}
		for _, p := range s.Problems {
			res.Paths = append(res.Paths, cutText(b.sourcePath(p.Path), limit))
		}
		encoded, err := json.Marshal(res)
		if err != nil { // it has strings and a number
			b.a.log.Error("encode the list of missing paths", "error", err)
			return nil
		}
		if len(encoded) <= maxResult {
			return encoded
		}
	}
}

// cutText cuts between characters.
func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// sourcePath is a member's path as the source has it.
func (b *backup) sourcePath(member string) string {
	switch b.a.claim.Source.Type {
	case "sftp", "ssh", "ftp":
		return "/" + member
	default:
		return member
	}
}

// incomplete is the failure of a backup that could not read everything. It is
// never tried again on its own: what was read is kept, if it is anything, and marked.
func (b *backup) incomplete(s archive.Summary, kept bool) error {
	if len(s.Problems) == 0 {
		return errors.New("entries are missing, but none is named")
	}
	first := s.Problems[0]
	code := first.Code
	if code.Retryable() {
		code = job.SourceChanged
	}
	total := s.Content.Files + s.Content.Dirs + s.Content.Links + s.Content.Errors
	e := &job.Error{Code: code, Message: fmt.Sprintf("%d of %d entries could not be read whole, the first is %s", s.Content.Errors, total, b.sourcePath(first.Path))}
	if b.first != nil {
		e.Message += ": " + b.first.Message
		e.Err = b.first
	}
	e.Message += ". " + remedy(code, kept)
	return e
}

func remedy(code job.Code, kept bool) string {
	rest := "There is nothing else, so no snapshot was made. "
	if kept {
		rest = "The rest is kept in a snapshot that is marked partial. "
	}
	if code == job.PermissionDenied {
		return rest + "Let the backup's user read them, or exclude them."
	}
	return rest + "Run the backup again, at a time when the source changes less, or exclude them."
}

// snapshotIDs is a small set, for the log.
func snapshotIDs(ids []uuid.UUID, limit int) []string {
	var out []string
	for _, id := range ids[:min(len(ids), limit)] {
		out = append(out, id.String())
	}
	return out
}
