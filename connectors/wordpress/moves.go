package wordpress

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// webAddress is where a site is: what its pages' addresses begin with.
type webAddress struct {
	scheme string // "http" or "https"
	host   string // with the port, where there is one; lower case
	path   string // with a slash at its beginning and none at its end; or empty
}

// parseAddress reads a siteurl.
func parseAddress(text string) (webAddress, bool) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return webAddress{}, false
	}
	return webAddress{u.Scheme, strings.ToLower(u.Host), strings.TrimRight(u.EscapedPath(), "/")}, true
}

func (a webAddress) String() string { return a.scheme + "://" + a.host + a.path }

// below reports whether a is at b or below it, whatever the scheme, and gives the rest of
// its path.
func (a webAddress) below(b webAddress) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(a.path, b.path)
	return rest, ok && a.host == b.host && (rest == "" || rest[0] == '/')
}

// move is one address that becomes another.
type move struct{ from, to webAddress }

// mover changes addresses in texts.
type mover struct {
	moves   []move
	places  []*regexp.Regexp // of each move, where it begins: host and path
	pattern *regexp.Regexp   // what stands before
}

// slash stands plain, escaped as JSON does it, once or more often, or as addresses in
// addresses have it.
const slash = `(?:\\*/|%2[Ff])`

// The groups of the pattern.
const (
	schemeGroup = 2 * (iota + 1)
	colonGroup
	slashGroup
	hostGroup
)

// newMover makes one. Of addresses that begin the same, the longest counts.
func newMover(moves []move) *mover {
	m := &mover{}
	for _, one := range moves {
		if !slices.ContainsFunc(m.moves, func(o move) bool { return o.from.host == one.from.host && o.from.path == one.from.path }) {
			m.moves = append(m.moves, one)
		}
	}
	slices.SortStableFunc(m.moves, func(a, b move) int {
		return cmp.Or(len(b.from.host)-len(a.from.host), len(b.from.path)-len(a.from.path))
	})
	var hosts []string
	for _, one := range m.moves {
		host := `(?i:` + strings.ReplaceAll(regexp.QuoteMeta(one.from.host), ":", "(?::|%3A)") + `)`
		m.places = append(m.places, regexp.MustCompile(`^`+host+strings.ReplaceAll(regexp.QuoteMeta(one.from.path), "/", slash)))
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	m.pattern = regexp.MustCompile(`(?:((?i:https?))(:|%3[Aa]))?(` + slash + `)` + slash + `(` + strings.Join(hosts, "|") + `)`)
	return m
}

// change implements phpdata.Text.
func (m *mover) change(text []byte) ([]byte, int) {
	var out []byte
	at, places := 0, 0
	for _, found := range m.pattern.FindAllSubmatchIndex(text, -1) {
		if found[schemeGroup] < 0 && !mayBegin(text[:found[0]]) {
			continue
		}
		begin := found[hostGroup]
		for i, one := range m.moves {
			place := m.places[i].FindIndex(text[begin:])
			if place == nil || !one.from.endsBefore(text[begin+place[1]:]) {
				continue
			}
			out = append(append(out, text[at:found[0]]...), one.written(text, found)...)
			at = begin + place[1]
			places++
			break
		}
	}
	if places == 0 {
		return text, 0
	}
	return append(out, text[at:]...), places
}

// mayBegin reports whether an address without a scheme may begin behind a text: not one
// of another scheme, nor within a path.
func mayBegin(before []byte) bool {
	if len(before) == 0 {
		return true
	}
	c := before[len(before)-1]
	return c != ':' && c != '.' && !isWord(c)
}

// endsBefore reports whether the address ends where another text begins, and is not one
// that begins the same.
func (a webAddress) endsBefore(text []byte) bool {
	if len(text) == 0 {
		return true
	}
	var next byte
	if len(text) > 1 {
		next = text[1]
	}
	switch c := text[0]; {
	case isWord(c) || c == '-' || c == '@':
		return false
	case c == '.':
		return !isWord(next) // the end of a sentence
	case c == ':' && a.path == "":
		return next < '0' || next > '9' // another port is another server
	case c == '%' && len(text) > 2 && (a.path != "" || text[1] == '3' || text[1] == '4'):
		switch strings.ToUpper(string(text[1:3])) {
		case "2F", "3F", "23", "26", "22", "5C", "20", "0A", "0D":
			return true
		}
		return false
	case c == '~':
		return a.path == ""
	}
	return true
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// written is the new address, in the form in which the old one stood.
func (one move) written(text []byte, found []int) []byte {
	slashes := string(text[found[slashGroup]:found[slashGroup+1]])
	host := one.to.host
	if slashes[0] == '%' {
		host = strings.ReplaceAll(host, ":", "%3A")
	}
	out := slashes + slashes + host + strings.ReplaceAll(one.to.path, "/", slashes)
	if found[schemeGroup] >= 0 {
		out = one.to.scheme + string(text[found[colonGroup]:found[colonGroup+1]]) + out
	}
	return []byte(out)
}

// hosts are what has to be in a value for anything in it to change, without ports.
func (m *mover) hosts() []string {
	var hosts []string
	for _, one := range m.moves {
		host, _, _ := strings.Cut(one.from.host, ":")
		hosts = append(hosts, host)
	}
	slices.SortFunc(hosts, func(a, b string) int { return len(a) - len(b) })
	var few []string // that are in no longer one
	for _, host := range hosts {
		if !slices.ContainsFunc(few, func(h string) bool { return strings.Contains(host, h) }) {
			few = append(few, host)
		}
	}
	return few
}
