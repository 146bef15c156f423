package connectors

import (
	"errors"
	"path"
	"strings"
)

// maxPath is what Linux takes as one path; longer ones can be stored but never
// be asked for.
const maxPath = 4095

// CleanPath checks a configured path and brings it into its one form: absolute,
// without empty components, "." or a trailing slash. ".." is refused rather than
// resolved, because behind a link it does not mean what it says.
func CleanPath(p string) (string, error) {
	switch {
	case p == "":
		return "", errors.New("must not be empty")
	case p[0] != '/':
		return "", errors.New("must be absolute: it starts with /")
	case strings.ContainsRune(p, 0):
		return "", errors.New("must not hold a NUL character")
	case len(p) > maxPath:
		return "", errors.New("is longer than 4095 bytes")
	}
	for component := range strings.SplitSeq(p, "/") {
		if component == ".." {
			return "", errors.New(`must not hold ".."`)
		}
	}
	return path.Clean(p), nil
}
