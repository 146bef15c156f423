package api

import (
	"unicode"

	"xvault/hub/problem"
)

// named is a text that a user typed, and where.
type named struct{ location, text string }

// checkNames refuses control characters, which would travel into terminals and
// logs, and which Postgres partly cannot store.
func checkNames(names ...named) error {
	var errs []problem.FieldError
	for _, n := range names {
		for _, r := range n.text {
			if unicode.IsControl(r) || r == unicode.ReplacementChar {
				errs = append(errs, problem.FieldError{Location: n.location, Message: "it holds a control character or one that is not UTF-8"})
				break
			}
		}
	}
	if len(errs) > 0 {
		return problem.Validation(errs...)
	}
	return nil
}

// deref gives the zero value for nil.
func deref[T any](p *T) (value T) {
	if p == nil {
		return value
	}
	return *p
}
