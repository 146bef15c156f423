package mysql

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// flavor is whose server, or program, it is.
type flavor string

const (
	mariaDB flavor = "MariaDB"
	oracle  flavor = "MySQL" // Oracle's, Percona's, and what speaks like them
)

// version is which one of them.
type version struct {
	flavor              flavor
	major, minor, patch int
}

func (v version) String() string {
	return fmt.Sprintf("%s %d.%d.%d", v.flavor, v.major, v.minor, v.patch)
}

// atLeast compares within one flavor.
func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

var (
	mariaNumber = regexp.MustCompile(`(\d+)\.(\d+)\.(\d+)-MariaDB`)
	anyNumber   = regexp.MustCompile(`(\d+)\.(\d+)\.(\d+)`)
)

// versionOf reads what a server or a program says of itself. comment is the server's
// version_comment.
func versionOf(text, comment string) (version, bool) {
	v := version{flavor: oracle}
	number := anyNumber
	switch {
	case mariaNumber.MatchString(text):
		v.flavor, number = mariaDB, mariaNumber
	case strings.Contains(strings.ToLower(text+comment), "mariadb"):
		v.flavor = mariaDB
	}
	m := number.FindStringSubmatch(text)
	if m == nil {
		return v, false
	}
	for i, into := range []*int{&v.major, &v.minor, &v.patch} {
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return v, false
		}
		*into = n
	}
	return v, true
}
