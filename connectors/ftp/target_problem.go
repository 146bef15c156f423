package ftp

import (
	"errors"
	"strings"

	"xvault/connectors/ftp/wire"
	"xvault/connectors/restoring"
	"xvault/internal/job"
)

// problem turns what the server answered to a change at path into a failure of this
// entry or of the whole restore.
func (t *target) problem(path string, err error) error {
	if err == nil || errors.As(err, new(restoring.EntryError)) || errors.As(err, new(*job.Error)) {
		return err
	}
	switch {
	case errors.Is(err, wire.ErrElsewhere):
		dir, _ := split(path)
		return restoring.Refusef(job.SourceChanged, "%q was not written: its folder %q leads elsewhere on the server, as a symbolic link does, and nothing is written through it", path, dir)
	case errors.Is(err, wire.ErrName):
		return restoring.Refusef(job.ConfigInvalid, "%q cannot be written over FTP: %w", path, err)
	case isLost(err):
		return t.explain(t.life, err)
	case !isRefusal(err):
		return err
	}
	text := strings.ToLower(err.Error())
	switch code := wire.CodeOf(err); {
	case code == 452 || code == 552 || saysFull(text):
		return errFull(path, err)
	case strings.Contains(text, "read-only"):
		return restoring.Refusef(job.PermissionDenied, "%q cannot be written: its file system is mounted read-only on the server; mount it for writing, or restore to another folder", path)
	case strings.Contains(text, "no such file"):
		return restoring.Refusef(job.PathNotFound, "%q cannot be written: its folder is not there any more, or is no folder: %w", path, quoted(err))
	}
	return restoring.Refusef(job.PermissionDenied, "%q cannot be written by the user %q: %w", path, t.config.Username, quoted(err))
}

func saysFull(text string) bool {
	for _, words := range []string{"no space", "disk full", "disk is full", "quota"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

func errFull(path string, why error) error {
	return job.Errorf(job.StorageFull, "the server's disk is full, or the user's quota is used up: %q does not fit. "+
		"Free space there, or restore fewer paths or to another folder: %w", path, quoted(why))
}

// writeProblem is problem for content. Where the server broke off in the middle of it
// for reasons of its own, its disk is to blame.
func (t *target) writeProblem(path string, err error) error {
	if reply, ok := errors.AsType[*wire.ReplyError](err); ok && isRefusal(err) && reply.Verb == "STOR" && (reply.Code == 451 || reply.Code == 450) {
		return errFull(path, err)
	}
	return t.problem(path, err)
}
