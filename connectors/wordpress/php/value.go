package php

import (
	"cmp"
	"maps"
	"strconv"
)

type valueKind uint8

const (
	isUnknown valueKind = iota
	isNull
	isBool
	isNumber // whole numbers; others are unknown
	isText
)

// value is what an expression comes to.
type value struct {
	kind   valueKind
	text   string
	number int64
	truthy bool
	why    string // of an unknown one: what it depends on
	maybe  bool   // of an unknown one: perhaps it is not even defined
	line   int    // where it was set
	place  Place  // of the expression that a constant was set to
}

func unknown(why string) value    { return value{why: why} }
func textValue(text string) value { return value{kind: isText, text: text} }
func boolValue(truth bool) value  { return value{kind: isBool, truthy: truth} }
func numberValue(n int64) value   { return value{kind: isNumber, number: n} }

func (v value) equal(w value) bool {
	v.line, w.line, v.place, w.place = 0, 0, Place{}, Place{}
	return v == w
}

// asText is the value as PHP writes it.
func (v value) asText() string {
	switch v.kind {
	case isText:
		return v.text
	case isNumber:
		return strconv.FormatInt(v.number, 10)
	case isBool:
		if v.truthy {
			return "1"
		}
	}
	return ""
}

// truth is whether the value counts as true; known is false where nobody can tell.
func (v value) truth() (truth, known bool) {
	switch v.kind {
	case isNull:
		return false, true
	case isBool:
		return v.truthy, true
	case isNumber:
		return v.number != 0, true
	case isText:
		return v.text != "" && v.text != "0", true
	default:
		return false, false
	}
}

// ending says how a run came to its end.
type ending uint8

const (
	goesOn   ending = iota
	returned        // from the file
	reached         // Config.Last: the settings are complete
	exited
)

// env is what is set at one point of a file.
type env struct {
	constants, variables map[string]value
	ended                ending
	dead                 bool // this is never run
}

func newEnv() *env { return &env{constants: map[string]value{}, variables: map[string]value{}} }

func (e *env) clone() *env {
	return &env{constants: maps.Clone(e.constants), variables: maps.Clone(e.variables), ended: e.ended, dead: e.dead}
}

// merge is what is known after either of two ways was gone. A way that ended does not
// come here, but it may come to the end of the file, or of the settings.
func (it *interpreter) merge(a, b *env, why string) *env {
	switch {
	case a.ended != goesOn && b.ended == goesOn:
		it.leave(a, why)
		return b
	case b.ended != goesOn && a.ended == goesOn:
		it.leave(b, why)
		return a
	}
	return either(a, b, why)
}

// either is what is known where one of two ways came, or the other; a nil one did not.
func either(a, b *env, why string) *env {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	mergeNames(a.constants, b.constants, why)
	mergeNames(a.variables, b.variables, why)
	a.ended = min(a.ended, b.ended)
	return a
}

// leave keeps what is set on a way that ended, for where it comes to.
func (it *interpreter) leave(e *env, why string) {
	switch e.ended {
	case returned:
		it.gone, it.goneWhy = either(it.gone, e, why), why
	case reached:
		it.complete, it.completeWhy = either(it.complete, e, why), why
	}
}

func mergeNames(a, b map[string]value, why string) {
	for name, v := range b {
		w, ok := a[name]
		switch {
		case !ok:
			a[name] = value{why: why, maybe: true, line: v.line}
		case !v.equal(w):
			a[name] = value{why: why, maybe: v.maybe || w.maybe, line: v.line}
		}
	}
	for name, w := range a {
		if _, ok := b[name]; !ok {
			a[name] = value{why: why, maybe: true, line: w.line}
		}
	}
}
