package testenv

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"xvault/internal/devenv"
	"xvault/internal/secret"
	"xvault/migrations"
)

// sharedPostgres is the process's one server and its migrated template.
type sharedPostgres struct {
	mu       sync.Mutex
	server   *devenv.Postgres
	err      error
	migrated bool
	names    atomic.Int64
}

const templateDB = "catalog_template"

// Postgres gives the URL of a fresh, empty database of the shared server. The
// database is dropped after the test.
func Postgres(t testing.TB) string {
	t.Helper()
	return shared.postgres.fresh(t, "template0")
}

// Catalog gives the URL of a fresh database with all migrations applied. It is
// cloned from a template that is migrated once a process.
func Catalog(t testing.TB) string {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	if err := shared.postgres.migrate(ctx); err != nil {
		t.Fatalf("migrate the template catalog: %v", err)
	}
	return shared.postgres.fresh(t, templateDB)
}

func (s *sharedPostgres) fresh(t testing.TB, template string) string {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	server, err := s.get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("t%d", s.names.Add(1))
	if err := server.Exec(ctx, "postgres", "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatalf("make test database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := startContext()
		defer cancel()
		if err := server.Exec(ctx, "postgres", "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return server.URL(name)
}

// get starts the server once; a failure is remembered, not tried again.
func (s *sharedPostgres) get(ctx context.Context) (*devenv.Postgres, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil || s.err != nil {
		return s.server, s.err
	}
	dir, err := scratch()
	if err == nil {
		s.server, err = devenv.NewPostgres(ctx, devenv.PostgresConfig{Dir: filepath.Join(dir, "postgres")})
	}
	s.err = err
	return s.server, s.err
}

func (s *sharedPostgres) migrate(ctx context.Context) error {
	server, err := s.get(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.migrated {
		return nil
	}
	if err := server.Exec(ctx, "postgres", "DROP DATABASE IF EXISTS "+templateDB, "CREATE DATABASE "+templateDB+" TEMPLATE template0"); err != nil {
		return err
	}
	if err := migrations.Up(ctx, secret.New(server.URL(templateDB))); err != nil {
		return err
	}
	s.migrated = true
	return nil
}

func (s *sharedPostgres) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	// Nothing in it is worth an orderly shutdown.
	return s.server.Crash()
}

// PostgresServer is a server of one test's own, for tests that stop it.
type PostgresServer struct {
	*devenv.Postgres
	t testing.TB
}

// PostgresOptions says how a test's own server runs.
type PostgresOptions struct {
	Durable bool // fsync on, as in production
	Extra   []string
}

// NewPostgres starts a server of the test's own.
func NewPostgres(t testing.TB, opts PostgresOptions) *PostgresServer {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	server, err := devenv.NewPostgres(ctx, devenv.PostgresConfig{
		Dir: filepath.Join(Dir(t), "postgres"), Durable: opts.Durable, Extra: opts.Extra,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Crash(); err != nil {
			t.Errorf("stop postgres: %v", err)
		}
	})
	return &PostgresServer{server, t}
}

// Database makes an empty database and gives its URL.
func (p *PostgresServer) Database(name string) string {
	p.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	if err := p.Exec(ctx, "postgres", "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		p.t.Fatal(err)
	}
	return p.URL(name)
}

// Catalog makes a migrated database and gives its URL.
func (p *PostgresServer) Catalog(name string) string {
	p.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	url := p.Database(name)
	if err := migrations.Up(ctx, secret.New(url)); err != nil {
		p.t.Fatal(err)
	}
	return url
}

// Kill stops the server as a crash would ("immediate").
func (p *PostgresServer) Kill() {
	p.t.Helper()
	if err := p.Crash(); err != nil {
		p.t.Fatal(err)
	}
}

// Restart starts a stopped server again, on the same port with the same data.
func (p *PostgresServer) Restart() {
	p.t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	if err := p.Start(ctx); err != nil {
		p.t.Fatal(err)
	}
}

// DumpPostgres gives the content of one database as SQL text, to search it for
// what must not be there.
func DumpPostgres(t testing.TB, url string) string {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	out, err := devenv.DumpDatabase(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "PostgreSQL database dump") {
		t.Fatalf("pg_dump printed something else: %.200s", out)
	}
	return out
}
