package migrations

import (
	"context"
	"io/fs"
	"time"

	"xvault/internal/secret"
)

// UpFrom is Up with other files and another wait for the lock.
func UpFrom(ctx context.Context, url secret.Text, fsys fs.FS, wait time.Duration) error {
	return migrator{url: url, fs: fsys, wait: wait}.up(ctx)
}

// AdvisoryLock is the lock that every change is made under.
const AdvisoryLock int64 = advisoryLock

// Files are the embedded migrations.
func Files() fs.FS { return files }
