package ftp

import (
	"errors"
	"io"
	"time"

	"xvault/connectors/ftp/wire"
	"xvault/connectors/restoring"
	"xvault/internal/failpoint"
)

// window is the end of what was sent: so much as may be on its way when a connection
// breaks, in the buffers of both sides.
type window struct {
	pieces [][]byte
	start  int64 // where the first piece begins in the file
	size   int64
}

const (
	windowSize = 16 << 20
	// streamPiece is how much is read and sent at once.
	streamPiece = 256 << 10
)

// add takes a piece, and gives one that is no longer needed, to be used again.
func (w *window) add(piece []byte) (free []byte) {
	w.pieces = append(w.pieces, piece)
	w.size += int64(len(piece))
	if first := w.pieces[0]; w.size-int64(len(first)) >= windowSize {
		w.pieces = w.pieces[1:]
		w.start, w.size = w.start+int64(len(first)), w.size-int64(len(first))
		return first[:cap(first)]
	}
	return nil
}

func (w *window) end() int64 { return w.start + w.size }

// stream sends a body of the announced size, to its end. Where a connection breaks it
// goes on over another one, from where the server says that it has the file: the same
// bytes at the same place, so that it does no harm if the server is not yet done with
// those that it got before. The body's own errors are bodyError.
func (u *upload) stream(body io.Reader) error {
	if err := u.await(); err != nil {
		return err
	}
	err := u.t.with(u.judge)
	if err != nil || u.decision == keep {
		return u.t.problem(u.path, err)
	}
	st := &sending{u: u}
	err = st.run(body)
	st.release()
	u.window = window{}
	if err != nil {
		if _, ok := errors.AsType[restoring.BodyError](err); !ok {
			err = u.t.writeProblem(u.path, err)
		}
		return u.over(err)
	}
	u.sent = true
	return nil
}

// sending is one file on its way.
type sending struct {
	u      *upload
	sess   *session
	to     *wire.Transfer
	breaks int
	since  int64 // what the server had at the last break
}

func (st *sending) run(body io.Reader) error {
	if err := st.begin(); err != nil {
		return err
	}
	if err := failpoint.Hit("restore.write"); err != nil {
		return err
	}
	var buf []byte
	for left := st.u.h.Size; left > 0; {
		if buf == nil {
			buf = make([]byte, streamPiece)
		}
		piece := buf[:min(left, streamPiece)]
		if _, err := io.ReadFull(body, piece); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return restoring.BodyError{Err: err}
		}
		if err := st.u.t.Going(); err != nil {
			return err
		}
		left -= int64(len(piece))
		buf = st.u.window.add(piece)
		if err := st.send(piece); err != nil {
			return err
		}
	}
	if err := restoring.AtEnd(body); err != nil {
		return restoring.BodyError{Err: err}
	}
	return st.finish()
}

// begin opens the file over the first connection that is good for it.
func (st *sending) begin() error {
	for try := 1; ; try++ {
		err := st.open(0)
		if err == nil || try == maxTries || isSilence(err) || !isLost(err) && !isTransient(err) {
			return err
		}
		if err := rest(st.u.t.life, time.Duration(try)*100*time.Millisecond); err != nil {
			return err
		}
	}
}

func (st *sending) open(offset int64) error {
	s, err := st.u.t.pool.take(st.u.t.life)
	if err != nil {
		return err
	}
	if st.to, err = st.u.open(s, offset); err != nil {
		st.u.t.pool.give(s)
		return err
	}
	st.sess = s
	return nil
}

// send sends a piece that is in the window already.
func (st *sending) send(piece []byte) error {
	if _, err := st.to.Write(piece); err != nil {
		return st.recover(st.to.Broke(err))
	}
	return nil
}

// finish requires the server's word that all came.
func (st *sending) finish() error {
	for {
		_, err := st.to.Finish()
		if err == nil {
			return nil
		}
		if err := st.recover(err); err != nil {
			return err
		}
	}
}

// recover sends again what the server did not get.
func (st *sending) recover(err error) error {
	for {
		st.release()
		if !isLost(err) || isSilence(err) || st.u.t.Going() != nil {
			return err
		}
		if st.breaks++; st.breaks > maxTries {
			return err
		}
		if err := rest(st.u.t.life, time.Duration(st.breaks)*100*time.Millisecond); err != nil {
			return err
		}
		if err = st.resume(err); err == nil {
			return nil
		}
	}
}

// resume goes on where the server stopped. why is told where it cannot.
func (st *sending) resume(why error) error {
	var has int64
	err := st.u.t.with(func(s *session) error {
		if err := s.enter(st.u.in.folder); err != nil {
			return err
		}
		var err error
		has, err = s.wire.Size(st.u.temp)
		return err
	})
	if isRefusal(err) {
		has, err = 0, nil
	}
	w := &st.u.window
	switch {
	case err != nil:
		return err
	case has < w.start || has > w.end():
		return st.u.t.explain(st.u.t.life, why)
	}
	if has > st.since {
		st.since, st.breaks = has, 0
	}
	err = st.open(has)
	if has > 0 && isRefusal(err) {
		// The server begins at the start only.
		if w.start > 0 {
			return st.u.t.explain(st.u.t.life, why)
		}
		has, err = 0, st.open(0)
	}
	if err != nil {
		return err
	}
	at := w.start
	for _, piece := range w.pieces {
		if skip := has - at; skip < int64(len(piece)) {
			if _, err := st.to.Write(piece[max(skip, 0):]); err != nil {
				return st.to.Broke(err)
			}
		}
		at += int64(len(piece))
	}
	return nil
}

// release gives the connection back.
func (st *sending) release() {
	if st.sess == nil {
		return
	}
	if st.to != nil {
		st.to.Abort()
	}
	st.u.t.pool.give(st.sess)
	st.sess, st.to = nil, nil
}
