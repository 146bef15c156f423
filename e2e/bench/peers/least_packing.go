package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"xvault/archive"
	"xvault/archive/seal"
)

func readyToPack(_ context.Context, o order, files []knownFile) (do, end func() error, err error) {
	frames, err := inFrames(files)
	if err != nil {
		return nil, nil, err
	}
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(archive.DefaultLevel)),
		zstd.WithWindowSize(archive.MaxFrame), zstd.WithSingleSegment(true),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, nil, fmt.Errorf("make a zstd encoder: %w", err)
	}
	return func() error { return pack(frames, enc, o.Recipient) }, enc.Close, nil
}

// inFrames reads files into memory, one behind the other, cut as an archive's are.
func inFrames(files []knownFile) (frames [][]byte, err error) {
	frame := make([]byte, 0, archive.MaxFrame)
	for _, f := range files {
		content, err := os.ReadFile(f.path)
		if err != nil {
			return nil, err
		}
		for len(content) > 0 {
			n := min(len(content), cap(frame)-len(frame))
			frame, content = append(frame, content[:n]...), content[n:]
			if len(frame) == cap(frame) {
				frames, frame = append(frames, frame), make([]byte, 0, archive.MaxFrame)
			}
		}
	}
	return append(frames, frame), nil
}

// pack does so on all processors. In which order the frames are sealed does not matter.
func pack(frames [][]byte, enc *zstd.Encoder, recipient string) error {
	whole := sha256.New()
	sealed, err := seal.NewWriter(whole, recipient)
	if err != nil {
		return err
	}
	var sealing sync.Mutex
	var next atomic.Int64
	var workers errgroup.Group
	for range runtime.NumCPU() {
		workers.Go(func() error {
			var out []byte
			content := sha256.New()
			for {
				i := int(next.Add(1) - 1)
				if i >= len(frames) {
					return nil
				}
				content.Write(frames[i])
				out = enc.EncodeAll(frames[i], out[:0])
				sealing.Lock()
				_, err := sealed.Write(out)
				sealing.Unlock()
				if err != nil {
					return err
				}
			}
		})
	}
	return errors.Join(workers.Wait(), sealed.Close())
}
