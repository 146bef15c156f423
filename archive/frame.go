package archive

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// newDecoder makes a decompressor that believes nothing: it never returns more
// than the buffer it is given holds.
func newDecoder(concurrency int) (*zstd.Decoder, error) {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(concurrency),
		zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(maxDirectoryRaw))
	if err != nil {
		return nil, fmt.Errorf("make a zstd decoder: %w", err)
	}
	return dec, nil
}

// decodeBounded decodes one zstd frame that says how long its content is, up to
// limit bytes.
func decodeBounded(dec *zstd.Decoder, frame []byte, limit int) ([]byte, error) {
	size, err := contentSize(frame, limit)
	if err != nil {
		return nil, err
	}
	return decodeFrame(dec, frame, make([]byte, 0, size))
}

// contentSize is what a frame says of its content, if that is believable.
func contentSize(frame []byte, limit int) (int, error) {
	var h zstd.Header
	if err := h.Decode(frame); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	// Compressed data of n bytes holds at most n/4 blocks of 128 KiB.
	most := uint64(len(frame)) * (128 << 10) / 4
	if h.Skippable || !h.HasFCS || h.FrameContentSize > min(uint64(limit), most) {
		return 0, fmt.Errorf("%w: a frame of unknown or excessive content", ErrCorrupt)
	}
	return int(h.FrameContentSize), nil
}

// decodeFrame decodes exactly cap(into) bytes.
func decodeFrame(dec *zstd.Decoder, frame, into []byte) ([]byte, error) {
	plain, err := dec.DecodeAll(frame, into[:0])
	if err == nil && len(plain) != cap(into) {
		err = errors.New("content of another length than announced")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: decompress: %w", ErrCorrupt, err)
	}
	return plain, nil
}
