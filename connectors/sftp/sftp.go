// Package sftp reads the files of a server over SFTP, the one protocol that
// every SSH server speaks without anything being installed on it.
//
// # What is stored
//
// Every configured path and all below it, under its absolute name without the
// leading slash; the folders above a configured path are not stored. Links are
// stored as links and never followed, with one exception: a configured path that
// is itself a link is followed, and what it leads to is stored under the name of
// the link, because a backup of one link is not what anybody wants of
// "/var/www/current". FIFOs, sockets and devices are named but never opened. The
// protocol does not tell which names are hard links to one file: each name is
// stored as a file of its own. Times have a precision of seconds.
//
// Of the whole system, "/", what is in /proc, /sys, /dev and /run is left out
// unless a pattern takes it back.
//
// With Options.Shell, find and tar on the server are used as well, where it has
// them: see package shell. What is stored is the same then, but for times with
// nanoseconds and for hard links: the first name of a file in the order of the
// archive holds its content, later ones are links to it.
//
// # A source that changes
//
// A live server changes while it is read. What is stored of a file is what was
// there at one time, or it carries entry.ErrChanged: before a file of up to
// Options.SmallFile is given out it was read whole, and its size and time were
// the same after that as before; a larger one is given the length that it has
// when it is opened, is cut there if it grows, and ends with entry.ErrChanged if
// its size or time is another at the end. One that shrinks is looked for again,
// and ends in an entry.ContentError if it stays short.
//
// A file or folder that is listed and gone when its turn comes is no longer part
// of the source: it is visited as vanished, without content; more than a thousand
// of them are errors, for then a disk is gone rather than a file. One that is there but cannot be
// read, or that turned from a file into a folder, is visited with an error. A
// folder that becomes a link is stored as the link that it now is, and is not
// followed.
package sftp

import (
	"context"

	"golang.org/x/sync/semaphore"

	"xvault/connectors"
)

// Version goes into manifests; it changes when what is read changes.
const Version = "1"

// Type is the source type "sftp".
func Type() connectors.Type { return New(Options{}) }

// New is the source type "sftp" with other options than the default.
func New(o Options) connectors.Type {
	o = o.withDefaults()
	shared := semaphore.NewWeighted(o.Stretch)
	return connectors.Type{
		Name: "sftp", Version: Version, Validate: Validate,
		Open: func(config []byte, env connectors.Env) (connectors.Source, error) {
			return open(config, env, o, shared)
		},
		OpenTarget: func(config []byte, env connectors.Env, opts connectors.TargetOptions) (connectors.Target, error) {
			return openTarget(config, env, o, opts, shared)
		},
		Run: func(ctx context.Context, config []byte, env connectors.Env, command string) (string, error) {
			return run(ctx, config, env, o, command)
		},
	}
}
