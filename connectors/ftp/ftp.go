// Package ftp reads the files of a server over FTP, and writes them back.
//
// # What is stored
//
// Every configured path and all below it, under its absolute name without the
// leading slash; the folders above a configured path are not stored. What a server
// does not tell is not stored: which names are hard links to one file; owners and
// modes where the listing has none; the time of a folder to the second where there
// is only LIST. Links are stored as links and never followed, but for a configured
// path that is itself a link. FIFOs, sockets and devices are named, never opened.
//
// Names are bytes. A name that holds a line break cannot be part of any command: it
// is visited with an error, by name, as far as the server shows it.
//
// # What is whole
//
// A listing or a file counts as whole when the server said so with its final reply
// after the data, and only then. A listing over TLS must also have been ended by TLS
// itself. A listing whose final reply speaks of a limit or a failure, which holds a
// line that is not understood, or exactly as many lines as servers are known to cut
// at, makes an error of its folder, never a smaller tree. A file has the length that
// the server told, or is flagged.
//
// # A source that changes
//
// What is stored of a file is what was there at one time, or it carries
// entry.ErrChanged. A file of up to Options.SmallFile is read whole before it is
// given out, and its size and time were the same after that as in the listing; where
// they were not, the folder is listed again and the file read again. A larger one has
// the length that SIZE tells when its turn comes, is cut there if it grows, and ends
// in an entry.ContentError if it shrank. Where a data connection breaks, reading goes
// on from there, if the file is still the same by size and time.
//
// Files are read from within their folder, and the server is asked where that is
// once it was entered: a folder that became a link is noticed, and stored as the
// link that it now is.
//
// # What is written
//
// A file is stored under a temporary name beside its place, gets mode and time, is
// measured, and renamed only after the server confirmed all of that: under a real name
// there is what was before, or all of the file. What FTP has no command for is told:
// links fail by name, owners, modes and times are counted. A name that a server would
// change is refused.
package ftp

import "xvault/connectors"

// Version goes into manifests; it changes when what is read changes.
const Version = "1"

// Type is the source type "ftp".
func Type() connectors.Type { return New(Options{}) }

// New is the source type "ftp" with other options than the default.
func New(o Options) connectors.Type {
	o = o.withDefaults()
	return connectors.Type{
		Name: "ftp", Version: Version, Validate: Validate,
		Open: func(config []byte, env connectors.Env) (connectors.Source, error) {
			return open(config, env, o)
		},
		OpenTarget: func(config []byte, env connectors.Env, opts connectors.TargetOptions) (connectors.Target, error) {
			return openTarget(config, env, o, opts)
		},
	}
}
