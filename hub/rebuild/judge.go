package rebuild

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"xvault/archive"
	"xvault/internal/job"
	"xvault/store/catalog"
)

// candidate is a snapshot that may be taken in as far as it can be told without
// the catalog.
type candidate struct {
	found    job.Found
	manifest *archive.Manifest
	status   catalog.SnapshotStatus
	warning  string // of one that is taken in all the same
}

// sourceTypes are those that a catalog can hold.
var sourceTypes = []string{"sftp", "ssh", "ftp", "mysql", "postgres", "wordpress"}

// maxAhead is by how much a snapshot may be younger than now: clocks differ.
const maxAhead = 24 * time.Hour

// judge says what a thing on a storage is, or why it is no snapshot of ours.
func judge(f job.Found, now time.Time) (candidate, error) {
	if f.Problem != "" {
		return candidate{}, errors.New(f.Problem)
	}
	m, err := archive.DecodeManifest(f.Manifest)
	if err != nil {
		return candidate{}, fmt.Errorf("manifest.json is none: %w", err)
	}
	meta, err := archive.DecodeMeta(f.Meta)
	if err != nil {
		return candidate{}, fmt.Errorf("meta.json is none: %w", err)
	}
	if err := checkIdentity(f, m, meta); err != nil {
		return candidate{}, err
	}
	if err := checkContent(m, now); err != nil {
		return candidate{}, err
	}
	c := candidate{found: f, manifest: m, status: catalog.SnapshotCompleted}
	if m.Content.Errors > 0 {
		c.status = catalog.SnapshotPartial
	}
	if f.ArtifactBytes != m.Artifact.SizeBytes {
		c.status = catalog.SnapshotCorrupt
		c.warning = fmt.Sprintf("the artifact has %d bytes, and the manifest says %d: taken in as corrupt", f.ArtifactBytes, m.Artifact.SizeBytes)
	}
	return c, nil
}

// checkIdentity holds the folder's name, the meta file and the manifest against
// each other.
func checkIdentity(f job.Found, m *archive.Manifest, meta *archive.Meta) error {
	of := m.Meta()
	switch {
	case meta.TenantID != f.TenantID || m.TenantID != f.TenantID:
		return fmt.Errorf("the folder is of tenant %s, meta.json of %s, manifest.json of %s", f.TenantID, meta.TenantID, m.TenantID)
	case meta.SourceID != f.SourceID || m.SourceID != f.SourceID:
		return fmt.Errorf("the folder is of source %s, meta.json of %s, manifest.json of %s", f.SourceID, meta.SourceID, m.SourceID)
	case meta.SnapshotID != f.SnapshotID || m.SnapshotID != f.SnapshotID:
		return fmt.Errorf("the folder is snapshot %s, meta.json says %s, manifest.json %s", f.SnapshotID, meta.SnapshotID, m.SnapshotID)
	case f.Place != "" && f.Place != placeOf(f):
		return errors.New("the folder's place and its ids contradict each other")
	case meta.JobID != of.JobID || meta.WorkerID != of.WorkerID || !meta.CreatedAt.Equal(of.CreatedAt):
		return errors.New("meta.json and manifest.json contradict each other")
	}
	return nil
}

func placeOf(f job.Found) string {
	return strings.TrimPrefix(catalog.SnapshotPath("", f.TenantID, f.SourceID, f.SnapshotID), "/")
}

func checkContent(m *archive.Manifest, now time.Time) error {
	switch {
	case !slices.Contains(sourceTypes, m.Source.Type):
		return fmt.Errorf("there is no source type %.32q", m.Source.Type)
	case !job.ValidWorkerID(m.WorkerID):
		return fmt.Errorf("%.64q is no worker's id", m.WorkerID)
	case len(m.Encryption.Recipients) != 1:
		return fmt.Errorf("it is sealed to %d recipients, and a catalog knows of one", len(m.Encryption.Recipients))
	case m.CreatedAt.Year() < 2000, m.CreatedAt.After(now.Add(maxAhead)), m.DurationMS > (10 * 365 * 24 * time.Hour).Milliseconds():
		return fmt.Errorf("it cannot have been made at %s in %d ms", m.CreatedAt.UTC().Format(time.RFC3339), m.DurationMS)
	}
	return nil
}

func (c candidate) snapshot() catalog.ImportSnapshot {
	m := c.manifest
	took := time.Duration(m.DurationMS) * time.Millisecond
	return catalog.ImportSnapshot{
		ID: m.SnapshotID, JobID: m.JobID, Status: c.status, Size: m.Artifact.SizeBytes, SHA256: m.Artifact.SHA256,
		Began: m.CreatedAt.Add(-took), Ended: m.CreatedAt, DurationMS: m.DurationMS, Manifest: c.found.Manifest,
		KeyID: m.Encryption.KeyID, Recipient: m.Encryption.Recipients[0], MadeBy: m.WorkerID,
		Unconfirmed: c.found.Unconfirmed, Errors: m.Content.Errors,
	}
}

// tenantName is a name out of a recovery kit, where it can be one.
func tenantName(name string) string {
	name = strings.TrimSpace(name)
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > 200 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return ""
	}
	return name
}
