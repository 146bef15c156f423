package ftp

import (
	"context"
	"errors"

	"xvault/connectors"
	"xvault/connectors/restoring"
	"xvault/internal/job"
)

// putContent puts an entry that is a file.
func (t *target) putContent(item connectors.TargetItem, in *place, path string) error {
	if item.Size > writeSmall {
		return t.putLarge(item, in, path)
	}
	charge := item.Size + leastCharge
	if err := t.ahead.Acquire(t.Context(), charge); err != nil {
		return t.Going()
	}
	data := make([]byte, item.Size)
	if err := restoring.ReadWhole(item.Body, data); err != nil {
		t.ahead.Release(charge)
		return err
	}
	u := t.newUpload(item.Header, in, path)
	in.pending.Add(1)
	err := t.Task(path, func() error {
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

// putLarge writes a file while it is read. Its end is left to a task.
func (t *target) putLarge(item connectors.TargetItem, in *place, path string) error {
	room, err := t.Hold()
	if err != nil {
		return err
	}
	in.pending.Add(1)
	free := func() { room(); in.pending.Done() }
	u := t.newUpload(item.Header, in, path)
	if err := u.stream(item.Body); err != nil || u.decision == keep {
		defer free()
		if one, ok := errors.AsType[restoring.BodyError](err); ok {
			return one.Err
		}
		t.Settle(path, err)
		return t.Going()
	}
	t.Go(path, func() error {
		defer free()
		return u.whole(nil)
	})
	return nil
}

// putSymlink puts a symbolic link, which FTP has no command for. It is fine where it
// is there already; else it is told.
func (t *target) putSymlink(item connectors.TargetItem, in *place, path string) error {
	h := item.Header
	in.pending.Add(1)
	err := t.Task(path, func() error {
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
		return restoring.EntryError{Link: true, Why: job.Errorf(job.ConfigInvalid, "%q is a symbolic link to %q, and FTP has no command that makes one; make it by hand, or restore over SFTP", path, h.LinkTarget)}
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
	err := t.Task(path, func() error {
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
		return restoring.Refusef(job.ArtifactCorrupt, "%q is a link to a file that is not in the archive", path)
	}
	t.copying.Lock()
	defer t.copying.Unlock()
	if err := t.Going(); err != nil {
		return err
	}
	content, err := item.Content(context.WithoutCancel(t.Context()))
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
