package prune_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"xvault/hub/prune"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// shelf is a catalog with one source whose snapshots a test puts there.
type shelf struct {
	t              testing.TB
	db             *catalog.DB
	raw            *pgxpool.Pool
	tenant, source uuid.UUID
	key            uuid.UUID
	worker         catalog.WorkerRef
	storage        uuid.UUID
	pruner         *prune.Pruner
}

const grace = time.Hour

func newShelf(t testing.TB) *shelf {
	t.Helper()
	url := testenv.Catalog(t)
	s := &shelf{t: t, tenant: catalog.NewID(), source: catalog.NewID(), key: catalog.NewID(), storage: uuid.New()}
	var err error
	s.db, err = catalog.Open(t.Context(), catalog.Config{URL: secret.New(url), MaxConns: 8})
	s.must(err)
	t.Cleanup(s.db.Close)
	s.raw, err = pgxpool.New(t.Context(), url)
	s.must(err)
	t.Cleanup(s.raw.Close)
	s.exec("INSERT INTO encryption_keys (key_id, kind, canary) VALUES ('k', 'raw', 'x')")
	s.exec("INSERT INTO tenants (id, name) VALUES ($1, 'a tenant')", s.tenant)
	s.exec(`INSERT INTO tenant_keys (id, tenant_id, algorithm, public_key, encrypted_private_key, key_id, key_status)
		VALUES ($1, $2, 'age-x25519', 'age1x', 'x', 'k', 'active')`, s.key, s.tenant)
	s.exec("INSERT INTO sources (id, tenant_id, type, name, config) VALUES ($1, $2, 'sftp', 'a source', '{}')", s.source, s.tenant)
	s.exec(`INSERT INTO workers (id, status, storage_base_path, storage_id, age_recipient, token_hash) VALUES ('w1', 'online', '/srv', $1, 'age1x', 'x')`, s.storage)
	s.worker = catalog.WorkerRef{ID: "w1", Incarnation: 1}
	s.pruner, err = prune.New(prune.Config{DB: s.db, Grace: grace, Every: 50 * time.Millisecond, DueEvery: 50 * time.Millisecond})
	s.must(err)
	return s
}

func (s *shelf) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.raw.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

func (s *shelf) count(sql string, args ...any) int {
	s.t.Helper()
	var n int
	if err := s.raw.QueryRow(s.t.Context(), sql, args...).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (s *shelf) schedule(policy, zone string) {
	s.t.Helper()
	s.exec("INSERT INTO schedules (id, tenant_id, source_id, cron, timezone, retention_policy) VALUES ($1, $2, $3, '@daily', $4, $5)",
		catalog.NewID(), s.tenant, s.source, zone, policy)
}

// put stores a snapshot that was begun at a time.
func (s *shelf) put(at time.Time, status catalog.SnapshotStatus) uuid.UUID {
	s.t.Helper()
	id, jobID := catalog.NewID(), catalog.NewID()
	s.exec(`INSERT INTO jobs (id, tenant_id, source_id, type, status, finished_at) VALUES ($1, $2, $3, 'backup', 'completed', xvault_now())`,
		jobID, s.tenant, s.source)
	s.exec(`INSERT INTO snapshots (id, tenant_id, source_id, job_id, status, size_bytes, started_at, finished_at, duration_ms,
			manifest_json, artifact_sha256, encryption_algorithm, encryption_key_id, encryption_recipient, storage_backend, worker_id, storage_id, local_path)
		VALUES ($1, $2, $3, $4, $5, 100, $6, $6, 3, '{}', repeat('ab', 32), 'age-x25519', $7, 'age1x', 'local_fs', 'w1', $8, '/srv/x')`,
		id, s.tenant, s.source, jobID, string(status), at, s.key, s.storage)
	return id
}

func (s *shelf) status(id uuid.UUID) string {
	s.t.Helper()
	var status string
	s.must(s.raw.QueryRow(s.t.Context(), "SELECT status FROM snapshots WHERE id = $1", id).Scan(&status))
	return status
}

func (s *shelf) moveClock(d time.Duration) {
	s.t.Helper()
	s.exec("CREATE OR REPLACE FUNCTION xvault_now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT statement_timestamp() + interval '" +
		d.String() + "' $$")
}

func (s *shelf) operator() catalog.Scope {
	return s.db.Operator(catalog.Actor{Type: catalog.ActorOperator, ID: "operator"})
}

// backUp makes a backup through the queue, of so many files.
func (s *shelf) backUp(files int, end func(c catalog.Claimed) job.CompleteRequest) uuid.UUID {
	s.t.Helper()
	j, err := s.operator().CreateJob(s.t.Context(), catalog.NewJob{SourceID: s.source, Kind: job.Backup, Priority: 5})
	s.must(err)
	c, err := s.db.ClaimJob(s.t.Context(), s.worker, job.ClaimRequest{JobID: j.ID, ClaimID: uuid.New()})
	s.must(err)
	s.must(s.db.CompleteJob(s.t.Context(), catalog.Fence{JobID: j.ID, WorkerID: "w1", Incarnation: 1, Attempt: c.Attempt}, end(c)))
	return c.SnapshotID
}
