package connectors

import (
	"strings"
	"testing"
)

// What somebody else wrote does not fill a manifest, nor a terminal.
func TestSoftwareIsBounded(t *testing.T) {
	t.Parallel()
	s := Software{Version: "6\x1b[2J", Themes: []Component{{Name: strings.Repeat("é", 500), Version: "\xff"}}}
	for range 400 {
		s.Plugins = append(s.Plugins, Component{Name: "a"})
	}
	b := s.Bounded()
	if b.Version != "6 [2J" || len(b.Plugins) != maxComponents || len(b.Themes) != 0 || b.Omitted != 101 || b.MustUse == nil {
		t.Errorf("%q, %d plugins, %d themes, %d omitted", b.Version, len(b.Plugins), len(b.Themes), b.Omitted)
	}
	s.Plugins = nil
	if b = s.Bounded(); len([]rune(b.Themes[0].Name)) != maxComponentName || b.Themes[0].Version != "\uFFFD" {
		t.Errorf("%+v", b.Themes)
	}
}
