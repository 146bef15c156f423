// Package entry describes one member of a backup: what a connector yields and
// an archive stores. It is the one type that both sides share, so that neither
// has to import the other.
package entry

import (
	"errors"
	"time"
)

// Kind says what an entry is.
type Kind uint8

// The kinds of entries. Device, FIFO and Socket are indexed but never stored.
const (
	File Kind = iota + 1
	Dir
	Symlink
	Hardlink
	Device
	FIFO
	Socket
)

// Flags tell what a reader should know about an entry's content.
type Flags uint8

// Flags of an index entry; docs/format.md fixes their values.
const (
	// ChangedWhileRead: the source's file changed while it was being read; the
	// stored content has the announced length but may mix two versions.
	ChangedWhileRead Flags = 1 << iota
	// Parts: the content is spread over several tar members.
	Parts
	// Skipped: known by name only, on purpose (devices, FIFOs, sockets).
	Skipped
	// Unreadable: it exists but could not be read at all; nothing is stored.
	Unreadable
	// Padded: the content came short and was filled with zero bytes. A snapshot
	// with such an entry is never complete.
	Padded
)

// Header is everything about an entry but its content.
type Header struct {
	// Path is relative, slash separated, without "." or ".." or empty
	// components and without a leading slash. It is bytes: not always UTF-8.
	Path string
	Kind Kind
	// Size is the length of the content in bytes; 0 for all but files, and
	// SizeUnknown for a stream whose length shows only at its end.
	Size int64
	// Mode holds the permission bits with set-uid 04000, set-gid 02000 and
	// sticky 01000, as in st_mode & 07777.
	Mode       uint32
	UID, GID   int
	User       string // empty where the source does not tell
	Group      string
	ModTime    time.Time
	LinkTarget string // symlink: its text; hard link: the Path of the first name
	Xattrs     map[string]string
}

// SizeUnknown is the Size of a stream whose length shows only at its end.
const SizeUnknown int64 = -1

// ErrChanged may be returned by a body's Read in place of io.EOF, after exactly
// Header.Size bytes: they are all there, but the file changed meanwhile.
var ErrChanged = errors.New("content changed while it was read")

// ContentError is returned by a body's Read when the rest of this one entry
// cannot be had while the source itself is fine: the file shrank, or its disk
// reports an error. The archive pads the entry and goes on; any other error
// ends the whole attempt.
type ContentError struct {
	Code string // an error code of internal/job: source_changed, permission_denied, ...
	Err  error
}

func (e *ContentError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *ContentError) Unwrap() error { return e.Err }
