// Package shell reads a server's files with two programs that most servers have:
// GNU find lists a tree in one go, GNU tar sends the content of many small files
// one after the other. Both do in one round trip what costs SFTP two for each file.
//
// Nothing that a user or a server chose ever enters a command line. The commands
// are constants; paths and a random marker travel on standard input, ended by a
// zero byte and a line break each. The commands start /bin/sh themselves, so that
// the user's own shell may be any that knows single quotes.
//
// What comes back is not trusted. Whatever a shell's start files print goes before
// the marker and is dropped. A listing counts only as a whole: its end is marked,
// and what find complained of is told by path. Content counts only if tar's header
// names the file that was asked for, with the size and the time that were asked
// for, and if tar said nothing about it: tar compares a file's change time before
// and after it read it, and says so where they differ, where a file shrank or did
// not read. How its words are matched with files is told at Tar.
//
// Whatever else happens is an error, or a file that is not Good; the caller has
// SFTP for those.
package shell

import (
	"crypto/rand"
	"encoding/hex"
	"errors"

	"golang.org/x/crypto/ssh"
)

// Opener opens channels of an SSH connection.
type Opener interface {
	OpenChannel(name string, data []byte) (ssh.Channel, <-chan *ssh.Request, error)
}

// ErrUnfit is the cause of errors that say why a server cannot be read this way.
var ErrUnfit = errors.New("the shell cannot be used")

// ErrIncomplete is the cause of errors of a listing that cannot be relied on.
var ErrIncomplete = errors.New("the listing is not complete")

// newMarker is what no start file prints and no file is named.
func newMarker() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
