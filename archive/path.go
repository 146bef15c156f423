package archive

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// checkPath says what is wrong with an entry's path, nil if nothing is.
func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("empty path")
	case len(path) > MaxPath:
		return fmt.Errorf("path of %d bytes, at most %d are allowed", len(path), MaxPath)
	case strings.IndexByte(path, 0) >= 0:
		return fmt.Errorf("path %s holds a zero byte", Escape(path))
	}
	for component := range strings.SplitSeq(path, "/") {
		if component == "" || component == "." || component == ".." {
			return fmt.Errorf("path %s is not relative and clean", Escape(path))
		}
	}
	return nil
}

// comparePaths orders paths as an archive does: component by component, as
// bytes, a directory before its contents. A slash thus sorts before every byte.
func comparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		default:
			return 1
		}
	}
	return len(a) - len(b)
}

// isBelow reports whether path is something inside of the directory dir.
func isBelow(path, dir string) bool {
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// commonPrefix counts the bytes that a and b begin with alike.
func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// CleanPath turns a path as people write it, absolute or with a slash at its
// end, into one as the index has it. The root of everything becomes "".
func CleanPath(path string) string { return strings.Trim(path, "/") }

// parentOf gives the directory that a path is in, "" for the top.
func parentOf(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

// baseOf gives a path's last component.
func baseOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Escape makes a name from elsewhere fit for a line of a log, a table or a
// message: what is not printable, bytes that are not UTF-8 and backslashes
// become escapes. It is for showing, not for finding the file again.
func Escape(name string) string {
	if isPlain(name) {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, name[i])
		case r == '\\':
			b.WriteString(`\\`)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += size
	}
	return b.String()
}

func isPlain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}
