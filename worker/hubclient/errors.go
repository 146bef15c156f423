package hubclient

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"xvault/internal/job"
)

// Error is a refusal by the hub.
type Error struct {
	Status int
	// Code is the problem's stable code; empty where the answer was no problem,
	// as from a proxy in between.
	Code       string
	Detail     string
	RetryAfter time.Duration // 0: the hub did not say
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("the hub's address answered with status %d", e.Status)
	}
	return fmt.Sprintf("the hub refused: %s (%s)", e.Detail, e.Code)
}

// UnreachableError says that there was no answer, or not a whole one. What was
// asked for may have happened nevertheless.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string { return "the hub cannot be reached: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Transient reports whether the same call may succeed later: there was no
// answer, the hub or a proxy has trouble of its own, or asks for patience.
func Transient(err error) bool {
	if _, ok := errors.AsType[*UnreachableError](err); ok {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	// Without a code it is no hub that refused.
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Code == ""
}

// LeaseLost reports whether the hub said that the attempt is not, or no longer,
// this worker's. Other conflicts are about what was said, not about who says it.
func LeaseLost(err error) bool {
	return refusedWith(err, http.StatusConflict, job.RefusedLeaseLost) ||
		refusedWith(err, http.StatusGone, "") || refusedWith(err, http.StatusNotFound, "")
}

// ReportRefused reports whether the hub cannot take what was said: saying it
// again, in this attempt or the next, changes nothing.
func ReportRefused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status >= 400 && e.Status < 500 && !Transient(err) && !LeaseLost(err) && !Unauthorized(err)
}

// NothingToDo reports whether a claim found nothing to do here and now.
func NothingToDo(err error) bool {
	return refusedWith(err, http.StatusConflict, "") || refusedWith(err, http.StatusGone, "") ||
		refusedWith(err, http.StatusNotFound, "")
}

// HostKeyRefused reports whether another host key is pinned.
func HostKeyRefused(err error) bool {
	return refusedWith(err, http.StatusConflict, job.RefusedHostKey)
}

// HostKeyNotTrusted reports whether the source does not pin on first use, or not
// any more.
func HostKeyNotTrusted(err error) bool {
	return refusedWith(err, http.StatusConflict, job.RefusedFirstUse)
}

// Superseded reports whether a later start of the same worker took over.
func Superseded(err error) bool {
	return refusedWith(err, http.StatusUnauthorized, job.RefusedSuperseded)
}

// Unauthorized reports whether the hub does not, or no longer, take the token:
// superseded, removed, or never known.
func Unauthorized(err error) bool { return refusedWith(err, http.StatusUnauthorized, "") }

// refusedWith looks for a refusal with this status and, where it is not empty,
// code. A refusal without any code is somebody else's, not the hub's.
func refusedWith(err error, status int, code string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code != "" && e.Status == status && (code == "" || e.Code == code)
}

// Refused reports whether the hub answered and will answer the same again.
func Refused(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok && !Transient(err)
}
