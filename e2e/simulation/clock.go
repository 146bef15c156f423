package simulation

import (
	"fmt"
	"testing"
	"time"

	"xvault/e2e/system"
)

// clock is the database's: this machine's, set off by so much.
type clock struct {
	catalog system.Catalog
	offset  time.Duration
}

// now is what xvault_now() says.
func (c *clock) now() time.Time { return time.Now().Add(c.offset).UTC() }

// pass lets time go by until at. Workers that are up sent heartbeats meanwhile;
// leases were renewed by nobody: whoever calls it knows that nothing runs, or
// wants them to run out.
func (c *clock) pass(t testing.TB, at time.Time) {
	t.Helper()
	if d := at.Sub(c.now()); d > 0 {
		c.step(t, d)
	}
}

// step sets the clock on, or back.
func (c *clock) step(t testing.TB, d time.Duration) {
	t.Helper()
	c.offset += d.Truncate(time.Millisecond)
	c.catalog.Exec(t, fmt.Sprintf(`DO $do$ BEGIN
		CREATE OR REPLACE FUNCTION xvault_now() RETURNS timestamptz
			LANGUAGE sql STABLE AS $$ SELECT statement_timestamp() + interval '%d milliseconds' $$;
		UPDATE workers SET last_seen_at = last_seen_at + interval '%d milliseconds';
	END $do$`, c.offset.Milliseconds(), d.Milliseconds()))
}
