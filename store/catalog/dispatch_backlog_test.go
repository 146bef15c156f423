package catalog

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
)

var (
	visited   = regexp.MustCompile(`actual rows=(\d+) loops=(\d+)`)
	discarded = regexp.MustCompile(`Rows Removed by (?:Join )?Filter: (\d+)`)
)

// A backlog that grew since the statistics were taken, as it does within a
// minute of load, must not make a dispatch read all of it: the partial index of
// what waits looks empty to the planner then.
func TestDispatchTouchesOnlyWhatItTakes(t *testing.T) {
	t.Parallel()
	const backlog, room, runs = 4000, 64, 8
	db, plans := explainedCatalog(t)
	crowd(t, db, 30_000)
	tenants := make([]uuid.UUID, 10)
	for i := range tenants {
		tenants[i] = uuid.MustParse(fmt.Sprintf("01900000-0000-7000-a000-%012x", i))
	}
	for _, sql := range []string{
		`ALTER TABLE jobs SET (autovacuum_enabled = off)`,
		`DELETE FROM jobs WHERE status = 'queued'`,
		`VACUUM ANALYZE jobs`,
		fmt.Sprintf(`INSERT INTO jobs (id, tenant_id, source_id, type)
			SELECT ('01900000-0000-7000-9000-' || lpad(to_hex(g), 12, '0'))::uuid,
			       ('01900000-0000-7000-a000-' || lpad(to_hex(g %% 10), 12, '0'))::uuid,
			       ('01900000-0000-7000-b000-' || lpad(to_hex(g %% 10), 12, '0'))::uuid, 'backup'
			FROM generate_series(1, %d) g`, backlog),
	} {
		if _, err := db.pool.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%.80s: %v", sql, err)
		}
	}
	plans.take()
	for range runs { // enough to see the generic plan
		sent, err := db.Dispatch(t.Context(), Queue{Name: job.QueueBackup, Room: room}, tenants)
		if err != nil {
			t.Fatal(err)
		}
		if len(sent) != room {
			t.Fatalf("%d jobs were dispatched, not %d", len(sent), room)
		}
	}
	seen := plans.take()
	if len(seen) < runs {
		t.Fatalf("only %d plans were seen", len(seen))
	}
	for _, plan := range seen {
		// What it takes is chosen among ten tenants, and held against what was
		// taken before.
		if n := most(plan); n > 20*room+runs*room {
			t.Fatalf("a dispatch of %d jobs looked at %d:\n%s", room, n, plan)
		}
	}
}

// most is the largest number of rows that one node of a plan made or dropped.
func most(plan string) int {
	largest := 0
	for line := range strings.Lines(plan) {
		for _, m := range visited.FindAllStringSubmatch(line, -1) {
			rows, _ := strconv.Atoi(m[1])
			loops, _ := strconv.Atoi(m[2])
			largest = max(largest, rows*loops)
		}
		for _, m := range discarded.FindAllStringSubmatch(line, -1) {
			rows, _ := strconv.Atoi(m[1])
			largest = max(largest, rows)
		}
	}
	return largest
}
