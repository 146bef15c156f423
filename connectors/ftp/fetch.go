package ftp

import (
	"errors"
	"io"
	"time"

	"xvault/connectors/ftp/lines"
	"xvault/connectors/ftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// maxReads is how often a file is read that changes meanwhile.
const maxReads = 3

// fetchAll fetches files as they are wanted.
func (r *reader) fetchAll() {
	for sl := range r.wanted {
		if r.ctx.Err() == nil {
			if err := r.fetch(sl); err != nil {
				sl.fatal = r.explain(r.ctx, err)
			}
		}
		close(sl.ready)
	}
}

// got is what one reading of a file brought.
type got struct {
	data []byte
	more bool      // there is more than is read into memory
	at   time.Time // of the file, after it was read; zero where the server does not tell
	same bool      // the time was the same before
}

// fetch reads a small file until what was read is what the folder shows.
func (r *reader) fetch(sl *slot) error {
	if r.recent.hasLost(sl.folder.path) {
		r.gone(sl)
		return nil
	}
	for try := 1; ; try++ {
		g, err := r.readWhole(sl)
		if err == nil && g.more {
			sl.large = true // it grew
			return nil
		}
		if err == nil && g.matches(&sl.line) {
			r.accept(sl, g, false)
			return nil
		}
		if err != nil && !isRefusal(err) && !errors.Is(err, wire.ErrElsewhere) {
			return err
		}
		settled, lookErr := r.reconsider(sl, err)
		if settled || lookErr != nil {
			return lookErr
		}
		if try < maxReads {
			continue
		}
		r.giveUp(sl, g, err)
		return nil
	}
}

// giveUp decides about a file that never was as its folder shows it.
func (r *reader) giveUp(sl *slot, g *got, err error) {
	switch {
	case err != nil:
		sl.item.Err = r.unreadable(sl.path, err)
	case sl.line.HasSize && int64(len(g.data)) < sl.line.Size:
		sl.item.Err = job.Errorf(job.SourceChanged, "%q is %d bytes long as the server lists it, but it sends %d and calls them complete", sl.path, sl.line.Size, len(g.data))
	default:
		r.accept(sl, g, true)
	}
}

// accept gives out what was read.
func (r *reader) accept(sl *slot, g *got, changed bool) {
	sl.item.Header = header(sl.path, &sl.line)
	sl.item.Size = int64(len(g.data))
	if !g.at.IsZero() {
		sl.item.ModTime = g.at
	}
	sl.content = content{rest: g.data, changed: changed}
}

// matches reports whether what was read is what a line tells.
func (g *got) matches(line *lines.Line) bool {
	if line.HasSize && int64(len(g.data)) != line.Size {
		return false
	}
	if g.at.IsZero() || !line.HasTime || !line.Precise {
		return g.same
	}
	return g.same && g.at.Unix() == line.ModTime.Unix()
}

// readWhole reads a file once.
func (r *reader) readWhole(sl *slot) (*got, error) {
	var g *got
	err := r.pool.with(r.ctx, func(s *session) error {
		if err := s.enter(sl.folder); err != nil {
			return err
		}
		var err error
		// No more than there is memory set aside for: what is longer than it was listed
		// is read when its turn comes.
		g, err = s.readWhole(sl.line, sl.charge)
		return err
	})
	return g, err
}

func (s *session) readWhole(line lines.Line, limit int64) (*got, error) {
	name := wire.Relative(line.Name)
	if line.Size == 0 && line.HasSize {
		// What is no file at all may look like an empty one, and opening it may hang. What
		// is a file, and empty twice over, need not be transferred.
		size, err := s.wire.Size(name)
		if err == nil && size == 0 {
			return s.empty(line)
		}
		if err != nil && wire.CodeOf(err) != 500 && wire.CodeOf(err) != 502 {
			return nil, err
		}
	}
	before, err := s.timeBefore(line)
	if err != nil {
		return nil, err
	}
	t, err := s.wire.Start(s.ctx, "RETR", name, 0)
	if err != nil {
		return nil, err
	}
	g := &got{}
	g.data, err = readUpTo(t, line.Size, limit)
	if err != nil {
		t.Abort()
		return nil, err
	}
	if int64(len(g.data)) > limit {
		t.Abort()
		g.more, g.data = true, nil
		return g, nil
	}
	if _, err := t.Finish(); err != nil {
		return nil, err
	}
	if g.at, err = s.modified(line.Name); err != nil {
		return nil, err
	}
	g.same = before.IsZero() || g.at.Equal(before)
	return g, nil
}

// empty is an empty file, with its time where the listing does not tell it well enough.
func (s *session) empty(line lines.Line) (*got, error) {
	at, err := s.timeBefore(line)
	return &got{at: at, same: true}, err
}

// timeBefore is the time of a file where the listing does not tell it well enough.
func (s *session) timeBefore(line lines.Line) (time.Time, error) {
	if line.Precise {
		return time.Time{}, nil
	}
	return s.modified(line.Name)
}

// readUpTo reads all, or one byte more than the limit. expected is how much it will
// be, in all likelihood.
func readUpTo(in io.Reader, expected, limit int64) ([]byte, error) {
	data := make([]byte, 0, min(expected, limit)+1)
	for int64(len(data)) <= limit {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := in.Read(data[len(data):min(int64(cap(data)), limit+1)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return data, nil
}

// reconsider looks at an entry that is not as it was listed, or that the server
// refuses. settled says that its content is not wanted, or cannot be had.
func (r *reader) reconsider(sl *slot, why error) (settled bool, err error) {
	if sl.direct {
		return false, r.askDirectly(sl)
	}
	now, err := r.again(sl.folder, sl.line.Name)
	switch {
	case err != nil:
		return false, err
	case now.refuse != nil:
		sl.item.Err = now.refuse
		return true, nil //nolint:nilerr // it stands in the slot
	case now.line == nil:
		r.gone(sl)
		return true, nil
	}
	if now.line.Kind == entry.File && why != nil && now.line.Size == 0 {
		kind, err := r.kindByList(sl.folder, sl.line.Name)
		if err != nil {
			return false, err
		}
		if kind != 0 {
			now.line.Kind = kind
		}
	}
	sl.line = *now.line
	sl.item.Header = header(sl.path, &sl.line)
	switch sl.line.Kind {
	case entry.File:
		return false, nil
	case entry.Dir, 0:
		sl.item.Kind, sl.item.Size = entry.File, 0
		sl.item.Err = job.Errorf(job.SourceChanged, "%q was a file when it was listed, and is a folder now", sl.path)
	}
	return true, nil
}

// askDirectly asks for size and time of a configured link's file.
func (r *reader) askDirectly(sl *slot) error {
	err := r.pool.with(r.ctx, func(s *session) error {
		if err := s.enter(sl.folder); err != nil {
			return err
		}
		size, err := s.wire.Size(wire.Relative(sl.line.Name))
		if err != nil {
			return err
		}
		at, err := s.modified(sl.line.Name)
		if err != nil {
			return err
		}
		sl.line.Size, sl.line.ModTime = size, at
		return nil
	})
	if isRefusal(err) {
		return nil
	}
	return err
}
