package scratch

import (
	"strings"
	"sync"
	"unicode"
)

// keptOutput is how much of the end of what a program says is kept.
const keptOutput = 4 << 10

// tail keeps the end of a program's output.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer; it never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - keptOutput; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(p), nil
}

// text is what was kept, on lines, with nothing in it that a terminal would obey.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(t.buf), "\uFFFD"))
}
