package shell

import (
	"bufio"
	"bytes"
	"errors"
	"strconv"
)

// listen matches what tar says with batches, until it says nothing more.
func (t *Tar) listen(said *bufio.Reader) {
	t.hear(said)
	t.mu.Lock()
	owes := len(t.open) > 0
	t.mu.Unlock()
	if owes {
		t.p.stop() // it will never be known which of these files are good
	}
}

func (t *Tar) hear(r *bufio.Reader) {
	// Before it stands what the program was started as: "tar: ", "/usr/bin/tar: ".
	last := []byte("/dev/null/" + t.p.marker + ".")
	words, excused := 0, 0
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			words++ // the rest of it is as little understood
			continue
		}
		if err != nil {
			return
		}
		_, number, isLast := bytes.Cut(line, last)
		switch {
		case isLast:
			if !t.told(number, words, excused) {
				return
			}
			words, excused = 0, 0
		case excuses(line):
			excused++
		default:
			words++
		}
	}
}

// excuses reports whether a line says why a file does not come.
func excuses(line []byte) bool {
	if bytes.Contains(line, []byte(" changed ")) || bytes.Contains(line, []byte(" shrank ")) || bytes.Contains(line, []byte("Read error")) {
		return false
	}
	return bytes.Contains(line, []byte(": Cannot open: ")) || bytes.Contains(line, []byte(": Cannot stat: ")) ||
		bytes.HasSuffix(line, []byte(": File removed before we read it\n"))
}

// told ends what is said about a batch; false if the batches are out of step.
func (t *Tar) told(rest []byte, words, excused int) bool {
	text, _, ok := bytes.Cut(rest, []byte{':'})
	number, err := strconv.Atoi(string(text))
	t.mu.Lock()
	if !ok || err != nil || t.sealed.len() == 0 {
		t.mu.Unlock()
		return false
	}
	b := t.sealed.pop().batch
	if b.number != number {
		t.mu.Unlock()
		return false
	}
	b.told, b.words, b.excused = true, words, excused
	done := t.completed(b, nil)
	t.mu.Unlock()
	t.settle(done)
	return true
}
