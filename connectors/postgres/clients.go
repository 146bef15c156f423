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

var pgDumpBanner = regexp.MustCompile(`^pg_dump \(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// findClients lists what is installed, the oldest first and of one major version the
// newest alone.
func findClients(ctx context.Context, folders []string) ([]client, error) {
	programs, err := dumptool.Find(ctx, "pg_dump", folders...)
	if err != nil {
		return nil, err
	}
	var found []client
	for _, p := range programs {
		m := pgDumpBanner.FindStringSubmatch(p.Banner)
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
	return slices.CompactFunc(found, func(a, b client) bool { return a.major == b.major }), nil
}

// chooseClient takes the oldest client that knows all of the server: what a newer one
// writes cannot always be restored with the server's own programs.
func chooseClient(ctx context.Context, folders []string, server int) (client, error) {
	found, err := findClients(ctx, folders)
	if err != nil {
		return client{}, err
	}
	for _, c := range found {
		if c.major >= server {
			return c, nil
		}
	}
	if len(found) == 0 {
		return client{}, job.Errorf(job.ConfigInvalid, "this worker has no pg_dump; install postgresql-client-%d (or later) on it", server)
	}
	return client{}, job.Errorf(job.ConfigInvalid, "the server is PostgreSQL %d, and this worker's newest pg_dump is %d, which cannot dump it; install postgresql-client-%d (or later) on the worker",
		server, found[len(found)-1].major, server)
}
