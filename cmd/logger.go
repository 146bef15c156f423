package cmd

import (
	"io"
	"log/slog"
)

// logSettings makes the logger that LOG_LEVEL and LOG_FORMAT ask for.
func logSettings(s *settings, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.text("LOG_LEVEL", "info"))); err != nil {
		return nil, usagef("LOG_LEVEL must be debug, info, warn or error")
	}
	opts := &slog.HandlerOptions{Level: level}
	switch s.text("LOG_FORMAT", "json") {
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return nil, usagef("LOG_FORMAT must be json or text")
}
