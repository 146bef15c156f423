package download_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/store/blob"
	"xvault/worker/download"
)

// counted is a storage that counts what is read of its artifacts.
type counted struct {
	blob.Store
	bytes *atomic.Int64
}

func (c counted) Open(ctx context.Context, key blob.Key) (blob.Object, error) {
	o, err := c.Store.Open(ctx, key)
	return countedObject{o, c.bytes}, err
}

type countedObject struct {
	blob.Object
	bytes *atomic.Int64
}

func (c countedObject) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Object.ReadAt(p, off)
	c.bytes.Add(int64(n))
	return n, err
}

// block is incompressible and made once: what counts is how much there is.
func block() []byte {
	b := make([]byte, 8<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(b) // it always reads all
	return b
}

// A file of 10 KB out of a large snapshot is there in under a second, and less
// than 16 MiB of the artifact are read for it, in each format; so is a range out
// of the middle of all of it.
func TestASmallFileOutOfALargeSnapshot(t *testing.T) {
	var read atomic.Int64
	var d *desk
	d = newDesk(t, func(c *download.Config) {
		c.Store = func() (blob.Store, error) { return counted{d.store, &read}, nil }
	})
	s, want := large(d)
	for _, format := range []job.RestoreFormat{job.FormatTar, job.FormatTarZst, job.FormatZip, job.FormatFile} {
		address := d.ticketFor(s, job.RestorePayload{Format: format, Paths: []string{"/data/needle"}})
		read.Store(0)
		began := time.Now()
		a := d.get(address)
		took := time.Since(began)
		if a.StatusCode != http.StatusOK || a.err != nil || (format != job.FormatZip && !bytes.Contains(a.body, want)) {
			t.Fatalf("%s: %s, %d bytes, %v", format, a.Status, len(a.body), a.err)
		}
		t.Logf("%s: 10 KB out of %d MiB in %v, %d KiB read", format, largeSnapshot>>20, took.Round(time.Millisecond), read.Load()>>10)
		if took > smallFileWithin || read.Load() > 16<<20 {
			t.Errorf("%s: %v and %d bytes read are too much", format, took, read.Load())
		}
	}
	for _, format := range []job.RestoreFormat{job.FormatTar, job.FormatTarZst} {
		address := d.ticketFor(s, job.RestorePayload{Format: format})
		read.Store(0)
		began := time.Now()
		a := d.get(address, "Range", fmt.Sprintf("bytes=%d-%d", largeSnapshot/2, largeSnapshot/2+9999))
		if a.StatusCode != http.StatusPartialContent || len(a.body) != 10_000 {
			t.Fatalf("%s: %s, %d bytes, %v", format, a.Status, len(a.body), a.err)
		}
		t.Logf("%s: 10 KB from the middle in %v, %d KiB read", format, time.Since(began).Round(time.Millisecond), read.Load()>>10)
		if read.Load() > 64<<20 {
			t.Errorf("%s: %d bytes were read for a range", format, read.Load())
		}
	}
}

// large stores a snapshot of many megabytes with a needle in it.
func large(d *desk) (snapshot, []byte) {
	d.t.Helper()
	identity, recipient, err := seal.NewIdentity()
	d.must(err)
	s := snapshot{key: blob.Key{TenantID: uuid.New(), SourceID: uuid.New(), SnapshotID: uuid.New()}}
	s.sealed, err = seal.Message(d.recipient, []byte(identity.Reveal()))
	d.must(err)
	staged, err := d.store.Stage(s.key)
	d.must(err)
	w, err := archive.NewWriter(staged, archive.WriterConfig{Recipients: []string{recipient}})
	d.must(err)
	defer w.Abort()
	content, needle := block(), block()[4444:14444]
	for n := 0; n < largeSnapshot/len(content); n++ {
		add := func(name string, b []byte) {
			h := entry.Header{Path: name, Kind: entry.File, Mode: 0o600, ModTime: time.Unix(1_700_000_000, 0), Size: int64(len(b))}
			_, err := w.Add(d.t.Context(), h, bytes.NewReader(b))
			d.must(err)
		}
		if n == largeSnapshot/len(content)/2 {
			add("data/needle", needle)
		}
		name := fmt.Sprintf("data/a-%06d", n)
		if n >= largeSnapshot/len(content)/2 {
			name = fmt.Sprintf("data/z-%06d", n)
		}
		add(name, content)
	}
	sum, err := w.Close()
	d.must(err)
	d.must(staged.Commit(d.t.Context(), blob.Files{Size: sum.SizeBytes, SHA256: sum.SHA256, Manifest: []byte("{}"), Meta: []byte("{}")}))
	s.record = job.ClaimSnapshot{SizeBytes: sum.SizeBytes, SHA256: sum.SHA256, Recipient: recipient}
	return s, needle
}
