package wordpress

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"xvault/connectors/wordpress/php"
)

// envLine is a line of a .env file that sets a variable.
var envLine = regexp.MustCompile(`^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)$`)

// maxEnvNames bounds what one file sets.
const maxEnvNames = 2000

// parseEnv reads a .env file, as Bedrock has one, into what is known. The programs that
// read such files do not agree on all of it; what they would read differently is an error
// that names the line, so that no password comes out as another one. A library for it
// would take "$" in a password for a variable.
func parseEnv(src []byte, into map[string]php.Known) error {
	set := map[string]string{}
	rest := strings.TrimPrefix(strings.ReplaceAll(string(src), "\r\n", "\n"), "\uFEFF")
	for line := 1; rest != ""; line++ {
		text, more, _ := strings.Cut(rest, "\n")
		if trimmed := strings.TrimSpace(text); trimmed == "" || trimmed[0] == '#' {
			rest = more
			continue
		}
		m := envLine.FindStringSubmatch(text)
		if m == nil {
			return fmt.Errorf("line %d sets no variable", line)
		}
		value, err := envValue(m[2])
		if err != nil {
			return fmt.Errorf("line %d, %s: %w", line, m[1], err)
		}
		if len(into) >= maxEnvNames {
			return errors.New("it sets too many variables")
		}
		if before, twice := set[m[1]]; twice && before != value { // some take the first, some the last
			return fmt.Errorf("line %d sets %s again, to another value: remove one of the two", line, m[1])
		}
		set[m[1]] = value
		if _, given := into[m[1]]; !given { // what was there before counts
			into[m[1]] = php.Known{Text: value, Set: true}
		}
		rest = more
	}
	return nil
}

var errEnvQuote = errors.New("the value is not one line in quotes")

// envValue undoes what a value is written in.
func envValue(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", nil
	}
	switch text[0] {
	case '\'':
		value, after, ok := strings.Cut(text[1:], "'")
		if !ok || strings.Contains(value, `\`) {
			return "", errors.New(`a value in ' must end in its line and hold no \`)
		}
		return value, onlyComment(after)
	case '"':
		return envQuoted(text[1:])
	}
	if i := strings.Index(text, " #"); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	if strings.ContainsAny(text, "'\"\\$`# \t") {
		return "", errors.New("the value holds a quote, a space or one of \\ $ ` # and has to be in single quotes")
	}
	return text, nil
}

func envQuoted(text string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			return b.String(), onlyComment(text[i+1:])
		case '$':
			return "", errors.New("the value refers to a variable, or seems to: put it in single quotes")
		case '\\':
			if i++; i >= len(text) || !strings.ContainsRune(`"\$`, rune(text[i])) {
				return "", errors.New(`after \ only " \ and $ are understood: put the value in single quotes`)
			}
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", errEnvQuote
}

func onlyComment(text string) error {
	if text = strings.TrimSpace(text); text != "" && text[0] != '#' {
		return errEnvQuote
	}
	return nil
}
