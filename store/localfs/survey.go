package localfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"xvault/store/blob"
)

var _ blob.Surveyor = (*FS)(nil)

// Survey implements blob.Surveyor. It goes through folders only, never through a
// link, and tells of whatever else stands in their places.
func (fs *FS) Survey(ctx context.Context, visit func(blob.Surveyed) error) error {
	if err := fs.Check(); err != nil {
		return err
	}
	s := surveyor{fs: fs, visit: visit}
	if err := s.level(ctx, blob.Root, []string{"", "sources", "", "snapshots", ""}, nil); err != nil {
		return err
	}
	return fs.Check() // what was not shown because the disk went away is not gone
}

type surveyor struct {
	fs    *FS
	visit func(blob.Surveyed) error
}

// level looks into dir, where only folders with the first of the names may be;
// an empty name stands for an id. ids are those on the way.
func (s *surveyor) level(ctx context.Context, dir string, names []string, ids []uuid.UUID) error {
	f, err := s.fs.root.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return s.odd(dir, fmt.Sprintf("it cannot be listed: %v", plain(err)))
	}
	defer closeQuietly(f)
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		entries, err := f.ReadDir(listBatch)
		for _, e := range entries {
			if err := s.entry(ctx, dir, e, names, ids); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fail("survey storage", err)
		}
	}
}

func (s *surveyor) entry(ctx context.Context, dir string, e os.DirEntry, names []string, ids []uuid.UUID) error {
	place := path.Join(dir, e.Name())
	switch {
	case names[0] != "" && e.Name() != names[0], names[0] == "" && !isID(e.Name()):
		return s.odd(place, "it is not named as anything of a storage is")
	case !e.IsDir():
		return s.odd(place, "it is no folder but "+kindOf(e.Type()))
	case names[0] == "":
		ids = append(ids, uuid.MustParse(e.Name()))
	}
	if len(names) > 1 {
		return s.level(ctx, place, names[1:], ids)
	}
	return s.snapshot(place, blob.Key{TenantID: ids[0], SourceID: ids[1], SnapshotID: ids[2]})
}

func isID(name string) bool {
	id, err := uuid.Parse(name)
	return err == nil && id.String() == name && id != uuid.Nil
}

func (s *surveyor) odd(place, problem string) error {
	return s.visit(blob.Surveyed{Place: place, ArtifactBytes: -1, Problem: problem})
}

func (s *surveyor) snapshot(place string, key blob.Key) error {
	found := blob.Surveyed{Place: place, Key: key, ArtifactBytes: -1}
	info, err := s.fs.root.Lstat(path.Join(place, blob.Artifact))
	switch {
	case errors.Is(err, os.ErrNotExist):
		found.Problem = blob.Artifact + " is missing"
	case err != nil:
		found.Problem = blob.Artifact + " cannot be looked at: " + plain(err).Error()
	case !info.Mode().IsRegular():
		found.Problem = blob.Artifact + " is no file but " + kindOf(info.Mode())
	default:
		found.ArtifactBytes = info.Size()
	}
	for name, into := range map[string]*[]byte{blob.Manifest: &found.Manifest, blob.Meta: &found.Meta} {
		content, err := s.fs.readBeside(path.Join(place, name))
		if err != nil && found.Problem == "" {
			found.Problem = name + " " + err.Error()
		}
		*into = content
	}
	return s.visit(found)
}

// readBeside reads a small file that is what it should be. Its errors complete a
// sentence that begins with the file's name.
func (fs *FS) readBeside(name string) ([]byte, error) {
	// Neither a link nor a pipe that never ends.
	f, err := fs.root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be opened: %w", plain(err))
	}
	defer closeQuietly(f)
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot be looked at: %w", plain(err))
	case !info.Mode().IsRegular():
		return nil, errors.New("is no file but " + kindOf(info.Mode()))
	case info.Size() > blob.MaxBeside:
		return nil, fmt.Errorf("has %d bytes, which no honest one has", info.Size())
	}
	content, err := io.ReadAll(io.LimitReader(f, blob.MaxBeside))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", plain(err))
	}
	return content, nil
}

// plain takes the path out of an error: it stands beside it.
func plain(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode&os.ModeSymlink != 0:
		return "a symbolic link"
	case mode.IsDir():
		return "a folder"
	case mode.IsRegular():
		return "a file"
	default:
		return "something else"
	}
}
