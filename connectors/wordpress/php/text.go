package php

import (
	"strings"
	"unicode/utf8"
)

// hasVariable reports whether a text in double quotes has a variable in it.
func hasVariable(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '$':
			if i+1 < len(raw) && (isNameStart(raw[i+1]) || raw[i+1] == '{') {
				return true
			}
		case '{':
			if i+1 < len(raw) && raw[i+1] == '$' {
				return true
			}
		}
	}
	return false
}

// simple are the escapes of one letter in double quotes.
var simple = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', 'v': '\v', 'e': 0x1b, 'f': '\f', '\\': '\\', '$': '$', '"': '"'}

// unescape undoes what stands between double quotes. A backslash before anything that
// is no escape stands for itself.
func unescape(raw []byte) string {
	var b strings.Builder
	for i := 0; i < len(raw); {
		if raw[i] != '\\' || i+1 == len(raw) {
			b.WriteByte(raw[i])
			i++
			continue
		}
		i += escape(&b, raw[i:])
	}
	return b.String()
}

// escape writes what an escape stands for and gives its length.
func escape(b *strings.Builder, raw []byte) int {
	c := raw[1]
	if plain, ok := simple[c]; ok {
		b.WriteByte(plain)
		return 2
	}
	switch {
	case c >= '0' && c <= '7':
		n, length := digits(raw[1:], 8, 3)
		b.WriteByte(byte(n))
		return 1 + length
	case c == 'x':
		if n, length := digits(raw[2:], 16, 2); length > 0 {
			b.WriteByte(byte(n))
			return 2 + length
		}
	case c == 'u' && len(raw) > 2 && raw[2] == '{':
		n, length := digits(raw[3:], 16, 8)
		if length > 0 && 3+length < len(raw) && raw[3+length] == '}' && n <= utf8.MaxRune {
			b.WriteRune(rune(n))
			return 4 + length
		}
	}
	b.WriteByte('\\')
	return 1
}

// digits reads a number of at most so many digits.
func digits(b []byte, base, most int) (n, length int) {
	for length < most && length < len(b) {
		d := digit(b[length])
		if d >= base {
			break
		}
		n = n*base + d
		length++
	}
	return n, length
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	default:
		return 99
	}
}
