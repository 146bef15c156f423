package catalog

import (
	"encoding/base64"
	"errors"

	"github.com/google/uuid"
)

// Page asks for part of a list, newest first.
type Page struct {
	Limit int       // 1..500
	After uuid.UUID // the last id of the page before; zero: from the newest
}

// ErrBadCursor means that the cursor was not made by this API.
var ErrBadCursor = errors.New("cursor is not valid")

// EncodeCursor makes the opaque cursor behind the row with this id.
func EncodeCursor(id uuid.UUID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// DecodeCursor reads what EncodeCursor made; an empty string is the first page.
func DecodeCursor(s string) (uuid.UUID, error) {
	if s == "" {
		return uuid.Nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return uuid.Nil, ErrBadCursor
	}
	id, err := uuid.FromBytes(b)
	if err != nil {
		return uuid.Nil, ErrBadCursor
	}
	return id, nil
}
