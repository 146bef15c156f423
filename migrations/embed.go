// Package migrations holds the catalog's schema, one numbered pair of files a
// step, embedded in the binary, and moves a database from step to step.
//
// Every change is made under one advisory lock, so that any number of hubs may
// start at once: one migrates, the others wait and find nothing left to do. The
// wait is bounded. Each file runs as one transaction; a released file is never
// edited, a change is a new file.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"

	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

//go:embed *.sql
var files embed.FS

// Latest is the newest version that this binary knows.
func Latest() int {
	latest, err := latestOf(files)
	if err != nil {
		panic(err) // the embedded files are checked by the tests
	}
	return latest
}

func latestOf(fsys fs.FS) (int, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	var latest uint
	for _, e := range entries {
		m, err := source.DefaultParse(e.Name())
		if err != nil {
			return 0, fmt.Errorf("migration %q: %w", e.Name(), err)
		}
		latest = max(latest, m.Version)
	}
	return int(latest), nil
}

func openSource(fsys fs.FS) (source.Driver, error) {
	src, err := iofs.New(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return src, nil
}
