package catalog

import (
	"errors"

	"github.com/jackc/pgx/v5"
)

// ErrNotFound means that there is no such object in this scope.
var ErrNotFound = errors.New("not found")

// Conflict is a refusal because of what else stands in the catalog. Code is
// stable and goes out in the problem ("source_in_use"); Message is for people.
type Conflict struct { //nolint:errname // it is what it says
	Code    string
	Message string
}

func (c *Conflict) Error() string { return c.Code + ": " + c.Message }

// notFound turns pgx's "no rows" into ErrNotFound.
func notFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// isConflict finds a Conflict in err's chain.
func isConflict(err error) (*Conflict, bool) { return errors.AsType[*Conflict](err) }
