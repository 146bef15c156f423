package localfs

import (
	"context"
	"errors"
	"io"
	"os"
	"path"

	"github.com/google/uuid"

	"xvault/store/blob"
)

// listBatch bounds how many names of a folder are in memory at once.
const listBatch = 1000

// List implements blob.Store. What it does not know it logs and leaves alone.
func (fs *FS) List(ctx context.Context, visit func(blob.Found) error) error {
	return fs.eachID(ctx, blob.Root, func(tenant uuid.UUID) error {
		sources := path.Join(blob.Root, tenant.String(), "sources")
		return fs.eachID(ctx, sources, func(source uuid.UUID) error {
			return fs.listSource(ctx, blob.Key{TenantID: tenant, SourceID: source}, visit)
		})
	})
}

func (fs *FS) listSource(ctx context.Context, key blob.Key, visit func(blob.Found) error) error {
	return fs.eachID(ctx, key.Parent(), func(snapshot uuid.UUID) error {
		key.SnapshotID = snapshot
		info, err := fs.root.Lstat(key.Prefix())
		if errors.Is(err, os.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return fail("list snapshots", err)
		}
		return visit(blob.Found{Key: key, Modified: info.ModTime()})
	})
}

// eachID visits the folders of dir that are named by an id. A folder that is
// not there has none.
func (fs *FS) eachID(ctx context.Context, dir string, visit func(uuid.UUID) error) error {
	f, err := fs.root.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fail("list snapshots", err)
	}
	defer closeQuietly(f)
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		entries, err := f.ReadDir(listBatch)
		for _, e := range entries {
			id, ok := parseID(e)
			if !ok {
				fs.log.Warn("something in the storage is not a snapshot; it is left alone", "folder", dir, "name", e.Name())
				continue
			}
			if err := visit(id); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fail("list snapshots", err)
		}
	}
}

func parseID(e os.DirEntry) (uuid.UUID, bool) {
	id, err := uuid.Parse(e.Name())
	return id, err == nil && id.String() == e.Name() && e.IsDir()
}

// SweepStaging implements blob.Store.
func (fs *FS) SweepStaging(ctx context.Context) (blob.Swept, error) {
	dir, err := fs.root.Open(stagingDir)
	if err != nil {
		return blob.Swept{}, fail("sweep staging", err)
	}
	defer closeQuietly(dir)
	var swept blob.Swept
	for {
		if err := ctx.Err(); err != nil {
			return swept, context.Cause(ctx)
		}
		names, err := dir.Readdirnames(listBatch)
		for _, name := range names {
			name = path.Join(stagingDir, name)
			size := fs.sizeOf(name)
			if err := fs.root.RemoveAll(name); err != nil {
				return swept, fail("sweep staging", err)
			}
			swept.Items++
			swept.Bytes += size
		}
		if errors.Is(err, io.EOF) {
			return swept, nil
		}
		if err != nil {
			return swept, fail("sweep staging", err)
		}
	}
}

// sizeOf adds up a leftover's files, for the log alone: errors count as nothing.
func (fs *FS) sizeOf(name string) int64 {
	var size int64
	for _, file := range []string{blob.Artifact, blob.Manifest, blob.Meta} {
		if info, err := fs.root.Lstat(path.Join(name, file)); err == nil {
			size += info.Size()
		}
	}
	return size
}
