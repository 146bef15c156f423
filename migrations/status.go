package migrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"xvault/internal/secret"
)

// Errors of a catalog that this binary must not work with as it is.
var (
	// ErrNewerCatalog: a newer xvault has migrated this catalog.
	ErrNewerCatalog = errors.New("the catalog is newer than this program")
	// ErrOlderCatalog: migrations are missing.
	ErrOlderCatalog = errors.New("the catalog is older than this program")
	// ErrDirty: a migration was begun and nobody knows how it ended.
	ErrDirty = errors.New("a migration of the catalog was interrupted")
	// ErrLocked: somebody else has been migrating for longer than we wait.
	ErrLocked = errors.New("another process is migrating the catalog")
)

// Status is where a catalog stands.
type Status struct {
	Version int  // 0: empty
	Latest  int  // what this binary knows
	Dirty   bool // Version was begun and not finished
}

// Err says whether this binary may serve the catalog: nil, or one of the
// package's errors with what to do.
func (s Status) Err() error {
	switch {
	case s.Dirty:
		return fmt.Errorf("%w: version %d was begun and not finished. A migration is one transaction, so it happened "+
			"wholly or not at all. Look at the catalog (or restore a backup), then run `xvault migrate force %d` if "+
			"its changes are there, or `xvault migrate force %d` and `xvault migrate up` if they are not",
			ErrDirty, s.Version, s.Version, s.Version-1)
	case s.Version > s.Latest:
		return fmt.Errorf("%w: it is at version %d, this xvault knows versions up to %d. Install the xvault that migrated "+
			"it, or a newer one", ErrNewerCatalog, s.Version, s.Latest)
	case s.Version < s.Latest:
		return fmt.Errorf("%w: it is at version %d, this xvault needs %d. Run `xvault migrate up`",
			ErrOlderCatalog, s.Version, s.Latest)
	default:
		return nil
	}
}

// ReadStatus tells where the catalog stands; it changes nothing.
func ReadStatus(ctx context.Context, url secret.Text) (Status, error) {
	conn, err := connect(ctx, url)
	if err != nil {
		return Status{}, err
	}
	defer closeConn(conn)
	return readStatus(ctx, conn, Latest())
}

func readStatus(ctx context.Context, conn *pgx.Conn, latest int) (Status, error) {
	s := Status{Latest: latest}
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('schema_migrations') IS NOT NULL").Scan(&exists); err != nil {
		return s, fmt.Errorf("read catalog version: %w", err)
	}
	if !exists {
		return s, nil
	}
	err := conn.QueryRow(ctx, "SELECT version, dirty FROM schema_migrations").Scan(&s.Version, &s.Dirty)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return s, fmt.Errorf("read catalog version: %w", err)
	}
	s.Version = max(s.Version, 0) // the library writes -1 for a dirty "nothing"
	return s, nil
}

// InUse reports whether the catalog holds what a way down would delete: a tenant.
func InUse(ctx context.Context, url secret.Text) (bool, error) {
	conn, err := connect(ctx, url)
	if err != nil {
		return false, err
	}
	defer closeConn(conn)
	var inUse bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('tenants') IS NOT NULL").Scan(&inUse); err != nil || !inUse {
		return false, err
	}
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM tenants)").Scan(&inUse); err != nil {
		return false, fmt.Errorf("look for tenants: %w", err)
	}
	return inUse, nil
}

// connConfig takes what the pool takes too, pool_* parameters included.
func connConfig(url secret.Text) (*pgx.ConnConfig, error) {
	cfg, err := pgxpool.ParseConfig(url.Reveal())
	if err != nil {
		// pgx's error may quote the URL with its password.
		return nil, errors.New("DATABASE_URL is not a valid postgres:// address")
	}
	return cfg.ConnConfig, nil
}

func connect(ctx context.Context, url secret.Text) (*pgx.Conn, error) {
	cfg, err := connConfig(url)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("reach catalog: %w", err)
	}
	return conn, nil
}

// closeConn hangs up even when the caller's context has ended; the server
// frees the session and its locks either way.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}
