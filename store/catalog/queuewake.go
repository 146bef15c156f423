package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// queueChannel is the channel on which hubs tell each other that there may be
// something to dispatch. The payload names who sent it.
const queueChannel = "xvault_jobs"

// QueueChanged signals that a call of this process may have made a job
// dispatchable or freed a slot. Any number of changes are one signal.
func (db *DB) QueueChanged() <-chan struct{} { return db.changed }

func (db *DB) queueChanged() {
	select {
	case db.changed <- struct{}{}:
	default:
	}
}

// AnnounceQueue tells the other hubs what QueueChanged tells this one. It is
// apart from the transactions that make jobs, for Postgres commits those that
// notify one after the other and so would write each to disk on its own.
func (db *DB) AnnounceQueue(ctx context.Context, from string) error {
	if _, err := db.pool.Exec(ctx, "SELECT pg_notify($1, $2)", queueChannel, from); err != nil {
		return fmt.Errorf("announce queue: %w", err)
	}
	return nil
}

// ListenQueue calls heard for each announcement of others than self, and once
// when it begins to listen, until ctx ends or the connection breaks. It holds
// one connection.
func (db *DB) ListenQueue(ctx context.Context, self string, heard func()) error {
	pooled, err := db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("listen to queue: %w", err)
	}
	// A connection that listens must not go back to the pool.
	conn := pooled.Hijack()
	defer closeConn(conn)
	if _, err := conn.Exec(ctx, "LISTEN "+queueChannel); err != nil {
		return fmt.Errorf("listen to queue: %w", err)
	}
	heard()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("listen to queue: %w", err)
		}
		if n.Payload != self {
			heard()
		}
	}
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the server notices either way
}
