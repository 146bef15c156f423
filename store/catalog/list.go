package catalog

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// filter collects the conditions of a list whose filters are optional. Only
// conditions that are asked for reach the statement, so that each combination
// gets the plan of its own index.
type filter struct {
	conditions []string
	args       []any
}

// add takes a condition with one "?" for its argument.
func (f *filter) add(condition string, arg any) {
	f.args = append(f.args, arg)
	f.conditions = append(f.conditions, strings.Replace(condition, "?", fmt.Sprintf("$%d", len(f.args)), 1))
}

// tenant confines the list to the scope's tenant, or for the operator to the
// one that was asked for. It reports false where the scope may see nothing of
// what was asked for.
func (f *filter) tenant(column string, s Scope, wanted *uuid.UUID) bool {
	if s.tenant != nil {
		f.add(column+" = ?", *s.tenant)
		return wanted == nil || *wanted == *s.tenant
	}
	if wanted != nil {
		f.add(column+" = ?", *wanted)
	}
	return true
}

// newestFirst ends the statement with the page of rows behind p.After.
func (f *filter) newestFirst(sql, column string, p Page) (string, []any) {
	if p.After != uuid.Nil {
		f.add(column+" < ?", p.After)
	}
	if len(f.conditions) > 0 {
		sql += " WHERE " + strings.Join(f.conditions, " AND ")
	}
	f.args = append(f.args, p.Limit)
	return fmt.Sprintf("%s ORDER BY %s DESC LIMIT $%d", sql, column, len(f.args)), f.args
}
