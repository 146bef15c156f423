package connectors

import (
	"errors"
	"strings"
)

// checkGlob says what is wrong with a pattern for one component.
func checkGlob(pattern string) error {
	for i := 0; i < len(pattern); {
		switch pattern[i] {
		case '\\':
			if i+1 == len(pattern) {
				return errors.New(`ends with a lone \`)
			}
			i += 2
		case '[':
			_, size, ok := matchClass(pattern[i:], 0)
			if !ok {
				return errors.New("has a [ that is not closed in the same component, or an unknown [:class:]")
			}
			i += size
		default:
			i++
		}
	}
	return nil
}

// matchGlob matches one component: "*", "?", "[a-z]", "[!a-z]", "[[:digit:]]"
// and "\" before a character to take as it is. The pattern passed checkGlob.
func matchGlob(pattern, name string) bool {
	p, n := 0, 0
	backP, backN := -1, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			backP, backN = p, n
			p++
			continue
		}
		if size, ok := matchOne(pattern[p:], name[n]); ok {
			p += size
			n++
			continue
		}
		if backP < 0 {
			return false
		}
		// The last star takes one byte more.
		backN++
		p, n = backP+1, backN
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches a byte against what the pattern starts with, and says how
// much of the pattern that is.
func matchOne(pattern string, c byte) (size int, ok bool) {
	if pattern == "" {
		return 0, false
	}
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		hit, size, _ := matchClass(pattern, c)
		return size, hit
	case '\\':
		return 2, pattern[1] == c
	default:
		return 1, pattern[0] == c
	}
}

// matchClass matches a byte against the bracket expression that the pattern
// starts with. size is the length of the expression; ok is false where it has
// no end.
func matchClass(pattern string, c byte) (hit bool, size int, ok bool) {
	i := 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			return hit != negated, i + 1, true
		}
		if strings.HasPrefix(pattern[i:], "[:") {
			in, length, ok := matchNamed(pattern[i:], c)
			if !ok {
				return false, 0, false
			}
			hit = hit || in
			i += length
			continue
		}
		low, high, next, ok := classRange(pattern, i)
		if !ok {
			return false, 0, false
		}
		hit = hit || low <= c && c <= high
		i = next
	}
	return false, 0, false
}

// classRange reads "a" or "a-z" of a bracket expression.
func classRange(pattern string, i int) (low, high byte, next int, ok bool) {
	if low, next, ok = classByte(pattern, i); !ok {
		return 0, 0, 0, false
	}
	if next+1 >= len(pattern) || pattern[next] != '-' || pattern[next+1] == ']' {
		return low, low, next, true
	}
	high, next, ok = classByte(pattern, next+1)
	return low, high, next, ok
}

// classByte reads one character of a bracket expression.
func classByte(pattern string, i int) (c byte, next int, ok bool) {
	if pattern[i] != '\\' {
		return pattern[i], i + 1, true
	}
	if i+1 >= len(pattern) {
		return 0, 0, false
	}
	return pattern[i+1], i + 2, true
}

// matchNamed matches "[:alpha:]" and the like.
func matchNamed(pattern string, c byte) (in bool, length int, ok bool) {
	end := strings.Index(pattern, ":]")
	if end < 2 {
		return false, 0, false
	}
	upper, lower, digit := c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9'
	graph := c > ' ' && c < 0x7f
	switch pattern[2:end] {
	case "alpha":
		in = upper || lower
	case "digit":
		in = digit
	case "alnum":
		in = upper || lower || digit
	case "upper":
		in = upper
	case "lower":
		in = lower
	case "xdigit":
		in = digit || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
	case "space":
		in = c == ' ' || c >= '\t' && c <= '\r'
	case "blank":
		in = c == ' ' || c == '\t'
	case "punct":
		in = graph && !upper && !lower && !digit
	case "graph":
		in = graph
	case "print":
		in = graph || c == ' '
	case "cntrl":
		in = c < ' ' || c == 0x7f
	default:
		return false, 0, false
	}
	return in, end + 2, true
}
