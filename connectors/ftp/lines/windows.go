package lines

import (
	"strconv"
	"strings"
	"time"

	"xvault/internal/entry"
)

var windowsTimes = []string{"01-02-06 03:04PM", "01-02-2006 03:04PM", "01-02-06 15:04", "01-02-2006 15:04", "2006-01-02 15:04"}

// windows reads "11-26-26  04:41AM       <DIR>          name", and of files
// "11-26-26  04:41AM                   12 name".
func windows(line string) (Line, error) {
	day, rest := next(line)
	clock, rest := next(rest)
	what, name := next(rest)
	l := Line{Name: name}
	for _, layout := range windowsTimes {
		if at, err := time.ParseInLocation(layout, day+" "+clock, time.UTC); err == nil {
			l.ModTime, l.HasTime = at, true
			break
		}
	}
	if !l.HasTime {
		return l, ErrLine
	}
	switch what {
	case "<DIR>":
		l.Kind, l.Name = entry.Dir, column(name)
	case "<JUNCTION>", "<SYMLINKD>", "<SYMLINK>":
		l.Kind = entry.Symlink
		l.Name, l.Target, _ = strings.Cut(column(name), " [")
		l.Target = strings.TrimSuffix(l.Target, "]")
	default:
		size, err := strconv.ParseInt(what, 10, 64)
		if err != nil || size < 0 {
			return l, ErrLine
		}
		l.Kind, l.Size, l.HasSize = entry.File, size, true
	}
	if l.Name == "" {
		return l, ErrLine
	}
	return l, nil
}

// column is a name that stands in a column of its own, after ten spaces: more are
// part of the name.
func column(name string) string {
	if rest, ok := strings.CutPrefix(name, strings.Repeat(" ", 9)); ok {
		return rest
	}
	return strings.TrimLeft(name, " ")
}
