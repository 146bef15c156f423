package ftp

import (
	"errors"
	"fmt"
	"io"
	"time"

	"xvault/connectors/ftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// stream is the content of a large file, read while it is visited. Where a connection
// breaks it goes on over another one, if the file is the same.
type stream struct {
	r    *reader
	sl   *slot
	sess *session
	from *wire.Transfer

	size    int64     // as announced
	at      time.Time // when it was opened; zero where the server does not tell
	got     int64
	breaks  int   // without progress in between
	since   int64 // got at the last break
	changed bool
	end     error // how it ended
	fatal   error // the whole reading ends with it
}

// openStream begins a large file; what cannot be read stands in the slot.
func (r *reader) openStream(sl *slot) error {
	for try := 1; ; try++ {
		st := &stream{r: r, sl: sl}
		err := st.open()
		if err == nil {
			sl.stream = st
			sl.item.Header = header(sl.path, &sl.line)
			sl.item.Size = st.size
			if !st.at.IsZero() {
				sl.item.ModTime = st.at
			}
			return nil
		}
		if !isRefusal(err) && !errors.Is(err, wire.ErrElsewhere) {
			return r.explain(r.ctx, err)
		}
		settled, lookErr := r.reconsider(sl, err)
		if lookErr != nil {
			return r.explain(r.ctx, lookErr)
		}
		if settled {
			return nil
		}
		if try == maxReads {
			sl.item.Err = r.unreadable(sl.path, err)
			return nil
		}
	}
}

func (st *stream) open() error {
	return st.begin(func(s *session) error {
		size, at, err := s.facts(st.sl)
		if err != nil {
			return err
		}
		st.size, st.at = size, at
		return st.start(s, 0)
	})
}

// begin runs a step that leaves a transfer behind, which keeps its session.
func (st *stream) begin(step func(*session) error) error {
	for try := 1; ; try++ {
		s, err := st.r.pool.take(st.r.ctx)
		if err != nil {
			return err
		}
		if err = s.enter(st.sl.folder); err == nil {
			err = step(s)
		}
		if err == nil {
			st.sess = s
			return nil
		}
		st.r.pool.give(s)
		if try == maxTries || isSilence(err) || !isLost(err) && !isTransient(err) {
			return err
		}
		if err := rest(st.r.ctx, time.Duration(try)*100*time.Millisecond); err != nil {
			return err
		}
	}
}

// facts are size and time of a file now.
func (s *session) facts(sl *slot) (int64, time.Time, error) {
	size, err := s.wire.Size(wire.Relative(sl.line.Name))
	if code := wire.CodeOf(err); code == 500 || code == 502 {
		size, err = sl.line.Size, nil // a server that knows no SIZE
	}
	if err != nil {
		return 0, time.Time{}, err
	}
	at, err := s.modified(sl.line.Name)
	return size, at, err
}

// start begins the transfer at an offset.
func (st *stream) start(s *session, offset int64) error {
	t, err := s.wire.Start(s.ctx, "RETR", wire.Relative(st.sl.line.Name), offset)
	var noRest *wire.NoRestError
	if errors.As(err, &noRest) && s.wire.Broken() == nil {
		// All over again, without what there is already.
		if t, err = s.wire.Start(s.ctx, "RETR", wire.Relative(st.sl.line.Name), 0); err != nil {
			return err
		}
		if _, err = io.CopyN(io.Discard, t, offset); err != nil {
			t.Abort()
			return err
		}
	}
	st.from = t
	return err
}

// Read implements io.Reader with the endings of package entry.
func (st *stream) Read(p []byte) (int, error) {
	for st.end == nil {
		if st.got == st.size {
			st.conclude()
			break
		}
		n, err := st.from.Read(p[:min(int64(len(p)), st.size-st.got)])
		if st.got += int64(n); n > 0 {
			return n, nil
		}
		if err != nil {
			st.recover(err)
		}
	}
	return 0, st.end
}

// recover goes on after the data ended early, whatever the reason.
func (st *stream) recover(err error) {
	if errors.Is(err, io.EOF) {
		if _, finishErr := st.from.Finish(); finishErr != nil {
			err = finishErr
		} else {
			err = fmt.Errorf("the server ended the transfer at %d of %d bytes and called it complete", st.got, st.size)
		}
	}
	st.release()
	if st.r.ctx.Err() != nil || isSilence(err) {
		st.fail(err)
		return
	}
	if st.got > st.since {
		st.breaks, st.since = 0, st.got
	}
	if st.breaks++; st.breaks > maxTries {
		st.fail(err)
		return
	}
	if resumeErr := st.resume(); resumeErr != nil {
		st.fail(resumeErr)
	}
}

// resume begins again where reading stopped. A file that shrank ends.
func (st *stream) resume() error {
	return st.begin(func(s *session) error {
		size, at, err := s.facts(st.sl)
		if err != nil {
			return err
		}
		if size < st.size {
			return &entry.ContentError{Code: string(job.SourceChanged), Err: fmt.Errorf("%q shrank from %d to %d bytes while it was read", st.sl.path, st.size, size)}
		}
		if size != st.size || !at.Equal(st.at) {
			st.changed = true
		}
		return st.start(s, st.got)
	})
}

// conclude looks, when all announced bytes are there, whether they are all that there
// is, and requires the server's word for it.
func (st *stream) conclude() {
	for st.end == nil {
		var one [1]byte
		n, err := st.from.Read(one[:])
		switch {
		case n > 0: // it grew
			st.end = entry.ErrChanged
			st.from.Abort()
			return
		case err == nil:
			continue
		case !errors.Is(err, io.EOF):
		default:
			if _, err = st.from.Finish(); err == nil {
				st.compare()
				return
			}
		}
		st.since = -1 // what comes now is no progress
		if st.breaks++; st.breaks > maxTries {
			st.fail(err)
			return
		}
		st.release()
		if err := st.resume(); err != nil {
			st.fail(err)
		}
	}
}

// compare ends a file that came whole: it is as it was, or it changed.
func (st *stream) compare() {
	size, at, err := st.sess.facts(st.sl)
	switch {
	case err != nil && !isRefusal(err) && !isLost(err):
		st.fail(err)
	case err != nil || st.changed || size != st.size || !at.Equal(st.at):
		st.end = entry.ErrChanged
	default:
		st.end = io.EOF
	}
}

// fail ends the content: of this file alone where the server refuses, of the whole
// reading where it is the connection that fails.
func (st *stream) fail(err error) {
	if content, ok := errors.AsType[*entry.ContentError](err); ok {
		st.end = content
		return
	}
	if isRefusal(err) && !isLost(err) || errors.Is(err, wire.ErrElsewhere) {
		st.end = &entry.ContentError{Code: string(job.SourceChanged), Err: st.r.unreadable(st.sl.path, err)}
		return
	}
	st.fatal = st.r.explain(st.r.ctx, err)
	st.end = st.fatal
}

// release gives the session back.
func (st *stream) release() {
	if st.sess == nil {
		return
	}
	if st.from != nil {
		st.from.Abort()
	}
	st.r.pool.give(st.sess)
	st.sess, st.from = nil, nil
}

// close ends a file that may not have been read to its end.
func (st *stream) close() {
	if st.sess != nil && st.end == nil {
		// Nobody waits until the server noticed that nothing more is wanted.
		_ = st.sess.wire.Close()
	}
	st.release()
}
