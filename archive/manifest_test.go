package archive

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func soundManifest(t *testing.T) *Manifest {
	t.Helper()
	k := newKeys(t)
	return testManifest(k.recipient, k.write(t, WriterConfig{}, fileItem("secret-name", "x")).summary)
}

func TestManifestRoundTrip(t *testing.T) {
	t.Parallel()
	m := soundManifest(t)
	b := encoded(t, m.Encode)
	if bytes.Contains(b, []byte("secret-name")) {
		t.Error("the manifest holds a file name")
	}
	got, err := DecodeManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	if again := encoded(t, got.Encode); !bytes.Equal(again, b) {
		t.Errorf("decoded and encoded again:\n%s\nbefore:\n%s", again, b)
	}
	meta := m.Meta()
	gotMeta, err := DecodeMeta(encoded(t, meta.Encode))
	if err != nil || *gotMeta != meta {
		t.Errorf("meta %+v, %v; want %+v", gotMeta, err, meta)
	}
	extra := strings.Replace(string(b), "{", `{"field_of_a_later_version": 1,`, 1)
	if _, err := DecodeManifest([]byte(extra)); err != nil {
		t.Errorf("an unknown field: %v", err)
	}
}

// TestManifestFields pins the names that catalog and API show.
func TestManifestFields(t *testing.T) {
	t.Parallel()
	var m map[string]any
	if err := json.Unmarshal(encoded(t, soundManifest(t).Encode), &m); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"format", "tenant_id", "source_id", "snapshot_id", "job_id", "worker_id", "created_at",
		"artifact.name", "artifact.size_bytes", "artifact.sha256",
		"content.files", "content.dirs", "content.links", "content.bytes", "content.skipped",
		"content.changed_while_read", "content.errors", "compression.algorithm", "compression.level",
		"encryption.algorithm", "encryption.recipients", "encryption.key_id",
		"source.type", "source.connector_version", "duration_ms", "tool.name", "tool.version",
	} {
		at := any(m)
		for field := range strings.SplitSeq(path, ".") {
			object, _ := at.(map[string]any)
			at = object[field]
		}
		if at == nil {
			t.Errorf("no field %s", path)
		}
	}
}

func TestManifestValidation(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Manifest){
		"format":         func(m *Manifest) { m.Format = "xvault/2" },
		"tenant":         func(m *Manifest) { m.TenantID = uuid.Nil },
		"job":            func(m *Manifest) { m.JobID = uuid.Nil },
		"worker":         func(m *Manifest) { m.WorkerID = "" },
		"time":           func(m *Manifest) { m.CreatedAt = time.Time{} },
		"name":           func(m *Manifest) { m.Artifact.Name = "x" },
		"size":           func(m *Manifest) { m.Artifact.SizeBytes = 0 },
		"upper-case sum": func(m *Manifest) { m.Artifact.SHA256 = strings.Repeat("A", 64) },
		"short sum":      func(m *Manifest) { m.Artifact.SHA256 = "ab" },
		"count":          func(m *Manifest) { m.Content.Errors = -1 },
		"compression":    func(m *Manifest) { m.Compression.Algorithm = "gzip" },
		"encryption":     func(m *Manifest) { m.Encryption.Algorithm = "rot13" },
		"no recipient":   func(m *Manifest) { m.Encryption.Recipients = nil },
		"bad recipient":  func(m *Manifest) { m.Encryption.Recipients = []string{"age1"} },
		"key":            func(m *Manifest) { m.Encryption.KeyID = uuid.Nil },
		"source":         func(m *Manifest) { m.Source.Type = "" },
		"duration":       func(m *Manifest) { m.DurationMS = -1 },
		"tool":           func(m *Manifest) { m.Tool.Name = "" },
	} {
		m := soundManifest(t)
		spoil(m)
		if _, err := m.Encode(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, b := range []string{"", "[]", "{}", "null", strings.Repeat(" ", maxManifest+1)} {
		if _, err := DecodeManifest([]byte(b)); err == nil {
			t.Errorf("manifest %.10q: accepted", b)
		}
		if _, err := DecodeMeta([]byte(b)); err == nil {
			t.Errorf("meta %.10q: accepted", b)
		}
	}
}
