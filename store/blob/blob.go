// Package blob is the seam between a worker and the storages that keep its
// snapshots: what a snapshot is called, what a storage promises, and the errors
// that mean the same in every one of them.
//
// The promise that every storage keeps: a snapshot is under its key completely
// and durably, or not at all. Nothing is ever replaced.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
)

// Names of a snapshot's three files.
const (
	Artifact = "backup.tar.zst.enc"
	Manifest = "manifest.json"
	Meta     = "meta.json"
)

// Errors that mean the same in every storage. They stand in the chain of an
// *Error.
var (
	// ErrFull: no space, no quota, or a file larger than allowed. Trying again
	// without someone making room is pointless.
	ErrFull = errors.New("the storage is full")
	// ErrExists: something already is where a snapshot should go.
	ErrExists = errors.New("already exists")
	// ErrNotFound: no snapshot has this key.
	ErrNotFound = errors.New("not found")
	// ErrMismatch: what the storage holds is not what was handed to it.
	ErrMismatch = errors.New("stored bytes differ from those written")
	// ErrMissing: the storage is not there, is empty where it was not before, or
	// cannot be written. Nothing may be concluded about the snapshots on it.
	ErrMissing = errors.New("the storage is missing")
	// ErrForeign: another storage is in its place.
	ErrForeign = errors.New("another storage is in its place")
	// ErrInUse: another process works on it.
	ErrInUse = errors.New("the storage is in use by another process")
)

// Error is a failure of the storage itself, as opposed to one of a source or of
// the hub: whoever finds one in a chain knows that storing failed.
type Error struct {
	Op  string // what was being done: "write artifact"
	Err error
}

func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Store keeps snapshots. It is safe for concurrent use. Its errors are *Error.
type Store interface {
	// ID is the identity of the storage, the same wherever it is mounted.
	ID() uuid.UUID
	// Check looks whether the storage is still there and still the same one. It
	// fails with ErrMissing or ErrForeign.
	Check() error
	// Usage tells how many bytes are free for this process, and how many there
	// are in all.
	Usage() (free, total int64, err error)
	// Stage begins a snapshot. Nothing shows under its key before Commit.
	Stage(key Key) (Staged, error)
	// Open opens the artifact of this key for reading; ErrNotFound where there is
	// none. What is open stays whole while the snapshot is removed.
	Open(ctx context.Context, key Key) (Object, error)
	// ReadBeside reads one of the small files beside the artifact, Manifest or
	// Meta; ErrNotFound where there is none. Of a file that is longer than limit it
	// gives limit bytes and one more.
	ReadBeside(ctx context.Context, key Key, name string, limit int) ([]byte, error)
	// Location is where the snapshot of this key is kept: an absolute path or an
	// object's key. It need not exist.
	Location(key Key) string
	// List visits every snapshot that was there when the listing began. An error
	// of visit ends it and is returned as it is.
	List(ctx context.Context, visit func(Found) error) error
	// Remove takes a snapshot away completely; ErrNotFound where there is none, on
	// a storage that was looked at right before and is there. Nothing else is
	// touched, whatever stands in the snapshot's place. It may be repeated, and
	// must be after another error: part of the snapshot may be left, out of its
	// place.
	Remove(ctx context.Context, key Key) error
	// SweepStaging removes what processes that died left behind before they
	// committed. Nothing may be staged meanwhile.
	SweepStaging(ctx context.Context) (Swept, error)
	// Close gives the storage free for another process.
	Close() error
}

// Surveyor is a Store that can tell all that stands where snapshots should, so
// that a catalog can be rebuilt from it.
type Surveyor interface {
	// Survey visits every folder below Root that is a snapshot's or should not be
	// there, whatever is in it: nothing is checked but that it is not more than
	// MaxBeside bytes. An error of visit ends it and is returned as it is.
	Survey(ctx context.Context, visit func(Surveyed) error) error
}

// Surveyed is one thing that a survey came by.
type Surveyed struct {
	Place string // slash-separated, below the storage's root
	Key   Key    // zero where Place is not named by ids
	// ArtifactBytes is the artifact's size; -1: there is none.
	ArtifactBytes  int64
	Manifest, Meta []byte
	Problem        string // why it is no snapshot; empty where it may be one
}

// MaxBeside bounds what a survey reads of a manifest or meta file, in bytes.
const MaxBeside = 32 << 10

// Object is a stored artifact, open for reading anywhere in it, from any number
// of goroutines. Its errors are *Error, but for io.EOF.
type Object interface {
	io.ReaderAt
	io.Closer
	// Size is its length in bytes.
	Size() int64
}

// Staged is a snapshot on its way in. It is used by one goroutine.
type Staged interface {
	// Write appends to the artifact.
	io.Writer
	// Commit makes the snapshot durable and shows it under its key, in this
	// order. It compares what was written with what the caller says that it
	// wrote. After an error nothing is under the key, as far as the storage can
	// tell. It is called once; an error is final.
	Commit(ctx context.Context, files Files) error
	// Discard removes everything unless Commit succeeded, in which case it does
	// nothing. It may be repeated.
	Discard() error
}

// Files is what goes beside the artifact, and what the artifact must be.
type Files struct {
	Size     int64
	SHA256   string // lower-case hex
	Manifest []byte
	Meta     []byte
}

// Found is one snapshot of a listing.
type Found struct {
	Key      Key
	Modified time.Time // when it was put there
}

// Swept counts what a sweep removed.
type Swept struct {
	Items int
	Bytes int64
}

// Key names a snapshot by opaque ids alone.
type Key struct {
	TenantID, SourceID, SnapshotID uuid.UUID
}

// Prefix is the slash-separated folder or key prefix of the snapshot.
func (k Key) Prefix() string { return k.Parent() + "/" + k.SnapshotID.String() }

// Parent is the folder that holds the snapshots of the key's source.
func (k Key) Parent() string {
	return fmt.Sprintf("%s/%s/sources/%s/snapshots", Root, k.TenantID, k.SourceID)
}

// Root is the folder or prefix below which there are snapshots and nothing else.
const Root = "tenants"

// Validate refuses a key with a part that is not set.
func (k Key) Validate() error {
	if k.TenantID == uuid.Nil || k.SourceID == uuid.Nil || k.SnapshotID == uuid.Nil {
		return errors.New("the key of a snapshot needs a tenant, a source and a snapshot id")
	}
	return nil
}
