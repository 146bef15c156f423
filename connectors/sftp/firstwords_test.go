package sftp_test

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// The file that a further channel is for is opened with its first words: no answer to
// them is waited for. Here none comes before, and the first channel brings nothing until
// two have done so.
func TestChannelsOpenTheFileWithTheirFirstWords(t *testing.T) {
	t.Parallel()
	var early atomic.Int32
	enough := make(chan struct{})
	patience, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	o := onlySize()
	o.HandshakeTimeout = quick.HandshakeTimeout
	n := readThrough(t, o, func(n int32, ch ssh.Channel) {
		f := &fakeServer{nodes: only(wholeFile()), openssh: true}
		if n == 0 {
			f.answer = holdingReads(patience, enough, 1)
			f.serve(ch)
			return
		}
		var kinds []byte
		f.serveAfter(ch, func(typ byte) bool {
			kinds = append(kinds, typ)
			if bytes.Equal(kinds, []byte{1, 200, 3}) && early.Add(1) == 2 { // hello, limits, open
				close(enough)
			}
			return typ == 3
		})
	})
	if got := early.Load(); got < 2 {
		t.Errorf("%d of %d channels opened the file with their first words", got, n)
	}
}
