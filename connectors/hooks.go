package connectors

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Hooks are commands that run on the source around each backup, as the user that
// logs in there. What they do is the business of whoever owns the source.
type Hooks struct {
	// Before runs before anything is read; where it fails, there is no backup.
	Before string `json:"before,omitempty"`
	// After runs once everything was read, whatever became of it.
	After string `json:"after,omitempty"`
	// TimeoutSeconds is how long each of them may take.
	TimeoutSeconds int `json:"timeout_seconds"`
}

const (
	maxHook            = 4096
	defaultHookTimeout = 5 * time.Minute
	maxHookTimeout     = 24 * time.Hour
)

// ParseHooks reads the object "hooks"; nil where there is none.
func ParseHooks(f *Fields) *Hooks {
	var h Hooks
	if !f.Object("hooks", func(inner *Fields) { h = parseHooks(inner) }) {
		return nil
	}
	if h.Before == "" && h.After == "" && !f.Wrong("hooks") {
		f.Fault("hooks", "must name a command: before, after or both")
	}
	return &h
}

func parseHooks(f *Fields) Hooks {
	return Hooks{
		Before:         hook(f, "before"),
		After:          hook(f, "after"),
		TimeoutSeconds: f.Int("timeout_seconds", int(defaultHookTimeout/time.Second), 1, int(maxHookTimeout/time.Second)),
	}
}

func hook(f *Fields, name string) string {
	command := strings.TrimSpace(f.OptionalText(name, ""))
	if len(command) > maxHook || !utf8.ValidString(command) || strings.ContainsRune(command, 0) {
		f.Fault(name, "must be a command of at most %d bytes; a longer one belongs into a script on the server", maxHook)
	}
	return command
}

// Timeout is how long each command may take.
func (h Hooks) Timeout() time.Duration { return time.Duration(h.TimeoutSeconds) * time.Second }
