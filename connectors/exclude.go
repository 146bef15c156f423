package connectors

import (
	"errors"
	"slices"
	"strings"
)

// Excludes decides what a backup leaves out, with patterns as gitignore has
// them. The root that patterns are relative to is the server's "/": "/var/log"
// or "var/log" is that one path, "*.tmp" or "cache/" is that name at any depth,
// a trailing slash matches directories only, "!" takes back what an earlier
// pattern excluded, and the last pattern that matches decides. What lies in an
// excluded directory is excluded with it. Names are compared as bytes.
//
// A path that the configuration itself names is never excluded, only what is
// below it. The zero value excludes nothing.
type Excludes struct{ patterns []excludePattern }

type excludePattern struct {
	negated bool
	dirOnly bool
	// segments are matched against all components of a path where anchored,
	// and against the name alone where not. anyDepth stands for "**".
	anchored bool
	segments []string
}

const anyDepth = "**"

// ParseExcludes reads patterns; the faults are named "0", "1" ... by index.
func ParseExcludes(patterns []string) (Excludes, map[int]error) {
	var e Excludes
	faults := map[int]error{}
	for i, text := range patterns {
		p, err := parseExclude(text)
		if err != nil {
			faults[i] = err
			continue
		}
		e.patterns = append(e.patterns, p)
	}
	return e, faults
}

func parseExclude(text string) (excludePattern, error) {
	var p excludePattern
	text = trimSpaces(text)
	switch {
	case text == "":
		return p, errors.New("must not be empty")
	case strings.ContainsAny(text, "\x00\n"):
		return p, errors.New("must not hold a NUL or newline character")
	case text[0] == '#':
		return p, errors.New(`is a comment to gitignore; write \# for a name that starts with #`)
	case text[0] == '!':
		p.negated, text = true, text[1:]
	}
	if strings.HasSuffix(text, "/") {
		p.dirOnly, text = true, text[:len(text)-1]
	}
	p.anchored = strings.Contains(text, "/")
	p.segments = strings.Split(strings.TrimPrefix(text, "/"), "/")
	for _, s := range p.segments {
		if err := checkSegment(s); err != nil {
			return p, err
		}
	}
	if !p.anchored && p.segments[0] == anyDepth {
		p.segments[0] = "*"
	}
	// "a/**" is what is in a, but not a itself.
	if p.segments[len(p.segments)-1] == anyDepth {
		p.segments = append(p.segments, "*")
	}
	return p, nil
}

// trimSpaces removes trailing spaces but for one that is escaped.
func trimSpaces(s string) string {
	for strings.HasSuffix(s, " ") {
		escapes := len(s) - 1 - len(strings.TrimRight(s[:len(s)-1], `\`))
		if escapes%2 == 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s
}

func checkSegment(s string) error {
	switch s {
	case "":
		return errors.New("has an empty component")
	case ".", "..":
		return errors.New(`must not hold "." or ".." as a component`)
	}
	return checkGlob(s)
}

// Match reports whether the entry called name, in the directory whose
// components are given, is left out.
func (e Excludes) Match(dir []string, name string, isDir bool) bool {
	for _, p := range slices.Backward(e.patterns) {
		if p.dirOnly && !isDir {
			continue
		}
		if p.matches(dir, name) {
			return !p.negated
		}
	}
	return false
}

func (p *excludePattern) matches(dir []string, name string) bool {
	if !p.anchored {
		return matchGlob(p.segments[0], name)
	}
	return matchSegments(p.segments, dir, name)
}

// matchSegments matches components against segments. On a mismatch it goes back
// to the last "**" only: what an earlier one could take, the last can too.
func matchSegments(segments, dir []string, name string) bool {
	component := func(i int) string {
		if i == len(dir) {
			return name
		}
		return dir[i]
	}
	total := len(dir) + 1
	s, c := 0, 0
	backS, backC := -1, 0
	for c < total {
		switch {
		case s < len(segments) && segments[s] == anyDepth:
			backS, backC = s, c
			s++
		case s < len(segments) && matchGlob(segments[s], component(c)):
			s++
			c++
		case backS >= 0:
			backC++
			s, c = backS+1, backC
		default:
			return false
		}
	}
	return s == len(segments)
}
