package restoring

import (
	"errors"

	"xvault/internal/job"
)

// EntryError is the failure of one entry, while others can be written.
type EntryError struct {
	Why *job.Error
	// Link says that it is a symbolic link, and that the server cannot make any.
	Link bool
}

func (e EntryError) Error() string { return e.Why.Error() }

func (e EntryError) Unwrap() error { return e.Why }

// Refusef is an EntryError.
func Refusef(code job.Code, format string, args ...any) error {
	return EntryError{Why: job.Errorf(code, format, args...)}
}

// OnlyFatal passes over the failure of one entry.
func OnlyFatal(err error) error {
	if _, ok := errors.AsType[EntryError](err); ok {
		return nil
	}
	return err
}
