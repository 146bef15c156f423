package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrUnavailable means that the catalog cannot be reached, or is shutting down. The same
// call may succeed later.
var ErrUnavailable = errors.New("the catalog cannot be reached")

// ErrBadText means that a text holds what Postgres cannot store (NUL, or not UTF-8).
var ErrBadText = errors.New("a text cannot be stored")

// Classify marks an error of the driver as ErrUnavailable or ErrBadText where
// it is one, and returns any other error as it is.
func Classify(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrUnavailable), errors.Is(err, context.Canceled):
		return err
	case unavailable(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case hasSQLState(err, "22021", "22P05"):
		return fmt.Errorf("%w: %w", ErrBadText, err)
	}
	return err
}

func unavailable(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) {
		return true
	}
	// The server hung up in the middle of a statement.
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return true
	}
	// Connection exceptions, shutdown, crash recovery, "too many connections",
	// and a deadlock's loser, which may try again.
	return hasSQLState(err, "08", "57P", "53300", "40")
}

func hasSQLState(err error, prefixes ...string) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	for _, prefix := range prefixes {
		if strings.HasPrefix(pg.Code, prefix) {
			return true
		}
	}
	return false
}
