package job

import (
	"errors"
	"fmt"
	"slices"
)

// Code is the stable reason for which a job failed. The set is closed.
type Code string

// The error codes of jobs.
const (
	ConnectFailed    Code = "connect_failed"
	AuthFailed       Code = "auth_failed"
	HostKeyUnknown   Code = "host_key_unknown"
	HostKeyChanged   Code = "host_key_changed"
	PathNotFound     Code = "path_not_found"
	PermissionDenied Code = "permission_denied"
	SourceChanged    Code = "source_changed"
	SourceEmpty      Code = "source_empty"
	DumpFailed       Code = "dump_failed"
	StorageFull      Code = "storage_full"
	StorageFailed    Code = "storage_failed"
	LeaseLost        Code = "lease_lost"
	CodeCanceled     Code = "canceled"
	Timeout          Code = "timeout"
	ConfigInvalid    Code = "config_invalid"
	WorkerRemoved    Code = "worker_removed"
	ArtifactMissing  Code = "artifact_missing"
	ArtifactCorrupt  Code = "artifact_corrupt"
	Unprovable       Code = "unprovable"
	Internal         Code = "internal"
)

// Retryable reports whether a failure with this code is worth another attempt.
func (c Code) Retryable() bool {
	switch c {
	case ConnectFailed, LeaseLost, StorageFailed, Timeout:
		return true
	default:
		return false
	}
}

var codes = [...]Code{
	ConnectFailed, AuthFailed, HostKeyUnknown, HostKeyChanged, PathNotFound, PermissionDenied,
	SourceChanged, SourceEmpty, DumpFailed, StorageFull, StorageFailed, LeaseLost, CodeCanceled,
	Timeout, ConfigInvalid, WorkerRemoved, ArtifactMissing, ArtifactCorrupt, Unprovable, Internal,
}

// Codes is the closed set.
func Codes() []Code { return slices.Clone(codes[:]) }

// Valid reports whether c is one of the closed set.
func (c Code) Valid() bool { return slices.Contains(codes[:], c) }

// Error is a failure with a code and a sentence that tells a person what to do.
// Message is shown to users: no secret, no stack, remote names quoted.
type Error struct {
	Code    Code
	Message string
	Err     error // the cause, for logs; may be nil
}

// Errorf makes an Error whose cause is the %w operand, where there is one.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf finds the code in err's chain; Internal where there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
