package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

// The exit codes, for scripts. They never change their meaning.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitJobFailed   = 3
	exitDenied      = 4
	exitNotFound    = 5
	exitRefused     = 6
	exitUnreachable = 7
	exitInterrupted = 130
)

const exitCodesText = `xvault ends with one of these codes:

    0  it worked
    1  it failed, for a reason that none of the others names
    2  the command line or a setting is wrong
    3  the job that was waited for failed or was canceled
    4  no key, a wrong key, or a key that may not do this
    5  there is no such object (for this key)
    6  the hub refused: a field is wrong, or the object's state does not allow it
    7  the hub could not be reached
  130  interrupted; a job that was waited for goes on`

func newExitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesText}
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// errNoKey: none was given, so that the hub need not be asked.
var errNoKey = errors.New("no key is given")

// errInterrupted is returned by commands that stop waiting because they were
// told to; they have said so themselves.
var errInterrupted = errors.New("interrupted")

// exitCode maps every error to its code: the one place that does.
func exitCode(err error) int {
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*jobFailedError](err); ok {
		return exitJobFailed
	}
	if p, ok := errors.AsType[*apiclient.Problem](err); ok {
		return problemExitCode(p)
	}
	switch {
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, errNoKey):
		return exitDenied
	case isCobraUsage(err.Error()):
		return exitUsage
	}
	if _, ok := errors.AsType[*apiclient.UnreachableError](err); ok {
		return exitUnreachable
	}
	return exitFailed
}

// isCobraUsage knows the mistakes for which cobra has no type.
func isCobraUsage(text string) bool {
	return strings.HasPrefix(text, "unknown command") || strings.HasPrefix(text, "required flag(s)") ||
		strings.Contains(text, "flags in the group [")
}

func problemExitCode(p *apiclient.Problem) int {
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitDenied
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusPreconditionFailed:
		return exitRefused
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return exitUnreachable
	default:
		return exitFailed
	}
}

// report tells a person what went wrong and what to do, and gives the code.
func report(w io.Writer, err error) int {
	code := exitCode(err)
	if code == exitInterrupted {
		return code
	}
	text := fmt.Sprintf("xvault: %v\n", err)
	if hint := hintFor(err, code); hint != "" {
		text += "  " + hint + "\n"
	}
	_, _ = io.WriteString(w, text) // nobody is left to tell
	return code
}

func hintFor(err error, code int) string {
	switch code {
	case exitUsage:
		return `Run the command with --help to see how it is used.`
	case exitDenied:
		return "Give a key with --key-file, XVAULT_KEY or XVAULT_KEY_FILE; what that key may do is the hub's decision."
	case exitUnreachable:
		if _, ok := errors.AsType[*apiclient.UnreachableError](err); ok {
			return "Is the hub running there? Say where with --server or XVAULT_SERVER."
		}
	}
	return ""
}
