package connectors

import (
	"context"
	"io"

	"xvault/internal/entry"
	"xvault/internal/job"
)

// TargetItem is one entry on its way from an archive back to a source.
type TargetItem struct {
	// Header is the entry's. Of a hard link it says how large and of which time the
	// file is that it shares; LinkTarget is the Path under which that was put before.
	entry.Header
	// Body yields the content of a file: Header.Size bytes, then io.EOF, but only if
	// the content is what the archive promises. After any other error nothing of it
	// may be kept. Nil for all but files. It is valid until Put returns.
	Body io.Reader
	// Above says that the entry was not asked for, but is a folder on the way to
	// what was: it is made where it is missing, and left alone where it is not.
	Above bool
	// Content opens the content that a hard link shares, under the rules of Body,
	// for a target that has to make a file of it. Nil for everything else. It may
	// be called until Finish returns, from any goroutine.
	Content func(ctx context.Context) (io.ReadCloser, error)
}

// Target writes entries back to one source, for one job. Put and Finish are called
// by one goroutine; Close releases everything and may be called at any time, also
// twice.
//
// What it keeps to, whenever it dies: nothing stands under a name from the archive
// but what is whole; a link on the source never leads it to another place than it
// was asked for, as far as the protocol allows to tell; the names that it uses for
// what is not whole begin with TempPrefix and the job's id. An attempt that comes
// after another one of the same job takes up where that one stopped, and removes
// what it left.
type Target interface {
	// Put takes the next entry, in the order of the archive. It returns before the
	// entry is written, and what it keeps in memory meanwhile is bounded. An entry
	// that cannot be written, while others can, is no error but stands in the
	// report. An error ends the restore: that of Body as it is, its own as
	// *job.Error: connect_failed when the source went away, and so on.
	Put(ctx context.Context, item TargetItem) error
	// Finish waits for everything that was put, and gives folders their times and
	// modes. It is called once, also after an error or the end of the context, and
	// then only brings to an end what was begun.
	Finish(ctx context.Context) error
	// Report tells what was done so far. It may be called by any goroutine.
	Report() TargetReport
	Close() error
}

// TempPrefix begins every name that a target uses for what is not whole yet. The
// job's id follows.
const TempPrefix = ".xvault-"

// TargetOptions say how entries are written.
type TargetOptions struct {
	// JobID is the job's, so that a later attempt knows what an earlier one left.
	JobID string
	// Again says that there was an earlier attempt.
	Again bool
	// Folder is an absolute path under which every entry is put with its whole path.
	// Empty: every entry is put where it was.
	Folder string
	// Existing is the rule for what is already there.
	Existing job.Existing
	// Members are what of the archive comes, each with all below it. None: everything.
	Members []string
	// SiteURL, of a source that is a web site, is the address that it moves to. Empty: it
	// keeps the one that it has.
	SiteURL string
	// Database, of a source that is a web site, is the database that its dump is loaded
	// into. Empty: the connector chooses one.
	Database string
	// Allowed is asked right before each step that changes something, by any
	// goroutine. Its error ends the restore. Nil: always.
	Allowed func() error
	// Resumes is asked once the restore ended early, and says whether a later
	// attempt goes on: then folders that this job made stay as they are, to be
	// completed by that one. Nil: none does.
	Resumes func(why error) bool
}

// TargetReport counts what a target did.
type TargetReport struct {
	Files, Dirs, Links int64 // written, those that replaced something included
	Bytes              int64 // of the files written
	Overwritten        int64 // of Files and Links, those that replaced something
	Unchanged          int64 // were there already, with the same size and time
	Skipped            int64 // were there, otherwise than in the archive, and stayed
	Failed             int64 // could not be written
	LinksLost          int64 // of Failed, symbolic links where the server cannot make any
	// OwnersLost counts entries that belong to someone else than in the archive,
	// for only root may give files away. AttributesLost counts those of which a
	// time, a mode or an extended attribute could not be set.
	OwnersLost, AttributesLost int64
	// Problems are the first of those that could not be written, LinksLost last.
	Problems []TargetProblem
	// Notes are what a person should know beside that, at most MaxTargetProblems: the
	// name of a database that was made, say.
	Notes []string
}

// MaxTargetProblems is how many problems a report names.
const MaxTargetProblems = 20

// TargetProblem is an entry that could not be written.
type TargetProblem struct {
	Path string // on the source, as bytes
	Err  *job.Error
}
