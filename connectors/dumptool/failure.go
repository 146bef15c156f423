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

// maxQuoted bounds what is quoted of a program in one message.
const maxQuoted = 600

// LastWords is the last of what the program said, on one line.
func (f Failure) LastWords() string {
	lines := strings.FieldsFunc(f.Stderr, func(r rune) bool { return r == '\n' })
	said := ""
	for i := len(lines) - 1; i >= 0 && len(lines)-i <= 3; i-- {
		line := strings.TrimSpace(lines[i])
		if line == "" {
			continue
		}
		if said == "" {
			said = line
		} else if len(said)+len(line) < maxQuoted/2 {
			said = line + " / " + said
		}
	}
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
