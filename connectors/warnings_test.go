package connectors

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWarningsAreBounded(t *testing.T) {
	t.Parallel()
	var w Warnings
	for range 2 {
		w.Add("the same")
	}
	w.Add(strings.Repeat("ü", maxWarning))
	got := w.List()
	if len(got) != 2 || got[0] != "the same" || len(got[1]) > maxWarning+len("…") || !utf8.ValidString(got[1]) {
		t.Errorf("%q", got)
	}
	for i := range 2 * maxWarnings {
		w.Add(fmt.Sprint(i))
	}
	if got = w.List(); len(got) != maxWarnings+1 || got[maxWarnings] != fmt.Sprintf("and %d more, which the worker's log has", maxWarnings+2) {
		t.Errorf("%q", got)
	}
	var none *Warnings
	if none.Add("lost"); !slices.Equal(none.List(), nil) {
		t.Error("nothing keeps something")
	}
}
