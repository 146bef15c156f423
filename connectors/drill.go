package connectors

import (
	"context"
	"log/slog"

	"xvault/internal/job"
)

// DrillEnv is what a worker lends a connector that loads the dumps of a snapshot into
// a server of its own making, to see whether they load.
type DrillEnv struct {
	// Visit visits the files at and below some paths of the snapshot, in the order of
	// the archive. It may be called again and again. A Body need not be read; its error
	// is given back as it is, and says nothing about the dump. A path that is not in
	// the snapshot is an error with the code path_not_found.
	Visit func(ctx context.Context, paths []string, visit func(TargetItem) error) error
	// TempDir is the job's private folder, as in Env.
	TempDir func() (string, error)
	// User is who the server runs as, of a worker that is root; empty: a default.
	User string
	// Phase tells what is being done, in a word.
	Phase func(string)
	Log   *slog.Logger
}

// Drill loads every dump of a snapshot into a scratch server, which is gone when it
// returns, and holds what is in it then against what the dump says. What it knows it
// gives with an error, too. Errors are *job.Error:
//
//   - dump_failed: a dump does not load, or not with the rows that it has;
//   - unprovable: this worker cannot tell, for it lacks something, which is named;
//   - storage_full: there is no room for it;
//   - others, and those of Visit: nothing was found out.
type Drill func(ctx context.Context, env DrillEnv) (job.DrillResult, error)
