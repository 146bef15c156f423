package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"xvault/archive"
	"xvault/internal/job"
	"xvault/store/blob"
)

// CheckRequest says how to check a stored snapshot.
type CheckRequest struct {
	Request
	// Full opens the artifact, with the identity of the Request, and checks every
	// file in it. Else it is hashed as it is, and no identity is needed.
	Full bool
	// Total and Read are told how many bytes there are to read, and how many were
	// read so far. Nil: nobody wants to know.
	Total, Read func(int64)
}

// Found is what a check has read of a snapshot.
type Found struct {
	Files, Bytes int64 // of a full one that passed
	SizeBytes    int64 // of the artifact
}

// Check holds a snapshot's three files against what the catalog knows of it.
// Errors are *job.Error with the codes artifact_missing and artifact_corrupt,
// which say that the snapshot is not what it was, and storage_failed, which says
// nothing about it; or without a code.
func Check(ctx context.Context, store blob.Store, req CheckRequest) (found Found, err error) {
	object, err := store.Open(ctx, req.Key)
	if err != nil {
		return Found{}, Explain(err)
	}
	defer func() { err = Explain(errors.Join(err, object.Close())) }()
	if err := rightSize(object, req.Snapshot); err != nil {
		return Found{}, err
	}
	manifest, err := checkBeside(ctx, store, req.Key, req.Snapshot)
	if err != nil {
		return Found{}, err
	}
	if req.Full {
		return checkContent(ctx, object, req, manifest)
	}
	return checkHash(ctx, object, req)
}

// checkHash reads the artifact as it is.
func checkHash(ctx context.Context, object blob.Object, req CheckRequest) (Found, error) {
	tell(req.Total, object.Size())
	sum := sha256.New()
	r := io.NewSectionReader(object, 0, object.Size())
	buf := make([]byte, readSize)
	var read int64
	for {
		if err := context.Cause(ctx); err != nil {
			return Found{SizeBytes: read}, err
		}
		n, err := r.Read(buf)
		sum.Write(buf[:n])
		read += int64(n)
		tell(req.Read, read)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Found{SizeBytes: read}, err
		}
	}
	return Found{SizeBytes: read}, rightHash(read, hex.EncodeToString(sum.Sum(nil)), req.Snapshot)
}

// readSize is how much of an artifact is read at once.
const readSize = 1 << 20

// checkContent opens the artifact and reads everything in it. That the sealed
// bytes are the ones that were stored comes last: what is wrong inside tells
// more.
func checkContent(ctx context.Context, object blob.Object, req CheckRequest, manifest *archive.Manifest) (Found, error) {
	identity, err := unseal(req.Request)
	if err != nil {
		return Found{}, err
	}
	req.KeepIdentity = true
	opened, err := open(object, req.Request, identity)
	if err != nil {
		return Found{}, err
	}
	defer opened.Forget()
	tell(req.Total, opened.TarSize())
	report, err := opened.Check(ctx, archive.CheckOptions{Progress: req.Read})
	if err != nil {
		return Found{}, err
	}
	found := Found{Files: report.Content.Files, Bytes: report.Content.Bytes, SizeBytes: report.SizeBytes}
	if err := rightHash(report.SizeBytes, report.SHA256, req.Snapshot); err != nil {
		return found, err
	}
	if report.Content != manifest.Content {
		return found, job.Errorf(job.ArtifactCorrupt, "The artifact is whole, but it does not hold what its manifest counts.")
	}
	return found, nil
}

func rightSize(object blob.Object, s job.ClaimSnapshot) error {
	if object.Size() == s.SizeBytes {
		return nil
	}
	return job.Errorf(job.ArtifactCorrupt, "The artifact has %d bytes on the worker's storage, and had %d when it was made: it was cut, or replaced by another.",
		object.Size(), s.SizeBytes)
}

func rightHash(size int64, sha256 string, s job.ClaimSnapshot) error {
	if size == s.SizeBytes && sha256 == s.SHA256 {
		return nil
	}
	return job.Errorf(job.ArtifactCorrupt, "The artifact is not the one that was stored: its SHA-256 is %s, and was %s.", sha256, s.SHA256)
}

func tell(who func(int64), n int64) {
	if who != nil {
		who(n)
	}
}
