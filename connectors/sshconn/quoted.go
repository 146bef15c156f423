package sshconn

import (
	"strconv"
	"strings"
)

// quotedError shows a cause that may hold a server's words, escaped and short.
type quotedError struct{ err error }

// Quoted wraps an error that may hold a server's words, so that they are shown
// escaped and short.
func Quoted(err error) error { return quotedError{err} }

func (e quotedError) Error() string { return Escape(e.err.Error(), 300) }

func (e quotedError) Unwrap() error { return e.err }

// Escape makes a server's words harmless and at most limit bytes long.
func Escape(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit] + "..."
	}
	text = strconv.Quote(text)
	return strings.ReplaceAll(text[1:len(text)-1], `\"`, `"`)
}
