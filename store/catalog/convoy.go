package catalog

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"xvault/store/catalog/query"
)

// A convoy's bounds: how many travel at once, and how many statements in one of
// them. A few suffice for thousands of statements a second, and where work is
// scarce a statement travels alone, at once.
const (
	convoysAtOnce = 3
	convoyLength  = 32
)

// convoy takes single statements of many callers to the server together: one
// round trip and one commit for all that came while the earlier ones were under
// way. Both cost more than most of these statements themselves. It stands in for the pool where a statement is a
// transaction of its own, and keeps that promise: a caller hears of its rows once they
// are committed; where the server refuses one statement, and with it all, each is
// done again on its own.
//
// A statement that waits for a lock holds up those beside it, so only such go
// this way as wait for short transactions at most. Safe for concurrent use.
type convoy struct {
	*pgxpool.Pool // for what does not give one row
	mu            sync.Mutex
	waiting       []*rider
	underway      int
}

// together runs single statements in company.
func (db *DB) together() *query.Queries { return query.New(db.convoy) }

// QueryRow begins nothing before the row is scanned.
func (c *convoy) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return &rider{convoy: c, ctx: ctx, sql: sql, args: args, done: make(chan struct{})}
}

// rider is one statement that gives at most one row.
type rider struct {
	convoy *convoy
	ctx    context.Context
	sql    string
	args   []any
	dest   []any
	err    error
	done   chan struct{}
}

// Scan runs the statement. It returns when the statement is committed, or did not
// happen; after an error of the connection that is not known, as ever.
func (r *rider) Scan(dest ...any) error {
	r.dest = dest
	r.convoy.join(r)
	<-r.done // soon, once nobody waits any more: the convoy's context ends with the riders'
	return r.err
}

func (c *convoy) join(r *rider) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, r)
	if c.underway < convoysAtOnce {
		c.underway++
		go c.travel()
	}
}

// travel takes those who wait, until nobody does.
func (c *convoy) travel() {
	for riders := c.next(); riders != nil; riders = c.next() {
		if len(riders) == 1 {
			riders[0].alone()
		} else {
			c.take(riders)
		}
		for _, r := range riders {
			close(r.done)
		}
	}
}

func (c *convoy) next() []*rider {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.waiting = nil
		c.underway--
		return nil
	}
	n := min(len(c.waiting), convoyLength)
	riders := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	return riders
}

// alone runs the statement as the pool would.
func (r *rider) alone() {
	r.err = r.convoy.Pool.QueryRow(r.ctx, r.sql, r.args...).Scan(r.dest...)
}

// take runs all in one pipeline, which the server takes as one transaction.
func (c *convoy) take(riders []*rider) {
	ctx, cancel := whileAnyWaits(riders)
	defer cancel()
	var batch pgx.Batch
	for _, r := range riders {
		batch.Queue(r.sql, r.args...)
	}
	results := c.Pool.SendBatch(ctx, &batch)
	for _, r := range riders {
		r.err = results.QueryRow().Scan(r.dest...)
	}
	// With this answer they are committed.
	err := results.Close()
	switch {
	case err == nil:
	case refused(err):
		for _, r := range riders {
			r.alone()
		}
	default:
		for _, r := range riders {
			r.err = err
		}
	}
}

// refused reports whether the server rolled everything back because of one
// statement. After a connection that broke, or a server that stops, that is not
// known.
func refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR"
}

// whileAnyWaits gives a context that ends when those of all riders have.
func whileAnyWaits(riders []*rider) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	var left atomic.Int64
	left.Store(int64(len(riders)))
	stops := make([]func() bool, len(riders))
	for i, r := range riders {
		stops[i] = context.AfterFunc(r.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
