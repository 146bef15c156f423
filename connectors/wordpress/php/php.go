// Package php reads the settings out of a PHP file without running it: constants and
// variables that are set to something that the file itself tells.
//
// # What it understands
//
// A file is gone through as PHP would: define() and const, assignments, text in single
// and double quotes with their escapes, concatenation, constants, __DIR__, dirname(),
// defined(), conditions, includes of files whose name is known. What only a running
// site knows (the environment, the request, functions, a text with variables in it) is
// unknown, with the reason.
//
// # What it promises
//
// It never guesses. Where a condition is unknown both ways are gone, and what comes out
// differently is unknown afterwards, with the line of the condition; a function's body
// and a loop's count as what may have happened. A statement that is not understood is
// passed over, and what is defined in it is unknown.
//
// The input is hostile: time, memory and depth are bounded, whatever it says.
package php

import (
	"errors"
	"fmt"
	"path"
)

// Limits of one reading.
const (
	// MaxFile is how long a file may be, in bytes.
	MaxFile     = 1 << 20
	maxSteps    = 4_000_000 // tokens looked at
	maxDepth    = 200       // of nested expressions and statements
	maxNames    = 5000      // constants and variables
	maxBranches = 5000      // conditions that cannot be decided
	maxIncludes = 16
	maxText     = 1 << 20 // of one value
	maxWork     = 32 << 20
)

// Config says what surrounds the file.
type Config struct {
	// Path is the file's absolute path, for __DIR__ and __FILE__.
	Path string
	// Constants are defined before the file begins.
	Constants map[string]string
	// Environment and Server are what is known of the environment, and of $_SERVER beside
	// that, by name. What is not in them is unknown.
	Environment, Server map[string]Known
	// Load reads a file that is included under a known path; fs.ErrNotExist: there is
	// none, which an include may do without. Nil: none is.
	Load func(path string) ([]byte, error)
	// Exists tells what a path leads to. Nil: unknown.
	Exists func(path string) (Presence, error)
	// Last is the name of a file whose inclusion ends the settings.
	Last string
}

// Presence is what is known of a path.
type Presence int

// What a path may lead to.
const (
	Absent Presence = iota
	File
	Other  // a folder, say
	Hidden // it cannot be told whether anything is there
)

// Settings are what a file sets.
type Settings struct {
	constants, variables map[string]value
}

// UnknownError says that a setting is there, but not what it is.
type UnknownError struct {
	Name string
	Why  string // what it depends on
	Line int
}

func (e *UnknownError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s depends on %s", e.Name, e.Why)
	}
	return fmt.Sprintf("%s (line %d) depends on %s", e.Name, e.Line, e.Why)
}

// Read goes through a file. Errors are those of Load and Exists, and of a file that is
// no PHP at all or exceeds what is allowed.
func Read(src []byte, c Config) (*Settings, error) {
	if len(src) > MaxFile {
		return nil, fmt.Errorf("it is longer than %d bytes", MaxFile)
	}
	it := &interpreter{config: c, shared: &shared{}, env: newEnv(), file: path.Clean(c.Path)}
	for name, text := range c.Constants {
		it.env.constants[name] = textValue(text)
	}
	if err := it.run(src); err != nil {
		return nil, err
	}
	e := it.env
	switch {
	case it.complete == nil:
	case e.ended == exited:
		e = it.complete
	default:
		e = either(e, it.complete, it.completeWhy)
	}
	return &Settings{e.constants, e.variables}, nil
}

// Constant gives a constant as a text; false where it is not defined. The error is
// *UnknownError.
func (s *Settings) Constant(name string) (string, bool, error) { return s.text(s.constants, name) }

// Variable is Constant for a variable, named without the dollar.
func (s *Settings) Variable(name string) (string, bool, error) {
	text, ok, err := s.text(s.variables, name)
	if u, is := errors.AsType[*UnknownError](err); is {
		u.Name = "$" + name
	}
	return text, ok, err
}

func (*Settings) text(from map[string]value, name string) (string, bool, error) {
	v, ok := from[name]
	if !ok {
		return "", false, nil
	}
	if v.kind == isUnknown {
		return "", true, &UnknownError{Name: name, Why: v.why, Line: v.line}
	}
	return v.asText(), true, nil
}

// True reports whether a constant is set to something that counts as true; an unknown
// one is an error.
func (s *Settings) True(name string) (bool, error) {
	v, ok := s.constants[name]
	if !ok {
		return false, nil
	}
	truth, known := v.truth()
	if !known {
		return false, &UnknownError{Name: name, Why: v.why, Line: v.line}
	}
	return truth, nil
}
