package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"xvault/connectors/dumptool"
	"xvault/internal/job"
)

// load has the client load a dump.
func (s *scratchServer) load(ctx context.Context, dump *dumped, content io.Reader) error {
	body := &remembering{from: content}
	s.target.explain = func(f dumptool.Failure) *job.Error { return s.judge(f, dump.into) }
	err := s.target.load(ctx, dump.into, body)
	if err == nil {
		return nil
	}
	if body.err != nil { // the snapshot could not be read
		return body.err
	}
	return s.judged(err)
}

// remembering keeps the error of what it reads.
type remembering struct {
	from io.Reader
	err  error
}

// Read implements io.Reader.
func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// judged is what the error of a load says of the dump. Only what the client itself ended
// with says anything.
func (s *scratchServer) judged(err error) error {
	e, ok := errors.AsType[*job.Error](err)
	switch {
	case !ok, s.server.Ended() != nil:
	case e.Code == job.StorageFull, e.Code == job.Unprovable:
		return err
	case e.Code.Disproves() && dumptool.Failed(err): // else it did not start, or was killed
		return err
	case e.Code == job.Timeout:
		return &job.Error{Code: job.Unprovable, Err: err, Message: fmt.Sprintf("its load was given up: nothing was heard of the scratch server for %v", drillPatience)}
	}
	return s.broken(err)
}

// judge tells whether the client failed because of the dump that it loads into a
// database, or because of what this worker lacks.
func (s *scratchServer) judge(f dumptool.Failure, into string) *job.Error {
	if f.Link != nil {
		return nil //nolint:nilerr // Failure's own words say more
	}
	ending := f.Ending()
	told := func(code job.Code, format string) *job.Error {
		return &job.Error{Code: code, Err: f.Err, Message: fmt.Sprintf(format, ending)}
	}
	number := lastNumber(f.LastWords())
	switch number {
	case 1021, 1030, 1114:
		if s.room.Low() {
			return told(job.StorageFull, "The scratch server has no room left for the dump (%s). Make room, or set WORKER_TEMP_DIR to a larger disk.")
		}
		return told(job.Unprovable, "the scratch server cannot hold a table of it: %s")
	case 1071, 1115, 1118, 1128, 1193, 1273, 1286, 1478, 1524, 1709, 1911, 4161:
		return told(job.Unprovable, "it needs something that the scratch server does not have: %s")
	case 1049, 1146, 1305:
		if missingElsewhere(f.LastWords(), into) {
			return told(job.Unprovable, "it refers to another database, and each is loaded by itself: %s")
		}
	}
	switch code, _ := codeOf(number); code {
	case "", job.PathNotFound, job.SourceChanged:
		return told(job.DumpFailed, "the dump does not load: %s")
	case job.PermissionDenied:
		return told(job.Unprovable, "it does something that only an administrator may do, and a dump that is not trusted is never loaded as one: %s")
	default: // of the connection, or of an account
		return told(job.Unprovable, "the scratch server did not go on with it: %s")
	}
}

// missingElsewhere reports whether a server that misses something misses it in another database.
func missingElsewhere(words, own string) bool {
	for _, missing := range []string{"Table '%s.", "Unknown database '%s'", "FUNCTION %s.", "PROCEDURE %s."} {
		if strings.Contains(words, fmt.Sprintf(missing, own)) {
			return false
		}
	}
	return true
}
