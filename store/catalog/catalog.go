// Package catalog is the hub's Postgres database: the only truth about tenants,
// sources, jobs and snapshots. One file holds one noun; fixed statements live in
// queries/*.sql and are compiled by sqlc into package query, lists with optional
// filters are built here.
//
// Three promises hold for all of it. A Scope sees one tenant's rows or, for the
// operator, all of them, and an object outside the scope does not exist. What
// changes the catalog on someone's behalf writes its audit event in the same
// transaction. Time is the database's, through xvault_now().
package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"

	"xvault/internal/secret"
	"xvault/store/catalog/query"
)

// Config is how to reach the catalog.
type Config struct {
	// URL is a postgres:// address; it may hold a password and is never logged.
	URL secret.Text
	// MaxConns bounds the pool; 0 means 16.
	MaxConns int32
	// AcquireTimeout bounds the wait for the first connection; 0 means 10 s.
	ConnectTimeout time.Duration
	// Limits bound the backups at once.
	Limits Limits
	// Recorded is told of each snapshot that this DB records; nil: nobody is.
	Recorded func(status SnapshotStatus, size int64, took time.Duration)
}

// Limits bound how many backups are made at once; 0 is no bound. All hubs of a
// catalog should have the same.
type Limits struct {
	PerSource int
	PerHost   int // of one name or address, whatever the port
	PerTenant int
}

// DB is a pool of connections to one catalog, safe for concurrent use.
type DB struct {
	pool   *pgxpool.Pool
	convoy *convoy
	// changed holds at most one signal for the dispatcher of this process.
	changed chan struct{}
	limits  Limits
	// stored holds sources of which a backup was stored, for retention.
	stored   chan uuid.UUID
	recorded func(status SnapshotStatus, size int64, took time.Duration)
}

// closeTimeout bounds the goodbye to a server that may no longer answer.
const closeTimeout = 5 * time.Second

// Open connects and checks that the server answers. It does not migrate.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	pc, err := pgxpool.ParseConfig(cfg.URL.Reveal())
	if err != nil {
		// pgx's error may quote the URL with its password.
		return nil, errors.New("DATABASE_URL is not a valid postgres:// address")
	}
	pc.MaxConns = 16
	if cfg.MaxConns > 0 {
		pc.MaxConns = cfg.MaxConns
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	// Ids travel as the 16 bytes that they are, instead of as text that each side parses.
	pc.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach catalog: %w", err)
	}
	return &DB{pool: pool, convoy: &convoy{Pool: pool}, changed: make(chan struct{}, 1), stored: make(chan uuid.UUID, maxStored), limits: cfg.Limits, recorded: cfg.Recorded}, nil
}

// Close waits for connections in use and closes all.
func (db *DB) Close() { db.pool.Close() }

// Ping checks that the server answers.
func (db *DB) Ping(ctx context.Context) error { return db.pool.Ping(ctx) }

// Now is the catalog's own time.
func (db *DB) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := db.pool.QueryRow(ctx, "SELECT xvault_now()").Scan(&now)
	return now, err
}

// q runs single statements outside a transaction.
func (db *DB) q() *query.Queries { return query.New(db.pool) }

// inTx runs fn in one transaction. A serialization failure or deadlock is
// returned as it is: callers' statements are written not to need retries.
func (db *DB) inTx(ctx context.Context, fn func(tx pgx.Tx, q *query.Queries) error) error {
	return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error { return fn(tx, query.New(tx)) })
}

// NewID makes a UUIDv7.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// isViolation reports whether err is a violation of the named constraint.
func isViolation(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.ConstraintName == constraint
}
