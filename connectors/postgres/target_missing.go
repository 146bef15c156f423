package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// refusals are why a server refused parts of a dump, where pg_restore went on.
type refusals struct {
	roles, tablespaces bool // it does not have them
	// more is anything else, or what was not heard.
	more bool
}

// refusalsIn goes through all that the server refused.
func refusalsIn(h *handover) refusals {
	said, all := h.errors()
	why := refusals{more: !all || len(said) == 0}
	for _, e := range said {
		switch {
		case noRole(e):
			why.roles = true
		case noTablespace(e):
			why.tablespaces = true
		default:
			why.more = true
		}
	}
	return why
}

// noRole reports whether something was to be done for a role that is not there.
func noRole(e *pgconn.PgError) bool {
	return e.Code == undefinedObject && strings.HasPrefix(e.Routine, routineRole)
}

// noTablespace reports whether something was to be made in a tablespace that is not
// there. The setting's name is the same in every language.
func noTablespace(e *pgconn.PgError) bool {
	return e.Code == invalidParameter && strings.Contains(e.Message, `"default_tablespace"`)
}
