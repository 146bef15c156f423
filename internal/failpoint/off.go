//go:build !failpoints

// Package failpoint names the steps at which a test may kill, stop or fail a
// process. In a binary built with the tag "failpoints" a step does what the
// environment variable XVAULT_FAILPOINTS says; in the released binary Hit is an
// empty function that the compiler removes, names and variable with it.
package failpoint

// Enabled tells whether this binary has failpoints at all.
const Enabled = false

// Hit marks a step.
func Hit(string) error { return nil }
