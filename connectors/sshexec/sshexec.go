// Package sshexec runs programs on the machine at the other end of an SSH connection,
// above all the dump programs of databases that only that machine can reach.
//
// # What an output promises
//
// Output.Read gives io.EOF only after the server has said that the program ended with
// exit status 0, and the Check of its Command was content with every byte. All else is
// an error: another status, a signal, no word of how it ended, a connection that broke.
//
// # What is sent
//
// The command that the login shell gets is always the same, and means the same to csh
// and fish as to a Bourne shell. What to run, and the program's standard input, follow
// in the channel, in an encoding of plain ASCII; only Line writes anything that a shell
// interprets. The program gets a small fixed environment, and of what the user's start
// files print nothing is taken for its output.
//
// # Secrets
//
// A secret goes to the program's standard input through a pipe. It is in no command line,
// no environment and no file over there, so none is left behind, however things end.
//
// # How a program ends
//
// Its standard input over there is not the channel's. A part of the command waits for the
// end of that and then ends the program: so it goes whenever the channel does, with a
// Close here, the end of the context, a broken connection or a killed worker, also while
// it waits for its database and prints nothing.
package sshexec

import (
	"time"

	"xvault/connectors/dumptool"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// Command is a program to run.
type Command struct {
	// Program is an absolute path, or a name that is looked for as the user's own shell
	// would. Neither it nor Args ever hold a secret.
	Program string
	Args    []string
	// What names the thing at hand in messages: `the dump of database "shop"`.
	What string
	// Input is all that the program reads, the only place for secrets.
	Input []byte
	// Prompt is what the program says when it asks for its input; it is left out of what
	// is told of it.
	Prompt string
	// Secrets are cut out of what the program says.
	Secrets []secret.Text
	// Check judges the output; nil means that the exit status says all.
	Check dumptool.Check
	// Patience is how long nothing may come while it is waited for. 0 means for ever.
	Patience time.Duration
	// Explain turns a failure into an error for people. Nil, or a nil result, means
	// dump_failed with the last thing that the program said.
	Explain func(dumptool.Failure) *job.Error
}
