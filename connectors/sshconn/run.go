package sshconn

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/internal/job"
)

// goodbye is how long a session may take to end that is no longer wanted.
const goodbye = 2 * time.Second

// maxOutput is how much of a command's output is kept, in bytes: the end of it.
const maxOutput = 1 << 10

// Run runs a command as command does, once it is known that the server runs what it is
// told to. A key may be confined to one program, and one that serves files finds its
// input empty and ends well, as if the command had. So a question that every shell
// answers comes first; where it is not answered the error is permission_denied.
func (c *Conn) Run(ctx context.Context, command string) (output string, err error) {
	marker := "xvault-" + rand.Text()
	said, err := c.command(ctx, "echo "+marker)
	switch {
	case job.CodeOf(err) == job.DumpFailed: // refused, as by who lets some commands pass and not this one
	case err != nil:
		return "", err
	case !strings.Contains(said, marker):
		return "", job.Errorf(job.PermissionDenied, "the server ran something else than it was told to: key or account are confined to one program (command= in authorized_keys, ForceCommand). Let a key in that may run commands, or do without them; a script that lets some commands pass has to fail for all others, or to answer echo")
	}
	return c.command(ctx, command)
}

// command runs a command on the server with nothing on its standard input, and gives the
// end of what it said on both outputs, escaped. The user's shell takes the command
// as it is. When the context ends the command's session is closed, and its cause
// returned. Errors are *job.Error: dump_failed is a command that ran and did not
// succeed; what broke instead is told as by Cause.
func (c *Conn) command(ctx context.Context, command string) (output string, err error) {
	session, err := c.NewSession()
	if err != nil {
		return "", c.Cause(err)
	}
	defer session.Close() // it is closed already, unless it broke
	var said lastBytes
	session.Stdout, session.Stderr = &said, &said
	if err := session.Start(command); err != nil {
		return "", c.Cause(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = session.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		// A server that does not answer is not waited for.
		impatient := time.AfterFunc(goodbye, func() { c.End(context.Cause(ctx)) })
		defer impatient.Stop()
		// Servers that know signals end what was started; others end it with the session.
		_ = session.Signal(ssh.SIGTERM)
		_ = session.Close()
		<-ended
		return said.String(), context.Cause(ctx)
	}
	switch {
	case err == nil:
		return said.String(), nil
	case errors.As(err, new(*ssh.ExitError)):
		return said.String(), job.Errorf(job.DumpFailed, "%s; the end of what it said: %s", Escape(err.Error(), 200), orNothing(said.String()))
	case errors.As(err, new(*ssh.ExitMissingError)) && c.fate.reason() == nil:
		return said.String(), job.Errorf(job.DumpFailed, "the server does not say how it ended; the end of what it said: %s", orNothing(said.String()))
	default:
		return said.String(), c.Cause(err)
	}
}

// lastBytes keeps the end of what is written, from any goroutine.
type lastBytes struct {
	mu sync.Mutex
	b  []byte
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if len(l.b) > 2*maxOutput {
		l.b = append(l.b[:0], l.b[len(l.b)-maxOutput:]...)
	}
	return len(p), nil
}

// String is the end of it, escaped.
func (l *lastBytes) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Escape(strings.TrimSpace(string(l.b[max(0, len(l.b)-maxOutput):])), 4*maxOutput)
}

func orNothing(said string) string {
	if said == "" {
		return "nothing"
	}
	return said
}
