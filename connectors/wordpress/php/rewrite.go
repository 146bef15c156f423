package php

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// Place is where a file says what a constant is: the bytes of the expression.
type Place struct {
	File     string
	From, To int
}

// placeSince is that of the tokens from start up to the one that comes.
func (it *interpreter) placeSince(start int) Place {
	if it.at <= start || it.at > len(it.tokens) {
		return Place{}
	}
	first, last := it.tokens[start], it.tokens[it.at-1]
	return Place{it.file, first.from, last.to}
}

// Place tells where a constant's value stands, also of one that is unknown; false where
// there is no one place, or the constant is not defined.
func (s *Settings) Place(name string) (Place, bool) {
	v := s.constants[name]
	return v.place, v.place.To > v.place.From
}

// Edit is a new value for what stands at a place.
type Edit struct {
	Place Place
	Text  string // the value, which is written as a text in quotes
}

// Apply gives a file with other values. What it comes to has to be read again: see that
// it says what was meant.
func Apply(src []byte, edits []Edit) ([]byte, error) {
	edits = slices.Clone(edits)
	slices.SortFunc(edits, func(a, b Edit) int { return a.Place.From - b.Place.From })
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		if e.Place.From < at || e.Place.To > len(src) || e.Place.To <= e.Place.From {
			return nil, errors.New("two values stand in one place")
		}
		out.Write(src[at:e.Place.From])
		out.WriteString(Quote(e.Text))
		at = e.Place.To
	}
	out.Write(src[at:])
	return out.Bytes(), nil
}

// Quote writes a text as PHP.
func Quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
