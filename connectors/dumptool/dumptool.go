// Package dumptool runs the dump programs of databases (pg_dump, mariadb-dump and
// their like) as children that are trusted with little: no secret on their command
// line or in their environment, nothing inherited, no connection but the one that
// is made for them.
//
// # What a dump promises
//
// Dump.Read gives io.EOF only after the program ended with exit status 0 and the
// Check of its Command was content with every byte. All else is an error: a program
// that printed something plausible and failed, one that succeeded with half a dump,
// one that was killed. Close ends the program and everything that it started, and
// waits for that; so does the end of the context, and the kernel sees to it when the
// worker itself is killed.
//
// # Secrets
//
// A secret reaches a program as a Secret, a file that exists in memory only, or not
// at all: a Relay can log in with the server itself. What a program writes to its
// standard error is kept bounded, and secrets are cut out of it.
//
// # Connections
//
// The guarded dialer resolves and connects, never the program: it is given a Relay,
// a socket that nobody else can reach.
package dumptool

import (
	"io"
	"os"
	"strconv"
	"time"

	"xvault/internal/job"
	"xvault/internal/secret"
)

// Command is a program to run.
type Command struct {
	// Path is the program's absolute path, Args what follows its name. Neither
	// ever holds a secret.
	Path string
	Args []string
	// What names the thing at hand in messages: `the dump of database "shop"`.
	What string
	// Dir is the working directory and HOME; empty means that there is none.
	Dir string
	// Env is added to the small environment that every program gets. It never
	// holds a secret.
	Env []string
	// Files become descriptors of the program, which names them by FilePath. They
	// stay the caller's.
	Files []*os.File
	// Stdin is what the program reads; nil means nothing. If it ends with another
	// error than io.EOF the program is killed and that error is the dump's. A
	// program that succeeds without having read all of it failed.
	Stdin io.Reader
	// Early says that the program may succeed without having read all of Stdin.
	Early bool
	// Secrets are cut out of what the program says.
	Secrets []secret.Text
	// Check judges the output; nil means that the exit status says all.
	Check Check
	// Relay is the program's connection, if it has one: why that broke says more
	// than what the program then prints.
	Relay *Relay
	// Patience is how long nothing may come, neither from the program while it is
	// waited for nor from the server over Relay. 0 means for ever.
	Patience time.Duration
	// Explain turns a failure into an error for people. Nil, or a nil result, means
	// dump_failed with the last thing that the program said.
	Explain func(Failure) *job.Error

	stdin *os.File // in place of Stdin; Start's unless that fails
}

// Check judges what a program writes to its standard output.
type Check interface {
	// Write sees every byte before Dump.Read gives it out. Its error ends the dump.
	io.Writer
	// Verdict is called once the program ended well and everything was seen.
	Verdict() error
	// Close releases everything; it may be called at any time, also twice.
	Close() error
}

// The descriptors of a program: the folder of its relay's socket, which is closed where
// there is none, and the first of Command.Files.
const (
	relayFile = 3
	firstFile = 4
)

// FilePath is the name under which a program opens the i-th of Command.Files.
func FilePath(i int) string { return descriptorPath(firstFile + i) }

func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// files are what the program has open beside its standard files.
func (c *Command) files() []*os.File {
	files := []*os.File{nil}
	if c.Relay != nil {
		files[0] = c.Relay.dir
	}
	return append(files, c.Files...)
}

// environment is all that a program inherits.
func (c *Command) environment() []string {
	home := c.Dir
	if home == "" {
		home = "/nonexistent"
	}
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "HOME=" + home, "TZ=UTC"}
	return append(env, c.Env...)
}
