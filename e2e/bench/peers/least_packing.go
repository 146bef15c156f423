package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"xvault/archive"
	"xvault/archive/seal"
)

// packer has all content in memory, cut as an archive's is.
type packer struct {
	frames    [][]byte
	out       [][]byte // of each worker
	enc       *zstd.Encoder
	recipient string
}

func readyToPack(_ context.Context, o order, files []knownFile) (readyWork, error) {
	p := &packer{out: make([][]byte, runtime.NumCPU()), recipient: o.Recipient}
	if err := p.load(files); err != nil {
		return readyWork{}, err
	}
	var err error
	p.enc, err = zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(archive.DefaultLevel)),
		zstd.WithEncoderConcurrency(len(p.out)),
		zstd.WithWindowSize(archive.MaxFrame), zstd.WithSingleSegment(true),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return readyWork{}, fmt.Errorf("make a zstd encoder: %w", err)
	}
	if len(p.frames) > 0 {
		p.warm()
	}
	return readyWork{do: p.pack, end: p.enc.Close}, nil
}

// load reads files, one behind the other.
func (p *packer) load(files []knownFile) error {
	for _, f := range files {
		file, err := os.Open(f.path)
		if err == nil {
			err = errors.Join(p.fill(file), file.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) fill(r io.Reader) error {
	for {
		last := len(p.frames) - 1
		if last < 0 || len(p.frames[last]) == cap(p.frames[last]) {
			p.frames = append(p.frames, make([]byte, 0, archive.MaxFrame))
			last++
		}
		frame := p.frames[last]
		n, err := r.Read(frame[len(frame):cap(frame)])
		p.frames[last] = frame[:len(frame)+n]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// warm has each worker touch the memory that it needs.
func (p *packer) warm() {
	var workers sync.WaitGroup
	for i := range p.out {
		workers.Go(func() { p.out[i] = p.enc.EncodeAll(p.frames[0], make([]byte, 0, archive.MaxFrame)) })
	}
	workers.Wait()
}

// pack does so on all processors. In which order frames are sealed does not matter.
func (p *packer) pack() (bytes, size int64, err error) {
	result := &hashed{sum: sha256.New()}
	sealed, err := seal.NewWriter(result, p.recipient)
	if err != nil {
		return 0, 0, err
	}
	var sealing sync.Mutex
	var next, done atomic.Int64
	var workers errgroup.Group
	for _, out := range p.out {
		workers.Go(func() error {
			content := sha256.New()
			for {
				i := int(next.Add(1) - 1)
				if i >= len(p.frames) {
					return nil
				}
				content.Write(p.frames[i])
				out = p.enc.EncodeAll(p.frames[i], out[:0])
				sealing.Lock()
				_, err := sealed.Write(out)
				sealing.Unlock()
				if err != nil {
					return err
				}
				done.Add(int64(len(p.frames[i])))
			}
		})
	}
	err = errors.Join(workers.Wait(), sealed.Close())
	return done.Load(), result.size, err
}

// hashed takes what is thrown away.
type hashed struct {
	sum  hash.Hash
	size int64
}

func (h *hashed) Write(b []byte) (int, error) {
	h.size += int64(len(b))
	return h.sum.Write(b)
}
