package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"

	"xvault/archive"
	"xvault/internal/job"
	"xvault/store/blob"
)

// maxBeside bounds the files beside an artifact, in bytes.
const maxBeside = 1 << 20

// checkBeside checks manifest.json and meta.json: each is laid out as it was
// written, the manifest says what the catalog has of it, and both are about this
// snapshot. Fields of later versions are compared like any others.
func checkBeside(ctx context.Context, store blob.Store, key blob.Key, s job.ClaimSnapshot) (*archive.Manifest, error) {
	raw, fields, err := readBeside(ctx, store, key, blob.Manifest)
	if err != nil {
		return nil, err
	}
	manifest, err := archive.DecodeManifest(raw)
	if err != nil {
		return nil, damagedBeside(blob.Manifest, "it is not a manifest")
	}
	switch {
	case manifest.TenantID != key.TenantID || manifest.SourceID != key.SourceID || manifest.SnapshotID != key.SnapshotID:
		return nil, damagedBeside(blob.Manifest, "it is another snapshot's")
	case manifest.Artifact.SizeBytes != s.SizeBytes || manifest.Artifact.SHA256 != s.SHA256:
		return nil, damagedBeside(blob.Manifest, "it describes another artifact")
	case len(s.Manifest) > 0 && !sameObject(s.Manifest, fields):
		return nil, damagedBeside(blob.Manifest, "it differs from what the hub knows of it")
	}
	_, meta, err := readBeside(ctx, store, key, blob.Meta)
	if err != nil {
		return nil, err
	}
	return manifest, checkMeta(meta, fields)
}

// checkMeta holds the fields of meta.json against the manifest, which has them
// too.
func checkMeta(meta, manifest map[string]any) error {
	for _, name := range []string{"format", "tenant_id", "source_id", "snapshot_id", "job_id", "worker_id", "created_at"} {
		if value, ok := meta[name]; !ok || !reflect.DeepEqual(value, manifest[name]) {
			return damagedBeside(blob.Meta, "its "+name+" is not the manifest's")
		}
	}
	return nil
}

// readBeside reads one of the files, its bytes and its fields.
func readBeside(ctx context.Context, store blob.Store, key blob.Key, name string) ([]byte, map[string]any, error) {
	raw, err := store.ReadBeside(ctx, key, name, maxBeside)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return nil, nil, job.Errorf(job.ArtifactCorrupt, "The file %s is missing beside the artifact on the worker's storage.", name)
	case err != nil:
		return nil, nil, err
	case len(raw) > maxBeside:
		return nil, nil, damagedBeside(name, "it is too long")
	}
	fields, err := fieldsOf(raw)
	if err != nil || !laidOut(raw) {
		return nil, nil, damagedBeside(name, "it is not the text that was written")
	}
	return raw, fields, nil
}

func damagedBeside(name, why string) error {
	return job.Errorf(job.ArtifactCorrupt, "The file %s beside the artifact is damaged or was changed: %s.", name, why)
}

// fieldsOf decodes an object, numbers as they are written.
func fieldsOf(raw []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var fields map[string]any
	err := d.Decode(&fields)
	return fields, err
}

func sameObject(known json.RawMessage, fields map[string]any) bool {
	want, err := fieldsOf(known)
	return err == nil && reflect.DeepEqual(want, fields)
}

// laidOut reports whether a text has the blanks and lines that all versions of
// the program gave it: a byte that fell off or turned into another blank is
// damage, too.
func laidOut(raw []byte) bool {
	var compact, indented bytes.Buffer
	if json.Compact(&compact, raw) != nil || json.Indent(&indented, compact.Bytes(), "", "  ") != nil {
		return false
	}
	indented.WriteByte('\n')
	return bytes.Equal(indented.Bytes(), raw)
}
