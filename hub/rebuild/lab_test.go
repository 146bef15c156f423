package rebuild_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/hub/rebuild"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/blob"
	"xvault/store/catalog"
	"xvault/store/localfs"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// lab is a catalog that lost everything, and workers with storages of their own.
type lab struct {
	t   *testing.T
	url string
	kek string
	db  *catalog.DB
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, url: testenv.Catalog(t), kek: "k1:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))}
	var err error
	if l.db, err = catalog.Open(t.Context(), catalog.Config{URL: secret.New(l.url)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.db.Close)
	return l
}

// site is a worker that does what the hub asks of it, and no more.
type site struct {
	*lab
	id          string
	base        string
	store       *localfs.FS
	ref         catalog.WorkerRef
	unconfirmed map[uuid.UUID]bool
}

func (l *lab) site(id string) *site {
	l.t.Helper()
	s := &site{lab: l, id: id, base: filepath.Join(l.t.TempDir(), "storage"), unconfirmed: map[uuid.UUID]bool{}}
	var err error
	if s.store, err = localfs.Open(localfs.Config{Base: s.base}); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = s.store.Close() })
	_, recipient, err := seal.NewIdentity()
	if err != nil {
		l.t.Fatal(err)
	}
	done, err := l.db.RegisterWorker(l.t.Context(), catalog.Registration{Join: true, From: catalog.Actor{Type: catalog.ActorWorker, ID: id}, RegisterRequest: job.RegisterRequest{
		WorkerID: id, AgeRecipient: recipient, StorageBasePath: s.base, StorageID: s.store.ID(), Slots: 1, PublicURL: "http://127.0.0.1:1",
	}})
	if err != nil {
		l.t.Fatal(err)
	}
	s.ref = catalog.WorkerRef{ID: id, Incarnation: done.Incarnation}
	return s
}

// work answers questions for a listing until ctx ends.
func (s *site) work(ctx context.Context) error {
	for ctx.Err() == nil {
		_, list, err := s.db.Heartbeat(ctx, s.ref, job.Heartbeat{Status: "online", StorageState: job.StorageOK, StorageID: s.store.ID()})
		if err == nil && list != uuid.Nil {
			err = s.tell(ctx, list)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, catalog.ErrNotListing) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (s *site) tell(ctx context.Context, list uuid.UUID) error {
	page := job.FoundPage{ImportID: list, ListingID: uuid.New(), StorageID: s.store.ID()}
	send := func() error {
		err := s.db.KeepFound(ctx, s.ref, page)
		if err == nil && !page.Last {
			err = s.db.KeepFound(ctx, s.ref, page) // as after an answer that was lost
		}
		page.Items = nil
		return err
	}
	err := s.store.Survey(ctx, func(f blob.Surveyed) error {
		page.Items = append(page.Items, job.Found{
			Place: f.Place, TenantID: f.Key.TenantID, SourceID: f.Key.SourceID, SnapshotID: f.Key.SnapshotID,
			Unconfirmed: s.unconfirmed[f.Key.SnapshotID], ArtifactBytes: f.ArtifactBytes,
			Manifest: f.Manifest, Meta: f.Meta, Problem: f.Problem,
		})
		if len(page.Items) == 3 {
			return send()
		}
		return nil
	})
	if err != nil {
		return err
	}
	page.Last = true
	return send()
}

// imports runs an import while the site's worker answers.
func (s *site) imports(cfg rebuild.Config) (rebuild.Report, error) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.work(ctx) }()
	cfg.DatabaseURL, cfg.EncryptionKEK, cfg.WorkerID = secret.New(s.url), secret.New(s.kek), s.id
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	report, err := rebuild.Run(s.t.Context(), cfg)
	stop()
	if err := <-ended; err != nil {
		s.t.Errorf("the worker: %v", err)
	}
	return report, err
}

func (s *site) mustImport(cfg rebuild.Config) rebuild.Report {
	s.t.Helper()
	report, err := s.imports(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return report
}

// tenant is one that the lost catalog had.
type tenant struct {
	id, key   uuid.UUID
	identity  secret.Text
	recipient string
}

func (l *lab) tenant() tenant {
	l.t.Helper()
	identity, recipient, err := seal.NewIdentity()
	if err != nil {
		l.t.Fatal(err)
	}
	return tenant{catalog.NewID(), catalog.NewID(), identity, recipient}
}

func (x tenant) kit() rebuild.Identity {
	return rebuild.Identity{Key: x.identity, TenantID: x.id, TenantName: "the name in the kit", File: "kit.txt"}
}

// snapshot is one on a storage; fields may be changed before it is planted.
type snapshot struct {
	manifest archive.Manifest
	meta     *archive.Meta // nil: the manifest's
	key      blob.Key      // of the folder
	artifact int64         // its size there
}

func (s *site) snapshot(x tenant, source uuid.UUID) *snapshot {
	id := catalog.NewID()
	return &snapshot{
		key: blob.Key{TenantID: x.id, SourceID: source, SnapshotID: id}, artifact: 100,
		manifest: archive.Manifest{
			Format: archive.Format, TenantID: x.id, SourceID: source, SnapshotID: id, JobID: catalog.NewID(), WorkerID: s.id,
			CreatedAt:   time.Now().UTC().Truncate(time.Microsecond),
			Artifact:    archive.Artifact{Name: blob.Artifact, SizeBytes: 100, SHA256: strings.Repeat("ab", 32)},
			Content:     archive.Content{Files: 1, Bytes: 10},
			Compression: archive.Compression{Algorithm: "zstd", Level: 3},
			Encryption:  archive.Encryption{Algorithm: seal.Algorithm, Recipients: []string{x.recipient}, KeyID: x.key},
			Source:      archive.SourceInfo{Type: "sftp", ConnectorVersion: "1"}, DurationMS: 1500, Tool: archive.Tool{Name: "xvault", Version: "test"},
		},
	}
}

// plant writes it and gives its folder.
func (s *site) plant(n *snapshot) string {
	s.t.Helper()
	dir := filepath.Join(s.base, filepath.FromSlash(n.key.Prefix()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	manifest, err := n.manifest.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	meta := n.manifest.Meta()
	if n.meta != nil {
		meta = *n.meta
	}
	encoded, err := meta.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(dir, blob.Manifest, manifest)
	s.write(dir, blob.Meta, encoded)
	s.write(dir, blob.Artifact, make([]byte, n.artifact))
	return dir
}

func (s *site) write(dir, name string, content []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// rows gives what a query finds, as text.
func (l *lab) rows(sql string, args ...any) []string {
	l.t.Helper()
	conn, err := pgx.Connect(l.t.Context(), l.url)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = conn.Close(l.t.Context()) }()
	rows, err := conn.Query(l.t.Context(), sql, args...)
	if err != nil {
		l.t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		l.t.Fatalf("%s: %v", sql, err)
	}
	return found
}

// everything is the whole catalog but for what tells of imports as such.
func (l *lab) everything() string {
	l.t.Helper()
	return strings.Join(l.rows(`SELECT r FROM (
		SELECT to_jsonb(t)::text FROM tenants t UNION ALL SELECT to_jsonb(k)::text FROM tenant_keys k UNION ALL
		SELECT to_jsonb(s)::text FROM sources s UNION ALL SELECT to_jsonb(j)::text FROM jobs j UNION ALL
		SELECT to_jsonb(n)::text FROM snapshots n UNION ALL SELECT to_jsonb(i)::text FROM imports i) AS x(r) ORDER BY r`), "\n")
}
