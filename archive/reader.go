package archive

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"

	"xvault/archive/seal"
	"xvault/internal/secret"
)

// Reader reads an artifact, all of it or any part. It believes nothing that the
// artifact says without proof, and may be used from many goroutines.
type Reader struct {
	sealed     io.ReaderAt
	size       int64
	identities []secret.Text

	plain     io.ReaderAt // under the seal
	plainSize int64
	tail      tail
	dir       *directory
	dec       *zstd.Decoder
	budget    *Budget // nil: what is read ahead is bounded for each span alone

	mu     sync.Mutex
	recent []cachedBlock // index blocks, the last one used first

	mapOnce sync.Once
	frames  frameMap
	mapErr  error
}

// Open opens an artifact of the given size. It reads its header, its tail and
// the directory, whatever its size. The errors ErrNotSealed, ErrWrongIdentity
// and ErrCorrupt of package seal, and ErrCorrupt of this one, say what is wrong
// with a file that can be read but not opened.
func Open(r io.ReaderAt, size int64, identities ...secret.Text) (*Reader, error) {
	plain, plainSize, err := seal.NewReaderAt(r, size, identities...)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	dec, err := newDecoder(runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, err
	}
	ar := &Reader{
		sealed: r, size: size, identities: identities,
		plain: plain, plainSize: plainSize, dec: dec,
	}
	if err := ar.readDirectory(); err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return ar, nil
}

func (r *Reader) readDirectory() error {
	t, err := readTail(r.plain, r.plainSize)
	if err != nil {
		return err
	}
	r.tail = t
	frame := make([]byte, t.table-t.directory)
	if err := readAtFull(r.plain, frame, t.directory); err != nil {
		return err
	}
	r.dir, err = decodeDirectory(r.dec, frame, t.directory)
	return err
}

// Share lets everything that is read of the artifact take its buffers out of a
// budget: one frame for each file or range being read, and more, which makes it
// faster, while there is some to spare. Call it before the Reader is shared.
func (r *Reader) Share(b *Budget) { r.budget = b }

// Entries is the number of entries in the index.
func (r *Reader) Entries() int64 { return r.dir.entries }

// TarSize is the length of the tar stream in bytes.
func (r *Reader) TarSize() int64 { return r.dir.tarSize }

// span opens the tar stream at the beginning of the data frame at offset.
// Ahead is how many frames to decompress ahead of their use.
func (r *Reader) span(ctx context.Context, offset, tarOffset int64, ahead int) *tarSpan {
	section := io.NewSectionReader(r.plain, offset, r.tail.directory-offset)
	size := readSize
	if ahead > fewAhead {
		size = streamSize
	}
	frames := r.newFrameDecoder(ctx, newFrameScanner(section, offset, size), ahead, nil)
	return &tarSpan{frames: frames, offset: tarOffset}
}

// fewAhead and manyAhead are how many frames are decompressed ahead: of a small
// file only the one or two that hold it, of a whole archive all that keeps the
// cores busy.
const fewAhead = 1

func manyAhead() int { return runtime.GOMAXPROCS(0) + 2 }
