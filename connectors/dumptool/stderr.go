package dumptool

import (
	"bytes"
	"strings"
	"sync"
	"unicode"

	"xvault/internal/secret"
)

// keptStderr is how much of the end of a program's standard error is kept.
const keptStderr = 8 << 10

// redacted stands where a secret was.
const redacted = "[redacted]"

// Tail keeps the end of what a program writes to its standard error. Its methods may be
// called by any goroutine.
type Tail struct {
	secrets []secret.Text
	longest int // secret, in bytes

	mu   sync.Mutex
	buf  []byte
	over bool // the beginning is missing
}

// NewTail makes one that cuts secrets out.
func NewTail(secrets []secret.Text) *Tail {
	t := &Tail{secrets: secrets}
	for _, s := range secrets {
		t.longest = max(t.longest, len(s.Reveal()))
	}
	return t
}

// Write implements io.Writer; it never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	// A secret that the window cuts in two must still be whole in it, so it is
	// longer than what is shown.
	if extra := len(t.buf) - keptStderr - t.longest; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
		t.over = true
	}
	return len(p), nil
}

// Text is what was kept, without secrets, and with nothing in it that a terminal
// or a log would obey.
func (t *Tail) Text() string {
	t.mu.Lock()
	kept := bytes.Clone(t.buf)
	over := t.over
	t.mu.Unlock()
	for _, s := range t.secrets {
		if !s.IsZero() {
			kept = bytes.ReplaceAll(kept, []byte(s.Reveal()), []byte(redacted))
		}
	}
	if over {
		kept = kept[min(t.longest, len(kept)):] // may begin with the rest of a secret
	}
	return strings.Map(harmless, strings.ToValidUTF8(string(kept), "\uFFFD"))
}

func harmless(r rune) rune {
	switch {
	case r == '\n':
		return r
	case r == '\r':
		return '\n'
	case r == '\t':
		return ' '
	case !unicode.IsPrint(r):
		return '\uFFFD'
	default:
		return r
	}
}
