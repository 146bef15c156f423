package connectors

import (
	"strings"
	"unicode"
)

// Software is what a source tells of the programs that a site is made of. It stands in
// clear beside the archive, so it holds names that makers gave to their programs, and none
// of files.
type Software struct {
	Version                  string
	Plugins, MustUse, Themes []Component
	// Omitted is how many components are not listed.
	Omitted int
}

// Component is a plugin or a theme.
type Component struct {
	Name, Version string
	Active        bool
}

// Described is a source that knows, once it was read, which software it is of.
type Described interface {
	// Software is nil where nothing is to be told.
	Software() *Software
}

const (
	maxComponents    = 300 // of all kinds together
	maxComponentName = 100
)

// Bounded gives the software with no more in it than fits a manifest, in letters that
// can be shown.
func (s Software) Bounded() Software {
	s.Version = plain(s.Version)
	left := maxComponents
	for _, list := range []*[]Component{&s.Plugins, &s.MustUse, &s.Themes} {
		some := []Component{}
		for _, c := range *list {
			if left == 0 {
				s.Omitted++
				continue
			}
			left--
			some = append(some, Component{plain(c.Name), plain(c.Version), c.Active})
		}
		*list = some
	}
	return s
}

func plain(text string) string {
	runes := []rune(strings.ToValidUTF8(text, "\uFFFD"))
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = ' '
		}
	}
	return string(runes[:min(len(runes), maxComponentName)])
}
