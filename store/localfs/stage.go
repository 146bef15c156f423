package localfs

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"xvault/internal/failpoint"
	"xvault/store/blob"
)

// sealHeader is what an artifact has at least in front of its first frame, so
// that the failpoint lies behind it.
const sealHeader = 180

// pieceSize is how much is written at once, so that the kernel gets whole pages: what comes
// out of the seal ends in the middle of one, which it would then take up twice.
const pieceSize = 256 << 10

// staged is a snapshot in a folder of its own under staging.
type staged struct {
	fs       *FS
	key      blob.Key
	dir      string // below the storage's root
	artifact *os.File
	out      *bufio.Writer // to it
	hash     hash.Hash
	size     int64
	behind   writeback
	err      error // the first failure; final
	settled  bool  // committed or discarded
}

// Stage implements blob.Store.
func (fs *FS) Stage(key blob.Key) (blob.Staged, error) {
	if err := key.Validate(); err != nil {
		return nil, fail("stage snapshot", err)
	}
	if _, err := fs.root.Lstat(key.Prefix()); err == nil {
		return nil, fail("stage snapshot", blob.ErrExists)
	}
	s := &staged{fs: fs, key: key, dir: path.Join(stagingDir, unique(key.SnapshotID.String())), hash: sha256.New()}
	if err := fs.root.Mkdir(s.dir, dirMode); err != nil {
		return nil, fail("stage snapshot", err)
	}
	f, err := fs.root.OpenFile(path.Join(s.dir, blob.Artifact), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, errors.Join(fail("stage snapshot", err), s.Discard())
	}
	s.artifact, s.behind.file = f, f
	s.out = bufio.NewWriterSize(f, pieceSize)
	return s, nil
}

// Write implements blob.Staged.
func (s *staged) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.size > sealHeader {
		if err := failpoint.Hit("backup.frame"); err != nil {
			return 0, s.failed("write artifact", err)
		}
	}
	n, err := s.out.Write(p)
	s.hash.Write(p[:n])
	s.size += int64(n)
	if err != nil {
		return n, s.failed("write artifact", err)
	}
	if err := s.behind.grown(s.size); err != nil {
		return n, s.failed("write artifact", err)
	}
	return n, nil
}

// SHA256 is the hash of what was written so far; whoever writes need not hash
// it as well.
func (s *staged) SHA256() [sha256.Size]byte { return [sha256.Size]byte(s.hash.Sum(nil)) }

func (s *staged) failed(op string, err error) error {
	s.err = fail(op, err)
	return s.err
}

// Commit implements blob.Staged.
func (s *staged) Commit(ctx context.Context, files blob.Files) error {
	if s.err != nil {
		return s.err
	}
	if s.settled {
		return s.failed("commit snapshot", errors.New("it was committed or discarded before"))
	}
	if err := s.finishArtifact(); err != nil {
		return s.failed("store artifact", err)
	}
	if err := s.compare(files); err != nil {
		return s.failed("compare artifact", err)
	}
	if err := s.writeBeside(files); err != nil {
		return s.failed("store manifest", err)
	}
	if ctx.Err() != nil {
		return s.failed("store snapshot", context.Cause(ctx))
	}
	if err := s.moveIntoPlace(); err != nil {
		return s.failed("store snapshot", err)
	}
	s.settled = true
	return nil
}

func (s *staged) finishArtifact() error {
	if err := failpoint.Hit("backup.fsync"); err != nil {
		return err
	}
	err := errors.Join(s.out.Flush(), s.behind.stop())
	err = errors.Join(err, s.artifact.Sync(), s.artifact.Close())
	s.artifact = nil
	if err != nil {
		return err
	}
	return failpoint.Hit("backup.fsync.after")
}

// compare holds what the caller wrote, what this side hashed on the way and
// what the file system says it has against each other.
func (s *staged) compare(files blob.Files) error {
	if s.size != files.Size {
		return fmt.Errorf("%w: %d bytes arrived of %d", blob.ErrMismatch, s.size, files.Size)
	}
	if hex.EncodeToString(s.hash.Sum(nil)) != files.SHA256 {
		return fmt.Errorf("%w: the hashes differ", blob.ErrMismatch)
	}
	info, err := s.fs.root.Lstat(path.Join(s.dir, blob.Artifact))
	if err != nil {
		return err
	}
	if info.Size() != files.Size || !info.Mode().IsRegular() {
		return fmt.Errorf("%w: the file has %d bytes of %d", blob.ErrMismatch, info.Size(), files.Size)
	}
	if s.fs.readBack {
		return s.compareReadBack(files)
	}
	return nil
}

func (s *staged) compareReadBack(files blob.Files) error {
	f, err := s.fs.root.Open(path.Join(s.dir, blob.Artifact))
	if err != nil {
		return err
	}
	defer closeQuietly(f)
	// Read from the disk rather than from memory, where the kernel agrees.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if n != files.Size || hex.EncodeToString(h.Sum(nil)) != files.SHA256 {
		return fmt.Errorf("%w: it reads back differently", blob.ErrMismatch)
	}
	return nil
}

func (s *staged) writeBeside(files blob.Files) error {
	for name, content := range map[string][]byte{blob.Manifest: files.Manifest, blob.Meta: files.Meta} {
		if err := writeFile(s.fs.root, path.Join(s.dir, name), content); err != nil {
			return err
		}
	}
	return syncDir(s.fs.root, s.dir)
}

// moveIntoPlace shows the snapshot under its key, and makes that durable.
func (s *staged) moveIntoPlace() error {
	s.fs.parents.RLock()
	defer s.fs.parents.RUnlock()
	parents, err := s.fs.makeParents(s.key)
	if err != nil {
		return err
	}
	if err := failpoint.Hit("backup.rename"); err != nil {
		return err
	}
	parent := s.key.Parent()
	if err := renameNoReplace(s.fs.root, stagingDir, path.Base(s.dir), parent, s.key.SnapshotID.String()); err != nil {
		return err
	}
	s.dir = s.key.Prefix()
	if err := failpoint.Hit("backup.rename.after"); err != nil {
		return err
	}
	// All of them, each time: another job may have made one and not synced it yet.
	for _, dir := range parents {
		if err := syncDir(s.fs.root, dir); err != nil {
			return err
		}
	}
	return nil
}

// makeParents makes the folders above a snapshot and lists them, the deepest
// first, up to the storage's root.
func (fs *FS) makeParents(key blob.Key) ([]string, error) {
	var dirs []string
	for dir := key.Parent(); dir != "."; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	for _, dir := range slices.Backward(dirs) {
		if err := makeDir(fs.root, dir); err != nil {
			return nil, err
		}
	}
	return append(dirs, "."), nil
}

// Discard implements blob.Staged. What was renamed and could not be made
// durable is removed as well: nobody was told of it, and its id is used once.
func (s *staged) Discard() error {
	if s.settled {
		return nil
	}
	s.settled = true
	if s.artifact != nil {
		_ = s.behind.stop() // nobody wants it any more
		closeQuietly(s.artifact)
		s.artifact = nil
	}
	return fail("discard staged snapshot", s.fs.root.RemoveAll(s.dir))
}
