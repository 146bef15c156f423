package ftp

import (
	"context"
	"errors"
	"io"

	"xvault/connectors"
	"xvault/internal/job"
)

// putContent puts an entry that is a file.
func (t *target) putContent(item connectors.TargetItem, in *place, path string) error {
	if item.Size > writeSmall {
		return t.putLarge(item, in, path)
	}
	charge := item.Size + leastCharge
	if err := t.ahead.Acquire(t.ctx, charge); err != nil {
		return t.going()
	}
	data := make([]byte, item.Size)
	if err := readContent(item.Body, data); err != nil {
		t.ahead.Release(charge)
		return err
	}
	u := t.newUpload(item.Header, in, path)
	in.pending.Add(1)
	err := t.task(path, func() error {
		defer in.pending.Done()
		defer t.ahead.Release(charge)
		return u.whole(data)
	})
	if err != nil {
		t.ahead.Release(charge)
		in.pending.Done()
	}
	return err
}

// readContent fills data and makes sure that the content ends there, as it should.
func readContent(body io.Reader, data []byte) error {
	if body == nil {
		body = eof{}
	}
	if _, err := io.ReadFull(body, data); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return atEnd(body)
}

// atEnd reads the end of a body, which is what proves its content.
func atEnd(body io.Reader) error {
	var more [1]byte
	for range 100 {
		n, err := body.Read(more[:])
		switch {
		case n > 0:
			return errors.New("a file in the archive is longer than announced")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// putLarge writes a file while it is read. Its end is left to a task.
func (t *target) putLarge(item connectors.TargetItem, in *place, path string) error {
	if err := t.slots.Acquire(t.ctx, 1); err != nil {
		return t.going()
	}
	in.pending.Add(1)
	free := func() { t.slots.Release(1); in.pending.Done() }
	u := t.newUpload(item.Header, in, path)
	if err := u.stream(item.Body); err != nil || u.decision == keep {
		defer free()
		if one, ok := errors.AsType[bodyError](err); ok {
			return one.error
		}
		t.settle(path, err)
		return t.going()
	}
	t.running.Go(func() {
		defer free()
		t.settle(path, u.whole(nil))
	})
	return nil
}

// bodyError is the archive's own.
type bodyError struct{ error }

func (e bodyError) Unwrap() error { return e.error }

// putSymlink puts a symbolic link, which FTP has no command for. It is fine where it
// is there already; else it is told.
func (t *target) putSymlink(item connectors.TargetItem, in *place, path string) error {
	h := item.Header
	in.pending.Add(1)
	err := t.task(path, func() error {
		defer in.pending.Done()
		<-in.ready
		if in.err != nil {
			return behind(path, in.err)
		}
		var v decision
		err := t.with(func(s *session) (err error) {
			v, err = t.judge(s, in, path, &h)
			return err
		})
		if err != nil || v == keep {
			return t.problem(path, err)
		}
		return refusef(job.ConfigInvalid, "%q is a symbolic link to %q, and FTP has no command that makes one; make it by hand, or restore over SFTP", path, h.LinkTarget)
	})
	if err != nil {
		in.pending.Done()
	}
	return err
}

// putHardlink puts a further name of a file: as a file of its own, for FTP knows no
// hard links.
func (t *target) putHardlink(item connectors.TargetItem, in *place, path string) error {
	in.pending.Add(1)
	err := t.task(path, func() error {
		defer in.pending.Done()
		return t.copyLinked(&item, in, path)
	})
	if err != nil {
		in.pending.Done()
	}
	return err
}

// copyLinked writes a further name. One at a time is read from the archive.
func (t *target) copyLinked(item *connectors.TargetItem, in *place, path string) (err error) {
	if item.Content == nil {
		return refusef(job.ArtifactCorrupt, "%q is a link to a file that is not in the archive", path)
	}
	t.copying.Lock()
	defer t.copying.Unlock()
	if err := t.going(); err != nil {
		return err
	}
	content, err := item.Content(context.WithoutCancel(t.ctx))
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := content.Close(); err == nil {
			err = closeErr
		}
	}()
	u := t.newUpload(item.Header, in, path)
	if err := u.stream(content); err != nil || u.decision == keep {
		return err
	}
	return u.whole(nil)
}
