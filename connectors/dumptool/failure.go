package dumptool

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"xvault/internal/job"
)

// Failure is how a program failed.
type Failure struct {
	// What is the Command's, Program its name.
	What, Program string
	// Err says how it ended: an exit status, a signal, what the Check found.
	Err error
	// Exited says that the program itself failed: its exit status was not 0, or a
	// signal ended it. False: it succeeded, and the Check was not content.
	Exited bool
	// Stderr is the end of what it said, without secrets and control characters.
	Stderr string
	// Link is why its connection broke, where it did.
	Link *job.Error
}

// What is quoted of a program in one message: so many bytes, and so many lines.
const (
	maxQuoted = 600
	maxLines  = 3
)

// LastWords is what the program said of its failure, on one line: its last lines, from
// the first on that speaks of an error.
func (f Failure) LastWords() string {
	var lines []string
	wrong := false
	for line := range strings.SplitSeq(f.Stderr, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		lower := strings.ToLower(line)
		if speaks := strings.Contains(lower, "error:") || strings.Contains(lower, "fatal:"); speaks && !wrong {
			wrong, lines = true, nil
		}
		lines = append(lines, line)
		if !wrong && len(lines) > maxLines {
			lines = lines[1:]
		}
	}
	said := strings.Join(lines[:min(len(lines), maxLines)], " / ")
	if len(said) > maxQuoted {
		said = strings.ToValidUTF8(said[:maxQuoted], "") + "..."
	}
	return said
}

// Ending is how it ended, and what it said.
func (f Failure) Ending() string {
	ending := fmt.Sprintf("%s: %v", f.Program, f.Err)
	if words := f.LastWords(); words != "" {
		ending += ": " + words
	}
	return ending
}

// failed makes the error of a dump.
func (c *Command) failed(err error, stderr string) error {
	f := Failure{What: c.What, Program: filepath.Base(c.Path), Err: err, Stderr: stderr}
	_, f.Exited = errors.AsType[*exec.ExitError](err)
	if c.Relay != nil {
		f.Link = c.Relay.Err()
	}
	if c.Explain != nil {
		if e := c.Explain(f); e != nil {
			return e
		}
	}
	return f.Plain()
}

// Plain is the error of a failure that nobody knows more about.
func (f Failure) Plain() *job.Error {
	if f.Link != nil {
		return &job.Error{
			Code: f.Link.Code, Err: f.Err,
			Message: fmt.Sprintf("%s failed, because of its connection with the server: %s (%s)", f.What, f.Link.Message, f.Ending()),
		}
	}
	return &job.Error{
		Code: job.DumpFailed, Err: f.Err,
		Message: fmt.Sprintf("%s failed (%s). Nothing of this attempt was kept; see what the message says, and run the job again.", f.What, f.Ending()),
	}
}

// Failed reports whether an error says that a program itself failed, by its exit status:
// not that it could not be started, or was killed.
func Failed(err error) bool {
	e, ok := errors.AsType[*exec.ExitError](err)
	return ok && e.ExitCode() >= 0
}
