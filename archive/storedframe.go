package archive

import (
	"encoding/binary"
	"io"
)

// writeStoredFrame writes content, which is not empty, as a frame of blocks that
// are not compressed: storedFrame bytes, of which the content is not copied.
func writeStoredFrame(w io.Writer, content []byte) error {
	head := binary.LittleEndian.AppendUint32(make([]byte, 0, storedHeader+storedBlockHeader), magicZstd)
	head = append(head, storedDescriptor)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(content)))
	for len(content) > 0 {
		block := content[:min(len(content), storedBlock)]
		content = content[len(block):]
		header := uint32(len(block)) << 3
		if len(content) == 0 {
			header |= 1 // the last one
		}
		head = append(head, byte(header), byte(header>>8), byte(header>>16))
		if _, err := w.Write(head); err != nil {
			return err
		}
		if _, err := w.Write(block); err != nil {
			return err
		}
		head = head[:0]
	}
	return nil
}
