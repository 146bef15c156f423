package lines

import (
	"strconv"
	"strings"
	"time"

	"xvault/internal/entry"
)

// unix reads "-rw-r--r--   1 user     group        2 Nov 26 04:41 name". Some servers
// leave the number of links or the group out, and some append a letter to the mode.
func unix(line string, now time.Time) (Line, error) {
	var l Line
	mode, rest, ok := strings.Cut(line, " ")
	if !ok || len(mode) < 10 || len(mode) > 11 {
		return l, ErrLine
	}
	if !l.letters(mode) {
		return l, ErrLine
	}
	before, at, name, ok := dateIn(rest, now)
	if !ok || name == "" {
		return l, ErrLine
	}
	l.ModTime, l.HasTime, l.Name = at, true, name
	if !l.before(before) {
		return l, ErrLine
	}
	if l.Kind == entry.Symlink {
		l.Name, l.Target, _ = strings.Cut(name, " -> ")
		if l.Size > int64(len(l.Target)) {
			l.Target = "" // the server cut it: a wrong one is worse than none
		}
		l.Size = 0
	}
	return l, nil
}

// before reads what stands between mode and time: links, user, group, size; of a
// device two numbers in place of the size.
func (l *Line) before(words []string) bool {
	if len(words) < 2 {
		return false
	}
	last := words[len(words)-1]
	words = words[:len(words)-1]
	if l.Kind == entry.Device && len(words) > 0 && strings.HasSuffix(words[len(words)-1], ",") {
		words = words[:len(words)-1]
	} else {
		size, err := strconv.ParseInt(last, 10, 64)
		if l.Kind != entry.Device && (err != nil || size < 0) {
			return false
		}
		l.Size, l.HasSize = size, l.Kind == entry.File
	}
	if len(words) > 1 && strings.Trim(words[0], "0123456789") == "" {
		words = words[1:] // the number of links
	}
	if len(words) > 0 {
		l.UID, l.User = owner(words[0], 0, "")
	}
	if len(words) > 1 {
		l.GID, l.Group = owner(words[1], 0, "")
	}
	return true
}

// letters reads "drwxr-sr-t".
func (l *Line) letters(mode string) bool {
	switch mode[0] {
	case '-':
		l.Kind = entry.File
	case 'd':
		l.Kind = entry.Dir
	case 'l':
		l.Kind = entry.Symlink
	case 'p':
		l.Kind = entry.FIFO
	case 's':
		l.Kind = entry.Socket
	case 'b', 'c':
		l.Kind = entry.Device
	default:
		return false
	}
	for i, c := range []byte(mode[1:10]) {
		bit := uint32(0o400) >> i
		special := uint32(0o4000) >> (i / 3)
		switch {
		case c == '-':
		case c == "rwx"[i%3]:
			l.Mode |= bit
		case i%3 == 2 && (c == 's' || c == 't'):
			l.Mode |= bit | special
		case i%3 == 2 && (c == 'S' || c == 'T' || c == 'l' || c == 'L'):
			l.Mode |= special
		default:
			return false
		}
	}
	l.HasMode = true
	return true
}

// dateIn looks for "Nov 26 04:41" or "Nov 26  2025", and gives the words before it,
// the time, and what follows it after one space.
func dateIn(text string, now time.Time) (words []string, at time.Time, name string, ok bool) {
	rest := text
	for range 9 {
		var word string
		if word, rest = next(rest); word == "" {
			break
		}
		if len(words) >= 2 {
			if at, name, ok := date(word, rest, now); ok {
				return words, at, name, true
			}
		}
		words = append(words, word)
	}
	return nil, at, "", false
}

func next(text string) (word, rest string) {
	text = strings.TrimLeft(text, " ")
	word, rest, _ = strings.Cut(text, " ")
	return word, rest
}

func date(month, rest string, now time.Time) (time.Time, string, bool) {
	day, rest := next(rest)
	year, name := next(rest)
	if len(month) != 3 {
		return time.Time{}, "", false
	}
	if strings.Contains(year, ":") {
		at, err := time.ParseInLocation("Jan 2 2006 15:04", month+" "+day+" "+strconv.Itoa(now.UTC().Year())+" "+year, time.UTC)
		if err != nil { // 29 February of last year
			at, err = time.ParseInLocation("Jan 2 2006 15:04", month+" "+day+" "+strconv.Itoa(now.UTC().Year()-1)+" "+year, time.UTC)
		}
		// Without a year it is of the last twelve months; clocks and zones differ.
		if at.After(now.Add(48 * time.Hour)) {
			at = at.AddDate(-1, 0, 0)
		}
		return at, name, err == nil
	}
	at, err := time.ParseInLocation("Jan 2 2006", month+" "+day+" "+year, time.UTC)
	return at, name, err == nil
}
