package sshexec

import (
	"fmt"
	"strings"
)

// Line writes words as a line of a POSIX shell that means exactly these words. It is
// the only place where anything becomes part of what a shell interprets.
func Line(words ...string) (string, error) {
	quoted := make([]string, len(words))
	for i, word := range words {
		if strings.ContainsRune(word, 0) {
			return "", fmt.Errorf("the word %q of a command holds a zero byte", word)
		}
		quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " "), nil
}

// encode writes bytes as one line of ASCII that printf's %b turns back. Shells differ in
// what they make of other bytes that they read.
func encode(b []byte) string {
	var line strings.Builder
	for _, c := range b {
		if c < ' ' || c > '~' || c == '\\' {
			fmt.Fprintf(&line, `\0%03o`, c)
		} else {
			line.WriteByte(c)
		}
	}
	return line.String()
}
