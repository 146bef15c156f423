package catalog

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"xvault/internal/job"
	"xvault/internal/testenv"
	"xvault/store/catalog/query"
)

var update = flag.Bool("update", false, "write testdata/explain anew")

// plans collects what auto_explain tells of each statement that runs, so that
// the plans are those of the very statements of this package.
type plans struct {
	mu   sync.Mutex
	seen []string
}

func (p *plans) notice(_ *pgconn.PgConn, n *pgconn.Notice) {
	_, plan, ok := strings.Cut(n.Message, "plan:\n")
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, plan)
}

func (p *plans) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

func explainedCatalog(t *testing.T) (*DB, *plans) {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(testenv.Catalog(t))
	if err != nil {
		t.Fatal(err)
	}
	p := &plans{}
	cfg.MaxConns = 1
	cfg.ConnConfig.OnNotice = p.notice
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &DB{pool: pool, convoy: &convoy{Pool: pool}, changed: make(chan struct{}, 1)}, p
}

// crowd fills the catalog as years of use would: nearly all jobs have ended, one
// tenant has ten thousand queued, and a few are on their way.
func crowd(t *testing.T, db *DB, n int) {
	t.Helper()
	for _, sql := range []string{
		`INSERT INTO encryption_keys (key_id, kind, canary) VALUES ('k', 'raw', 'x')`,
		`INSERT INTO tenants (id, name) SELECT ('01900000-0000-7000-a000-' || lpad(to_hex(g), 12, '0'))::uuid, 't' FROM generate_series(0, 199) g`,
		`INSERT INTO tenant_keys (id, tenant_id, algorithm, public_key, encrypted_private_key, key_id, key_status)
		 SELECT id, id, 'age-x25519', 'age1x', 'x', 'k', 'active' FROM tenants`,
		`INSERT INTO sources (id, tenant_id, type, name, config)
		 SELECT ('01900000-0000-7000-b000-' || lpad(to_hex(g), 12, '0'))::uuid,
		        ('01900000-0000-7000-a000-' || lpad(to_hex(g % 200), 12, '0'))::uuid, 'sftp', 's', '{}' FROM generate_series(0, 1999) g`,
		`INSERT INTO workers (id, status, age_recipient, token_hash, storage_base_path, slots)
		 SELECT 'w' || g, 'online', 'age1w', decode(md5(g::text), 'hex'), '/srv', 4 FROM generate_series(0, 49) g`,
		fmt.Sprintf(`INSERT INTO jobs (id, tenant_id, source_id, type, status, priority, target_worker_id, dispatch_seq, dispatched_at,
		        run_after, attempt, claim_id, worker_id, worker_incarnation, lease_expires_at, started_at, finished_at, error_code)
		 SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(g), 12, '0'))::uuid,
		        ('01900000-0000-7000-a000-' || lpad(to_hex(s %% 200), 12, '0'))::uuid,
		        ('01900000-0000-7000-b000-' || lpad(to_hex(s), 12, '0'))::uuid,
		        CASE WHEN g %% 100 = 0 THEN 'probe' WHEN g %% 333 = 0 THEN 'verify' ELSE 'backup' END, st, g %% 10,
		        CASE WHEN g %% 333 = 0 THEN 'w' || g %% 50 END,
		        1, CASE WHEN st <> 'queued' OR g %% 50 = 0 THEN xvault_now() END,
		        xvault_now() - interval '1 h', CASE st WHEN 'queued' THEN 0 ELSE 1 END,
		        CASE WHEN st <> 'queued' THEN gen_random_uuid() END, CASE WHEN st <> 'queued' THEN 'w' || g %% 50 END,
		        CASE WHEN st <> 'queued' THEN 1 END,
		        CASE WHEN st IN ('running', 'finalizing') THEN xvault_now() + (g %% 60 - 2) * interval '1 s' END,
		        CASE WHEN st <> 'queued' THEN xvault_now() - interval '1 h' END,
		        CASE WHEN st IN ('completed', 'failed', 'canceled') THEN xvault_now() END,
		        CASE WHEN st = 'failed' THEN 'connect_failed' END
		 FROM (SELECT g, CASE WHEN g > %[1]d - 10000 AND g %% 50 > 2 THEN 0 ELSE g * 7 %% 2000 END AS s,
		              CASE WHEN g > %[1]d - 10000 THEN 'queued' WHEN g > %[1]d - 10200 THEN 'running'
		                   WHEN g %% 100 = 1 THEN 'failed' WHEN g %% 100 = 2 THEN 'canceled' ELSE 'completed' END AS st
		       FROM generate_series(1, %[1]d) g) x`, n),
		`VACUUM ANALYZE`,
		`LOAD 'auto_explain'`,
		`SET auto_explain.log_min_duration = 0`, `SET auto_explain.log_nested_statements = on`, `SET auto_explain.log_analyze = on`,
		`SET auto_explain.log_timing = off`, `SET client_min_messages = 'log'`,
	} {
		if _, err := db.pool.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%.80s: %v", sql, err)
		}
	}
}

// explained is a statement that must be quick however many jobs there are.
type explained struct {
	name  string
	index string // that must be used; empty: any but none
	run   func(ctx context.Context) error
}

func (db *DB) explained() []explained {
	var (
		op     = db.Operator(Actor{Type: ActorOperator})
		tenant = uuid.MustParse("01900000-0000-7000-a000-000000000007")
		source = uuid.MustParse("01900000-0000-7000-b000-000000000007")
		one    = uuid.MustParse("01900000-0000-7000-8000-000000000065")
		w      = WorkerRef{ID: "w1", Incarnation: 1}
		none   = Fence{JobID: one, WorkerID: "w1", Incarnation: 1, Attempt: 99}
	)
	list := func(name, index string, s Scope, f JobFilter, p Page) explained {
		p.Limit = 50
		return explained{"list " + name, index, func(ctx context.Context) error {
			_, err := s.Jobs(ctx, f, p)
			return err
		}}
	}
	fenced := func(err error) error {
		if errors.Is(err, ErrFenced) {
			return nil
		}
		return err
	}
	return []explained{
		{"dispatcher: queues with room", "jobs_undispatched", func(ctx context.Context) error {
			_, err := db.DispatchQueues(ctx)
			return err
		}},
		{"dispatcher: tenants in turn", "jobs_undispatched", func(ctx context.Context) error {
			_, err := db.TenantsInTurn(ctx, job.QueueBackup, uuid.Nil, 256)
			return err
		}},
		{"dispatcher: take jobs", "jobs_undispatched", func(ctx context.Context) error {
			tenants, err := db.TenantsInTurn(ctx, job.QueueBackup, uuid.Nil, 256)
			if err == nil {
				_, err = db.Dispatch(ctx, Queue{Name: job.QueueBackup, Room: 8}, tenants)
			}
			return err
		}},
		{"reconciler: what should be in redis", "jobs_dispatched", func(ctx context.Context) error {
			_, err := db.Dispatched(ctx, 0, 10_000)
			return err
		}},
		{"reconciler: take back", "", func(ctx context.Context) error {
			_, err := db.Undispatch(ctx, []job.Delivery{{JobID: one, Seq: 9}, {JobID: tenant, Seq: 9}})
			return err
		}},
		{"reaper", "jobs_leases", func(ctx context.Context) error {
			_, err := db.ReapExpired(ctx, 1)
			return err
		}},
		{"reaper: orphaned attempts and jobs", "jobs_by_target", func(ctx context.Context) error {
			_, err := db.ReapOrphaned(ctx, 1)
			return err
		}},
		{"a worker's new start", "jobs_by_worker", func(ctx context.Context) error {
			return db.inTx(ctx, func(tx pgx.Tx, q *query.Queries) error { return op.endLeases(ctx, tx, q, "w7") })
		}},
		{"removal of a worker", "jobs_by_target", func(ctx context.Context) error {
			return db.inTx(ctx, func(tx pgx.Tx, q *query.Queries) error { return op.failRemovedWorkersJobs(ctx, tx, q, "w9") })
		}},
		{"claim", "jobs_pkey", func(ctx context.Context) error {
			_, err := db.ClaimJob(ctx, w, job.ClaimRequest{JobID: one, ClaimID: one})
			if errors.Is(err, ErrGone) {
				return nil
			}
			return err
		}},
		{"renew", "jobs_pkey", func(ctx context.Context) error {
			_, err := db.RenewLease(ctx, none, job.Progress{})
			return fenced(err)
		}},
		{"complete a backup", "jobs_pkey", func(ctx context.Context) error {
			return fenced(db.CompleteJob(ctx, none, job.CompleteRequest{Status: job.Completed, Snapshot: &job.SnapshotRecord{
				Status: "completed", StorageBackend: "local_fs", SHA256: strings.Repeat("a", 64), Manifest: []byte("{}"),
			}}))
		}},
		{"fail", "jobs_pkey", func(ctx context.Context) error {
			return fenced(db.CompleteJob(ctx, none, job.CompleteRequest{Status: job.Failed}))
		}},
		{"credential under a lease", "", func(ctx context.Context) error {
			_, err := db.JobCredential(ctx, w, one)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		}},
		{"one job", "jobs_pkey", func(ctx context.Context) error {
			_, err := op.Job(ctx, one)
			return err
		}},
		list("all", "jobs_pkey", op, JobFilter{}, Page{}),
		list("all, a later page", "jobs_pkey", op, JobFilter{}, Page{After: one}),
		list("a tenant's", "jobs_tenant_id_id_key", op, JobFilter{TenantID: &tenant}, Page{}),
		list("a source's", "jobs_by_source", op, JobFilter{SourceID: &source}, Page{}),
		list("a tenant's source's", "jobs_by_source", db.Tenant(tenant, Actor{}), JobFilter{SourceID: &source}, Page{}),
		list("queued", "jobs_by_status", op, JobFilter{Status: "queued"}, Page{}),
		list("completed", "", op, JobFilter{Status: "completed"}, Page{}),
		list("finalizing, of which there are none", "jobs_by_status", op, JobFilter{Status: "finalizing"}, Page{}),
		list("a tenant's failed", "jobs_by_tenant_status", op, JobFilter{TenantID: &tenant, Status: "failed"}, Page{}),
		list("probes", "", op, JobFilter{Type: "probe"}, Page{}),
		list("restores, of which there are none", "jobs_by_type", op, JobFilter{Type: "restore"}, Page{}),
		list("backups", "jobs_pkey", op, JobFilter{Type: "backup"}, Page{}),
	}
}

// TestPlansUseTheirIndexes runs every hot statement often enough to see its
// generic plan too, on a table where reading all of it would be felt.
func TestPlansUseTheirIndexes(t *testing.T) {
	t.Parallel()
	db, plans := explainedCatalog(t)
	crowd(t, db, explainedJobs)
	db.limits = Limits{PerSource: 1, PerHost: 16, PerTenant: 64}
	plans.take()
	var doc strings.Builder
	fmt.Fprintf(&doc, "Plans on %d jobs, with Postgres 15. Written by the test of the same name: go test -tags long -run Plans ./store/catalog -update\n",
		explainedJobs)
	for _, e := range db.explained() {
		start := time.Now()
		const runs = 8
		for range runs {
			if err := e.run(t.Context()); err != nil {
				t.Fatalf("%s: %v", e.name, err)
			}
		}
		took := time.Since(start) / runs
		seen := plans.take()
		all := strings.Join(seen, "\n")
		if len(seen) == 0 {
			t.Fatalf("%s: no plan was seen", e.name)
		}
		if strings.Contains(all, "Seq Scan on jobs") {
			t.Errorf("%s reads the whole table:\n%s", e.name, all)
		}
		if !strings.Contains(all, e.index) {
			t.Errorf("%s does not use %s:\n%s", e.name, e.index, seen[len(seen)-1])
		}
		t.Logf("%-40s %v", e.name, took.Round(10*time.Microsecond))
		describe(&doc, e.name, seen)
	}
	if *update && explainedJobs == 1_000_000 {
		file := filepath.Join("testdata", "explain", "jobs.txt")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	measured = regexp.MustCompile(`  \(cost=[^)]*\) \((actual rows=\d+ loops=\d+|never executed)\)`)
	noise    = regexp.MustCompile(`(?m)^\s*(Query Text|Buckets|Sort Method|Heap Fetches|Rows Removed|Memory Usage|Hits|Cache|Worker|Batches|Execution Time|Planning Time|Settings).*\n?`)
)

// describe writes the last plan of each statement of the case, without what
// differs from run to run.
func describe(doc *strings.Builder, name string, seen []string) {
	fmt.Fprintf(doc, "\n## %s\n", name)
	last := map[string]string{}
	var order []string
	for _, plan := range seen {
		text, tree := splitPlan(plan)
		if _, ok := last[text]; !ok {
			order = append(order, text)
		}
		last[text] = tree
	}
	for _, text := range order {
		tree := noise.ReplaceAllString(measured.ReplaceAllString(last[text], ""), "")
		fmt.Fprintf(doc, "\n%s\n", strings.TrimRight(tree, "\n"))
	}
}

// splitPlan parts the statement's text from its plan, which begins with the
// first line that has a cost.
func splitPlan(plan string) (text, tree string) {
	lines := strings.SplitAfter(plan, "\n")
	for i, line := range lines {
		if strings.Contains(line, "(cost=") {
			return strings.Join(lines[:i], ""), strings.Join(lines[i:], "")
		}
	}
	return plan, ""
}
