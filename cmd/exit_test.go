package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"xvault/internal/apiclient"
	"xvault/internal/job"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{errors.New("something"), exitFailed},
		{usagef("wrong"), exitUsage},
		{errors.New(`unknown command "x" for "xvault"`), exitUsage},
		{&jobFailedError{}, exitJobFailed},
		{errors.Join(&jobFailedError{}, errors.New("and more")), exitJobFailed},
		{fmt.Errorf("x: %w", errNoKey), exitDenied},
		{&apiclient.Problem{Status: 401}, exitDenied},
		{&apiclient.Problem{Status: 403}, exitDenied},
		{&apiclient.Problem{Status: 404}, exitNotFound},
		{&apiclient.Problem{Status: 409}, exitRefused},
		{&apiclient.Problem{Status: 422}, exitRefused},
		{&apiclient.Problem{Status: 500}, exitFailed},
		{&apiclient.Problem{Status: 503}, exitUnreachable},
		{fmt.Errorf("wrapped: %w", &apiclient.UnreachableError{Err: errors.New("refused")}), exitUnreachable},
		{errInterrupted, exitInterrupted},
		{fmt.Errorf("x: %w", context.Canceled), exitInterrupted},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit %d, want %d", c.err, got, c.want)
		}
	}
}

func TestEveryExitCodeIsDocumented(t *testing.T) {
	t.Parallel()
	for _, code := range []int{exitOK, exitFailed, exitUsage, exitJobFailed, exitDenied, exitNotFound, exitRefused, exitUnreachable, exitInterrupted} {
		if !strings.Contains(exitCodesText, fmt.Sprintf("\n%5d  ", code)) {
			t.Errorf("exit code %d is not in the help", code)
		}
	}
}

func TestReportSaysWhatToDo(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	report(&b, &jobFailedError{apiclient.Job{ID: "j", Status: job.Failed, Error: &apiclient.JobError{
		Code: job.HostKeyChanged, Message: "the server shows another key\x1b[31m",
	}}})
	for _, want := range []string{"job j failed", "host_key_changed", "another key", "pin the new key"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q lacks %q", b.String(), want)
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Errorf("a terminal sequence came through: %q", b.String())
	}
}
