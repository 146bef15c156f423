package postgres

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"xvault/connectors/dumptool"
	"xvault/internal/job"
)

// client is an installed set of PostgreSQL's programs of one version.
type client struct {
	folder       string
	major, minor int
}

func (c client) String() string {
	return "pg_dump " + strconv.Itoa(c.major) + "." + strconv.Itoa(c.minor)
}

// program is the path of one of them.
func (c client) program(name string) string { return filepath.Join(c.folder, name) }

var banner = regexp.MustCompile(`^(?:pg_dump|psql) \(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// clientsOf lists those that answered with their version, the oldest first and of one
// major version the newest alone.
func clientsOf(programs []dumptool.Program) []client {
	var found []client
	for _, p := range programs {
		m := banner.FindStringSubmatch(p.Banner)
		if m == nil {
			continue // a wrapper, or something else of that name
		}
		c := client{folder: filepath.Dir(p.Path)}
		c.major, _ = strconv.Atoi(m[1]) // digits
		c.minor, _ = strconv.Atoi(m[2]) // or none
		found = append(found, c)
	}
	slices.SortStableFunc(found, func(a, b client) int {
		if a.major != b.major {
			return a.major - b.major
		}
		return b.minor - a.minor
	})
	return slices.CompactFunc(found, func(a, b client) bool { return a.major == b.major })
}

// findClients lists what is installed on the worker.
func findClients(ctx context.Context, folders []string) ([]client, error) {
	programs, err := dumptool.Find(ctx, "pg_dump", folders...)
	if err != nil {
		return nil, err
	}
	return clientsOf(programs), nil
}

// chooseClient takes one of the worker's.
func chooseClient(ctx context.Context, folders []string, server int) (client, error) {
	found, err := findClients(ctx, folders)
	if err != nil {
		return client{}, err
	}
	return pick(found, server, "this worker")
}

// pick takes the oldest client that knows all of the server: what a newer one writes
// cannot always be restored with the server's own programs.
func pick(found []client, server int, where string) (client, error) {
	for _, c := range found {
		if c.major >= server {
			return c, nil
		}
	}
	if len(found) == 0 {
		return client{}, job.Errorf(job.ConfigInvalid, "%s has no pg_dump; install postgresql-client-%d (or later) there", where, server)
	}
	return client{}, job.Errorf(job.ConfigInvalid, "the server is PostgreSQL %d, and %s's newest pg_dump is %d, which cannot dump it; install postgresql-client-%d (or later) there",
		server, where, found[len(found)-1].major, server)
}

// chooseReader takes the oldest of the worker's clients that reads the archives of
// another machine's: those of its version or later, and those that write the same kind.
func chooseReader(ctx context.Context, folders []string, writer client) (client, error) {
	found, err := findClients(ctx, folders)
	if err != nil {
		return client{}, err
	}
	for _, c := range found {
		if c.major >= writer.major || sameArchives(c.major, writer.major) {
			return c, nil
		}
	}
	return client{}, job.Errorf(job.ConfigInvalid, "the dump is made by %s of the ssh host, and this worker has no pg_restore that can read it, to be sure that it is whole; install postgresql-client-%d (or later) on the worker, or set format to plain",
		writer, writer.major)
}

// sameArchives reports whether two major versions write archives of one kind
// (K_VERS_1_14 from 12 to 15, K_VERS_1_16 in 17 and 18).
func sameArchives(a, b int) bool {
	return min(a, b) >= 12 && max(a, b) <= 15 || min(a, b) >= 17 && max(a, b) <= 18
}
