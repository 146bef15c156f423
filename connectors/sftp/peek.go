package sftp

import (
	"context"
	"errors"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// Peeker is a source whose server can be looked at beside its reading, for a connector
// that has to know a few files before it reads all. The sources of New have it; it is
// used by the goroutine that uses the source. Many things asked for in one call cost
// few round trips. Errors are *job.Error or the cause of the context, and end the
// source; that a path is not there, or may not be seen, is none.
type Peeker interface {
	// Look tells what is at each path, links not followed; 0: nothing that can be seen.
	Look(ctx context.Context, paths []string) ([]entry.Kind, error)
	// Peek reads the beginning of each path that leads to a file, up to limit bytes;
	// nil: there is none that can be read.
	Peek(ctx context.Context, paths []string, limit int) ([][]byte, error)
	// Reach tells what a path leads to, links followed; 0: nothing. Told is false where
	// the server does not say, as the user may not look there.
	Reach(ctx context.Context, path string) (kind entry.Kind, told bool, err error)
	// Owners tells whose each path is, links not followed, and whose what it leads to.
	Owners(ctx context.Context, paths []string) ([]Owners, error)
	// Names lists what is in each folder, sorted, up to limit names; more of them are
	// an error, no such folder is an empty list.
	Names(ctx context.Context, folders []string, limit int) ([][]string, error)
	// Add adds a path to those that are read: absolute, clean, with what
	// Config.Paths says of paths.
	Add(path string)
}

// peekBatch is how many paths are asked for at once.
const peekBatch = 32

// Add implements Peeker.
func (s *source) Add(path string) {
	if !slices.Contains(s.config.Paths, path) {
		s.config.Paths = append(s.config.Paths, path)
	}
}

// Look implements Peeker.
func (s *source) Look(ctx context.Context, paths []string) ([]entry.Kind, error) {
	kinds := make([]entry.Kind, 0, len(paths))
	err := s.peek(ctx, paths, func(sess *session, some []string) error {
		calls := make([]*wire.Call, len(some))
		for i, path := range some {
			calls[i] = sess.Lstat(path)
		}
		for _, call := range calls {
			kind, err := kindBy(call)
			if err != nil {
				return err
			}
			kinds = append(kinds, kind)
		}
		return nil
	})
	return kinds, err
}

// kindBy waits for the answer of a stat; 0: nothing is there that can be seen.
func kindBy(call *wire.Call) (entry.Kind, error) {
	a, err := call.Attrs()
	switch {
	case err == nil:
		kind, _ := kindOf(a, 0)
		return kind, nil
	case wire.IsStatus(err):
		return 0, nil
	default:
		return 0, err
	}
}

// Reach implements Peeker.
func (s *source) Reach(ctx context.Context, path string) (kind entry.Kind, told bool, err error) {
	err = s.peek(ctx, []string{path}, func(sess *session, _ []string) error {
		a, err := sess.Stat(path).Attrs()
		switch {
		case err == nil:
			kind, told = kindOf(a, 0)
		case errors.Is(err, wire.ErrNotExist):
			told = true
		case !wire.IsStatus(err):
			return err
		}
		return nil
	})
	return kind, told, err
}

// Owners are the users, by number, that have a path and what it leads to; Told is false
// where the server does not say.
type Owners struct {
	Link, Behind uint32
	Told         bool
}

// Owners implements Peeker.
func (s *source) Owners(ctx context.Context, paths []string) ([]Owners, error) {
	all := make([]Owners, 0, len(paths))
	err := s.peek(ctx, paths, func(sess *session, some []string) error {
		found, err := together(some, func(path string) (o Owners, err error) {
			link, err := sess.Lstat(path).Attrs()
			if err != nil {
				return o, notAnswer(err)
			}
			behind, err := sess.Stat(path).Attrs()
			return Owners{Link: link.UID, Behind: behind.UID, Told: err == nil && link.HasOwner && behind.HasOwner}, notAnswer(err)
		})
		all = append(all, found...)
		return err
	})
	return all, err
}

// notAnswer is nil where the server answered, if only that there is nothing.
func notAnswer(err error) error {
	if wire.IsStatus(err) {
		return nil
	}
	return err
}

// Peek implements Peeker.
func (s *source) Peek(ctx context.Context, paths []string, limit int) ([][]byte, error) {
	all := make([][]byte, 0, len(paths))
	err := s.peek(ctx, paths, func(sess *session, some []string) error {
		heads, err := together(some, func(path string) ([]byte, error) { return sess.peekFile(path, limit) })
		all = append(all, heads...)
		return err
	})
	return all, err
}

// Names implements Peeker.
func (s *source) Names(ctx context.Context, folders []string, limit int) ([][]string, error) {
	all := make([][]string, 0, len(folders))
	err := s.peek(ctx, folders, func(sess *session, some []string) error {
		lists, err := together(some, func(folder string) ([]string, error) { return sess.names(folder, limit) })
		all = append(all, lists...)
		return err
	})
	return all, err
}

// together asks for several paths at one time, as each costs some round trips.
func together[T any](paths []string, ask func(string) (T, error)) ([]T, error) {
	answers := make([]T, len(paths))
	var asking errgroup.Group
	for i, path := range paths {
		asking.Go(func() (err error) {
			answers[i], err = ask(path)
			return err
		})
	}
	return answers, asking.Wait()
}

// peek asks for some paths at a time.
func (s *source) peek(ctx context.Context, paths []string, ask func(*session, []string) error) error {
	sess, err := s.connected(ctx, nil, false)
	if err != nil {
		return err
	}
	defer sess.endWith(ctx)()
	for some := range slices.Chunk(paths, peekBatch) {
		if err := ask(sess, some); err != nil {
			if _, ok := errors.AsType[*job.Error](err); ok {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return sess.cause(err)
		}
	}
	return nil
}

// peekFile opens only what is a file: opening a FIFO would wait for ever.
func (s *session) peekFile(path string, limit int) ([]byte, error) {
	if kind, err := kindBy(s.Stat(path)); err != nil || kind != entry.File {
		return nil, err
	}
	handle, err := s.Open(path).Handle()
	var head []byte
	if err == nil {
		head, err = s.head(handle, limit)
		s.CloseHandle(handle) // nothing depends on it
	}
	if err != nil && wire.IsStatus(err) {
		return nil, nil
	}
	return head, err
}

// head reads an open file's beginning.
func (s *session) head(handle string, limit int) ([]byte, error) {
	data := []byte{}
	for len(data) < limit {
		part := make([]byte, min(s.Limits().ReadLength, limit-len(data)))
		n, err := s.Read(handle, int64(len(data)), part).Data()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		data = append(data, part[:n]...)
	}
	return data, nil
}

// names lists a folder.
func (s *session) names(folder string, limit int) ([]string, error) {
	names := []string{}
	handle, err := s.OpenDir(folder).Handle()
	if err != nil {
		if wire.IsStatus(err) {
			err = nil
		}
		return names, err
	}
	defer s.CloseHandle(handle) // nothing depends on it
	for empty := 0; empty < maxDots; {
		before := len(names)
		err := s.ReadDir(handle).Names(func(name, _ []byte, _ wire.Attrs) error {
			if isDots(name) {
				return nil
			}
			if len(names) >= limit {
				return job.Errorf(job.ConfigInvalid, "the folder %q holds more than %d names, which is more than is looked through there", folder, limit)
			}
			names = append(names, string(name))
			return checkName(folder, name)
		})
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if wire.IsStatus(err) {
				err = nil
			}
			return names, err
		}
		if len(names) == before {
			empty++
		}
	}
	slices.Sort(names)
	return names, nil
}
