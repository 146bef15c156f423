package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/golang-migrate/migrate/v4"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"xvault/internal/secret"
)

const (
	// advisoryLock is any number that nothing else in the database uses.
	advisoryLock = 0x7856_6175_6c74 // "xVault"
	// lockTimeout bounds the wait for another migrating process and, inside a
	// migration, the wait for a table that a long transaction holds.
	lockTimeout  = time.Minute
	closeTimeout = 5 * time.Second
	lockNotAvail = "55P03"
)

// migrator is one run; tests replace its files and shorten its wait.
type migrator struct {
	url  secret.Text
	fs   fs.FS
	wait time.Duration
}

func newMigrator(url secret.Text) migrator { return migrator{url: url, fs: files, wait: lockTimeout} }

// Up brings the catalog to the latest version. It is safe to call from many
// processes at once, and does nothing where there is nothing to do. It fails with
// ErrNewerCatalog, ErrDirty, ErrLocked or what the database said.
func Up(ctx context.Context, url secret.Text) error { return newMigrator(url).up(ctx) }

// Down takes back the last steps migrations, and with them all that they hold.
func Down(ctx context.Context, url secret.Text, steps int) error {
	return newMigrator(url).down(ctx, steps)
}

// Force writes down that the catalog is at version, and clean, without changing
// anything else in it: the way out of ErrDirty.
func Force(ctx context.Context, url secret.Text, version int) error {
	return newMigrator(url).force(ctx, version)
}

func (m migrator) up(ctx context.Context) error {
	return m.locked(ctx, func(s Status, mg *migrate.Migrate) error {
		if err := s.Err(); !errors.Is(err, ErrOlderCatalog) {
			return err
		}
		return mg.Up()
	})
}

func (m migrator) down(ctx context.Context, steps int) error {
	if steps < 1 {
		return fmt.Errorf("the number of steps must be 1 or more, not %d", steps)
	}
	return m.locked(ctx, func(s Status, mg *migrate.Migrate) error {
		if err := s.Err(); err != nil && !errors.Is(err, ErrOlderCatalog) {
			return err
		}
		if steps > s.Version {
			return fmt.Errorf("the catalog is at version %d: it cannot go down %d steps", s.Version, steps)
		}
		return mg.Steps(-steps)
	})
}

func (m migrator) force(ctx context.Context, version int) error {
	return m.locked(ctx, func(s Status, mg *migrate.Migrate) error {
		if version < 0 || version > s.Latest {
			return fmt.Errorf("version must be between 0 and %d, not %d", s.Latest, version)
		}
		if version == 0 {
			version = -1 // the library's word for "nothing"
		}
		return mg.Force(version)
	})
}

// locked runs fn while no other process migrates.
func (m migrator) locked(ctx context.Context, fn func(Status, *migrate.Migrate) error) error {
	latest, err := latestOf(m.fs)
	if err != nil {
		return err
	}
	// The lock has a connection of its own: the library's lock, which it takes
	// while it connects, waits without limit.
	conn, err := connect(ctx, m.url)
	if err != nil {
		return err
	}
	defer closeConn(conn) // frees the lock
	if err := m.lock(ctx, conn); err != nil {
		return err
	}
	status, err := readStatus(ctx, conn, latest)
	if err != nil {
		return err
	}
	return m.withLibrary(ctx, func(mg *migrate.Migrate) error { return fn(status, mg) })
}

func (m migrator) lock(ctx context.Context, conn *pgx.Conn) error {
	if err := setLockTimeout(ctx, conn, m.wait); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(advisoryLock))
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == lockNotAvail {
		return fmt.Errorf("%w: waited %s. Look for a hub or an `xvault migrate` that hangs, and try again", ErrLocked, m.wait)
	}
	if err != nil {
		return fmt.Errorf("lock catalog for migration: %w", err)
	}
	return nil
}

func setLockTimeout(ctx context.Context, conn *pgx.Conn, d time.Duration) error {
	_, err := conn.Exec(ctx, "SELECT set_config('lock_timeout', $1, false)", fmt.Sprintf("%dms", d.Milliseconds()))
	if err != nil {
		return fmt.Errorf("set lock timeout: %w", err)
	}
	return nil
}

func (m migrator) withLibrary(ctx context.Context, fn func(*migrate.Migrate) error) (err error) {
	mg, err := m.open()
	if err != nil {
		return err
	}
	defer func() {
		srcErr, dbErr := mg.Close()
		err = errors.Join(err, srcErr, dbErr)
	}()
	// The library knows no context, but stops between two migrations.
	stop := context.AfterFunc(ctx, func() { mg.GracefulStop <- true })
	defer stop()
	if err := fn(mg); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("migrate catalog: %w", err)
	}
	return ctx.Err()
}

func (m migrator) open() (*migrate.Migrate, error) {
	cfg, err := connConfig(m.url)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		return setLockTimeout(ctx, conn, m.wait)
	}))
	driver, err := migratepgx.WithInstance(db, &migratepgx.Config{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open catalog for migration: %w", err), db.Close())
	}
	src, err := openSource(m.fs)
	if err != nil {
		return nil, errors.Join(err, driver.Close())
	}
	mg, err := migrate.NewWithInstance("embedded", src, "catalog", driver)
	if err != nil {
		return nil, errors.Join(err, src.Close(), driver.Close())
	}
	return mg, nil
}
